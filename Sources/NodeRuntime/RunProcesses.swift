import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import RunConfiguration
import Transport

/// Whole runs side by side, each a process of its own: those of a sweep.
///
/// A signal that stops a run stops all of them, and each saves. None outlives this process, however it ends.
public final class RunProcesses {
  public enum Event: Sendable {
    /// The run of this name has ended. What it wrote to standard error, without the prefix of an error.
    case ended(name: String, exit: ProcessExit, message: String)
    /// A signal asks to stop; its name.
    case stopRequested(String)
  }

  private let spawner: ProcessSpawner
  private let signals: TerminationSignals
  private let children: Descriptor
  /// Where the errors of each process go.
  private var outputs: [pid_t: String] = [:]

  /// Call it on the main thread before any other thread exists. Signals that stop a run wait for `next` from here on.
  ///
  /// - Throws: `internalError` when the system has no descriptors left.
  public init() throws(Failure) {
    let suspending = TerminationSignals.isIgnored(SIGTSTP) ? [] : [SIGTSTP]
    signals = try TerminationSignals(diesWithParent: false, warning: .term)
    children = try .signals([SIGCHLD] + suspending)
    spawner = try ProcessSpawner()
  }

  /// Which signal stops the runs besides the usual ones. Before the first `next`.
  public func heed(_ warning: WarningSignal) { signals.saves = warning != .usr1 }

  /// How many have not ended.
  public var count: Int { spawner.running.count }

  /// Starts `descent train` in a process of its own, without workers.
  ///
  /// - Parameters:
  ///   - name: for the events.
  ///   - settings: with `workers: 0` and `run-dir`.
  ///   - output: a file for what it writes to standard error; removed when it has ended.
  public func start(_ name: String, _ settings: ResolvedSettings, output: String) throws(Failure) {
    if FileSystem().exists(output) { try FileSystem().unlink(output) }
    let child = try spawner.start(
      "descent", ["train", "--trial", "--resolved", settings.document], name: name, output: output,
      holding: TerminationSignals.numbers)
    outputs[child.processID] = output
  }

  /// Waits for something to happen, at most for so many milliseconds.
  public func next(milliseconds: Int32) -> [Event] {
    var items = ([children.number] + signals.descriptors).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    poll(&items, UInt(items.count), milliseconds)
    var events: [Event] = []
    for (number, _) in children.takeSignals() where number == SIGTSTP { spawner.suspend() }
    if signals.poll() { events.append(.stopRequested(signalName(signals.received ?? SIGTERM))) }
    if signals.takeSaveRequest() { for child in spawner.running { spawner.send(SIGUSR1, to: child) } }
    for (child, exit) in spawner.reap() {
      events.append(.ended(name: child.name, exit: exit, message: takeOutput(of: child.processID)))
    }
    return events
  }

  /// Asks every run to save and to end.
  public func stopAll() {
    for child in spawner.running { spawner.send(signals.received ?? SIGTERM, to: child) }
  }

  /// Ends every run at once: what was trained since its last checkpoint is lost.
  public func killAll() { spawner.killAll() }

  private func takeOutput(of process: pid_t) -> String {
    guard let path = outputs.removeValue(forKey: process) else { return "" }
    let text = (try? FileSystem().text(of: path)) ?? ""
    try? FileSystem().unlink(path)
    let prefix = "descent: error: "
    let lines = text.split(separator: "\n").filter { !$0.hasPrefix("descent: warning: ") }
    return lines.map { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : String($0) }.joined(separator: "; ")
  }

  /// Waits until no process works on these runs: those of a command that was killed save before they end.
  ///
  /// - Throws: `cannotCreate` when that takes longer than they have time for.
  public static func awaitRelease(of directories: [String]) throws(Failure) {
    let deadline = Instant.now + Timing.orphanGrace + .seconds(2)
    for directory in directories where FileSystem().exists(directory) {
      let paths = RunPaths(directory: directory)
      while paths.isLocked {
        guard Instant.now < deadline else {
          throw Failure(
            .cannotCreate, "\(directory) is in use: another process runs there", remedy: "Stop it, or wait for it")
        }
        usleep(20_000)
      }
    }
  }
}
