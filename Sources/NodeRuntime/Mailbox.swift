import Diagnostics
import Files
import Synchronization
import Transport

/// Carries outcomes from the threads that compute, evaluate and write to the thread that runs the role, and wakes it.
///
/// It holds at most those of the work that is under way: one gradient, two evaluations, one checkpoint.
package final class Mailbox<Outcome: Sendable>: Sendable {
  private let wakeUp: Descriptor
  private let outcomes = Mutex<[Outcome]>([])

  /// Readable when there may be outcomes.
  var descriptor: Int32 { wakeUp.number }

  /// - Throws: `internalError` when the system has no descriptors left.
  package init() throws(Failure) { wakeUp = try .wakeUp() }

  /// Adds an outcome, if there is one, and wakes the thread that runs the role. May be called on any thread.
  package func post(_ outcome: Outcome?) {
    if let outcome { outcomes.withLock { $0.append(outcome) } }
    wakeUp.signal()
  }

  /// Everything posted so far, in order.
  func take() -> [Outcome] {
    wakeUp.clear()
    return outcomes.withLock { outcomes in
      defer { outcomes.removeAll() }
      return outcomes
    }
  }
}
