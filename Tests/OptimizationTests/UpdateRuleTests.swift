import Foundation
import Optimization
import TestSupport
import Testing

@Suite struct UpdateRuleTests {
  private static let momenta = [
    Momentum.off, Momentum(coefficient: 0.9, kind: .polyak), Momentum(coefficient: 0.9, kind: .nesterov),
  ]

  private func plan(_ momentum: Momentum, l2: Float = 0.01) -> TrainingPlan {
    var plan = makePlan()
    plan.momentum = momentum
    plan.l2 = l2
    plan.initialStandardDeviation = 0.1
    return plan
  }

  /// A sum of gradients of every size that the fixed point allows, of both signs.
  private func gradientSum(count: Int, seed: UInt64) -> [Int32] {
    let generator = Philox4x64(seed: seed, stream: .gradientCheck)
    return (0..<count).map { Int32(generator.normal(at: UInt64($0)) * 2e8) }
  }

  @Test(arguments: momenta)
  func `three updates agree with the formulas in double precision`(momentum: Momentum) {
    let plan = plan(momentum)
    let rule = UpdateRule(plan: plan, kernel: .best)
    var state = TrainingState(plan: plan)
    var reference = ReferenceTrainer(plan: plan)
    let lambda = Double(plan.l2)
    for step in 0..<3 as Range<UInt64> {
      let sum = gradientSum(count: reference.w.count, seed: step)
      let norm = rule.apply(sum, examples: 30, learningRate: step, to: &state)
      let gradient = sum.indices.map { index in
        let decay = index < 30_720 ? 2 * lambda * reference.w[index] : 0
        return Double(sum[index]) / (Double(plan.fixedPointScale) * 30) + decay
      }
      reference.update(by: gradient)
      #expect(abs(norm / gradient.reduce(0) { $0 + $1 * $1 }.squareRoot() - 1) < 1e-6)
    }
    let error = zip(state.parameters.values, reference.w).map { abs(Double($0) - $1) }.max() ?? .nan
    // Weights reach about 1, where half a unit in the last place is 3e-8; measured 4e-8 after three updates.
    #expect(error < 1e-6)
    #expect((state.velocity == nil) == (momentum.coefficient == 0))
    if let velocity = state.velocity {
      #expect(zip(velocity.values, reference.v).allSatisfy { abs(Double($0) - $1) < 1e-5 })
    }
    #expect(state.step == 0)
  }

  @Test(arguments: momenta)
  func `all variants of the kernel give the same bits`(momentum: Momentum) {
    let plan = plan(momentum)
    func run(_ rule: UpdateRule) -> (TrainingState, [UInt64]) {
      var state = TrainingState(plan: plan)
      let norms = (0..<3 as Range<UInt64>).map { step in
        let sum = gradientSum(count: plan.shape.parameterCount, seed: step)
        return rule.apply(sum, examples: 30, learningRate: step, to: &state).bitPattern
      }
      return (state, norms)
    }
    // Plain Swift serves models of other shapes; here it is what the kernels are held against.
    let (state, norms) = run(UpdateRule(plan: plan, kernel: .best, usesGenericPath: true))
    for variant in KernelVariant.supported {
      let (sameState, sameNorms) = run(UpdateRule(plan: plan, kernel: variant))
      #expect(sameState == state && sameNorms == norms, "\(variant)")
    }
  }

  @Test(arguments: momenta)
  func `a sum in two parts at any alignment, and a copy of the new parameters`(momentum: Momentum) {
    let plan = plan(momentum)
    let count = plan.shape.parameterCount
    let sum = gradientSum(count: count, seed: 8)
    let part = gradientSum(count: count, seed: 9)
    let rest = zip(sum, part).map { $0 &- $1 }
    var whole = TrainingState(plan: plan)
    let norm = UpdateRule(plan: plan, kernel: .best).apply(sum, examples: 30, learningRate: 1, to: &whole)
    let rules =
      [UpdateRule(plan: plan, kernel: .best, usesGenericPath: true)]
      + KernelVariant.supported.map { UpdateRule(plan: plan, kernel: $0) }
    for rule in rules {
      for shift in [0, 1, 3] {
        // Behind `shift` other bytes, as in a frame that came over a socket.
        let shifted = [part, rest].map { numbers in
          [UInt8](repeating: 7, count: shift) + numbers.withUnsafeBytes { Array($0) }
        }
        var state = TrainingState(plan: plan)
        var copy = [Float](repeating: .nan, count: count)
        let sameNorm = shifted[0].withUnsafeBytes { first in
          shifted[1].withUnsafeBytes { second in
            copy.withUnsafeMutableBufferPointer {
              rule.apply(
                first.baseAddress! + shift, adding: second.baseAddress! + shift, examples: 30, learningRate: 1,
                to: &state, copy: $0.baseAddress)
            }
          }
        }
        #expect(state == whole && sameNorm == norm && copy == whole.parameters.values)
      }
    }
  }

