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
  ///   - isVerbose: whether messages of the level `info` are shown, not only those above it.
  ///   - record: at the start of the run.
  public init(
    style: ProgressStyle, isVerbose: Bool, _ record: MetricsRecord, totalSteps: UInt64, totalEpochs: Double
  ) {
    self.isVerbose = isVerbose
    meter = ProgressMeter(style: style, totalSteps: totalSteps, totalEpochs: totalEpochs)
    latest = record
  }

  public func progressed(_ record: MetricsRecord) {
    latest = record
    show(meter.update(record, at: seconds, width: StandardError.width))
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

  /// The style that suits standard error. No style uses colour, so all of them honour `NO_COLOR`.
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
  private static let redrawInterval = 0.1
  /// Seconds between two plain lines.
  private static let plainInterval = 5.0
  /// Rates are measured over the last one to two of these, in seconds.
  private static let rateWindow = 5.0
  /// Rates over shorter times, in seconds, say little.
  private static let shortestWindow = 1.0

  private let style: ProgressStyle
  private let totalSteps: UInt64
  private let totalEpochs: Double
  private var lastShown: Double?
  private var hasOpenLine = false
  /// What was drawn last, rates aside.
  private var lastLine: String?
  /// The sample from which rates are measured, and the one that replaces it when the window is over.
  private var anchor: Sample?
  private var nextAnchor: Sample?

  package init(style: ProgressStyle, totalSteps: UInt64, totalEpochs: Double) {
    (self.style, self.totalSteps, self.totalEpochs) = (style, totalSteps, totalEpochs)
  }

  /// The text to write now; nil if none is due.
  ///
  /// - Parameters:
  ///   - seconds: the time on a monotonic clock.
  ///   - width: columns of the terminal.
  package mutating func update(_ record: MetricsRecord, at seconds: Double, width: Int = 80) -> String? {
    measure(record, at: seconds)
    let interval = style == .redrawn ? Self.redrawInterval : Self.plainInterval
    guard style != .silent, lastShown.map({ seconds - $0 >= interval }) ?? true else { return nil }
    // A line of its own is for news.
    if style == .plain, known(record.trainDataLoss) == nil { return nil }
    lastShown = seconds
    return drawing(record, at: seconds, width: width)
  }

  /// The final progress, whether or not it is due, with the line ended.
  package mutating func finish(_ record: MetricsRecord, at seconds: Double, width: Int = 80) -> String? {
    guard style != .silent else { return nil }
    measure(record, at: seconds)
    if style == .plain, line(record, nil, nil, width: nil) == lastLine { return nil }
    let text = drawing(record, at: seconds, width: width)
    defer { hasOpenLine = false }
    return style == .redrawn ? text + "\n" : text
  }

  /// A log message on a line of its own.
  package mutating func note(_ message: String) -> String? {
    guard style != .silent else { return nil }
    defer {
      hasOpenLine = false
      if style == .redrawn { lastShown = nil }
    }
    return (hasOpenLine ? Self.clearLine : "") + message + "\n"
  }

  /// Returns to the first column and erases the line.
  private static let clearLine = "\r\u{1B}[K"

  private mutating func drawing(_ record: MetricsRecord, at seconds: Double, width: Int) -> String {
    let rates = rates(record, at: seconds)
    lastLine = line(record, nil, nil, width: nil)
    if style == .plain { return line(record, rates.images, rates.remaining, width: nil) + "\n" }
    hasOpenLine = true
    // Some terminals wrap when the last column is written.
    return Self.clearLine + line(record, rates.images, rates.remaining, width: width - 1)
  }

  // MARK: - Rates

  private mutating func measure(_ record: MetricsRecord, at seconds: Double) {
    let sample = (seconds, record.step, record.examples)
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
    return (images, stepsLeft > 0 ? stepsLeft * elapsed / Double(record.step - anchor.step) : nil)
  }

  // MARK: - Formatting

  /// The line for `record`. What is not known is left out, and if `width` columns are too few the least important fields.
  package func line(
    _ record: MetricsRecord, _ imagesPerSecond: Double?, _ remaining: Double?, width: Int?
  ) -> String {
    let step = "step \(record.step)/\(totalSteps)"
    let epochs = Display.decimal(totalEpochs, places: totalEpochs == totalEpochs.rounded() ? 0 : 1)
    let epoch = "epoch \(Display.decimal(record.epoch, places: 1))/\(epochs)"
    let loss = known(record.trainDataLoss).map { "data loss \(Display.decimal($0, places: 3))" }
    let percent = known(record.validationAccuracy).map { Display.percent($0) }
    let accuracy = percent.map { "accuracy \($0)" }
    let rate = known(imagesPerSecond).map { Display.rate($0) }
    let workers = record.workers > 0 ? Display.workers(record.workers) : nil
    let eta = known(remaining).map { "ETA \(Display.duration($0))" }
    let images = rate.map { "\($0) images/s" }
    let choices = [
      [step, epoch, loss, accuracy, images, workers, eta],
      [step, epoch, loss, percent, rate.map { "\($0)/s" }, workers, eta],
      [step, epoch, loss, accuracy, images, eta],
      [step, loss, accuracy, images, eta],
      [step, loss, accuracy, eta],
      [step, loss, eta],
      [step, loss],
    ].map { $0.compactMap { $0 } }
    guard let width else { return choices[0].joined(separator: "  ") }
    let lines = choices.map { $0.joined(separator: "  ") }
    return lines.first { $0.count <= width } ?? String(step.prefix(max(0, width)))
  }

  private func known(_ number: Double?) -> Double? { number.flatMap { $0.isFinite ? $0 : nil } }
}
