import Diagnostics
import Messaging
import Optimization

/// Where a run stands and what was measured there: a line of `metrics.jsonl`, and what the progress display shows.
public struct MetricsRecord: Sendable, Equatable {
  /// Steps done when it was measured.
  public var step: UInt64
  /// Passes over the training examples, with a fraction.
  public var epoch = 0.0
  /// Training time of the run, interruptions excluded.
  public var seconds = 0.0
  /// Training examples processed, over all steps.
  public var examples: UInt64
  public var workers = 0
  /// For the display: the worker that the steps wait for, "worker-2@host".
  public var slowWorker: String?
  public var learningRate = 0.0
  /// λ Σ w² of the weights at this step.
  public var penalty: Double?
  /// Mean data loss of the minibatches since the last record, without the penalty; for the display, of the latest ones.
  public var trainDataLoss: Double?
  /// Of the same minibatches, each with the weights of its step; as a fraction.
  public var trainAccuracy: Double?
  /// Euclidean norm of the last gradient, penalty included.
  public var gradientNorm: Double?
  /// Over the time since the newest record that has it, at least a second.
  public var imagesPerSecond: Double?
  /// Mean data loss on the validation examples.
  public var validationDataLoss: Double?
  /// As a fraction; for the display, at the last evaluation.
  public var validationAccuracy: Double?

  public init(step: UInt64, examples: UInt64) {
    self.step = step
    self.examples = examples
  }

  /// Of its line in the file.
  public static let typicalByteCount = 400

  /// The data loss plus the penalty.
  public var trainObjective: Double? { trainDataLoss.flatMap { loss in penalty.map { loss + $0 } } }
  public var validationObjective: Double? { validationDataLoss.flatMap { loss in penalty.map { loss + $0 } } }

  /// A value that was not measured is null.
  var json: JSONValue {
    .object([
      .init("step", .number(step)),
      .init("epoch", .measurement(epoch)),
      .init("seconds", .measurement(seconds)),
      .init("examples", .number(examples)),
      .init("workers", .number(workers)),
      .init("learning_rate", .measurement(learningRate)),
      .init("penalty", .measurement(penalty)),
      .init("train_data_loss", .measurement(trainDataLoss)),
      .init("train_objective", .measurement(trainObjective)),
      .init("train_accuracy", .measurement(trainAccuracy)),
      .init("gradient_norm", .measurement(gradientNorm)),
      .init("images_per_second", .measurement(imagesPerSecond)),
      .init("validation_data_loss", .measurement(validationDataLoss)),
      .init("validation_objective", .measurement(validationObjective)),
      .init("validation_accuracy", .measurement(validationAccuracy)),
    ])
  }
}

/// Writes `metrics.jsonl`: a line of JSON for each step that was measured, steps strictly increasing.
///
/// One owner; not for use by two threads at once.
public final class MetricsWriter: RunObserver {
  public let name = "metrics"
  private let lines: StepLines

  /// Opens the file at `path`, or creates it.
  ///
  /// - Parameter step: where the run starts or resumes; nil for a file without later lines.
  public init(path: String, startingAt step: UInt64? = nil) throws(Failure) {
    lines = try StepLines(path: path, startingAt: step)
  }

  public func evaluated(
    _ record: MetricsRecord, _ snapshot: TrainingSnapshot, _ validation: Evaluation
  ) throws(Failure) {
    try lines.record(record.json, of: record.step)
  }

  public func finished(_ result: RunResult, _ ending: ExitReason) throws(Failure) { try lines.requireAll() }

  /// Appends one record, whose step must be later than that of the one before.
  public func append(_ record: MetricsRecord) throws(Failure) { try lines.append(record.json, of: record.step) }

  /// Removes the lines after `step`, which a run that resumes there writes again. What stays is the longest beginning of
  /// whole lines with increasing steps up to `step`; a torn last line is removed too.
  public func truncate(after step: UInt64) throws(Failure) { try lines.truncate(after: step) }
}
