import Optimization
import Testing

@Suite struct TrajectoryTests {
  @Test
  func `the synthetic examples are those of the NumPy script`() throws {
    let table = SyntheticExamples.table()
    var sum = 0
    for index in 0..<table.count {
      for j in 1...3_072 { sum += Int(table.record(at: index)[j]) }
    }
    #expect(sum == (try Reference.load().pixelSum))
  }

  /// Float64 against float64: the sums of 3,072 products and of 32 examples are taken in another order, so losses and
  /// weights differ by some 10⁻¹⁴ of their size.
  @Test(arguments: 0..<ReferenceTrajectory.count)
  func `5 steps of the reference trainer follow the float64 trajectory of NumPy`(variant: Int) throws {
    let expected = try Reference.load().trajectories[variant]
    let plan = try plan(for: expected.settings)
    let (examples, split) = (SyntheticExamples.table(), DataSplit(plan: plan))
    let mean = meanImage(of: examples, over: split.training)
    var sampler = MinibatchSampler(plan: plan)
    var trainer = ReferenceTrainer(plan: plan)
    for step in 0..<5 {
      let indices = plan.allShards.flatMap { sampler.minibatch(shard: $0, step: UInt64(step)) }
      let (loss, norm) = trainer.step(examples.minibatch(at: indices, meanImage: mean))
      expectClose(loss, expected.losses[step], within: 1e-12, "loss of step \(step)")
      expectClose(norm, expected.gradientNorms[step], within: 1e-12, "gradient norm of step \(step)")
    }
    #expect(trainer.t == 5)
  }

  /// Float32 with fixed-point sums against NumPy's float64. A score is a chain of 192 products in each of 16 lanes, so
  /// its error is near √192 · 2⁻²⁴ of its size, 10⁻⁶; the gradients are means of inputs of size one times
  /// probabilities that err as much, so every step moves the weights apart by at most some 10⁻⁶ of their own length.
  /// Measured: losses, and weights relative to their root mean square, within 9·10⁻⁷; the tolerance is 5·10⁻⁶.
  /// No margin of the hinge runs comes nearer to its kink than 5·10⁻⁵ (`nearestKink` in the JSON), so both sides see
  /// the same active margins.
  @Test(arguments: 0..<ReferenceTrajectory.count)
  func `20 steps of every variant follow the float64 trajectory of NumPy`(variant: Int) throws {
    let expected = try Reference.load().trajectories[variant]
    let plan = try plan(for: expected.settings)
    let examples = SyntheticExamples.table()
    let mean = meanImage(of: examples, over: DataSplit(plan: plan).training)
    var trainer = SequentialTrainer(
      plan: plan, examples: examples, meanImage: mean, state: TrainingState(plan: plan), kernel: .best)

    for step in expected.losses.indices {
      let statistics = trainer.step()
      #expect(statistics.minibatch.examples == plan.batchSize)
      #expect(statistics.minibatch.isFinite)
      #expect(statistics.minibatch.correct == expected.correct[step], "step \(step)")
      expectClose(statistics.minibatch.meanLoss, expected.losses[step], within: 5e-6, "loss of step \(step)")
      expectClose(
        statistics.gradientNorm, expected.gradientNorms[step], within: 5e-6, "gradient norm of step \(step)")
    }
    #expect(trainer.state.step == 20)

    let values = trainer.state.parameters.values.map(Double.init)
    let scale = (expected.sumOfSquares / Double(values.count)).squareRoot()
    for (index, parameter) in zip(expected.chosenIndices, expected.chosenParameters) {
      #expect(abs(values[index] - parameter) < 5e-6 * scale, "parameter \(index)")
    }
    expectClose(values.reduce(0) { $0 + $1 * $1 }, expected.sumOfSquares, within: 5e-6, "sum of squares")
    expectClose(values.reduce(0) { $0 + abs($1) }, expected.sumOfMagnitudes, within: 5e-6, "sum of magnitudes")
    #expect(abs(values.reduce(0, +) - expected.sumOfParameters) < 5e-6 * expected.sumOfMagnitudes)
  }

  @Test
  func `the first loss is log 10 for softmax and 9 for the SVM, exactly so at zero weights`() {
    for (loss, expected) in [(Loss.softmaxCrossEntropy, 2.302_585_092_994_046), (.hinge, 9)] {
      var plan = makePlan(loss: loss)
      let examples = SyntheticExamples.table()
      let mean = meanImage(of: examples, over: DataSplit(plan: plan).training)
      func firstLoss() -> Double {
        var trainer = SequentialTrainer(
          plan: plan, examples: examples, meanImage: mean, state: TrainingState(plan: plan), kernel: .best)
        return trainer.step().minibatch.meanLoss
      }
      #expect(abs(firstLoss() - expected) < 0.01)
      plan.initialStandardDeviation = 0
      #expect(abs(firstLoss() - expected) < 1e-6)
    }
  }

  @Test(arguments: UpdateRuleTests.optimizers)
  func `resuming from a saved state gives the bits of the run that never stopped`(optimizer: Optimizer) {
    var plan = makePlan()
    plan.optimizer = optimizer
    let examples = SyntheticExamples.table()
    let mean = meanImage(of: examples, over: DataSplit(plan: plan).training)
    var whole = SequentialTrainer(
      plan: plan, examples: examples, meanImage: mean, state: TrainingState(plan: plan), kernel: .best)
    for _ in 0..<7 { _ = whole.step() }
    var resumed = SequentialTrainer(plan: plan, examples: examples, meanImage: mean, state: whole.state, kernel: .best)
    for _ in 0..<6 { #expect(whole.step() == resumed.step()) }
    #expect(whole.state == resumed.state)
  }

  private func plan(for settings: ReferenceTrajectory.Settings) throws -> TrainingPlan {
    var plan = makePlan(loss: settings.loss == "hinge" ? .hinge : .softmaxCrossEntropy)
    let schedules: [String: LearningRateSchedule] = [
      "constant": .constant, "step": .step(every: 5, factor: 0.5), "cosine": .cosine,
    ]
    plan.learningRate = LearningRate(
      base: settings.learningRate, schedule: try #require(schedules[settings.schedule]),
      warmupSteps: settings.warmupSteps, horizon: 20)
    plan.optimizer = try #require(settings.optimizer)
    (plan.l2, plan.l1, plan.maxNorm) = (settings.l2, settings.l1 ?? 0, settings.maxNorm ?? 0)
    plan.initialStandardDeviation = settings.initialStandardDeviation
    try plan.validate()
    return plan
  }

  /// Relative to the expected value, which is of the order of one in every use.
  private func expectClose(_ value: Double, _ expected: Double, within tolerance: Double, _ what: String) {
    #expect(abs(value - expected) <= tolerance * max(abs(expected), 1), "\(what): \(value), expected \(expected)")
  }
}
