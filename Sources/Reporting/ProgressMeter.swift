/// How progress is shown.
public enum ProgressStyle: Sendable, Equatable {
  /// Not at all.
  case silent
  /// A line now and then, each ended by a line feed: for files, pipes and dumb terminals.
  case plain
  /// One line that is drawn again and again.
  case redrawn

  /// What suits the place that standard error goes to. No style uses colour, so `NO_COLOR` is honoured by all.
  ///
  /// - Parameters:
  ///   - isQuiet: whether the person asked for silence.
  ///   - isTerminal: whether standard error is a terminal.
  ///   - environment: `TERM=dumb` and a `CI` that is set mean that nothing can be redrawn.
  public init(isQuiet: Bool, isTerminal: Bool, environment: [String: String]) {
    let isDumb = environment["TERM"].map { $0 == "dumb" || $0.isEmpty } ?? true
    let isAutomated = environment["CI"].map { !$0.isEmpty && $0 != "false" && $0 != "0" } ?? false
    self = isQuiet ? .silent : isTerminal && !isDumb && !isAutomated ? .redrawn : .plain
  }
}

/// Where a run stands.
public struct Progress: Sendable, Equatable {
  public var step: UInt64
  public var totalSteps: UInt64
  /// With a fraction.
  public var epoch: Double
  public var totalEpochs: Double
  /// Training examples processed; the rate is worked out from it.
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

/// Turns the progress of a run into what is written to standard error. Pure: time is an argument, and the text to write
/// is the result.
public struct ProgressMeter: Sendable {
  private struct Sample {
    var seconds: Double
    var step: UInt64
    var examples: UInt64
  }

  /// At most ten drawings a second: more only flickers.
  public static let redrawInterval = 0.1
  /// Seconds between two plain lines.
  public static let plainInterval = 5.0
  /// Rates are measured over the last one to two of these, in seconds.
  private static let rateWindow = 5.0

  private let style: ProgressStyle
  private var lastShown: Double?
  private var hasOpenLine = false
  /// Where the measurement of the rates begins, and where the next one will.
  private var anchor: Sample?
  private var nextAnchor: Sample?

  public init(style: ProgressStyle) {
    self.style = style
  }

  /// What to write now, if anything is due.
  ///
  /// - Parameters:
  ///   - seconds: the time on a clock that only goes forward.
  ///   - width: columns of the terminal.
  public mutating func update(_ progress: Progress, at seconds: Double, width: Int = 80) -> String? {
    measure(progress, at: seconds)
    let interval = style == .redrawn ? Self.redrawInterval : Self.plainInterval
    guard style != .silent, lastShown.map({ seconds - $0 >= interval }) ?? true else { return nil }
    lastShown = seconds
    return drawing(progress, at: seconds, width: width)
  }

  /// The last state, due or not, with the line ended.
  public mutating func finish(_ progress: Progress, at seconds: Double, width: Int = 80) -> String? {
    guard style != .silent else { return nil }
    measure(progress, at: seconds)
    let text = drawing(progress, at: seconds, width: width)
    defer { hasOpenLine = false }
    return style == .redrawn ? text + "\n" : text
  }

  /// A message between the drawings, on a line of its own: a worker was lost, a checkpoint saved.
  public mutating func note(_ message: String) -> String? {
    guard style != .silent else { return nil }
    defer {
      hasOpenLine = false
      if style == .redrawn { lastShown = nil }
    }
    return (hasOpenLine ? Self.clearLine : "") + message + "\n"
  }

  /// Back to the first column, and erase what stands to the right.
  private static let clearLine = "\r\u{1B}[K"

  private mutating func drawing(_ progress: Progress, at seconds: Double, width: Int) -> String {
    let rates = rates(progress, at: seconds)
    if style == .plain { return Self.line(progress, rates.images, rates.remaining, width: nil) + "\n" }
    hasOpenLine = true
    // The last column stays free: some terminals wrap as soon as it is written.
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

  /// Images per second, and the seconds that the remaining steps will take.
  private func rates(_ progress: Progress, at seconds: Double) -> (images: Double?, remaining: Double?) {
    guard let anchor, seconds > anchor.seconds, progress.step > anchor.step else { return (nil, nil) }
    let elapsed = seconds - anchor.seconds
    let images = Double(progress.examples - min(anchor.examples, progress.examples)) / elapsed
    let stepsLeft = Double(progress.totalSteps - min(progress.step, progress.totalSteps))
    return (images, stepsLeft * elapsed / Double(progress.step - anchor.step))
  }

  // MARK: - Formatting

  /// The line for `progress`, within `width` columns if given: what matters least is left out first.
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
