import Optimization
import TestSupport
import Testing

/// Sums whose scale follows the gradients: exact for every partition, never saturated, never of too few bits.
@Suite struct FixedPointScaleTests {
  private static let unbounded = Loss.allCases.filter { !Loss.bounded.contains($0) }

  private static func peaks(_ weight: Int8, _ bias: Int8 = -3) -> GradientPeaks {
    var peaks = GradientPeaks.none
    (peaks.bits[0], peaks.bits[1]) = (weight, bias)
    return peaks
  }

  private func scale(_ weight: Int8, _ bias: Int8) -> FixedPointScale {
    var scale = FixedPointScale()
    (scale.exponents[0], scale.exponents[1]) = (weight, bias)
    return scale
  }

  // MARK: The rule

  @Test(arguments: [1, 2, 3, 4, 16, 64, 1000, 1024])
  func `sums of all shards fit where each shard's elements have the bits that they may have`(shards: Int) {
    var plan = makePlan(loss: .squaredHinge, shardCount: 4)
    plan.shardCount = shards
    // The most bits that are not corrected.
    let bits = (0..<40).last { plan.correction(of: plan.firstScale, for: Self.peaks($0, .min)) == nil }
    let largest = Double(sign: .plus, exponent: Int(bits ?? 127), significand: 1) * Double(shards)
    #expect(largest <= 0x1p31)
    #expect(largest > 0x1p29)
  }

  @Test func `an element with too many bits or too few leads to another scale, of its block alone`() {
    let plan = makePlan(loss: .squaredHinge)
    let first = scale(10, 20)
    // 4 shards: 29 bits fit, 20 are the least, 25 are preferred.
    #expect(plan.correction(of: first, for: Self.peaks(29, 20)) == nil)
    #expect(plan.correction(of: first, for: Self.peaks(30, 20)) == scale(5, 20))
    #expect(plan.correction(of: first, for: Self.peaks(29, 19)) == scale(10, 26))
    #expect(plan.correction(of: first, for: Self.peaks(-40, 127)) == scale(75, -82))
    // Zero has any scale.
    #expect(plan.correction(of: first, for: Self.peaks(.min, .min)) == nil)
    // Before that is necessary the scale of the next step is another one.
    #expect(plan.scale(after: first, Self.peaks(27, 22)) == first)
    #expect(plan.scale(after: first, Self.peaks(28, 21)) == scale(7, 24))
  }

  @Test func `at the smallest scale a sum that does not fit has diverged`() {
    let plan = makePlan(loss: .squaredError)
    let smallest = scale(-100, 0)
    #expect(plan.correction(of: smallest, for: Self.peaks(127, 25)) == nil)
    #expect(plan.overflows(at: smallest, Self.peaks(127, 25)))
    #expect(!plan.overflows(at: scale(-99, 0), Self.peaks(127, 25)))
    #expect(!makePlan().overflows(at: smallest, Self.peaks(127, 25)))
  }

  @Test(arguments: Loss.bounded) func `a scale with a proof never changes`(loss: Loss) {
    let plan = makePlan(loss: loss)
    #expect(plan.correction(of: plan.firstScale, for: Self.peaks(127)) == nil)
    #expect(plan.scale(after: plan.firstScale, Self.peaks(1)) == plan.firstScale)
  }

  // MARK: The kernels

  private func computeAll(
    _ plan: TrainingPlan, _ parameters: ParameterVector, kernel: KernelVariant = .best, cuts: [Int]
  ) -> (sum: [Int32], statistics: MinibatchStatistics, scale: FixedPointScale, corrections: Int) {
    let table = SyntheticExamples.table()
    let mean = meanImage(of: table, over: SyntheticExamples.split().training)
    let backend = KernelBackend(plan: plan, examples: table, meanImage: mean, kernel: kernel)
    var (scale, corrections) = (plan.firstScale, 0)
    while true {
      var total = [Int32](repeating: 0, count: plan.shape.parameterCount)
      var statistics = MinibatchStatistics.zero
      for (start, end) in zip(cuts, cuts.dropFirst()).reversed() {
        var sum = total
        statistics += parameters.withUnsafePointer {
          backend.gradient(
            parameters: $0, step: 2, shards: ShardSet(range: start..<end), scale: scale, into: &sum)
        }
        for index in total.indices { total[index] &+= sum[index] }
      }
      guard let corrected = plan.correction(of: scale, for: statistics.peaks) else {
        return (total, statistics, scale, corrections)
      }
      scale = corrected
      corrections += 1
    }
  }

