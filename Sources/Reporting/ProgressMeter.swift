import Diagnostics
import Logging
import Messaging

/// Shows progress and log messages on standard error.
public final class ProgressDisplay: RunObserver {
  public let name = "progress"
  private let isVerbose: Bool
  private var meter: ProgressMeter
  private var latest: MetricsRecord
  private let created = ContinuousClock.now

  /// - Parameters:
  ///   - terminal: what it can show, for lines that are redrawn.
  ///   - isVerbose: whether messages of the level `info` are shown, not only those above it.
  ///   - record: at the start of the run.
  ///   - workers: that the run is to have; 0 for the sequential trainer.
  public init(
    style: ProgressStyle, on terminal: TerminalFeatures = TerminalFeatures(), isVerbose: Bool, _ record: MetricsRecord,
    totalSteps: UInt64, totalEpochs: Double, workers: Int = 0
  ) {
    self.isVerbose = isVerbose
    meter = ProgressMeter(
      style: style, on: terminal, totalSteps: totalSteps, totalEpochs: totalEpochs, workers: workers)
    latest = record
  }

  public func progressed(_ record: MetricsRecord) {
    latest = record
    show(meter.update(record, at: seconds, width: StandardError.width))
  }

  public func membershipChanged(epoch: UInt64, step: UInt64, workers: Int) {
    latest.workers = workers
    show(meter.changed(latest, at: seconds, width: StandardError.width))
  }

  public func logged(_ level: Logger.Level, _ message: String) {
    switch level {
    case .trace, .debug: return
    case .info where !isVerbose: return
    case .info, .notice: show(meter.note(message))
    case .warning: show(meter.note("descent: warning: \(message)"))
    case .error, .critical: show(meter.note("descent: error: \(message)"))
    }
  }

  public func finished(_ result: RunResult, _ ending: ExitReason) {
    (latest.step, latest.examples, latest.epoch) = (result.steps, result.examples, result.epochs)
    show(meter.finish(latest, at: seconds, width: StandardError.width))
  }

  private var seconds: Double { (ContinuousClock.now - created) / .seconds(1) }

  private func show(_ text: String?) {
    if let text { StandardError.write(text) }
  }
}

/// How progress is shown.
public enum ProgressStyle: Sendable, Equatable {
  /// No output.
  case silent
  /// A line every few seconds: for files, pipes and dumb terminals.
  case plain
  /// One line that is redrawn in place.
  case redrawn

  /// The style that suits standard error.
  ///
  /// - Parameters:
  ///   - isQuiet: whether `--quiet` was given.
  ///   - isTerminal: whether standard error is a terminal.
  ///   - environment: with `TERM=dumb` or with `CI` set, lines are not redrawn.
  public init(isQuiet: Bool, isTerminal: Bool, environment: [String: String]) {
    let isDumb = environment["TERM"].map { $0 == "dumb" || $0.isEmpty } ?? true
    let isAutomated = environment["CI"].map { !$0.isEmpty && $0 != "false" && $0 != "0" } ?? false
    self = isQuiet ? .silent : isTerminal && !isDumb && !isAutomated ? .redrawn : .plain
  }
}

