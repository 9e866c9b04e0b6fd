/// When work beside the training is due again: so that it takes at most half a percent of the time.
package struct Pacing: Sendable {
  private static let timesItsCost = 200

  private var next: ContinuousClock.Instant?

  package init() {}

  package func isDue(at now: ContinuousClock.Instant = .now) -> Bool { next.map { now >= $0 } ?? true }

  /// The work has ended.
  package mutating func took(_ cost: Duration, until now: ContinuousClock.Instant = .now) {
    next = now + cost * Self.timesItsCost
  }
}
