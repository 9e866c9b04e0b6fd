import Diagnostics
import Files
import Glibc
import Messaging
import Reporting
import Transport

/// Possession of the directory of a run, as long as this value lives and no longer than the process.
///
/// The kernel releases a lock (flock) with the process, so it is never stale; the file itself stays and means nothing. Where
/// the file system has no locks, the file names the process that holds the directory. A process that has ended holds
/// nothing; one of another host counts as running, because what runs there cannot be seen from here.
package final class RunLock: Sendable {
  private let file: File
  /// Whether the file names this process, because it cannot be locked.
  package let isRecorded: Bool

  fileprivate init(_ file: File, isRecorded: Bool) { (self.file, self.isRecorded) = (file, isRecorded) }

  /// Of the file, whatever its name leads to now.
  fileprivate var inode: UInt64 { get throws(Failure) { try file.status().inode } }

  deinit {
    if isRecorded { try? file.truncate(to: 0) }
  }
}

extension RunPaths {
  /// How long two processes that write their names into the lock at the same time see each other, in microseconds.
  private static let pause: UInt32 = 50_000

  /// Gives the directory to one coordinator at a time.
  ///
  /// - Throws: `cannotCreate` when another process holds it, or the file cannot be created.
  package func lockDirectory() throws(Failure) -> RunLock {
    let file = try File(lock, for: .locking)
    var outcome = try file.lock()
    // `isLocked` of another process holds it for a moment.
    for _ in 0..<10 where outcome == .held {
      usleep(10_000)
      outcome = try file.lock()
    }
    guard outcome != .held else { throw inUse() }
    if let holder = ProcessRecord(in: lock), holder.isRunning != false {  // defence: lock-record
      throw inUse(by: holder)
    }
    let isRecorded = outcome == .unsupported
    if isRecorded { try record(in: file) }
    return RunLock(file, isRecorded: isRecorded)
  }

  /// The same for a start that may follow at once upon another one: waits for the processes of a command that was killed,
  /// which save before they end, and for a start that failed, which removes its directory.
  func lockForStart() throws(Failure) -> RunLock {
    let deadline = Instant.now + .seconds(2)
    while true {
      do throws(Failure) {
        let lock = try lockDirectory()
        if FileSystem().status(of: self.lock)?.inode == (try lock.inode) { return lock }
      } catch {
        guard isLocked, Instant.now < deadline, isLeftBehind else { throw error }
      }
    }
  }

  /// Whether the command whose processes hold the directory has ended.
  private var isLeftBehind: Bool {
    guard let start = (try? RunFile(readingFrom: runFile))?.starts.last else { return true }
    return start.host == NodeProcess.host && kill(start.pid, 0) != 0 && errno == ESRCH
  }

  /// Writes the name of this process into the file. Of two that do so at the same time the last one wins.
  private func record(in file: File) throws(Failure) {
    let record = ProcessRecord(inode: try file.status().inode)
    try file.truncate(to: 0)
    try file.write(Array(record.line.utf8))
    usleep(Self.pause)
    if let holder = ProcessRecord(in: lock), holder != record { throw inUse(by: holder) }
  }

  private func inUse(by holder: ProcessRecord? = nil) -> Failure {
    guard let holder else {
      return Failure(
        .cannotCreate, "\(directory) is in use: another coordinator runs there",
        remedy: "Wait for it, stop it, or name another --run-dir")
    }
    let isSeen = holder.isRunning == true
    return Failure(
      .cannotCreate, "\(directory) is in use: \(lock) names process \(holder.process) on \(holder.host)",
      remedy: isSeen
        ? "Wait for it, stop it, or name another --run-dir"
        : "The file system has no locks to tell whether it still runs. If it has ended, remove \(lock)")
  }

  /// Whether a process works on the run.
  package var isLocked: Bool {
    guard let file = try? File(lock, for: .reading), let outcome = try? file.lock(shared: true) else { return false }
    return outcome == .held || ProcessRecord(in: lock).map { $0.isRunning ?? true } ?? false
  }
}