/// Turns the progress of a run into text for standard error. Pure: time is an argument, and the text is the result.
package struct ProgressMeter {
  private typealias Sample = (seconds: Double, step: UInt64, examples: UInt64)

  /// Seconds between two drawings; shorter intervals flicker.
  private static let redrawInterval = 0.2
  /// Seconds between two plain lines.
  private static let plainInterval = 5.0
  /// Rates are measured over the last one to two of these, in seconds.
  private static let rateWindow = 5.0
  /// Rates over shorter times, in seconds, say little.
  private static let shortestWindow = 1.0
  /// Silence of at least so many seconds, and of so many times the usual interval between two updates, is none of the
  /// training: the process was stopped, or the machine slept.
  private static let pause = (seconds: 5.0, intervals: 8.0)
  /// An estimate of more seconds, a hundred days, says nothing.
  private static let longestEstimate = 8_640_000.0

  private let style: ProgressStyle
  private let terminal: TerminalFeatures
  private let totalSteps: UInt64
  private let totalEpochs: Double
  private let workers: Int
  private var lastShown: Double?
  private var hasOpenLine = false
  /// What was drawn last, rates aside.
  private var lastLine: String?
  /// The sample from which rates are measured, and the one that replaces it when the window is over.
  private var anchor: Sample?
  private var nextAnchor: Sample?
  private var newest: Sample?
  /// Of the intervals between updates, in seconds: a running mean.
  private var usualInterval: Double?
  private var losses = LossHistory()

  package init(
    style: ProgressStyle, on terminal: TerminalFeatures = TerminalFeatures(), totalSteps: UInt64, totalEpochs: Double,
    workers: Int = 0
  ) {
    (self.style, self.terminal) = (style, terminal)
    (self.totalSteps, self.totalEpochs, self.workers) = (totalSteps, totalEpochs, workers)
  }

  /// The text to write now; nil if none is due, and then nothing is allocated and `width` not asked for.
  ///
  /// - Parameters:
  ///   - seconds: the time on a monotonic clock.
  ///   - width: columns of the terminal.
  package mutating func update(
    _ record: MetricsRecord, at seconds: Double, width: @autoclosure () -> Int = 80
  ) -> String? {
    guard style != .silent else { return nil }
    measure(record, at: seconds)
    let interval = style == .redrawn ? Self.redrawInterval : Self.plainInterval
    guard lastShown.map({ seconds - $0 >= interval }) ?? true else { return nil }
    // A line of its own is for news.
    if style == .plain, record.trainDataLoss.map({ !$0.isFinite }) ?? true { return nil }
    lastShown = seconds
    return drawing(record, at: seconds, width: width())
  }

  /// The line with workers that have come or gone, where lines are redrawn.
  package mutating func changed(
    _ record: MetricsRecord, at seconds: Double, width: @autoclosure () -> Int = 80
  ) -> String? {
    style == .redrawn ? drawing(record, at: seconds, width: width()) : nil
  }

  /// The final progress, whether or not it is due, with the line ended.
  package mutating func finish(
    _ record: MetricsRecord, at seconds: Double, width: @autoclosure () -> Int = 80
  ) -> String? {
    guard style != .silent else { return nil }
    measure(record, at: seconds)
    let rates = rates(record, at: seconds)
    let line = line(record, rates.images, rates.remaining, width: style == .redrawn ? width() - 1 : nil)
    if style == .plain {
      let news = self.line(record, nil, nil, width: nil)
      defer { lastLine = news }
      return news == lastLine ? nil : line + "\n"
    }
    hasOpenLine = false
    return RedrawnLine.clear + line + "\n"
  }

  /// A log message on a line of its own.
  package mutating func note(_ message: String) -> String? {
    guard style != .silent else { return nil }
    defer {
      hasOpenLine = false
      if style == .redrawn { lastShown = nil }
    }
    return (hasOpenLine ? RedrawnLine.clear : "") + message + "\n"
  }

  private mutating func drawing(_ record: MetricsRecord, at seconds: Double, width: Int) -> String {
    let rates = rates(record, at: seconds)
    guard style == .redrawn else {
      lastLine = line(record, nil, nil, width: nil)
      return line(record, rates.images, rates.remaining, width: nil) + "\n"
    }
    hasOpenLine = true
    var line = ProgressLine(record, totalSteps: totalSteps, totalEpochs: totalEpochs)
    (line.imagesPerSecond, line.remainingSeconds, line.expectedWorkers) = (rates.images, rates.remaining, workers)
    // Some terminals wrap when the last column is written.
    return RedrawnLine.drawing(line.drawn(width: width - 1, losses, on: terminal))
  }

  /// `ProgressLine.plain` with these rates.
  package func line(
    _ record: MetricsRecord, _ imagesPerSecond: Double?, _ remaining: Double?, width: Int?
  ) -> String {
    var line = ProgressLine(record, totalSteps: totalSteps, totalEpochs: totalEpochs)
    (line.imagesPerSecond, line.remainingSeconds) = (imagesPerSecond, remaining)
    return line.plain(width: width)
  }

  // MARK: - Rates

  private mutating func measure(_ record: MetricsRecord, at seconds: Double) {
    let sample: Sample = (seconds, record.step, record.examples)
    if let newest {
      if record.step > newest.step, let loss = record.trainDataLoss { losses.add(loss) }
      let interval = seconds - newest.seconds
      if let usual = usualInterval, interval >= max(Self.pause.seconds, Self.pause.intervals * usual) {
        // The steps of that time would be counted as slow ones.
        (anchor, nextAnchor) = (sample, nil)
      } else {
        usualInterval = usualInterval.map { 0.8 * $0 + 0.2 * interval } ?? interval
      }
    }
    newest = sample
    if anchor == nil { anchor = sample }
    guard let next = nextAnchor else {
      nextAnchor = sample
      return
    }
    if seconds - next.seconds >= Self.rateWindow {
      anchor = next
      nextAnchor = sample
    }
  }

  /// Images per second, and the estimated seconds for the remaining steps.
  private func rates(_ record: MetricsRecord, at seconds: Double) -> (images: Double?, remaining: Double?) {
    guard let anchor, record.step > anchor.step else { return (nil, nil) }
    let elapsed = seconds - anchor.seconds
    guard elapsed >= Self.shortestWindow else { return (nil, nil) }
    let images = Double(record.examples - min(anchor.examples, record.examples)) / elapsed
    let stepsLeft = Double(totalSteps - min(record.step, totalSteps))
    let remaining = stepsLeft * elapsed / Double(record.step - anchor.step)
    return (images, stepsLeft > 0 && remaining <= Self.longestEstimate ? remaining : nil)
  }
}
