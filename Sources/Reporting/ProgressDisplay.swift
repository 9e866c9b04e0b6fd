import Diagnostics
import Logging

/// Shows progress and log messages on standard error.
public final class ProgressDisplay: RunObserver {
  public let name = "progress"
  private var meter: ProgressMeter
  private var latest: Progress
  private let created = ContinuousClock.now

  /// - Parameter progress: at the start of the run.
  public init(style: ProgressStyle, _ progress: Progress) {
    meter = ProgressMeter(style: style)
    latest = progress
  }

  public func progressed(_ progress: Progress) {
    latest = progress
    show(meter.update(progress, at: seconds, width: StandardError.width))
  }

  public func logged(_ level: Logger.Level, _ message: String) {
    if level >= .info { show(meter.note(message)) }
  }

  public func finished(_ result: RunResult, _ status: ExitStatus) {
    (latest.step, latest.examples, latest.epoch) = (result.steps, result.examples, result.epochs ?? 0)
    show(meter.finish(latest, at: seconds, width: StandardError.width))
  }

  private var seconds: Double { (ContinuousClock.now - created) / .seconds(1) }

  private func show(_ text: String?) {
    if let text { StandardError.write(text) }
  }
}
