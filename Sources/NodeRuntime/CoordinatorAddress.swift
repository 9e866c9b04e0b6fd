import Checkpoints
import Diagnostics
import Files
import Glibc
import Messaging
import Transport

/// Where the coordinator of a run listens. The coordinator writes it, with the name of the run, into the run directory,
/// and the other processes look there.
package struct CoordinatorAddress: Sendable, Equatable {
  package var endpoint: Endpoint
  /// Nil where the node was given an endpoint instead of a run directory.
  package var runIdentifier: String?

  /// Between two looks at the run directory. Short enough not to be felt at the start, long enough to cost nothing.
  private static let pauseMilliseconds: Int32 = 10

  /// Waits for the coordinator that the options name. In a run directory it must be of the same launch: the processes that
  /// a refused `descent train` has started must not join the run that is there.
  ///
  /// Where the run is over and nothing continues it, it waits for a part of that time only (`NodeOptions.endOfRun`).
  ///
  /// - Parameter timeout: nil for that of the rendezvous.
  /// - Returns: nil when a signal came meanwhile, or the run is over (`NodeOptions.endingOfWait`).
  /// - Throws: `unavailable` when there is none in the run directory after `timeout`.
  package static func find(
    _ options: NodeOptions, timeout: Interval? = nil, signals: TerminationSignals
  ) throws(Failure) -> CoordinatorAddress? {
    if let endpoint = options.endpoint { return CoordinatorAddress(endpoint: try Endpoint(parsing: endpoint)) }
    guard let paths = options.paths else {
      throw Failure(.usage, "which run? Pass --run-dir DIR or --coordinator ENDPOINT")
    }
    let timeout = timeout ?? options.timing.rendezvous
    var began = Instant.now
    var checked = began
    var nextLook = options.timing.longestRestartDelay
    while true {
      // The time in which this process was stopped does not count.
      let pause = Instant.now.since(checked)
      if pause >= .seconds(1) { began = began + pause }
      checked = .now
      if let address = try published(in: paths, launch: options.launch) { return address }
      let waited = Instant.now.since(began)
      if waited >= min(nextLook, timeout) {
        if options.endOfRun(after: waited) != nil { return nil }
        nextLook = waited + .seconds(1)
      }
      guard waited < timeout else {
        throw Failure(
          .unavailable, "no coordinator after \(timeout)",  // defence: no-coordinator
          found: FileSystem().exists(paths.coordinatorEndpoint)
            ? "\(paths.coordinatorEndpoint) is stale, its coordinator is no longer running"
            : "there is no \(paths.coordinatorEndpoint)",
          remedy: "Start descent-coordinator with the same --run-dir, or give its address with --coordinator")
      }
      var items = signals.descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      poll(&items, UInt(items.count), pauseMilliseconds)
      if signals.poll() { return nil }
    }
  }

  /// The address of a coordinator that is alive, of this launch if it is not nil. One on another host, which cannot be seen
  /// from here, counts as alive unless it has given its lease back: its address is tried.
  package static func published(in paths: RunPaths, launch: String? = nil) throws(Failure) -> CoordinatorAddress? {
    guard let file = try? File(paths.coordinatorEndpoint, for: .reading), let lock = try? file.lock(shared: true),
      let status = try? file.status(), let bytes = try? file.read(limit: 4096),
      let text = String(validating: bytes, as: UTF8.self)
    else { return nil }
    let lines = text.split(separator: "\n")
    guard (3...5).contains(lines.count) else {
      throw Failure(
        .badData, "\(paths.coordinatorEndpoint) must hold an endpoint, a run and a launch, a line each")
    }
    guard launch == nil || lines[2] == launch ?? "" else { return nil }
    let publisher = lines.count > 3 ? ProcessRecord(line: lines[3]) : nil
    guard isAlive(publisher, isLocked: lines.count > 4, of: status, lock, in: paths) else { return nil }
    return CoordinatorAddress(endpoint: try Endpoint(parsing: String(lines[0])), runIdentifier: String(lines[1]))
  }

  /// Whether the coordinator lives that has published an address.
  ///
  /// - Parameters:
  ///   - publisher: nil where the file does not name it.
  ///   - isLocked: whether it has locked the file.
  ///   - file: the one with the address.
  ///   - lock: what became of a request for a lock on it.
  private static func isAlive(
    _ publisher: ProcessRecord?, isLocked: Bool, of file: FileStatus, _ lock: File.LockOutcome, in paths: RunPaths
  ) -> Bool {
    if lock == .held { return true }
    guard let publisher else { return lock == .unsupported }
    let isLocal = FileSystem().isLocal(paths.coordinatorEndpoint)
    // A copy of the file is of no coordinator. Elsewhere each mount may number files as it likes.
    if isLocal, publisher.inode != file.inode { return false }  // defence: address-record
    // The lock of one on this kernel would be seen.
    if isLocal, isLocked, lock == .acquired, publisher.isOfThisKernel { return false }
    if isLocal || publisher.isOfThisKernel, let isRunning = publisher.isRunning { return isRunning }
    return paths.isHeld(by: publisher)
  }
}

/// The published address of a living coordinator: valid as long as this value lives.
///
/// The process holds a lock on the very file that it has put there, so an address that a killed coordinator left
/// behind is never taken for that of its successor, however soon that one starts. The file names the process as well, for
/// other hosts and for file systems without locks.
package final class AddressPublication: Sendable {
  private let file: File
  private let path: String

  /// The file appears whole or not at all.
  ///
  /// - Parameter launch: names the command that started the coordinator together with its server and workers.
  package init(
    _ endpoint: String, runIdentifier: String, launch: String? = nil, in paths: RunPaths
  ) throws(Failure) {
    path = paths.coordinatorEndpoint
    let temporary = FileSystem().temporaryPath(for: path)
    file = try File(temporary, for: .creating)
    do throws(Failure) {
      let isLocked = try file.lock() == .acquired
      let publisher = ProcessRecord(inode: try file.status().inode)
      let text = "\(endpoint)\n\(runIdentifier)\n\(launch ?? "-")\n\(publisher.line)" + (isLocked ? "locked\n" : "")
      try file.write(Array(text.utf8))
      try FileSystem().rename(temporary, to: path)
    } catch {
      try? FileSystem().unlink(temporary)
      throw error
    }
  }

  /// Removes the address when the coordinator stops, unless it is that of a successor.
  package func withdraw() {
    guard let own = try? file.status().inode, FileSystem().status(of: path)?.inode == own else { return }
    try? FileSystem().unlink(path)
  }
}
