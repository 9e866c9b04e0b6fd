import Messaging

/// Tells a deliberate second request to stop from a copy of the first one.
///
/// A shell, a scheduler or a service manager signals every process of a tree at once, and a launcher forwards what its
/// children have received already. A process then gets one request several times within moments, and must save as after a
/// single one.
///
/// A scheduler warns before it ends a job (SIGUSR2, SIGXCPU, and SIGUSR1 where that is said): the run stops, and the warnings
/// that follow, and the signal that was warned of, mean the same.
public struct StopRequests: Sendable {
  public enum Meaning: Sendable {
    case first
    case copy
    /// End at once.
    case deliberate
  }

  private var hasWarning = false
  /// Of the first request that is not a warning.
  private var first: Instant?

  public init() {}

  public mutating func received(isWarning: Bool = false, at now: Instant) -> Meaning {
    if isWarning {
      defer { hasWarning = true }
      return hasWarning || first != nil ? .copy : .first  // defence: warnings
    }
    guard let first else {
      self.first = now
      return hasWarning ? .copy : .first
    }
    if now.since(first) < Timing.copyWindow { return .copy }  // defence: signal-copies
    return .deliberate  // defence: second-signal
  }
}
