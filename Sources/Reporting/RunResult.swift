import Diagnostics
import Files
import Messaging
import Optimization

extension StopReason: JSONReadable {}

/// The result of a run: the object that `descent train --json` prints, and `result.json`.
///
/// A data loss is the mean per example, without the penalty; an objective is a data loss plus the penalty. What was not
/// measured is `nil`; it and what is not a
/// finite number are null in JSON and left out or a dash in the text.
public struct RunResult: Sendable, Equatable {
  /// The run's identifier.
  public let run: String
  public let runDirectory: String
  public let stopReason: StopReason
  public var steps: UInt64 = 0
  /// Passes over the training examples, with a fraction.
  public var epochs = 0.0
  /// Training examples processed.
  public var examples: UInt64 = 0
  public var seconds = 0.0
  public var imagesPerSecond: Double?
  /// λ Σ w² of the weights.
  public var penalty: Double?
  /// Of the minibatches before the last evaluation; accuracies are fractions.
  public var trainDataLoss: Double?
  public var trainObjective: Double?
  public var trainAccuracy: Double?
  public var validationDataLoss: Double?
  public var validationObjective: Double?
  public var validationAccuracy: Double?
  /// The evaluation with the lowest data loss on the validation examples.
  public var bestStep: UInt64?
  public var bestValidationDataLoss: Double?
  public var bestValidationAccuracy: Double?
  /// The step of the model that was evaluated on the test split.
  public var testStep: UInt64?
  public var testDataLoss: Double?
  public var testAccuracy: Double?
  /// Whether the data set was made by `descent data synthesize`: no accuracy says anything about CIFAR-10 then.
  public var synthetic = false
  /// SHA-256 of the bytes of the weights followed by those of the bias, in hexadecimal.
  public var weightsSHA256 = ""
  /// Path of the last checkpoint.
  public var checkpoint: String?
  /// Percentiles of the time from one step to the next.
  public var stepSeconds: (p50: Double?, p99: Double?) = (nil, nil)
  /// How many gradients were applied at each staleness: the element at `s` counts those that were `s` steps old.
  /// The element at 64 counts those of 64 and above.
  public var staleness: [UInt64] = []
  /// Shards that an idle worker was given because another one was late with them, and shards whose result was dropped
  /// because it came after their step was complete or after that of another worker.
  public var takenOverShards: UInt64 = 0
  public var lateShards: UInt64 = 0
  /// 0 for the sequential trainer.
  public var workers = 0
  /// The worker that held up the others: "worker-2@host, waited for 71 % of the time, last in 97 % of steps, …"; nil if
  /// none did.
  public var slowestWorker: String?

  public init(run: String, runDirectory: String, stopReason: StopReason) {
    self.run = run
    self.runDirectory = runDirectory
    self.stopReason = stopReason
  }

  /// Reads what `json` writes.
  ///
  /// - Parameter source: the file, for errors.
  /// - Throws: `badData`.
  public init(json: String, source: String) throws(Failure) {
    let fields = try JSONFields(parsing: Array(json.utf8), source: source)
    run = try fields["run"]
    runDirectory = try fields["run_directory"]
    stopReason = try fields["stop_reason"]
    steps = try fields["steps"]
    epochs = try fields["epochs"]
    examples = try fields["examples"]
    seconds = try fields["seconds"]
    imagesPerSecond = try fields["images_per_second"]
    penalty = try fields["penalty"]
    (trainDataLoss, trainObjective) = (try fields["train_data_loss"], try fields["train_objective"])
    trainAccuracy = try fields["train_accuracy"]
    (validationDataLoss, validationObjective) = (try fields["validation_data_loss"], try fields["validation_objective"])
    validationAccuracy = try fields["validation_accuracy"]
    bestStep = try fields["best_step"]
    bestValidationDataLoss = try fields["best_validation_data_loss"]
    bestValidationAccuracy = try fields["best_validation_accuracy"]
    (testStep, testDataLoss) = (try fields["test_step"], try fields["test_data_loss"])
    testAccuracy = try fields["test_accuracy"]
    synthetic = try fields["synthetic"]
    weightsSHA256 = try fields["weights_sha256"]
    checkpoint = try fields["checkpoint"]
    let percentiles = try fields.object("step_seconds")
    stepSeconds = (try percentiles["p50"], try percentiles["p99"])
    staleness = try fields["staleness"]
    // A version whose workers took nothing over did not write them.
    if fields.contains("taken_over_shards") {
      (takenOverShards, lateShards) = (try fields["taken_over_shards"], try fields["late_shards"])
    }
    workers = try fields["workers"]
    slowestWorker = try fields["slowest_worker"]
  }

