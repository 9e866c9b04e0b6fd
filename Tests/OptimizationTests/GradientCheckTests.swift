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
      ReferenceTrainer.Example(
        x: (0..<7).map { generator.normal(at: UInt64(100 + example * 7 + $0)) }, y: example % 5)
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
      analytic: [0, 0, 0, 0], reference: ReferenceTrainer(plan: plan), minibatch: [.init(x: [1], y: 1)],
      parameters: [0, 1, 0, 0], coordinatesPerBlock: 10, seed: 0)
    #expect(checks.map(\.skippedAtKinks) == [2, 2])
    #expect(checks.map(\.checked) == [0, 0])
  }

  @Test(arguments: Loss.allCases)
  func `the kernel's gradient of a whole step agrees with central differences`(loss: Loss) throws {
    var plan = makePlan(loss: loss)
    plan.learningRate.base = min(plan.learningRate.base, Float(loss.defaultLearningRate))
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
    plan.learningRate.base = Float(loss.defaultLearningRate) / 2
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

  /// One example x = 2 with label 1, W = (0.5, −1), no bias: s = (1, −2), L = 1² + (−2 − 1)² = 10, and dL/ds = (2, −6).
  @Test func `the table shows every coordinate with the objective on both sides of it`() {
    var plan = makePlan(loss: .squaredError)
    plan.shape = ModelShape(classes: 2, pixels: 1)
    (plan.exampleCount, plan.validationCount, plan.batchSize, plan.shardCount) = (1, 0, 1, 1)
    (plan.l2, plan.reduction) = (0, .mean)
    let rows = GradientCheck.table(
      plan: plan, examples: .inMemory([1, 255], recordSize: 2, classes: 2), meanImage: [0],
      parameters: ParameterVector([0.5, -1, 0, 0]), step: 0, coordinatesPerBlock: 5, kernel: .best)
    #expect(rows.map(\.parameter) == ["weight[0, 0]", "weight[1, 0]", "bias[0]", "bias[1]"])
    #expect(rows.map(\.value) == [0.5, -1, 0, 0])
    let h = GradientCheck.stepSize
    for (row, derivative) in zip(rows, [4.0, -12, 2, -6]) {
      #expect(abs(row.difference.above - (10 + derivative * h)) < 1e-8)
      #expect(abs(row.difference.below - (10 - derivative * h)) < 1e-8)
      #expect(abs(row.difference.derivative - derivative) < 1e-6)
      #expect(abs(row.analytic - derivative) < 1e-5)
      #expect(row.relativeError < 1e-5 && !row.difference.isAtKink)
    }
  }

  @Test func `the table and the check agree, and the table shows what the check skips`() {
    // As in the test of kinks: both weights and both biases are at one.
    var plan = makePlan(loss: .hinge)
    plan.shape = ModelShape(classes: 2, pixels: 1)
    (plan.exampleCount, plan.validationCount, plan.batchSize, plan.shardCount, plan.l2) = (1, 0, 1, 1, 0)
    let examples = ExampleTable.inMemory([1, 255], recordSize: 2, classes: 2)
    func rows(_ parameters: [Float]) -> [CoordinateGradientCheck] {
      GradientCheck.table(
        plan: plan, examples: examples, meanImage: [0], parameters: ParameterVector(parameters), step: 0,
        coordinatesPerBlock: .max, kernel: .best)
    }
    #expect(rows([0, 0.5, 0, 0]).map(\.difference.isAtKink) == [true, true, true, true])
    let smooth = rows([0, 0.25, 0, 0])
    let checks = GradientCheck.checkGradient(
      plan: plan, examples: examples, meanImage: [0], parameters: ParameterVector([0, 0.25, 0, 0]), step: 0,
      coordinatesPerBlock: .max, kernel: .best)
    #expect(smooth.map(\.analytic) == [2, -2, 1, -1])
    #expect(
      checks.map(\.largestRelativeError) == [
        max(smooth[0].relativeError, smooth[1].relativeError), max(smooth[2].relativeError, smooth[3].relativeError),
      ])
  }

  /// As `descent gradient-check --all`.
  @Test(arguments: Loss.allCases)
  func `the kernels' gradient of every model, activation and penalty agrees with three witnesses`(loss: Loss) {
    let problem = GradientCheckProblem()
    let plans = problem.plans.filter { $0.loss == loss }
    #expect(plans.count == 4 * (1 + 2 * Activation.all.count))
    for plan in plans {
      for result in problem.check(plan, afterSteps: 3, kernel: .best) {
        let name = "\(plan.shape) l2 \(plan.l2) l1 \(plan.l1) \(result.check.block.name)"
        #expect(result.check.largestRelativeError <= GradientCheck.recommendedBound, "\(name)")
        #expect(result.largestErrorOfReference <= GradientCheckProblem.recommendedBoundOfReference, "\(name)")
        #expect(result.check.checked > result.check.skippedAtKinks, "\(name)")
        #expect(result.check.checked + result.check.skippedAtKinks == result.check.block.range.count)
      }
    }
  }
}
