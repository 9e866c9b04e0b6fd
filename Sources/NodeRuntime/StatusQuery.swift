import Diagnostics
import Messaging
import ZeroMQTransport

/// Requests the status of a run from its coordinator: lines for people.
///
/// - Throws: `unavailable` when there is none, or it does not answer within `timeout`.
public func queryStatus(_ options: NodeOptions, timeout: Interval) throws(Failure) -> String {
  let security = try options.openSecurity(as: .observer)
  let interruptions = Interruptions()
  let deadline = MonotonicClock.now() + timeout
  guard let meeting = try options.meeting(interruptions, timeout: timeout) else {
    preconditionFailure("nothing was there to interrupt the wait")
  }
  let transport = NodeTransport(
    role: .observer, incarnation: .draw(), context: try MessagingContext(security: security))
  defer { transport.close() }
  let remaining = deadline.since(MonotonicClock.now())
  guard try transport.join(meeting.coordinator, timeout: remaining, interruptions: interruptions) else {
    preconditionFailure("nothing was there to interrupt the wait")
  }
  let addressing = Addressing(run: RunID(0), membershipEpoch: MembershipEpoch(0), step: 0)
  transport.send(.statusRequest, to: .coordinator, addressing)
  while MonotonicClock.now() < deadline {
    transport.wait(for: [], milliseconds: MonotonicClock.milliseconds(until: deadline))
    while let (message, _) = transport.receive() {
      if case .status(let text) = message { return text }
    }
  }
  throw Failure(.unavailable, "the coordinator at \(meeting.coordinator) does not answer")
}
