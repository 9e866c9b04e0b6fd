import Diagnostics
import Files
import Synchronization
import Transport

/// Carries a role's events from the threads that compute, evaluate and write to the thread that runs the role, and wakes
/// it.
///
/// It holds at most the outcomes of the work that is under way: one gradient, two evaluations, one checkpoint.
package final class Mailbox<Event: Sendable>: Sendable {
  private let wakeUp: Descriptor
  private let events = Mutex<[Event]>([])

  /// Readable when there may be events.
  var descriptor: Int32 { wakeUp.number }

  /// - Throws: `internalError` when the system has no descriptors left.
  package init() throws(Failure) { wakeUp = try .wakeUp() }

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
