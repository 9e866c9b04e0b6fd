import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Reporting
import Transport

/// Possession of the directory of a run, as long as this value lives and no longer than the process.
///
/// The kernel releases a lock (flock) with the process, so it is never stale; the file `lock` stays and means nothing. Where
/// another host can reach the directory, or the file system has no locks, a lock says little: `lease-N` names the process
/// that holds the directory, which renews it (`FileLease`). A process that has ended holds nothing; one of another host holds
/// the directory for as long as it renews its lease.
package final class RunLock: Sendable {
  private let file: File
  private let lease: FileLease
  /// Whether the file system has locks.
  package let isLocked: Bool

  fileprivate init(_ file: File, _ lease: FileLease, isLocked: Bool) {
    (self.file, self.lease, self.isLocked) = (file, lease, isLocked)
  }

  /// Of the file, whatever its name leads to now.
  fileprivate var inode: UInt64 { get throws(Failure) { try file.status().inode } }

  /// Returns if no other process can have taken the directory. Call it before anything in it is changed.
  ///
  /// - Throws: `fenced` when another one has; why the lease could not be renewed.
  package func confirm() throws(Failure) { try lease.confirm() }

  /// Why another process has the directory; nil as long as that is not known. Costs nothing.
  package var loss: Failure? { lease.loss }

  /// Calls `handler` once, on some thread, if another process takes the directory.
  func notify(_ handler: @escaping @Sendable (Failure) -> Void) { lease.notify(handler) }

  /// The directory is about to be removed: nothing is written to it any more.
  func abandon() { lease.abandon() }

  /// Gives the directory back: nothing is written to it any more. What else holds this value is of no account.
  func release() { lease.release() }

  deinit { release() }
}

extension RunPaths {
  /// The name of the files of the lease, without their epoch.
  private var lease: String { "\(directory)/lease" }

  /// The files of the lease.
  var leases: [String] { LeaseFiles(name: lease).paths }

  private func request(_ length: Interval) -> FileLease.Request {
    FileLease.Request(lease, of: "the directory \(directory)", length: length)
  }

  /// What came of a try to take the directory.
  private enum Attempt {
    case taken(RunLock)
    case inUse(Failure)
    /// Whether its holder lives is known after this time.
    case unseen(Failure, ProcessRecord?, remaining: Interval)
  }

  /// Gives the directory to one coordinator at a time. Does not wait for the lease of another host.
  ///
  /// - Throws: `cannotCreate` when another process holds it, or the file cannot be created.
  package func lockDirectory() throws(Failure) -> RunLock {
    var request = request(Timing().directoryLease)
    switch try attempt(&request) {
    case .taken(let lock): return lock
    case .inUse(let failure), .unseen(let failure, _, _): throw failure
    }
  }

  /// The same for a start that may follow at once upon another one: waits for the processes of a command that was killed,
  /// which save before they end, and for a start that failed, which removes its directory. And for the lease of a host that
  /// is gone, or cut off.
  ///
  /// - Parameters:
  ///   - length: of the own lease.
  ///   - say: says for what it waits.
  /// - Throws: `cannotCreate` when the holder lives, `stoppedBySignal` when a signal came meanwhile.
  package func lockForStart(
    _ length: Interval, _ signals: TerminationSignals, say: (String) -> Void
  ) throws(Failure) -> RunLock {
    let deadline = Instant.now + .seconds(2)
    var request = request(length)
    var announced: Interval?
    while true {
      switch try attempt(&request) {
      case .taken(let lock):
        if FileSystem().status(of: self.lock)?.inode == (try lock.inode) { return lock }
      case .inUse(let failure):
        guard isLocked, Instant.now < deadline, isLeftBehind else { throw failure }
        request = self.request(length)
      case .unseen(_, let holder, let remaining):
        // Again after a renewal.
        if remaining > announced ?? .seconds(0) {
          say("waiting for the lease of \(Self.name(holder)) in \(directory), up to \(remaining)")
        }
        announced = remaining
        try wait(for: min(remaining, length / 8), holder, signals)
      }
    }
  }

