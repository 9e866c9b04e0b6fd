import Optimization
import TestSupport
import Testing

/// Networks, and the losses, margins and reductions that `TrajectoryTests` does not have, against NumPy.
@Suite struct NetworkTrajectoryTests {
  /// Float64 against float64: only the order of sums differs. The initial weights are float32 of the same float64.
  @Test(arguments: 0..<15)
  func `4 steps of the reference trainer follow the float64 trajectory of NumPy`(variant: Int) throws {
    let expected = try Reference.load().networks[variant]
    let plan = try expected.plan()
    let examples = SyntheticExamples.table()
    let mean = meanImage(of: examples, over: DataSplit(plan: plan).training)
    var sampler = MinibatchSampler(plan: plan)
    var trainer = ReferenceTrainer(plan: plan)
    for step in 0..<4 {
      let indices = plan.allShards.flatMap { sampler.minibatch(shard: $0, step: UInt64(step)) }
      let (loss, norm) = trainer.step(examples.minibatch(at: indices, meanImage: mean))
      #expect(abs(loss / expected.losses[step] - 1) < 1e-11, "loss of step \(step)")
      #expect(abs(norm / expected.gradientNorms[step] - 1) < 1e-11, "gradient norm of step \(step)")
    }
  }

  /// Float32 with fixed-point sums against NumPy's float64, in units of the loss and of the weights' root mean square. Between
  /// layers errors grow with the weights, but stay near those of the linear classifier (`TrajectoryTests`).
  @Test(arguments: 0..<15)
  func `20 steps of the kernels follow the float64 trajectory of NumPy`(variant: Int) throws {
    let expected = try Reference.load().networks[variant]
    let plan = try expected.plan()
    let examples = SyntheticExamples.table()
    let mean = meanImage(of: examples, over: DataSplit(plan: plan).training)
    var trainer = SequentialTrainer(
      plan: plan, examples: examples, meanImage: mean, state: TrainingState(plan: plan), kernel: .best)
    for step in expected.losses.indices {
      let statistics = trainer.step()
      #expect(statistics.minibatch.isFinite)
      #expect(statistics.minibatch.correct == expected.correct[step], "step \(step)")
      #expect(abs(statistics.minibatch.meanLoss / expected.losses[step] - 1) < 1e-5, "loss of step \(step)")
      #expect(abs(statistics.gradientNorm / expected.gradientNorms[step] - 1) < 1e-5, "gradient norm of step \(step)")
    }
    let values = trainer.state.parameters.values.map(Double.init)
    let scale = (expected.sumOfSquares / Double(values.count)).squareRoot()
    for (index, parameter) in zip(expected.chosenIndices, expected.chosenParameters) {
      #expect(abs(values[index] - parameter) < 1e-5 * scale, "parameter \(index)")
    }
    #expect(abs(values.reduce(0) { $0 + $1 * $1 } / expected.sumOfSquares - 1) < 1e-5)
  }

  @Test
  func `every variant of the script is tested, and none comes near a kink`() throws {
    let networks = try Reference.load().networks
    #expect(networks.count == 15)
    #expect(Set(networks.map(\.settings.loss)) == Set(Loss.allCases.map(\.settingName)))
    #expect(Set(networks.map(\.settings.activation)) == Set(Activation.all.map(\.settingName)))
    #expect(networks.allSatisfy { $0.nearestKink ?? 1 > 1e-6 })
  }
}
