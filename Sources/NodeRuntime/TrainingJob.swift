import Checkpoints
import Cluster
import Datasets
import Diagnostics
import Glibc
import Messaging
import Optimization
import Reporting
import RunConfiguration

/// What a run is made of before there is a run directory: the settings, the data, and the plan for them.
public struct TrainingJob: Sendable {
  public let settings: ResolvedSettings
  public let training: Dataset
  /// Nil with `test: never`: the files are not even opened.
  public let test: Dataset?
  public let plan: TrainingPlan
  public let stoppingRule: StoppingRule
  /// Of the examples held out, in the order of the file: the pages of neighbours are fetched together, and the sums are
  /// of integers.
  private let validation: [UInt32]
  /// What is subtracted from every input, [D] in pixel units: a mean over the training examples that are not held out.
  public let meanImage: [Float]
  /// Training examples for `sampleGradient`: the first of every shard, the same for the whole run.
  private let sample: [UInt32]

  /// Maps and checks both parts of the data set, so that what is wrong with the test files shows before the training
  /// and not after it. With `test: never` there need not be any.
  ///
  /// - Throws: `badConfiguration` when the settings fit neither each other nor the data, `missingInput` and
  ///   `badData` for the files.
  public init(settings: ResolvedSettings) throws(Failure) {
    let directory = try settings.dataDirectory
    training = try Dataset(directory: directory, part: .training)
    let settings = settings.fitting(exampleCount: training.count)
    self.settings = settings
    test = settings.test == .never ? nil : try Dataset(directory: directory, part: .test)
    plan = try settings.trainingPlan(
      exampleCount: training.count, classes: training.description.classes, pixels: training.description.pixels)
    stoppingRule = settings.stoppingRule(for: plan)
    let split = DataSplit(plan: plan)
    validation = split.validation.sorted()
    let perShard = max(1, min(512, (1 << 31) / plan.shape.parameterCount) / plan.shardCount)
    let sampled = min(plan.smallestShard, perShard)
    sample = split.shards.flatMap { $0.prefix(sampled) }
    meanImage = training.mean(plan.preprocessing, over: split.training)
    try verifyData()
  }

  /// Returns if the files of both parts are as they were when the job was made; otherwise throws what
  /// `Dataset.verify` does.
  func verifyData(thoroughly: Bool = false) throws(Failure) {
    try training.verify(thoroughly: thoroughly)
    try test?.verify(thoroughly: thoroughly)
  }

  /// Why the data are no longer those of the start; nil if they are.
  func dataFailure(thoroughly: Bool = false) -> Failure? {
    do throws(Failure) {
      try verifyData(thoroughly: thoroughly)
      return nil
    } catch {
      return error
    }
  }

  /// What is the same in every checkpoint of the run.
  func origin(_ runIdentifier: String, _ weights: WeightsOrigin?) -> Checkpoint.Origin {
    Checkpoint.Origin(
      runIdentifier: runIdentifier, shape: plan.shape, loss: plan.loss, margin: plan.margin, meanImage: meanImage,
      inputShape: training.description.shape, classNames: training.classNames,
      slotNames: plan.optimizer.kind.slotNames,
      settings: settings.checkpointPairs,
      datasetFingerprint: training.fingerprint, weights: weights)
  }

  /// Yields the processor between parts of the work, so that the workers of this host are not held up. For any thread.
  /// - Parameters:
  ///   - split: not `test` with `test: never`.
  ///   - state: one that fits the plan.
  func evaluate(_ split: EvaluationSplit, _ state: OptimizerState, _ kernel: KernelVariant) -> Evaluation {
    guard let data = split == .validation ? training : test else { preconditionFailure("the test files are not open") }
    let evaluator = Evaluator(
      shape: plan.shape, loss: plan.loss, margin: plan.margin, examples: data.examples, meanImage: meanImage,
      kernel: kernel)
    let indices = split == .validation ? validation : Array(0..<UInt32(data.count))
    return state.payload.withFloats(count: plan.shape.parameterCount) {
      evaluator.evaluate(parameters: $0, indices: indices) { sched_yield() }
    }
  }

  /// The gradient of the objective at a state, [parameterCount]: of the mean loss over the same training examples each
  /// time, without dropout, and of the penalty. There are 512 of them: fewer of a small set and with more than 4 million
  /// parameters, but at least one of every shard. Nil where a loss is not finite.
  /// - Parameter state: one that fits the plan.
  func sampleGradient(_ state: OptimizerState, _ kernel: KernelVariant) -> [Float]? {
    let sampled = TrainingPlan(
      exampleCount: sample.count, batchSize: sample.count, shardCount: plan.shardCount, totalSteps: 1
    ) {
      ($0.shape, $0.loss, $0.margin, $0.l2, $0.l1) = (plan.shape, plan.loss, plan.margin, plan.l2, plan.l1)
    }
    var trainer = SequentialTrainer(
      plan: sampled, examples: training.examples.selecting(sample), meanImage: meanImage,
      state: TrainingState(plan: sampled, parameters: state.parameters(of: plan.shape)), kernel: kernel)
    let (minibatch, gradient) = trainer.gradient()
    return minibatch.isFinite ? gradient.map(Float.init) : nil
  }

  /// λ Σ w² of the weights.
  /// - Parameter state: one that fits the plan.
  func penalty(_ state: OptimizerState) -> Double {
    state.payload.withFloats(count: plan.shape.parameterCount) { plan.penalty(of: $0) }
  }

  /// Sentences about what may be a mistake of the data set.
  var dataRemarks: [String] {
    (test.map { Duplicates(training: training, test: $0, samples: true).sentences } ?? []) + training.remarks
  }

  /// What is trained on, as a line: "CIFAR-10 in data/cifar10: 45,000 examples, 5,000 for validation, 10,000 for testing".
  var dataDescription: String {
    let description = training.description
    let isOfCIFAR10 = description.shape == .cifar10 && description.classes == CIFAR10Format.classCount
    let name =
      !isOfCIFAR10
      ? "\(printable(description.name)) (\(description.shape), \(description.classes) classes)"
      : training.isSynthetic
        ? "synthetic data (accuracies say nothing about CIFAR-10)"
        : training.looksOfficial
          ? "CIFAR-10"
          : description.name == "CIFAR-10" ? "10 classes in the format of CIFAR-10" : printable(description.name)
    return "\(name) in \(training.directory): \(grouped(UInt64(plan.exampleCount - plan.validationCount))) examples, "
      + "\(grouped(UInt64(plan.validationCount))) for validation"
      + (test.map { ", \(grouped(UInt64($0.count))) for testing" } ?? "")
  }

  /// What is done, as a line: "softmax, 30,730 parameters: 1,044 steps of 512 examples (12 epochs), 2 workers"; a network
  /// stands before the loss, "hidden 100 relu, softmax, …".
  var planDescription: String {
    let epochs = self.epochs(plan.totalSteps)
    let passes = Display.decimal(epochs, places: epochs == epochs.rounded() ? 0 : 2)
    let processes = settings.workers == 0 ? "sequential" : Display.workers(settings.workers)
    let model = plan.shape.isLinear ? "" : "\(plan.shape), "
    return model + "\(plan.loss.settingName), \(grouped(UInt64(plan.shape.parameterCount))) parameters: "
      + "\(grouped(plan.totalSteps)) steps of \(plan.batchSize) examples (\(passes) \(passes == "1" ? "epoch" : "epochs")), "
      + processes
  }

  /// Passes over the training examples that `steps` are.
  func epochs(_ steps: UInt64) -> Double { Double(steps) / Double(plan.stepsPerEpoch) }
}
