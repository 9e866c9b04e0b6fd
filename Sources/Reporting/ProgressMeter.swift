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

/// The progress of a run.
public struct Progress: Sendable, Equatable {
  public var step: UInt64
  public var totalSteps: UInt64
  /// With a fraction.
  public var epoch: Double
  public var totalEpochs: Double
  /// Training examples processed.
  public var examples: UInt64
  /// Mean data loss of the latest minibatches.
  public var loss: Double?
  /// Validation accuracy at the last evaluation, as a fraction.
  public var accuracy: Double?
  public var workers: Int

  public init(
    step: UInt64, totalSteps: UInt64, epoch: Double, totalEpochs: Double, examples: UInt64, loss: Double?,
    accuracy: Double?, workers: Int
  ) {
    self.step = step
    self.totalSteps = totalSteps
    self.epoch = epoch
    self.totalEpochs = totalEpochs
    self.examples = examples
    self.loss = loss
    self.accuracy = accuracy
    self.workers = workers
  }
}

/// Turns the progress of a run into text for standard error. Pure: time is an argument, and the text is the result.
public struct ProgressMeter: Sendable {
  private struct Sample {
    var seconds: Double
    var step: UInt64
    var examples: UInt64
  }

  /// Seconds between two drawings; shorter intervals flicker.
  public static let redrawInterval = 0.1
  /// Seconds between two plain lines.
  public static let plainInterval = 5.0
  /// Rates are measured over the last one to two of these, in seconds.
  private static let rateWindow = 5.0

  private let style: ProgressStyle
  private var lastShown: Double?
  private var hasOpenLine = false
  /// The sample from which rates are measured, and the one that replaces it when the window is over.
  private var anchor: Sample?
  private var nextAnchor: Sample?

  public init(style: ProgressStyle) {
    self.style = style
  }

  /// The text to write now; nil if none is due.
  ///
  /// - Parameters:
  ///   - seconds: the time on a monotonic clock.
  ///   - width: columns of the terminal.
  public mutating func update(_ progress: Progress, at seconds: Double, width: Int = 80) -> String? {
    measure(progress, at: seconds)
    let interval = style == .redrawn ? Self.redrawInterval : Self.plainInterval
    guard style != .silent, lastShown.map({ seconds - $0 >= interval }) ?? true else { return nil }
    lastShown = seconds
    return drawing(progress, at: seconds, width: width)
  }

  /// The final progress, whether or not it is due, with the line ended.
  public mutating func finish(_ progress: Progress, at seconds: Double, width: Int = 80) -> String? {
    guard style != .silent else { return nil }
    measure(progress, at: seconds)
    let text = drawing(progress, at: seconds, width: width)
    defer { hasOpenLine = false }
    return style == .redrawn ? text + "\n" : text
  }

  /// A log message on a line of its own.
  public mutating func note(_ message: String) -> String? {
    guard style != .silent else { return nil }
    defer {
      hasOpenLine = false
      if style == .redrawn { lastShown = nil }
    }
    return (hasOpenLine ? Self.clearLine : "") + message + "\n"
  }

  /// Returns to the first column and erases the line.
  private static let clearLine = "\r\u{1B}[K"

  private mutating func drawing(_ progress: Progress, at seconds: Double, width: Int) -> String {
    let rates = rates(progress, at: seconds)
    if style == .plain { return Self.line(progress, rates.images, rates.remaining, width: nil) + "\n" }
    hasOpenLine = true
    // Some terminals wrap when the last column is written.
    return Self.clearLine + Self.line(progress, rates.images, rates.remaining, width: width - 1)
  }

  // MARK: - Rates

  private mutating func measure(_ progress: Progress, at seconds: Double) {
    let sample = Sample(seconds: seconds, step: progress.step, examples: progress.examples)
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
  private func rates(_ progress: Progress, at seconds: Double) -> (images: Double?, remaining: Double?) {
    guard let anchor, seconds > anchor.seconds, progress.step > anchor.step else { return (nil, nil) }
    let elapsed = seconds - anchor.seconds
    let images = Double(progress.examples - min(anchor.examples, progress.examples)) / elapsed
    let stepsLeft = Double(progress.totalSteps - min(progress.step, progress.totalSteps))
    return (images, stepsLeft * elapsed / Double(progress.step - anchor.step))
  }

  // MARK: - Formatting

  /// The line for `progress`. If `width` columns are too few, the least important fields are left out.
  public static func line(
    _ progress: Progress, _ imagesPerSecond: Double?, _ remaining: Double?, width: Int?
  ) -> String {
    let step = "step \(progress.step)/\(progress.totalSteps)"
    let epoch = "epoch \(Display.decimal(progress.epoch, places: 1))/\(wholeOrDecimal(progress.totalEpochs))"
    let loss = "loss \(Display.decimal(progress.loss, places: 3))"
    let accuracy = "accuracy \(Display.percent(progress.accuracy))"
    let rate = "\(Display.rate(imagesPerSecond)) images/s"
    let workers = Display.workers(progress.workers)
    let eta = "ETA \(Display.duration(remaining))"
    let compact = [Display.percent(progress.accuracy), "\(Display.rate(imagesPerSecond))/s", workers, eta]
    let choices = [
      [step, epoch, loss, accuracy, rate, workers, eta],
      [step, epoch, loss] + compact,
      [step, epoch, loss, accuracy, rate, eta],
      [step, loss, accuracy, rate, eta],
      [step, loss, accuracy, eta],
      [step, loss, eta],
      [step, loss],
    ]
    guard let width else { return choices[0].joined(separator: "  ") }
    let lines = choices.map { $0.joined(separator: "  ") }
    return lines.first { $0.count <= width } ?? String(step.prefix(max(0, width)))
  }

  private static func wholeOrDecimal(_ number: Double) -> String {
    Display.decimal(number, places: number == number.rounded() ? 0 : 1)
  }
}