  /// Equal results say the same in JSON.
  public static func == (first: RunResult, second: RunResult) -> Bool { first.json == second.json }

  // MARK: - Rendering

  /// One line of JSON, ended by a line feed. Every key is there, in the order above.
  public var json: String { JSONValue(reflecting: self).compactText + "\n" }

  /// For people.
  public var text: String {
    let trained = "\(grouped(steps)) steps, \(Display.decimal(epochs, places: 2)) epochs, \(grouped(examples)) examples"
    let rate = imagesPerSecond.map { ", \(Display.rate($0)) images/s" } ?? ""
    let speed = Display.decimal(seconds, places: 1) + " s" + rate
    let paces = [(stepSeconds.p50, "median"), (stepSeconds.p99, "at the 99th percentile")].compactMap { time, name in
      time.flatMap { $0.isFinite ? "\(Display.decimal($0 * 1000, places: 3)) ms \(name)" : nil }
    }
    let stale = staleness.dropFirst().contains { $0 > 0 }
    let counts = staleness.enumerated().filter { $0.element > 0 }.map { "\($0.offset): \(grouped($0.element))" }
    let rows: [(String, String?)] = [
      ("validation", Self.score(validationAccuracy, validationDataLoss)),
      ("best", bestText),
      ("test", testText),
      ("train", trainText),
      ("ended", stopReason.phrase),
      ("trained", trained),
      ("time", workers == 0 ? "\(speed), sequential" : "\(speed), \(Display.workers(workers))"),
      ("step", paces.isEmpty ? nil : paces.joined(separator: ", ")),
      ("slowest", slowestWorker),
      ("staleness", stale ? counts.joined(separator: ", ") : nil),
      ("shards", Display.shards(takenOver: takenOverShards, late: lateShards)),
      ("weights", "sha256 \(weightsSHA256)"),
      ("checkpoint", checkpoint),
      ("run", runDirectory),
    ]
    return rows.compactMap { name, value in value.map { name.padded(to: 12) + $0 + "\n" } }.joined()
  }

  private var bestText: String? {
    guard let bestStep, let score = Self.score(bestValidationAccuracy, bestValidationDataLoss) else { return nil }
    return "step \(grouped(bestStep)): validation \(score)"
  }

  private var testText: String {
    guard let testStep, let score = Self.score(testAccuracy, testDataLoss) else { return "not evaluated" }
    let model = "\(testStep == steps ? "last" : "best") model, step \(grouped(testStep))"
    return "\(score) (\(model)\(synthetic ? "; synthetic data" : ""))"
  }

  private var trainText: String? {
    Self.score(trainAccuracy, trainDataLoss).map {
      "\($0), penalty \(Display.decimal(penalty, places: 4)), objective \(Display.decimal(trainObjective, places: 4))"
    }
  }

  /// Nil for what was not evaluated.
  private static func score(_ accuracy: Double?, _ dataLoss: Double?) -> String? {
    if accuracy == nil, dataLoss == nil { return nil }
    return "accuracy \(Display.percent(accuracy)), data loss \(Display.decimal(dataLoss, places: 4))"
  }
}

extension StopReason {
  fileprivate var phrase: String {
    switch self {
    case .epochs: "all epochs done"
    case .steps: "all steps done"
    case .targetAccuracy: "target accuracy reached"
    case .converged: "early: the validation loss no longer improved"
    case .gradientNorm: "early: the gradient norm fell below its limit"
    case .diverged: "the training diverged"
    case .signal: "interrupted by a signal"
    case .data: "the data changed or could not be read"
    case .serverLost: "the server was lost, and no other one connected in time"
    case .noServer: "no server connected in time"
    case .noWorker: "no worker connected in time"
    case .inputOutput: "not everything could be saved"
    case .takenOver: "another coordinator has taken over the run directory"
    case .killed: "killed"
    }
  }
}

/// Writes `result.json` when the run has ended.
public final class ResultFile: RunObserver {
  public let name = "result"
  private let path: String

  /// Removes the result of an earlier start of the run.
  public init(path: String) {
    self.path = path
    try? FileSystem().unlink(path)
  }

  public func finished(_ result: RunResult, _ ending: ExitReason) throws(Failure) {
    try FileSystem().replace(path, with: result.json)
  }
}
