import Diagnostics
import Files
import JSONText
import Messaging

/// What was measured at one step: a line of `metrics.jsonl`.
public struct MetricsRecord: Sendable, Equatable {
  /// Steps done when it was measured.
  public var step: UInt64
  /// Passes over the training examples, with a fraction.
  public var epoch: Double
  /// Training time of the run, interruptions excluded.
  public var seconds: Double
  /// Training examples processed, over all steps.
  public var examples: UInt64
  public var workers: Int
  public var learningRate: Double
  /// Mean data loss of the minibatches since the last record, without the penalty.
  public var trainLoss: Double?
  /// Euclidean norm of the last gradient, penalty included.
  public var gradientNorm: Double?
  public var imagesPerSecond: Double?
  /// Mean data loss on the validation examples, where they were evaluated at this step.
  public var validationLoss: Double?
  /// As a fraction.
  public var validationAccuracy: Double?

  public init(
    step: UInt64, epoch: Double, seconds: Double, examples: UInt64, workers: Int, learningRate: Double,
    trainLoss: Double? = nil, gradientNorm: Double? = nil, imagesPerSecond: Double? = nil,
    validationLoss: Double? = nil, validationAccuracy: Double? = nil
  ) {
    self.step = step
    self.epoch = epoch
    self.seconds = seconds
    self.examples = examples
    self.workers = workers
    self.learningRate = learningRate
    self.trainLoss = trainLoss
    self.gradientNorm = gradientNorm
    self.imagesPerSecond = imagesPerSecond
    self.validationLoss = validationLoss
    self.validationAccuracy = validationAccuracy
  }

  /// `step` comes first: `MetricsWriter.truncate(after:)` reads it there. A value that was not measured is null.
  var json: JSONValue {
    .object([
      .init("step", .number(step)),
      .init("epoch", .measurement(epoch)),
      .init("seconds", .measurement(seconds)),
      .init("examples", .number(examples)),
      .init("workers", .number(workers)),
      .init("learning_rate", .measurement(learningRate)),
      .init("train_loss", .measurement(trainLoss)),
      .init("gradient_norm", .measurement(gradientNorm)),
      .init("images_per_second", .measurement(imagesPerSecond)),
      .init("validation_loss", .measurement(validationLoss)),
      .init("validation_accuracy", .measurement(validationAccuracy)),
    ])
  }
}

/// Writes `metrics.jsonl`: a line of JSON for each step that was measured, steps strictly increasing.
///
/// One owner; not for use by two threads at once.
public final class MetricsWriter: RunObserver {
  public let name = "metrics"
  private let file: File
  private var lastStep: UInt64?
  /// Why the first of the missing lines was not written.
  private var gap: Failure?

  /// Opens the file at `path`, or creates it. To resume a run, call `truncate(after:)` first.
  public init(path: String) throws(Failure) {
    file = try File(path, for: .appending)
  }

  /// Opens the file of a run that starts or resumes at `step`.
  public convenience init(path: String, startingAt step: UInt64) throws(Failure) {
    try self.init(path: path)
    try truncate(after: step)
  }

  public func evaluated(_ record: MetricsRecord, _ snapshot: TrainingSnapshot) throws(Failure) {
    // A run that resumes at its last step evaluates that step again.
    guard lastStep.map({ record.step > $0 }) ?? true else { return }
    do throws(Failure) {
      try append(record)
    } catch {
      gap = gap ?? error
      throw error
    }
  }

  public func finished(_ result: RunResult, _ status: ExitStatus) throws(Failure) {
    if let gap { throw gap }
  }

  /// Appends one record, whose step must be later than that of the one before.
  public func append(_ record: MetricsRecord) throws(Failure) {
    if let lastStep, record.step <= lastStep {
      throw Failure(
        .internalError, "cannot record the metrics of step \(record.step) after those of step \(lastStep)")
    }
    try file.append(line: record.json.compactBytes)
    lastStep = record.step
  }

  /// Removes the lines after `step`, which a run that resumes there writes again. What stays is the longest beginning of
  /// whole lines with increasing steps up to `step`; a torn last line is removed too.
  public func truncate(after step: UInt64) throws(Failure) {
    let kept = try Self.beginning(of: file.path, through: step)
    try file.truncate(to: kept.size)
    lastStep = kept.lastStep
  }

  /// The size in bytes of the lines to keep, and the step of the last of them.
  private static func beginning(
    of path: String, through limit: UInt64
  ) throws(Failure) -> (size: Int, lastStep: UInt64?) {
    let file = try MappedFile(path: path)
    return withExtendedLifetime(file) {
      var kept: (size: Int, lastStep: UInt64?) = (0, nil)
      while let end = file.bytes[kept.size...].firstIndex(of: UInt8(ascii: "\n")),
        let step = step(ofLine: file.bytes[kept.size..<end]), step <= limit, kept.lastStep.map({ step > $0 }) ?? true
      {
        kept = (end + 1, step)
      }
      return kept
    }
  }

  /// The step at the head of a line as `MetricsRecord` writes it, or `nil` for any other line.
  private static func step(ofLine line: some BidirectionalCollection<UInt8>) -> UInt64? {
    let head = Array("{\"step\":".utf8)
    guard line.starts(with: head), line.last == UInt8(ascii: "}") else { return nil }
    let digits = line.dropFirst(head.count).prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
    return UInt64(String(decoding: digits, as: UTF8.self))
  }
}
