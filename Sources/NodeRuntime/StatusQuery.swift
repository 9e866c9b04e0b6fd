import Diagnostics
import Messaging
import Transport

/// Requests the status of a run from its coordinator: lines for people.
///
/// - Throws: `unavailable` when there is none, or it does not answer within `timeout`.
public func queryStatus(_ options: NodeOptions, timeout: Interval) throws(Failure) -> String {
  let security = try options.openSecurity(as: .observer)
  // Watches for nothing, so that a signal ends this process and no wait is interrupted.
  let signals = TerminationSignals()
  let deadline = Instant.now + timeout
  let address = try CoordinatorAddress.find(options, timeout: timeout, signals: signals)
  let transport = NodeTransport(
    role: .observer, incarnation: .draw(), context: try MessagingContext(security: security))
  defer { transport.close() }
  guard let endpoint = address?.endpoint,
    try transport.join(endpoint, timeout: deadline.since(.now), signals: signals)
  else { preconditionFailure("a wait was interrupted by a signal that was not watched for") }
  transport.send(.statusRequest, to: .coordinator, Addressing())
  while Instant.now < deadline {
    transport.wait(for: [], until: deadline)
    while let (message, _) = transport.receive() {
      if case .status(let text) = message { return text }
    }
  }
  throw Failure(.unavailable, "the coordinator at \(endpoint) does not answer")
}
