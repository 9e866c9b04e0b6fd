import Messaging
import Reporting
import ZeroMQTransport

/// Adds up the time between `start` and `stop`, on top of what a run has trained before.
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

/// The meter together with the stream that it draws on.
final class ShownProgress {
  private var meter: ProgressMeter
  init(style: ProgressStyle) { meter = ProgressMeter(style: style) }

  private var now: Double { Double(MonotonicClock.now().nanoseconds) / 1e9 }

  func update(_ progress: Reporting.Progress) {
    write(meter.update(progress, at: now, width: StandardError.width))
  }

  func finish(_ progress: Reporting.Progress) {
    write(meter.finish(progress, at: now, width: StandardError.width))
  }

  func note(_ message: String) { write(meter.note(message)) }

  private func write(_ text: String?) {
    if let text { StandardError.write(text) }
  }
}
