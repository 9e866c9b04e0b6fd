import Checkpoints
import Diagnostics
import Files
import FoundationEssentials
import Glibc
import NodeRuntime

/// The whole of a text file.
func fileText(_ path: String) throws(Failure) -> String {
  try FileSystem().text(of: path, limit: 1 << 30)
}

/// Seconds on the monotonic clock.
func monotonicSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// A directory that is removed with its last holder.
final class WorkDirectory {
  let path: String
  private var runs = 0

  init() throws(Failure) {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/descent-benchmark-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw .cannot("create a directory in \(parent)")
    }
    path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// Set when something failed, so that its files can be looked at.
  var isKept = false

  deinit { if !isKept { try? FileManager.default.removeItem(atPath: path) } }

  /// A name that was not used before.
  func newName(_ prefix: String) -> String {
    runs += 1
    return "\(path)/\(prefix)-\(runs)"
  }

  func remove(_ path: String) { try? FileManager.default.removeItem(atPath: path) }
}

/// Programs of ours as child processes, each with what it used of the machine.
final class Programs {
  struct Ended {
    let name: String
    /// As a shell shows it.
    let status: Int32
    /// User and system time, its waited-for children included.
    let processorSeconds: Double
    let peakResidentBytes: Int
  }

  private let spawner: ProcessSpawner
  private(set) var ended: [Ended] = []

  init() throws(Failure) { spawner = try ProcessSpawner() }

  var running: [ProcessSpawner.Child] { spawner.running }

  /// - Parameter output: where standard output and errors go; nil for the standard error of this process.
  @discardableResult
  func start(
    _ executable: String, _ arguments: [String], name: String, output: String? = nil
  ) throws(Failure) -> ProcessSpawner.Child {
    try spawner.start(executable, arguments, name: name, output: output)
  }

  func send(_ signal: Int32, to child: ProcessSpawner.Child) { spawner.send(signal, to: child) }

  /// Takes note of those that have ended. Never waits.
  private func collect() {
    for child in spawner.running {
      var status: Int32 = 0
      var usage = rusage()
      guard wait4(child.processID, &status, WNOHANG, &usage) == child.processID else { continue }
      let signal = status & 0x7F
      ended.append(
        Ended(
          name: child.name, status: signal == 0 ? status >> 8 & 0xFF : 128 + signal,
          processorSeconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
          peakResidentBytes: usage.ru_maxrss * 1024))
    }
    // The spawner finds out by itself that they are gone.
    _ = spawner.reap()
  }

  private func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }

  /// Waits until all have ended, and calls `meanwhile` about every two milliseconds.
  ///
  /// - Throws: `unavailable` when it takes longer than `limit` seconds, `internalError` when one of them failed.
  func waitForAll(
    limit: Double, meanwhile: (Programs) throws(Failure) -> Void = { (_) throws(Failure) in }
  ) throws(Failure) {
    let deadline = monotonicSeconds() + limit
    while true {
      collect()
      if let failed = ended.first(where: { $0.status != 0 }) {
        throw Failure(.internalError, "\(failed.name) failed", found: "exit status \(failed.status)")
      }
      guard !spawner.running.isEmpty else { return }
      guard monotonicSeconds() < deadline else {
        let names = spawner.running.map(\.name).joined(separator: ", ")
        throw Failure(.unavailable, "a measured run did not end within \(limit) s", found: "still there: \(names)")
      }
      try meanwhile(self)
      usleep(2000)
    }
  }

  /// Processor time of those whose name begins so.
  func processorSeconds(_ prefix: String) -> Double {
    ended.filter { $0.name.hasPrefix(prefix) }.reduce(0) { $0 + $1.processorSeconds }
  }

  /// Processor time until now of each that runs, by name.
  func processorSecondsSoFar() -> [String: Double] {
    var result: [String: Double] = [:]
    for child in spawner.running {
      var clock = clockid_t()
      var time = timespec()
      guard clock_getcpuclockid(child.processID, &clock) == 0, clock_gettime(clock, &time) == 0 else { continue }
      result[child.name] = Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
    return result
  }
}
