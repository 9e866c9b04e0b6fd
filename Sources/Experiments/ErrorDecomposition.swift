import Checkpoints
import Datasets
import Diagnostics
import Optimization
import Reporting
import RunConfiguration

/// Where the validation error of a run comes from: the decomposition of Bottou and Bousquet (2008, "The tradeoffs of
/// large scale learning"), each part estimated by an experiment.
///
/// Three trainings on the same training examples have an error T on these and an error V on the validation examples,
/// each the share of wrong predictions: the run as it is, the same model trained for many more epochs, and a model of a
/// larger class trained for as many. Then
///
///     optimization error   T(run) − T(longer)        what more steps would still remove
///     modelling error      T(longer) − T(larger)     what the class of models cannot express and the larger one can
///     remainder            T(larger)                 what the larger one leaves as well
///     estimation error     V − T                     what is lost since the training examples are a sample
///
/// and the four add up to V(run). The longer training has no optimization error and the larger model no modelling error
/// by definition; with the others they add up to V(longer) and V(larger). An estimate is as good as its experiment: an
/// error that a still longer training would remove counts as modelling error or remainder, and a part is negative where
/// an experiment ends with a larger training error than the one that it is compared with.
public struct ErrorDecomposition: Sendable, Equatable {
  /// A training and its errors.
  public struct Outcome: Sendable, Equatable {
    /// "linear", "hidden 100 relu".
    public let model: String
    public let parameterCount: Int
    public let steps: UInt64
    /// Passes over the training examples that these steps are.
    public let epochs: Double
    /// On all training examples, and on the validation examples.
    public let training: Evaluation.Score
    public let validation: Evaluation.Score

    /// T and V, as fractions.
    public var trainingError: Double { 1 - training.accuracy }
    public var validationError: Double { 1 - validation.accuracy }

    package init(
      model: String, parameterCount: Int, steps: UInt64, epochs: Double, training: Evaluation.Score,
      validation: Evaluation.Score
    ) {
      (self.model, self.parameterCount, self.steps, self.epochs) = (model, parameterCount, steps, epochs)
      (self.training, self.validation) = (training, validation)
    }
  }

  /// The parts of a validation error, as fractions.
  public struct Parts: Sendable, Equatable {
    public let optimization: Double
    public let estimation: Double
    public let modelling: Double
    public let remainder: Double

    package init(optimization: Double, estimation: Double, modelling: Double, remainder: Double) {
      (self.optimization, self.estimation) = (optimization, estimation)
      (self.modelling, self.remainder) = (modelling, remainder)
    }
  }

  public let run: Outcome
  public let longer: Outcome
  public let larger: Outcome
  /// Examples that T and V are measured on.
  public let trainingExamples: Int
  public let validationExamples: Int

  package init(run: Outcome, longer: Outcome, larger: Outcome, trainingExamples: Int, validationExamples: Int) {
    (self.run, self.longer, self.larger) = (run, longer, larger)
    (self.trainingExamples, self.validationExamples) = (trainingExamples, validationExamples)
  }

  /// Of V(run), V(longer) and V(larger).
  public var parts: (run: Parts, longer: Parts, larger: Parts) {
    func parts(_ outcome: Outcome, optimization: Double, modelling: Double) -> Parts {
      Parts(
        optimization: optimization, estimation: outcome.validationError - outcome.trainingError, modelling: modelling,
        remainder: larger.trainingError)
    }
    let modelling = longer.trainingError - larger.trainingError
    return (
      parts(run, optimization: run.trainingError - longer.trainingError, modelling: modelling),
      parts(longer, optimization: 0, modelling: modelling), parts(larger, optimization: 0, modelling: 0)
    )
  }
}

/// The experiments of an `ErrorDecomposition`, stated before they begin.
public struct ErrorExperiments: Sendable {
  /// One of the trainings that are made.
  public struct Training: Sendable {
    public let plan: TrainingPlan
    public let epochs: UInt64
  }

  public let longer: Training
  public let larger: Training
  private let runPlan: TrainingPlan
  private let runSteps: UInt64
  private let runParameters: ParameterVector
  /// What is subtracted from the inputs of all three models.
  private let meanImage: [Float]
  private let dataset: Dataset
  private let trainingIndices: [UInt32]
  private let validationIndices: [UInt32]

  /// How many times the epochs of the run the others have unless they are given.
  public static let epochFactor: UInt64 = 5

