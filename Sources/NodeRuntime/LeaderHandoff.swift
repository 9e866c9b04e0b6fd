import Dispatch
import Synchronization

/// Leader/Followers (Schmidt et al., 1998) for two threads: the leader runs a role's loop, and the loop does not wait for
/// the long work that the role asks for, yet no thread has to wake the other as long as the work is short.
///
/// When there is work the leader yields, works, and reclaims the lead. Only if that takes long does the follower, which
/// looks every few milliseconds, take the lead and run the loop meanwhile.
final class LeaderHandoff: Sendable {
  private struct State {
    var hasLeader = true
    var isShutDown = false
    /// Tells one yield from another.
    var yields: UInt64 = 0
  }

  /// How long work may take before the follower steps in. The shortest of a role's deadlines is a heartbeat.
  private static let grace = DispatchTimeInterval.milliseconds(20)

  private let state = Mutex(State())
  private let shutdown = DispatchGroup()

  /// The first thread to use it leads.
  init() { shutdown.enter() }

  /// Gives up the lead for a while.
  func yield() {
    state.withLock {
      $0.hasLeader = false
      $0.yields &+= 1
    }
  }

  /// Takes the lead back; false if the other thread has it.
  func tryReclaim() -> Bool {
    state.withLock {
      if $0.hasLeader { return false }
      $0.hasLeader = true
      return true
    }
  }

  /// Waits until the other thread has worked for the grace period, and takes the lead; false after `shutDown`.
  func waitToLead() -> Bool {
    var seen: UInt64?
    repeat {
      let takesLead = state.withLock {
        if !$0.isShutDown, !$0.hasLeader, seen == $0.yields {
          $0.hasLeader = true
          return true
        }
        seen = $0.hasLeader ? nil : $0.yields
        return false
      }
      if takesLead { return true }
    } while shutdown.wait(timeout: .now() + Self.grace) == .timedOut
    return false
  }

  /// Ends the waiting of all threads, once.
  func shutDown() {
    state.withLock { $0.isShutDown = true }
    shutdown.leave()
  }

  func waitForShutDown() { shutdown.wait() }
}
