import Diagnostics
import Experiments
import Optimization
import TestSupport
import Testing

@Suite struct FollowSlopeTests {
  private static let held = 12

  private func plan(_ function: LossOverExamples, seed: UInt64 = 1) -> TrainingPlan {
    TrainingPlan(exampleCount: function.examples.count, batchSize: 1, shardCount: 1, totalSteps: 1) {
      ($0.shape, $0.loss, $0.l2, $0.seed, $0.validationCount) = (function.shape, function.loss, 0.01, seed, Self.held)
    }
  }

  private func slope(
    _ loss: Loss = .softmaxCrossEntropy, sizes: [Int] = [1, 5, 48], rate: Double = 0.2, perExample: Double = 0.01,
    threads: Int = 2, kernel: KernelVariant = .best
  ) throws -> FollowSlope {
    let function = LossOverExamples.small(loss, kernel: kernel)
    return try FollowSlope(
      plan: plan(function), examples: function.examples, meanImage: function.meanImage, kernel: kernel,
      batchSizes: sizes, learningRate: rate, ratePerExample: perExample, epochs: 3, threads: threads)
  }

  /// Each batch size against the lecture's loop in double precision.
  @Test func `every descent is that of the oracle`() throws {
    let function = LossOverExamples.small(.softmaxCrossEntropy)
    let slope = try slope()
    let split = DataSplit(plan: plan(function))
    for curve in slope.curves {
      var plan = plan(function)
      plan.batchSize = curve.batchSize
      plan.learningRate.base = Float(curve.learningRate)
      plan.totalSteps = 1000
      var (oracle, sampler) = (ReferenceTrainer(plan: plan), MinibatchSampler(plan: plan))
      for measurement in curve.measurements {
        while oracle.t < measurement.steps {
          _ = oracle.step(
            function.examples.minibatch(
              at: sampler.minibatch(shard: 0, step: oracle.t), meanImage: function.meanImage))
        }
        var (training, validation) = (function, function)
        (training.indices, validation.indices) = (split.training, split.validation)
        #expect(abs(measurement.training.meanLoss - training.oracle(at: oracle.w)) < 1e-5)
        #expect(abs(measurement.validation.meanLoss - validation.oracle(at: oracle.w)) < 1e-5)
      }
      #expect(curve.measurements.last?.training.meanLoss ?? .nan < curve.measurements[0].training.meanLoss)
    }
  }

  @Test func `the learning rate is in proportion to the batch up to its limit`() throws {
    #expect(try slope().curves.map(\.learningRate) == [0.01, 0.05, 0.2])
  }

  @Test func `measurements are after powers of two and after every epoch, and equal numbers are compared`() throws {
    let curves = try slope().curves
    let all = [0, 1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 144].map(UInt64.init)
    #expect(curves[0].measurements.map(\.examples) == all)
    #expect(curves[1].measurements.map(\.examples) == [0, 5, 10, 20, 35, 50, 65, 100, 130, 145])
    #expect(curves[2].measurements.map(\.examples) == [0, 48, 96, 144])
    #expect(curves.map { $0.measurement(after: 48)?.examples } == [48, 50, 48])
    #expect(curves.map { $0.measurement(after: 32)?.examples } == [32, 35, nil])
    #expect(curves.map { $0.measurement(after: 0)?.examples } == [nil, nil, nil])
  }

  @Test func `the bytes depend neither on the threads nor on the kernels`() throws {
    let expected = try slope(threads: 1).json.indentedText
    #expect(try slope(threads: 3).json.indentedText == expected)
    for kernel in KernelVariant.supported { #expect(try slope(kernel: kernel).json.indentedText == expected) }
  }

  @Test func `a batch that is larger than the training set is refused`() {
    #expect(throws: Failure.self) { try slope(sizes: [49]) }
  }

  @Test func `the table has a row for equal numbers of examples`() throws {
    let lines = try slope().text.split(separator: "\n").map(String.init)
    #expect(lines[1].hasPrefix("examples") && lines[1].hasSuffix("batch all"))
    #expect(lines.contains { $0.hasPrefix("48 ") && !$0.contains("-") })
    #expect(lines.contains { $0.hasPrefix("8 ") && $0.hasSuffix("-") })
  }
}
