import Diagnostics
import Messaging
import ZeroMQTransport

/// A server's or worker's dealings with the coordinators of a run, one coordinator after the other: the process outlives
/// them, and each gets to know it as a new incarnation.
final class CoordinatorVisit {
  let options: NodeOptions
  let process: NodeProcess
  private(set) var meeting: Rendezvous.Meeting

  /// Waits for the first coordinator; nil when a signal came meanwhile.
  ///
  /// - Throws: `unavailable` when there was none in time.
  init?(_ options: NodeOptions, _ process: NodeProcess) throws(Failure) {
    self.options = options
    self.process = process
    guard let meeting = try Self.meeting(options, process) else { return nil }
    self.meeting = meeting
  }

  private static func meeting(_ options: NodeOptions, _ process: NodeProcess) throws(Failure) -> Rendezvous.Meeting? {
    try options.meeting(process.interruptions, timeout: options.timing.rendezvous)
  }

  /// Runs one incarnation after the other until one ends otherwise than by a change of coordinators.
  ///
  /// - Parameter incarnation: runs one, and gives nil when a signal came before it had joined.
  func repeating(
    _ log: NodeLog, _ incarnation: (CoordinatorVisit, Incarnation) throws(Failure) -> RoleEnding?
  ) throws(Failure) -> ExitReason {
    while true {
      switch try incarnation(self, .draw()) {
      case nil: return .stoppedWhileWaiting
      case .ended(let ending):
        log.note(ending.status == .success ? .info : .error, event: "ended", ending.reason)
        return ending
      case .superseded(let reason):
        log.note(.warning, event: "rejoining", reason)
        guard let next = try Self.meeting(options, process) else { return .stoppedWhileWaiting }
        meeting = next
      }
    }
  }

  /// Connects to the coordinator and waits until it has let our key in; false when a signal came meanwhile.
  func join(_ transport: NodeTransport) throws(Failure) -> Bool {
    try transport.join(
      meeting.coordinator, timeout: options.timing.rendezvous, interruptions: process.interruptions)
  }

  /// Where the coordinator is, if the run directory says that it is no longer where it was; from then on that is where.
  func findCoordinator() -> Endpoint? {
    guard let paths = options.coordinator?.paths,
      let found = try? Rendezvous.published(in: paths, launch: options.launch),
      found.coordinator != meeting.coordinator
    else { return nil }
    meeting = found
    return found.coordinator
  }
}
