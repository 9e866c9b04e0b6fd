import Checkpoints
import Diagnostics
import Files
import Glibc
import Messaging
import ZeroMQTransport

/// How nodes find the coordinator: it writes where it listens, and the name of the run, into the run directory, and the
/// others look there.
public enum Rendezvous {
  /// What a node must know to begin.
  package struct Meeting: Sendable, Equatable {
    package var coordinator: Endpoint
    /// Nil where the node was given an endpoint instead of a run directory.
    package var runIdentifier: String?
  }

  /// Between two looks at the run directory. Short enough not to be felt at the start, long enough to cost nothing.
  private static let pauseMilliseconds = 10

  /// The address of a living coordinator: valid as long as this value lives.
  ///
  /// The process holds a lock on the very file that it has put there, so an address that a killed coordinator left
  /// behind is never taken for that of its successor, however soon that one starts.
  package final class Publication: Sendable {
    private let file: File
    private let path: String

    fileprivate init(_ text: String, at path: String) throws(Failure) {
      self.path = path
      let temporary = FileSystem().temporaryPath(for: path)
      file = try File(temporary, for: .creating)
      do throws(Failure) {
        _ = try file.lock()
        try file.write(Array(text.utf8))
        try FileSystem().rename(temporary, to: path)
      } catch {
        try? FileSystem().unlink(temporary)
        throw error
      }
    }

    /// Removes the address when the coordinator stops.
    package func withdraw() { try? FileSystem().unlink(path) }
  }

  /// Tells where the coordinator listens. The file appears whole or not at all.
  ///
  /// - Parameter launch: names the command that started the coordinator together with its server and workers.
  package static func publish(
    _ endpoint: String, runIdentifier: String, launch: String? = nil, in paths: RunPaths
  ) throws(Failure) -> Publication {
    try Publication("\(endpoint)\n\(runIdentifier)\n\(launch ?? "-")\n", at: paths.coordinatorEndpoint)
  }

  /// Waits for the coordinator of a run directory.
  ///
  /// - Parameter launch: if not nil, the coordinator must be of the same launch: the processes that a refused
  ///   `descent train` has started must not join the run that is there.
  /// - Returns: nil when a signal came meanwhile.
  /// - Throws: `unavailable` when there is none after `timeout`.
  package static func find(
    in paths: RunPaths, launch: String? = nil, timeout: Interval, interruptions: Interruptions
  ) throws(Failure) -> Meeting? {
    let deadline = MonotonicClock.now() + timeout
    while true {
      if let meeting = try published(in: paths, launch: launch) { return meeting }
      guard MonotonicClock.now() < deadline else {
        throw Failure(
          .unavailable, "no coordinator after \(timeout)",  // defence: no-coordinator
          found: FileSystem().exists(paths.coordinatorEndpoint)
            ? "\(paths.coordinatorEndpoint) of one that is gone" : "no \(paths.coordinatorEndpoint)",
          remedy: "Start descent-coordinator with the same --run-dir, or give its address with --coordinator")
      }
      var items = interruptions.descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      poll(&items, UInt(items.count), Int32(pauseMilliseconds))
      if interruptions.poll() { return nil }
    }
  }

  /// The endpoint of a coordinator that is alive. A file without a lock belongs to a run that was killed.
  package static func published(in paths: RunPaths, launch: String? = nil) throws(Failure) -> Meeting? {
    guard let file = try? File(paths.coordinatorEndpoint, for: .reading), (try? file.lock(shared: true)) == false,
      let bytes = try? file.read(limit: 4096), let text = String(validating: bytes, as: UTF8.self)
    else { return nil }
    let lines = text.split(separator: "\n")
    guard lines.count == 3 else {
      throw Failure(
        .badData, "\(paths.coordinatorEndpoint) is not a coordinator's", expected: "an endpoint, a run and a launch")
    }
    guard launch == nil || lines[2] == launch ?? "" else { return nil }
    return Meeting(coordinator: try Endpoint(parsing: String(lines[0])), runIdentifier: String(lines[1]))
  }
}

/// How a node was told to find the coordinator.
public enum CoordinatorLocation: Sendable, Equatable {
  /// `--coordinator`: an address as libzmq spells it.
  case endpoint(String)
  /// `--run-dir`: the coordinator has written its address there, or will.
  case runDirectory(String)

  /// Nil when a signal came while waiting.
  func meeting(
    launch: String?, timeout: Interval, interruptions: Interruptions
  ) throws(Failure) -> Rendezvous.Meeting? {
    switch self {
    case .endpoint(let text):
      Rendezvous.Meeting(coordinator: try Endpoint(parsing: text), runIdentifier: nil)
    case .runDirectory(let directory):
      try Rendezvous.find(
        in: RunPaths(directory: directory), launch: launch, timeout: timeout, interruptions: interruptions)
    }
  }

  var paths: RunPaths? {
    if case .runDirectory(let directory) = self { RunPaths(directory: directory) } else { nil }
  }
}
