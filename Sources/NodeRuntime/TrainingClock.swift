import Messaging
import ZeroMQTransport

/// Adds up the time between `start` and `stop`, on top of the training time of earlier starts of the run.
struct TrainingClock {
  private var before: Double
  private var started: Instant?

  init(before: Double) { self.before = before }

  var seconds: Double { before + (started.map { MonotonicClock.now().since($0).seconds } ?? 0) }

  mutating func start() {
    if started == nil { started = MonotonicClock.now() }
  }

  mutating func stop() {
    before = seconds
    started = nil
  }
}
