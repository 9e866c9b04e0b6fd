import Foundation
import Optimization
import TestSupport
import Testing

@Suite struct GradientCheckTests {
  /// A minibatch of 12 inputs of 7 values in 5 classes, and parameters large enough that the losses differ.
  private func small(_ loss: Loss, l2: Float) -> (ReferenceTrainer, [ReferenceTrainer.Example], [Double]) {
    var plan = makePlan(loss: loss)
    plan.shape = ModelShape(classes: 5, pixels: 7)
    plan.l2 = l2
    let generator = Philox4x64(seed: 11, stream: .gradientCheck)
    let minibatch = (0..<12).map { example in
      (x: (0..<7).map { generator.normal(at: UInt64(100 + example * 7 + $0)) }, y: example % 5)
    }
    return (
      ReferenceTrainer(plan: plan), minibatch,
      (0..<plan.shape.parameterCount).map { generator.normal(at: UInt64(1_000 + $0)) }
    )
  }

  @Test(arguments: Loss.allCases, [0, 0.1])
  func `the oracle's gradients agree with central differences`(loss: Loss, l2: Float) {
    let (reference, minibatch, parameters) = small(loss, l2: l2)
    let checks = GradientCheck.compare(
      analytic: reference.lossAndGradient(minibatch, at: parameters).gradient, reference: reference,
      minibatch: minibatch, parameters: parameters, coordinatesPerBlock: .max, seed: 0, smallestMagnitude: 1e-4)
    #expect(checks.map(\.block) == reference.plan.shape.blocks)
    #expect(checks.map { $0.checked + $0.skippedAtKinks } == [35, 5])
    // Rounding near 1e-11 of the difference quotient, over 1e-4.
    #expect(checks.allSatisfy { $0.largestRelativeError < 1e-6 })
    #expect(loss == .hinge || checks.allSatisfy { $0.skippedAtKinks == 0 })
  }

  @Test
  func `a wrong sign, a forgotten penalty and a value that is no number are all seen`() {
    let (reference, minibatch, parameters) = small(.softmaxCrossEntropy, l2: 0.1)
    let right = reference.lossAndGradient(minibatch, at: parameters).gradient
    func errors(_ analytic: [Double]) -> [Double] {
      GradientCheck.compare(
        analytic: analytic, reference: reference, minibatch: minibatch, parameters: parameters,
        coordinatesPerBlock: .max, seed: 0
      ).map(\.largestRelativeError)
    }
    #expect(errors(right.map { -$0 }).allSatisfy { $0 > 0.99 })
    let withoutPenalty = right.indices.map { $0 < 35 ? right[$0] - 0.2 * parameters[$0] : right[$0] }
    #expect(errors(withoutPenalty)[0] > 0.1)
    #expect(errors(withoutPenalty)[1] < 1e-6)
    var broken = right
    broken[36] = .nan
    #expect(errors(broken)[1] == .infinity)
  }

  @Test
  func `a margin at a kink of the hinge loss is left out and counted`() {
    // Two classes, one input x = 1, W = (0, 1) and label 1: the one margin, 0 − 1 + 1, is exactly zero.
    var plan = makePlan(loss: .hinge)
    plan.shape = ModelShape(classes: 2, pixels: 1)
    let checks = GradientCheck.compare(
      analytic: [0, 0, 0, 0], reference: ReferenceTrainer(plan: plan), minibatch: [(x: [1], y: 1)],
      parameters: [0, 1, 0, 0], coordinatesPerBlock: 10, seed: 0)
    #expect(checks.map(\.skippedAtKinks) == [2, 2])
    #expect(checks.map(\.checked) == [0, 0])
  }

  @Test(arguments: Loss.allCases)
  func `the kernel's gradient of a whole step agrees with central differences`(loss: Loss) throws {
    let plan = makePlan(loss: loss)
    try checkKernel(plan: plan, examples: SyntheticExamples.table(), coordinatesPerBlock: 40)
  }

  @Test(.enabled(if: RealData.directory != nil, "DESCENT_DATA is not set"), arguments: Loss.allCases)
  func `the kernel's gradient agrees with central differences on real minibatches`(loss: Loss) throws {
    let directory = try #require(RealData.directory)
    let file = URL(fileURLWithPath: directory).appending(path: "data_batch_1.bin")
    let examples = ExampleTable.inMemory([UInt8](try Data(contentsOf: file)))
    var plan = makePlan(loss: loss)
    plan.exampleCount = examples.count
    plan.validationCount = examples.count / 10
    plan.shardCount = 16
    plan.batchSize = 512
    // The rates with which these losses train well at this batch size.
    plan.learningRate.base = loss == .hinge ? 0.003 : 0.03
    try checkKernel(plan: plan, examples: examples, coordinatesPerBlock: 40)
  }

  /// At the first weights and after 20 steps, where margins have become inactive and probabilities differ.
  private func checkKernel(plan: TrainingPlan, examples: ExampleTable, coordinatesPerBlock: Int) throws {
    try plan.validate()
    let mean = meanImage(of: examples, over: DataSplit(plan: plan).training)
    var trainer = SequentialTrainer(
      plan: plan, examples: examples, meanImage: mean, state: TrainingState(plan: plan), kernel: .best)
    for steps in [0, 20] {
      for _ in 0..<steps { _ = trainer.step() }
      let checks = GradientCheck.checkGradient(
        plan: plan, examples: examples, meanImage: mean, parameters: trainer.state.parameters,
        step: trainer.state.step, coordinatesPerBlock: coordinatesPerBlock, kernel: .best)
      for check in checks {
        #expect(
          check.largestRelativeError < GradientCheck.recommendedBound, "\(check.block.name) after \(steps) steps")
        // The bias depends on every example's margins, so it may meet a kink oftener than a weight.
        #expect(check.checked >= 1)
      }
    }
  }
}
