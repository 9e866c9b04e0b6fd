import Messaging

/// How long to poll for a message before sleeping. Waking a thread on an idle core costs tens of microseconds, more than
/// many waits take; but polling in vain takes the core from threads that could compute.
///
/// A worker waits for the slowest of the other workers and for the update, and has nothing else to compute, so its core is
/// free unless there are more workers than cores: 4 workers on 2 cores lose 3 % by polling for 500 µs instead of 200. A
/// server waits for gradients, which need its core, so it polls only for as long as two gradients that arrive close together
/// are apart. Measured with 0 to 2,000 µs on 2 cores with 2 workers, which wait for some 300 µs where they train a network.
struct SpinPolicy {
  static let worker = SpinPolicy(limit: Interval(nanoseconds: 500_000))
  static let workerOnSharedCore = SpinPolicy(limit: Interval(nanoseconds: 200_000))
  static let server = SpinPolicy(limit: Interval(nanoseconds: 20_000))

  private let limit: Interval
  /// After this many misses in a row only every sixteenth wait polls.
  private static let toleratedMisses = 4
  private static let pause = 16
  private var misses = 0
  private var skipped = 0

  private init(limit: Interval) { self.limit = limit }

  /// How long to poll this time; nil for not at all.
  mutating func nextLimit() -> Interval? {
    guard misses >= Self.toleratedMisses else { return limit }
    skipped += 1
    guard skipped >= Self.pause else { return nil }
    skipped = 0
    return limit
  }

  mutating func recordHit() { misses = 0 }
  mutating func recordMiss() { misses += 1 }
}