  @Test(arguments: unbounded, [1e-9, 1e-3, 1, 1e4])
  func `any partition and every variant end at one scale with the same bits`(loss: Loss, magnitude: Float) {
    let plan = makePlan(loss: loss)
    var parameters = ParameterVector.initial(plan: plan)
    for index in parameters.values.indices { parameters.values[index] = Float(index % 19 - 9) * magnitude }
    let whole = computeAll(plan, parameters, cuts: [0, 4])
    #expect(whole.corrections == 1 || magnitude < 1)
    for cuts in [[0, 1, 4], [0, 2, 3, 4], [0, 1, 2, 3, 4]] {
      let parts = computeAll(plan, parameters, cuts: cuts)
      #expect(parts.sum == whole.sum && parts.statistics == whole.statistics && parts.scale == whole.scale)
      #expect(parts.corrections == whole.corrections)
    }
    for variant in KernelVariant.supported {
      #expect(computeAll(plan, parameters, kernel: variant, cuts: [0, 3, 4]).sum == whole.sum, "\(variant)")
    }
    // Twenty bits of the largest element at least, and room for the sum.
    let largest = whole.sum[..<30_720].map(\.magnitude).max() ?? 0
    #expect(largest >= 1 << 19 && largest < 1 << 31)
  }

  @Test(arguments: unbounded)
  func `the peak is that of the largest element of any one shard`(loss: Loss) {
    let plan = makePlan(loss: loss)
    let parameters = ParameterVector.initial(plan: plan)
    let shards = (0..<4).map { computeAll(plan, parameters, cuts: [$0, $0 + 1]) }
    for shard in shards {
      for (block, range) in [0..<30_720, 30_720..<30_730].enumerated() {
        let largest = Double(shard.sum[range].map(\.magnitude).max() ?? 0)
        // Rounding to integers may reach the next power of two.
        let bits = Int(largest.exponent) + 1
        let peak = Int(shard.statistics.peaks.bits[block])
        #expect(peak == bits || peak + 1 == bits && largest.significand == 1)
      }
    }
  }

  @Test(arguments: unbounded)
  func `training from weights that do not fit agrees with double precision`(loss: Loss) {
    var plan = makePlan(loss: loss)
    // Losses of some hundreds, which count, and derivatives a hundred times as large as the first scale expects.
    plan.initialStandardDeviation = 0.2
    plan.learningRate.base = 1e-5
    let table = SyntheticExamples.table()
    let mean = meanImage(of: table, over: SyntheticExamples.split().training)
    var trainer = SequentialTrainer(
      plan: plan, examples: table, meanImage: mean, state: TrainingState(plan: plan), kernel: .best)
    var reference = ReferenceTrainer(plan: plan)
    var sampler = MinibatchSampler(plan: plan)
    var scales = [trainer.state.scale]
    for step in 0..<5 as Range<UInt64> {
      let indices = plan.allShards.flatMap { sampler.minibatch(shard: $0, step: step) }
      let expected = reference.step(table.minibatch(at: indices, meanImage: mean))
      let statistics = trainer.step()
      scales.append(trainer.state.scale)
      #expect(abs(statistics.minibatch.meanLoss / expected.loss - 1) < 1e-5)
      #expect(abs(statistics.gradientNorm / expected.gradientNorm - 1) < 1e-5)
    }
    #expect(scales[0] != scales[1])
    let error = zip(trainer.state.parameters.values, reference.w).map { abs(Double($0) - $1) }.max() ?? .nan
    #expect(error < 2e-6)
  }
}
