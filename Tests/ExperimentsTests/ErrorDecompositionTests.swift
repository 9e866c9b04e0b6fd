import Checkpoints
import Datasets
import Diagnostics
import Experiments
import Optimization
import RunConfiguration
import TestSupport
import Testing

@Suite struct ErrorDecompositionTests {
  private let directory = TemporaryDirectory()

  /// The quadrants, of which a line gets about half and a network with hidden units nearly all.
  private func quadrants() throws -> Dataset {
    try SyntheticDataset.write(
      to: directory.path + "/data", .points(.quadrants), trainingExamples: 1_200, testExamples: 10, seed: 1)
    return try Dataset(directory: directory.path + "/data", part: .training)
  }

  private func settings(_ more: [(name: String, text: String)] = []) throws -> ResolvedSettings {
    try .resolve(
      flags: [
        ("batch-size", "64"), ("shards", "4"), ("validation-examples", "200"), ("epochs", "4"), ("optimizer", "adam"),
        ("learning-rate", "0.01"), ("l2", "0"), ("workers", "0"),
      ] + more)
  }

  /// The experiments of a run that ended after `steps` steps, as its checkpoint would give them.
  private func experiments(
    _ dataset: Dataset, _ settings: ResolvedSettings, steps: UInt64, epochs: UInt64? = nil, larger: [Int]? = nil,
    fingerprint: UInt64? = nil
  ) throws -> ErrorExperiments {
    let plan = try settings.trainingPlan(exampleCount: dataset.count, classes: 2, pixels: 2)
    let mean = dataset.mean(plan.preprocessing, over: DataSplit(plan: plan).training)
    var trainer = SequentialTrainer(
      plan: plan, examples: dataset.examples, meanImage: mean, state: TrainingState(plan: plan), kernel: .best)
    while trainer.state.step < steps { _ = trainer.step() }
    let origin = Checkpoint.Origin(
      runIdentifier: "r", shape: plan.shape, loss: plan.loss, meanImage: mean, classNames: dataset.classNames,
      settings: settings.checkpointPairs, datasetFingerprint: fingerprint ?? dataset.fingerprint)
    return try ErrorExperiments(
      of: "runs/r", origin: origin, parameters: trainer.state.parameters, steps: steps, dataset: dataset,
      epochs: epochs, hidden: larger)
  }

