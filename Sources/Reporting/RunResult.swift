import Diagnostics
import JSONText
import Optimization

/// The result of a run: the object that `descent train --json` prints.
///
/// Losses are the data loss, mean per example, without the penalty. What was not measured, or is not a finite number,
/// is `nil` here and null in JSON.
public struct RunResult: Sendable, Equatable {
  /// Percentiles of the time from one step to the next.
  public struct StepSeconds: Sendable, Equatable {
    public let p50: Double?
    public let p99: Double?

    public init(p50: Double?, p99: Double?) {
      self.p50 = RunResult.finite(p50)
      self.p99 = RunResult.finite(p99)
    }
  }

  /// The run's identifier.
  public let run: String
  public let runDirectory: String
  /// The raw value of a `StopReason`.
  public let stopReason: String
  public let steps: UInt64
  /// Passes over the training examples, with a fraction.
  public let epochs: Double?
  /// Training examples processed.
  public let examples: UInt64
  public let seconds: Double?
  public let imagesPerSecond: Double?
  public let trainLoss: Double?
  public let validationLoss: Double?
  /// As a fraction.
  public let validationAccuracy: Double?
  public let testLoss: Double?
  /// As a fraction.
  public let testAccuracy: Double?
  /// SHA-256 of the bytes of the weights followed by those of the bias, in hexadecimal.
  public let weightsSHA256: String
  /// Path of the last checkpoint.
  public let checkpoint: String?
  public let stepSeconds: StepSeconds
  /// How many gradients were applied at each staleness: the element at `s` counts those that were `s` steps old.
  /// The element at 64 counts those of 64 and above.
  public let staleness: [UInt64]
  /// 0 for the sequential trainer.
  public let workers: Int

  public init(
    run: String, runDirectory: String, stopReason: StopReason, steps: UInt64, epochs: Double, examples: UInt64,
    seconds: Double, imagesPerSecond: Double?, trainLoss: Double?, validationLoss: Double?,
    validationAccuracy: Double?, testLoss: Double?, testAccuracy: Double?, weightsSHA256: String,
    checkpoint: String?, stepSeconds: StepSeconds, staleness: [UInt64], workers: Int
  ) {
    self.run = run
    self.runDirectory = runDirectory
    self.stopReason = stopReason.rawValue
    self.steps = steps
    self.epochs = Self.finite(epochs)
    self.examples = examples
    self.seconds = Self.finite(seconds)
    self.imagesPerSecond = Self.finite(imagesPerSecond)
    self.trainLoss = Self.finite(trainLoss)
    self.validationLoss = Self.finite(validationLoss)
    self.validationAccuracy = Self.finite(validationAccuracy)
    self.testLoss = Self.finite(testLoss)
    self.testAccuracy = Self.finite(testAccuracy)
    self.weightsSHA256 = weightsSHA256
    self.checkpoint = checkpoint
    self.stepSeconds = stepSeconds
    self.staleness = staleness
    self.workers = workers
  }

  private static func finite(_ number: Double?) -> Double? { number.flatMap { $0.isFinite ? $0 : nil } }

  // MARK: - Rendering

  /// One line of JSON, ended by a line feed. Every key is there, in the order above.
  public var json: String { object.compactText + "\n" }

  private var object: JSONValue {
    [
      "run": .string(run), "run_directory": .string(runDirectory), "stop_reason": .string(stopReason),
      "steps": .number(steps), "epochs": .measurement(epochs), "examples": .number(examples),
      "seconds": .measurement(seconds), "images_per_second": .measurement(imagesPerSecond),
      "train_loss": .measurement(trainLoss), "validation_loss": .measurement(validationLoss),
      "validation_accuracy": .measurement(validationAccuracy), "test_loss": .measurement(testLoss),
      "test_accuracy": .measurement(testAccuracy), "weights_sha256": .string(weightsSHA256),
      "checkpoint": .string(orNull: checkpoint),
      "step_seconds": ["p50": .measurement(stepSeconds.p50), "p99": .measurement(stepSeconds.p99)],
      "staleness": .numbers(staleness), "workers": .number(workers),
    ]
  }

  /// Reads what `json` writes.
  ///
  /// - Parameter source: the file, for errors.
  /// - Throws: `badData`.
  public init(json: String, source: String) throws(Failure) {
    let fields = try JSONFields(JSONReader.parse(Array(json.utf8)[...], source: source), context: source)
    run = try fields.string("run")
    runDirectory = try fields.string("run_directory")
    stopReason = try fields.string("stop_reason")
    steps = try fields.integer("steps", as: UInt64.self)
    epochs = try fields.doubleIfPresent("epochs")
    examples = try fields.integer("examples", as: UInt64.self)
    seconds = try fields.doubleIfPresent("seconds")
    imagesPerSecond = try fields.doubleIfPresent("images_per_second")
    trainLoss = try fields.doubleIfPresent("train_loss")
    validationLoss = try fields.doubleIfPresent("validation_loss")
    validationAccuracy = try fields.doubleIfPresent("validation_accuracy")
    testLoss = try fields.doubleIfPresent("test_loss")
    testAccuracy = try fields.doubleIfPresent("test_accuracy")
    weightsSHA256 = try fields.string("weights_sha256")
    checkpoint = try fields.stringIfPresent("checkpoint")
    let percentiles = try fields.object("step_seconds")
    stepSeconds = StepSeconds(p50: try percentiles.doubleIfPresent("p50"), p99: try percentiles.doubleIfPresent("p99"))
    staleness = try fields.integers("staleness", as: UInt64.self)
    workers = try fields.integer("workers", as: Int.self)
  }

  /// For people.
  public var text: String {
    let steps = grouped(steps)
    let trained = "\(steps) steps, \(Display.decimal(epochs, places: 2)) epochs, \(grouped(examples)) examples"
    let speed = "\(Display.decimal(seconds, places: 1)) s, \(Display.rate(imagesPerSecond)) images/s"
    let pace = "\(milliseconds(stepSeconds.p50)) median, \(milliseconds(stepSeconds.p99)) at the 99th percentile"
    var lines = [
      ("test", score(testAccuracy, testLoss)),
      ("validation", score(validationAccuracy, validationLoss)),
      ("train", "loss \(Display.decimal(trainLoss, places: 4))"),
      ("stopped", stopReason),
      ("trained", trained),
      ("time", workers == 0 ? "\(speed), sequential" : "\(speed), \(Display.workers(workers))"),
      ("step", pace),
    ]
    if staleness.dropFirst().contains(where: { $0 > 0 }) {
      let counts = staleness.enumerated().filter { $0.element > 0 }
      lines.append(("staleness", counts.map { "\($0.offset): \(grouped($0.element))" }.joined(separator: ", ")))
    }
    lines.append(("weights", "sha256 \(weightsSHA256)"))
    if let checkpoint { lines.append(("checkpoint", checkpoint)) }
    lines.append(("run", runDirectory))
    return lines.map { $0.0.padded(to: 12) + $0.1 + "\n" }.joined()
  }

  private func score(_ accuracy: Double?, _ loss: Double?) -> String {
    "accuracy \(Display.percent(accuracy)), loss \(Display.decimal(loss, places: 4))"
  }

  private func milliseconds(_ seconds: Double?) -> String {
    Display.decimal(seconds.map { $0 * 1000 }, places: 3) + " ms"
  }
}
