import Diagnostics
import Messaging
import RunConfiguration
import ZeroMQTransport

extension NodeOptions {
  /// Takes the key of a process of this role, if there are to be keys.
  ///
  /// - Throws: what `KeyDirectory.take` does, and `badConfiguration` for a name that no key can have.
  func openSecurity(as role: NodeRole) throws(Failure) -> ConnectionSecurity {
    guard let directory = settings.keys else { return .plaintext(beyondThisHost: allowsPlaintextBeyondThisHost) }
    let name = try settings.key.map { text throws(Failure) in
      guard let name = KeyName(text) else {
        throw Failure(.badConfiguration, "key must be \(KeyName.expectation), but is \"\(text.prefix(100))\"")
      }
      return name
    }
    return .keys(try KeyDirectory(path: directory).take(for: role, named: name))
  }
}

extension NodeTransport {
  /// Connects to the coordinator, and waits until it has let our key in if there are keys.
  ///
  /// - Returns: false when a signal came meanwhile.
  /// - Throws: `refused` when the coordinator does not know the key, or does not hold the coordinator's own key; `unavailable` when there
  ///   was none after `timeout`.
  func join(_ coordinator: Endpoint, timeout: Interval, interruptions: Interruptions) throws(Failure) -> Bool {
    try connectToCoordinator(coordinator)
    let deadline = MonotonicClock.now() + timeout
    while try !isAdmitted(
      waitingFor: interruptions.descriptors, milliseconds: MonotonicClock.milliseconds(until: deadline))
    {
      if interruptions.poll() { return false }
      guard MonotonicClock.now() < deadline else {
        guard failedHandshakes > 0 else {
          throw Failure(.unavailable, "no coordinator at \(coordinator) after \(timeout)")
        }
        throw Failure(
          .refused, "the process at \(coordinator) does not hold the coordinator's key",
          found: "\(failedHandshakes) handshakes that broke off",
          remedy: "Compare the line of the coordinator in the allow-lists of both hosts")
      }
    }
    return true
  }
}

/// Repeats that peers are not authenticated, where that is so: a run that was exposed for a test must not stay
/// so unseen.
package struct ExposureReminder {
  package static let interval = Interval.seconds(60)
  package static let text =
    "this process talks to other hosts without keys: any host that reaches it can read, forge and stop the training"

  /// Nil before the first time.
  package private(set) var next: Instant?

  package init() {}

  /// Whether it is time to say so: at once, and then a minute after each time.
  package mutating func isDue(at now: Instant) -> Bool {
    guard now >= next ?? now else { return false }
    next = now + Self.interval
    return true
  }
}