  @Test func `the parts add up to the validation errors`() {
    func outcome(_ training: Double, _ validation: Double) -> ErrorDecomposition.Outcome {
      .init(
        model: "m", parameterCount: 1, steps: 1, epochs: 1, training: .init(meanLoss: 1, accuracy: 1 - training),
        validation: .init(meanLoss: 1, accuracy: 1 - validation))
    }
    let decomposition = ErrorDecomposition(
      run: outcome(0.5, 0.625), longer: outcome(0.375, 0.75), larger: outcome(0.125, 0.5), trainingExamples: 8,
      validationExamples: 8)
    let (run, longer, larger) = decomposition.parts
    #expect(
      run == ErrorDecomposition.Parts(optimization: 0.125, estimation: 0.125, modelling: 0.25, remainder: 0.125))
    #expect(
      longer == ErrorDecomposition.Parts(optimization: 0, estimation: 0.375, modelling: 0.25, remainder: 0.125))
    #expect(
      larger == ErrorDecomposition.Parts(optimization: 0, estimation: 0.375, modelling: 0, remainder: 0.125))
    for (parts, error) in [(run, 0.625), (longer, 0.75), (larger, 0.5)] {
      #expect(parts.optimization + parts.estimation + parts.modelling + parts.remainder == error)
    }
  }

  @Test func `of a linear model on the quadrants the modelling error is half, and a network has nearly none`() throws {
    let dataset = try quadrants()
    let linear = try experiments(dataset, settings(), steps: 60, epochs: 40, larger: [30])
      .measure(kernel: .best, threads: 2) { _, _, _ in }
    #expect(linear.parts.run.modelling > 0.35 && abs(linear.parts.run.optimization) < 0.1)
    #expect(linear.parts.run.remainder < 0.05 && abs(linear.parts.run.estimation) < 0.1)
    #expect(linear.trainingExamples == 1_000 && linear.validationExamples == 200)
    // One step of a network: what it lacks is training.
    let early = try experiments(dataset, settings([("hidden", "30")]), steps: 1, epochs: 40)
      .measure(kernel: .best, threads: 1) { _, _, _ in }
    #expect(early.parts.run.optimization > 0.2 && abs(early.parts.run.modelling) < 0.05)
    #expect(early.larger.model == "hidden 60 relu" && early.longer.steps == 40 * 15 && early.longer.epochs == 40)
  }

  @Test func `the result is the same for any number of threads and every instruction set`() throws {
    let dataset = try quadrants()
    let experiments = try experiments(dataset, settings([("loss", "squared-error")]), steps: 15, larger: [8])
    #expect(experiments.longer.epochs == 20 && experiments.larger.plan.totalSteps == 20 * 15)
    let results = try ([1, 2, 3, 9].map { ($0, KernelVariant.best) } + KernelVariant.supported.map { (2, $0) })
      .map { threads, kernel in
        try experiments.measure(kernel: kernel, threads: threads) { _, _, _ in }.json.compactText
      }
    #expect(Set(results).count == 1)
  }

  @Test func `the longer training has the settings of the run, with the schedule stretched over its epochs`() throws {
    let dataset = try quadrants()
    let settings = try settings([
      ("schedule", "step"), ("step-every", "30"), ("hidden", "6"), ("activation", "tanh"), ("margin", "2"),
      ("loss", "svm"), ("shards", "1"), ("schedule-epochs", "8"),
    ])
    let experiments = try experiments(dataset, settings, steps: 2, epochs: 12)
    var expected = try settings.trainingPlan(exampleCount: dataset.count, classes: 2, pixels: 2)
    expected.learningRate.schedule = .step(every: 90, factor: 0.5)
    expected.learningRate.horizon = 12 * 15
    expected.totalSteps = 12 * 15
    #expect(experiments.longer.plan == expected)
    expected.shape = ModelShape(classes: 2, pixels: 2, hidden: [12], activation: .tanh)
    #expect(experiments.larger.plan == expected)
  }

  @Test func `what cannot be decomposed is refused`() throws {
    let dataset = try quadrants()
    func status(
      _ more: [(name: String, text: String)] = [], epochs: UInt64? = nil, larger: [Int]? = nil,
      fingerprint: UInt64? = nil
    ) -> Diagnostics.ExitStatus? {
      let failure = #expect(throws: Failure.self) {
        try experiments(
          dataset, settings(more), steps: 30, epochs: epochs, larger: larger, fingerprint: fingerprint)
      }
      return failure?.status
    }
    #expect(status(fingerprint: 1) == .badData)
    #expect(status([("validation-examples", "0")]) == .badConfiguration)
    #expect(status(epochs: 2) == .usage)
    #expect(status([("hidden", "20")], larger: [20]) == .usage)
    #expect(status(larger: []) == .usage)
  }

  @Test func `threads compute the sum of one`() throws {
    let dataset = try quadrants()
    let plan = try settings([("hidden", "11"), ("shards", "8")]).trainingPlan(
      exampleCount: dataset.count, classes: 2, pixels: 2)
    let mean: [Float] = [127, 128]
    let state = TrainingState(plan: plan)
    func sum(_ backend: any GradientBackend, _ shards: ShardSet) -> ([Int32], MinibatchStatistics) {
      var sum = [Int32](repeating: 7, count: plan.shape.parameterCount)
      let statistics = sum.withUnsafeMutableBufferPointer { sum in
        state.parameters.withUnsafePointer {
          backend.gradient(parameters: $0, step: 3, shards: shards, scale: state.scale, into: sum.baseAddress!)
        }
      }
      return (sum, statistics)
    }
    let one = KernelBackend(plan: plan, examples: dataset.examples, meanImage: mean, kernel: .best)
    for threads in [1, 2, 3, 8, 20] {
      let several = ParallelBackend(
        plan: plan, examples: dataset.examples, meanImage: mean, kernel: .best, threads: threads)
      for shards in [plan.allShards, ShardSet([0, 5]), ShardSet([7])] {
        let (expected, found) = (sum(one, shards), sum(several, shards))
        #expect(expected.0 == found.0 && expected.1 == found.1)
      }
    }
  }
}
