import Diagnostics
import Synchronization
import ZeroMQTransport

/// Carries a role's events from the threads that compute, evaluate and write to the thread that runs the role, and wakes
/// it.
///
/// It holds at most the outcomes of the work that is under way: one gradient, two evaluations, one checkpoint.
package final class Mailbox<Event: Sendable>: Sendable {
  let wakeUp: WakeUp
  private let events = Mutex<[Event]>([])

  package init() throws(Failure) { wakeUp = try WakeUp() }

  /// Adds an event, if there is one, and wakes the thread that runs the role. May be called on any thread.
  package func post(_ event: Event?) {
    if let event { events.withLock { $0.append(event) } }
    wakeUp.signal()
  }

  /// Everything posted so far, in order.
  func take() -> [Event] {
    wakeUp.clear()
    return events.withLock { events in
      defer { events.removeAll() }
      return events
    }
  }
}