  private static func name(_ holder: ProcessRecord?) -> String {
    holder.map { "process \($0.process) on \($0.host)" } ?? "another process"
  }

  private func wait(for time: Interval, _ holder: ProcessRecord?, _ signals: TerminationSignals) throws(Failure) {
    var items = signals.descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    poll(&items, UInt(items.count), Int32(clamping: 1 + time.nanoseconds / 1_000_000))
    guard signals.poll() else { return }
    throw Failure(
      .stoppedBySignal, "stopped by a signal while waiting for the lease of \(Self.name(holder)) in \(directory)")
  }

  private func attempt(_ request: inout FileLease.Request) throws(Failure) -> Attempt {
    let file = try File(lock, for: .locking)
    var outcome = try file.lock()
    // `isLocked` of another process holds it for a moment, as does one that has not written its lease yet.
    for _ in 0..<10 {
      guard outcome == .held, try request.trustsLock else { break }
      usleep(10_000)
      outcome = try file.lock()
    }
    if outcome == .held, try request.trustsLock { return .inUse(inUse()) }
    switch try request.attempt(hasLock: outcome == .acquired) {
    case .taken(let lease): return .taken(RunLock(file, lease, isLocked: outcome != .unsupported))
    case .refused(let holder): return .inUse(inUse(by: holder))
    case .unseen(let holder, let remaining): return .unseen(inUse(by: holder), holder, remaining: remaining)
    }
  }

  /// Whether the command whose processes hold the directory has ended.
  private var isLeftBehind: Bool {
    guard let start = (try? RunFile(readingFrom: runFile))?.starts.last else { return true }
    return start.host == NodeProcess.host && kill(start.pid, 0) != 0 && errno == ESRCH
  }

  private func inUse(by holder: ProcessRecord? = nil) -> Failure {
    guard let holder else {
      return Failure(
        .cannotCreate, "\(directory) is in use: another coordinator runs there",
        remedy: "Wait for it, stop it, or name another --run-dir")
    }
    return Failure(
      .cannotCreate, "\(directory) is in use: its lease names process \(holder.process) on \(holder.host)",
      remedy: "Wait for it, stop it, or name another --run-dir")
  }

  /// Whether a process works on the run. Of one on another host this is a guess: it counts as running until it has not
  /// renewed its lease for a minute, by the calendars of two hosts.
  package var isLocked: Bool {
    guard let file = try? File(lock, for: .reading), let outcome = try? file.lock(shared: true) else { return false }
    guard outcome != .held else { return true }
    let seen = try? LeaseFiles(name: lease).look(
      length: Timing().directoryLease, hasLock: outcome == .acquired)
    guard let seen else { return false }
    switch seen.sighting.holder {
    case .none: return false
    case .running: return true
    case .unseen:
      let silence = UTCTime.now().microseconds - seen.changed / 1000
      return silence < max(60_000_000, Int64(seen.sighting.length.nanoseconds / 250))
    }
  }

  /// Whether a process that cannot be seen from here may still hold the directory.
  func isHeld(by process: ProcessRecord) -> Bool {
    let seen = try? LeaseFiles(name: lease).look(length: Timing().directoryLease, hasLock: false)
    guard let holder = seen?.record else { return seen == nil }
    return (holder.process, holder.started, holder.boot) == (process.process, process.started, process.boot)
  }

  /// Refuses what `lockDirectory` would refuse, and writes nothing.
  func requireFree() throws(Failure) {
    let file = try File(lock, for: .reading)
    let outcome = try file.lock(shared: true)
    let seen = try LeaseFiles(name: lease).look(length: Timing().directoryLease, hasLock: outcome == .acquired)
    if seen?.sighting.holder == .running { throw inUse(by: seen?.record) }
    if outcome == .held, FileSystem().isLocal(directory) { throw inUse() }
  }
}
