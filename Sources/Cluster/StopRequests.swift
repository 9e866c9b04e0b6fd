import Messaging

/// Tells a deliberate second request to stop from a copy of the first one.
///
/// A shell, a scheduler or a service manager signals every process of a tree at once, and a launcher forwards what its
/// children have received already. A process then gets one request several times within moments, and must save as after a
/// single one.
public struct StopRequests: Sendable {
  public enum Meaning: Sendable {
    case first
    case copy
    /// End at once.
    case deliberate
  }

  private var first: Instant?

  public init() {}

  public mutating func received(at now: Instant) -> Meaning {
    guard let first else {
      first = now
      return .first
    }
    if now.since(first) < Timing.copyWindow { return .copy }  // defence: signal-copies
    return .deliberate  // defence: second-signal
  }
}