  @Test(arguments: momenta)
  func `any split into ranges of chunks gives the bits of the whole, those of the norm included`(momentum: Momentum) {
    let plan = plan(momentum)
    let count = plan.shape.parameterCount
    let sum = gradientSum(count: count, seed: 5)
    let initial = TrainingState(plan: plan)
    var whole = initial
    var norm = GradientNorm(of: 0..<count)
    UpdateRule(plan: plan, kernel: .best).apply(sum, examples: 30, learningRate: 1, to: &whole, norm: &norm)
    let generator = Philox4x64(seed: 11, stream: .gradientCheck)
    let variants: [KernelVariant?] = [nil] + KernelVariant.supported
    for split in 0..<12 {
      let cuts = (1...count / GradientNorm.chunk).filter { generator.normal(at: UInt64(split * 16 + $0)) < 0 }
      let borders = [0] + cuts.map { $0 * GradientNorm.chunk } + [count]
      for variant in variants {
        var (parameters, velocity, norms) = ([Float](), [Float](), [GradientNorm]())
        for range in zip(borders, borders.dropFirst()).map({ $0..<$1 }) {
          var part = TrainingState(
            step: 0, parameters: ParameterVector(Array(initial.parameters.values[range])),
            velocity: initial.velocity.map { ParameterVector(Array($0.values[range])) })
          var partNorm = GradientNorm(of: range)
          let rule =
            variant.map { UpdateRule(plan: plan, range: range, kernel: $0) }
            ?? UpdateRule(plan: plan, range: range, kernel: .best, usesGenericPath: true)
          rule.apply(Array(sum[range]), examples: 30, learningRate: 1, to: &part, norm: &partNorm)
          parameters += part.parameters.values
          velocity += part.velocity?.values ?? []
          norms.append(partNorm)
        }
        #expect(parameters == whole.parameters.values && velocity == whole.velocity?.values ?? [])
        #expect(GradientNorm(joining: norms) == norm && GradientNorm(joining: norms).value == norm.value)
      }
    }
  }

  @Test(arguments: momenta)
  func `a model of a shape without a kernel is updated as the formula says`(momentum: Momentum) {
    var plan = plan(momentum, l2: 0.25)
    plan.shape = ModelShape(classes: 2, pixels: 3)
    plan.learningRate = LearningRate(base: 0.5, schedule: .constant, warmupSteps: 0, horizon: 1)
    let scale = Int32(plan.fixedPointScale)
    var state = TrainingState(plan: plan)
    state.parameters = ParameterVector([1, 2, 3, 4, 5, 6, 7, 8])
    // Each mean gradient is 1 and each penalty w / 2, but for the bias.
    let sum = [Int32](repeating: 4 * scale, count: 8)
    let norm = UpdateRule(plan: plan, kernel: .best).apply(sum, examples: 4, learningRate: 0, to: &state)
    let gradients: [Float] = [1.5, 2, 2.5, 3, 3.5, 4, 1, 1]
    #expect(norm == Double(gradients.reduce(0) { $0 + $1 * $1 }).squareRoot())
    let isNesterov = momentum.coefficient != 0 && momentum.kind == .nesterov
    let directions = gradients.map { isNesterov ? $0.addingProduct(momentum.coefficient, $0) : $0 }
    #expect(state.parameters.values == zip(1...8, directions).map { Float($0).addingProduct(-0.5, $1) })
    #expect(state.velocity?.values == (momentum.coefficient == 0 ? nil : gradients))
  }

  @Test
  func `a zero gradient shrinks the weights by the penalty and leaves the bias alone`() {
    let plan = plan(.off, l2: 0.25)
    var state = TrainingState(plan: plan)
    for index in 30_720..<30_730 { state.parameters.values[index] = 3 }
    let before = state.parameters.values
    let sum = [Int32](repeating: 0, count: before.count)
    _ = UpdateRule(plan: plan, kernel: .best).apply(sum, examples: 32, learningRate: 0, to: &state)
    let factor = 1 - 2 * plan.l2 * plan.learningRate.rate(at: 0)
    #expect(zip(state.parameters.values, before).prefix(30_720).allSatisfy { abs($0 - factor * $1) <= abs($1) * 1e-6 })
    #expect(state.parameters.values[30_720...] == before[30_720...])
  }

  @Test(arguments: momenta)
  func `all shards as one fraction are the whole update, bit for bit`(momentum: Momentum) {
    let plan = plan(momentum)
    let rule = UpdateRule(plan: plan, kernel: .best)
    let sum = gradientSum(count: plan.shape.parameterCount, seed: 4)
    var (whole, fraction) = (TrainingState(plan: plan), TrainingState(plan: plan))
    for step in 0..<2 as Range<UInt64> {
      let norm = rule.apply(sum, examples: plan.batchSize, learningRate: step, to: &whole)
      #expect(rule.apply(sum, shards: plan.shardCount, learningRate: step, to: &fraction) == norm)
    }
    #expect(whole == fraction)
  }

  @Test(arguments: momenta)
  func `one shard at a time shrinks weights and velocity like one whole step`(momentum: Momentum) {
    let plan = plan(momentum, l2: momentum == .off ? 0.25 : 0)
    let rule = UpdateRule(plan: plan, kernel: .best)
    let zero = [Int32](repeating: 0, count: plan.shape.parameterCount)
    var whole = TrainingState(plan: plan)
    whole.velocity = whole.velocity.map { _ in whole.parameters }
    var parts = whole
    _ = rule.apply(zero, examples: plan.batchSize, learningRate: 0, to: &whole)
    for _ in 0..<plan.shardCount { _ = rule.apply(zero, shards: 1, learningRate: 0, to: &parts) }
    if let velocity = whole.velocity {
      let same = zip(parts.velocity?.values ?? [], velocity.values).allSatisfy { abs($0 - $1) <= 1e-6 * abs($1) }
      #expect(same && parts.velocity?.count == velocity.count)
    } else {
      // (1 − η 2λ / 4)⁴ is 1 − η 2λ up to the square of η 2λ = 0.005.
      let same = zip(parts.parameters.values, whole.parameters.values).allSatisfy { abs($0 - $1) <= 2e-5 * abs($1) }
      #expect(same)
    }
  }
}