  /// - Parameters:
  ///   - path: of the checkpoint, for errors.
  ///   - origin: of the checkpoint, with the settings of the run.
  ///   - parameters: [parameterCount] after `steps` steps.
  ///   - dataset: the training files of the run.
  ///   - epochs: of both trainings; nil for `epochFactor` times those of the run's settings.
  ///   - hidden: the layers of the larger model; nil for twice the units of the run's model, and for 100 where that is
  ///     linear.
  /// - Throws: `badData` for the files of another run, `badConfiguration` where the run held out no validation
  ///   examples, `usage` for fewer epochs than the run's or a model that is not larger.
  public init(
    of path: String, origin: Checkpoint.Origin, parameters: ParameterVector, steps: UInt64, dataset: Dataset,
    epochs: UInt64? = nil, hidden: [Int]? = nil
  ) throws(Failure) {
    guard origin.datasetFingerprint == dataset.fingerprint else {
      throw Failure(
        .badData, "\(dataset.directory) does not hold the training files of \(path)",
        remedy: "Name the directory that the run was trained on with --data")
    }
    let settings = ResolvedSettings(recorded: origin.settings)
    runPlan = try settings.plan(for: dataset)
    guard runPlan.shape == origin.shape else {
      throw Failure(.badData, "\(path) does not hold the model that its own settings ask for")
    }
    guard runPlan.validationCount > 0 else {
      throw Failure(
        .badConfiguration, "\(path) held out no validation examples",
        remedy: "Train with --validation-examples above 0")
    }
    let budget = epochs ?? Self.epochFactor * settings.epochs
    guard budget * runPlan.stepsPerEpoch > steps else {
      let passed = Display.decimal(Double(steps) / Double(runPlan.stepsPerEpoch), places: 1)
      throw Failure(.usage, "--epochs must be more than the \(passed) of \(path), but is \(budget)")
    }
    let units = hidden ?? (origin.shape.isLinear ? [100] : origin.shape.hidden.map { 2 * $0 })
    longer = Training(plan: try settings.trained(longer: budget).plan(for: dataset), epochs: budget)
    larger = Training(
      plan: try settings.trained(longer: budget, hidden: units).plan(for: dataset), epochs: budget)
    guard larger.plan.shape.parameterCount > runPlan.shape.parameterCount else {
      throw Failure(
        .usage,
        "the larger model must have more parameters than the \(runPlan.shape.parameterCount) of \(path), but "
          + "\(larger.plan.shape) has \(larger.plan.shape.parameterCount)", remedy: "Choose its layers with --larger")
    }
    (runSteps, runParameters, meanImage) = (steps, parameters, origin.meanImage)
    self.dataset = dataset
    let split = DataSplit(plan: runPlan)
    (trainingIndices, validationIndices) = (split.training.sorted(), split.validation.sorted())
  }

  /// Makes the trainings, one after the other.
  ///
  /// - Parameters:
  ///   - threads: how many compute; the result does not depend on it.
  ///   - progress: called after every step with the training, its step and what the step reports.
  /// - Throws: `internalError` where a training diverges.
  public func measure(
    kernel: KernelVariant, threads: Int, progress: (Training, UInt64, MinibatchStatistics) -> Void
  ) throws(Failure) -> ErrorDecomposition {
    let outcomes = try [longer, larger].map { (training) throws(Failure) in
      let plan = training.plan
      let backend = ParallelBackend(
        plan: plan, examples: dataset.examples, meanImage: meanImage, kernel: kernel, threads: threads)
      var trainer = SequentialTrainer(plan: plan, backend: backend, state: TrainingState(plan: plan), kernel: kernel)
      while trainer.state.step < plan.totalSteps {
        let statistics = trainer.step().minibatch
        guard statistics.isFinite else {
          throw Failure(
            .internalError, "the training of \(plan.shape) diverged at step \(trainer.state.step)",
            remedy: "Choose a smaller model with --larger, or a run with a lower learning rate")
        }
        progress(training, trainer.state.step, statistics)
      }
      return outcome(plan, trainer.state.parameters, steps: plan.totalSteps, kernel)
    }
    return ErrorDecomposition(
      run: outcome(runPlan, runParameters, steps: runSteps, kernel), longer: outcomes[0], larger: outcomes[1],
      trainingExamples: trainingIndices.count, validationExamples: validationIndices.count)
  }

  private func outcome(
    _ plan: TrainingPlan, _ parameters: ParameterVector, steps: UInt64, _ kernel: KernelVariant
  ) -> ErrorDecomposition.Outcome {
    let evaluator = Evaluator(
      shape: plan.shape, loss: plan.loss, margin: plan.margin, examples: dataset.examples, meanImage: meanImage,
      kernel: kernel)
    let scores = parameters.withUnsafePointer { parameters in
      [trainingIndices, validationIndices].map { evaluator.evaluate(parameters: parameters, indices: $0).score }
    }
    return ErrorDecomposition.Outcome(
      model: plan.shape.description, parameterCount: plan.shape.parameterCount, steps: steps,
      epochs: Double(steps) / Double(plan.stepsPerEpoch), training: scores[0], validation: scores[1])
  }
}

extension ResolvedSettings {
  fileprivate func plan(for dataset: Dataset) throws(Failure) -> TrainingPlan {
    try trainingPlan(
      exampleCount: dataset.count, classes: dataset.description.classes, pixels: dataset.description.pixels)
  }

  /// These settings with more epochs, over which the schedule is stretched.
  /// - Parameter hidden: the layers of another model, whose initial weights are those that the lecture advises; nil for
  ///   the model as it is.
  fileprivate func trained(longer epochs: UInt64, hidden: [Int]? = nil) throws(Failure) -> ResolvedSettings {
    var changes = [(name: "epochs", text: "\(epochs)"), (name: "schedule-epochs", text: "0")]
    let steps = Double(self.stepEvery) * Double(epochs) / Double(self.epochs)
    changes.append(("step-every", "\(UInt64(min(max(steps.rounded(), 1), 1_000_000_000)))"))
    if let hidden {
      let units = hidden.isEmpty ? "0" : hidden.map(String.init).joined(separator: ",")
      changes += [("hidden", units), ("initialization", "auto")]
    }
    // The sequential trainer, whatever trained the run.
    changes += [("workers", "0"), ("consistency", "bsp")]
    return try ResolvedSettings.resolve(flags: checkpointPairs.map { (name: $0.key, text: $0.value) } + changes)
  }
}
