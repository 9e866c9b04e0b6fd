import Foundation
import Optimization
import TestSupport
import Testing

@Suite struct UpdateRuleTests {
  /// Hyperparameters that show in three steps.
  static let optimizers = Optimizer.Kind.allCases.map { kind in
    Optimizer(kind, [.beta1: 0.75, .beta2: 0.875, .decayRate: 0.75, .epsilon: 1e-3])
  }
  /// Blocks whose borders lie within 16 lanes, rows that straddle chunks, and layers shorter than 16 lanes.
  private static let shapes = [
    ModelShape.cifar10, ModelShape(classes: 7, pixels: 300, hidden: [45, 31]), ModelShape(classes: 2, pixels: 3),
    ModelShape(classes: 3, pixels: 5, hidden: [2, 2, 2, 2, 2, 2, 2]),
  ]

  private func plan(
    _ optimizer: Optimizer, shape: ModelShape = .cifar10, l2: Float = 0.01, l1: Float = 0, maxNorm: Float = 0
  ) -> TrainingPlan {
    var plan = makePlan()
    plan.shape = shape
    plan.optimizer = optimizer
    (plan.l2, plan.l1, plan.maxNorm) = (l2, l1, maxNorm)
    plan.initialStandardDeviation = 0.1
    return plan
  }

  /// Parameters that are not all of one sign, some of them zero.
  private func initialState(_ plan: TrainingPlan) -> TrainingState {
    let generator = Philox4x64(seed: 3, stream: .gradientCheck)
    let values = (0..<plan.shape.parameterCount).map {
      $0 % 11 == 0 ? 0 : Float(0.1 * generator.normal(at: UInt64($0)))
    }
    return TrainingState(plan: plan, parameters: ParameterVector(values))
  }

  /// A sum of gradients of every size that the fixed point allows, of both signs.
  private func gradientSum(count: Int, seed: UInt64) -> [Int32] {
    let generator = Philox4x64(seed: seed, stream: .gradientCheck)
    return (0..<count).map { Int32(generator.normal(at: UInt64($0)) * 2e8) }
  }

  /// The rules of all variants, the first in plain Swift.
  private func rules(_ plan: TrainingPlan, range: Range<Int>? = nil) -> [UpdateRule] {
    [UpdateRule(plan: plan, range: range, kernel: .best, usesGenericPath: true)]
      + KernelVariant.supported.map { UpdateRule(plan: plan, range: range, kernel: $0) }
  }

  @Test(arguments: optimizers)
  func `three updates agree with the formulas in double precision`(optimizer: Optimizer) {
    let plan = plan(optimizer, l1: 0.005, maxNorm: 5)
    let rule = UpdateRule(plan: plan, kernel: .best)
    var state = TrainingState(plan: plan)
    var reference = ReferenceTrainer(plan: plan)
    for step in 0..<3 as Range<UInt64> {
      let sum = gradientSum(count: reference.w.count, seed: step)
      let norm = rule.apply(sum, scale: plan.firstScale, examples: 30, learningRate: step, to: &state)
      let gradient = sum.indices.map { index in
        let penalty = index < 30_720 ? plan.penaltyDerivative(at: reference.w[index]) : 0
        return Double(sum[index]) / (Double(plan.unitsPerOne) * 30) + penalty
      }
      reference.update(by: gradient)
      #expect(abs(norm / gradient.reduce(0) { $0 + $1 * $1 }.squareRoot() - 1) < 1e-6)
    }
    let error = zip(state.parameters.values, reference.w).map { abs(Double($0) - $1) }.max() ?? .nan
    // Weights reach about 1, where half a unit in the last place is 3e-8; measured 4e-8 after three updates of plain SGD.
    #expect(error < 1e-6)
    #expect(state.slots.count == optimizer.kind.slotNames.count)
    for (slot, vector) in state.slots.enumerated() {
      let error = zip(vector.values, reference.state).map { abs(Double($0) - $1[slot]) / max(1, abs($1[slot])) }.max()
      #expect(error ?? .nan < 1e-5, "\(optimizer.kind.slotNames[slot])")
    }
    #expect(state.step == 0)
  }

  @Test(arguments: optimizers, shapes)
  func `all variants of the kernel give the bits of plain Swift`(optimizer: Optimizer, shape: ModelShape) {
    let sums = (0..<3).map { gradientSum(count: shape.parameterCount, seed: $0) }
    let initial = initialState(plan(optimizer, shape: shape))
    for (l1, maxNorm) in [(Float(0), Float(0)), (0.005, 0), (0, 1.5), (0.005, 1.5)] {
      let plan = plan(optimizer, shape: shape, l1: l1, maxNorm: maxNorm)
      let results = rules(plan).map { rule in
        var state = initial
        let norms = sums.enumerated().map { step, sum in
          rule.apply(sum, scale: plan.firstScale, examples: 30, learningRate: UInt64(step), to: &state).bitPattern
        }
        return (state, norms)
      }
      #expect(results.dropFirst().allSatisfy { $0.0 == results[0].0 && $0.1 == results[0].1 }, "\(l1) \(maxNorm)")
    }
  }

  @Test
  func `each block has a scale of its own`() {
    let plan = plan(Optimizer(.sgd), shape: Self.shapes[3], l2: 0)
    var scale = plan.firstScale
    for block in 0..<plan.shape.blockCount { scale.exponents[block] = Int8(block) }
    let sum = [Int32](repeating: 8, count: plan.shape.parameterCount)
    for rule in rules(plan) {
      var state = TrainingState(plan: plan, parameters: ParameterVector(zeros: sum.count))
      _ = rule.apply(sum, scale: scale, examples: 1, learningRate: 0, to: &state)
      for (index, block) in plan.shape.blocks.enumerated() {
        let expected = -plan.learningRate.rate(at: 0) * 8 / Float(sign: .plus, exponent: index, significand: 1)
        #expect(block.range.allSatisfy { state.parameters.values[$0] == expected })
      }
    }
  }

  @Test(arguments: optimizers, shapes.prefix(2))
  func `a sum in two parts at any alignment, and a copy of the new parameters`(
    optimizer: Optimizer, shape: ModelShape
  ) {
    let plan = plan(optimizer, shape: shape, maxNorm: 1.5)
    let count = plan.shape.parameterCount
    let sum = gradientSum(count: count, seed: 8)
    let part = gradientSum(count: count, seed: 9)
    let rest = zip(sum, part).map { $0 &- $1 }
    let initial = initialState(plan)
    var whole = initial
    let norm = UpdateRule(plan: plan, kernel: .best).apply(
      sum, scale: plan.firstScale, examples: 30, learningRate: 1, to: &whole)
    for rule in rules(plan) {
      for shift in [0, 1, 3] {
        // Behind `shift` other bytes, as in a frame that came over a socket.
        let shifted = [part, rest].map { numbers in
          [UInt8](repeating: 7, count: shift) + numbers.withUnsafeBytes { Array($0) }
        }
        var state = initial
        var copy = [Float](repeating: .nan, count: count)
        let sameNorm = shifted[0].withUnsafeBytes { first in
          shifted[1].withUnsafeBytes { second in
            copy.withUnsafeMutableBufferPointer {
              rule.apply(
                first.baseAddress! + shift, scale: plan.firstScale, adding: second.baseAddress! + shift, examples: 30,
                learningRate: 1,
                to: &state, copy: $0.baseAddress)
            }
          }
        }
        #expect(state == whole && sameNorm == norm && copy == whole.parameters.values)
      }
    }
  }

  @Test(arguments: [Optimizer(.adam), Optimizer(.momentum), Optimizer(.sgd)])
  func `a long vector has the same bits in pieces, whichever comes first`(optimizer: Optimizer) {
    let plan = plan(optimizer, shape: ModelShape(classes: 10, pixels: 3072, hidden: [40]), l1: 0.005)
    let sum = gradientSum(count: plan.shape.parameterCount, seed: 5)
    let rest = gradientSum(count: sum.count, seed: 6)
    var pieces: [Int] = []
    func update(_ rule: UpdateRule, _ runPieces: PieceRunner) -> (TrainingState, norm: Double, copy: [Float]) {
      var (state, norm) = (initialState(plan), GradientNorm(of: 0..<sum.count))
      var copy = [Float](repeating: .nan, count: sum.count)
      copy.withUnsafeMutableBufferPointer { copy in
        rest.withUnsafeBytes { rest in
          sum.withUnsafeBytes {
            rule.apply(
              $0.baseAddress!, scale: plan.firstScale, adding: rest.baseAddress!, examples: 30, learningRate: 1,
              to: &state, norm: &norm, copy: copy.baseAddress, runPieces: runPieces)
          }
        }
      }
      return (state, norm.value, copy)
    }
    let expected = update(UpdateRule(plan: plan, kernel: .best, usesGenericPath: true), runInOrder)
    let found = update(UpdateRule(plan: plan, kernel: .best)) { count, body in
      for piece in (0..<count).reversed() {
        pieces.append(piece)
        body(piece)
      }
    }
    #expect(pieces == [3, 2, 1, 0])
    #expect(found.0 == expected.0 && found.norm == expected.norm && found.copy == expected.copy)
  }

  /// Where norms are limited, borders lie between rows: every 6,144 elements of 3,072 each.
  @Test(arguments: optimizers, [Float(0), 1.5])
  func `any split into ranges of chunks gives the bits of the whole, those of the norm included`(
    optimizer: Optimizer, maxNorm: Float
  ) {
    let plan = plan(optimizer, maxNorm: maxNorm)
    let count = plan.shape.parameterCount
    let sum = gradientSum(count: count, seed: 5)
    let initial = initialState(plan)
    var whole = initial
    var norm = GradientNorm(of: 0..<count)
    UpdateRule(plan: plan, kernel: .best).apply(
      sum, scale: plan.firstScale, examples: 30, learningRate: 1, to: &whole, norm: &norm)
    let generator = Philox4x64(seed: 11, stream: .gradientCheck)
    let piece = maxNorm > 0 ? 6_144 : GradientNorm.chunk
    for split in 0..<4 {
      let cuts = (1...count / piece).filter { generator.normal(at: UInt64(split * 16 + $0)) < 0 }
      let borders = [0] + cuts.map { $0 * piece } + [count]
      let ranges = zip(borders, borders.dropFirst()).map { $0..<$1 }
      let parts = ranges.map { rules(plan, range: $0) }
      for variant in parts[0].indices {
        var (parameters, norms) = ([Float](), [GradientNorm]())
        var slots = initial.slots.map { _ in [Float]() }
        for (range, rules) in zip(ranges, parts) {
          func slice(_ vector: ParameterVector) -> ParameterVector { ParameterVector(Array(vector.values[range])) }
          var part = TrainingState(
            step: 0, parameters: slice(initial.parameters), slots: initial.slots.map(slice), scale: plan.firstScale)
          var partNorm = GradientNorm(of: range)
          rules[variant].apply(
            Array(sum[range]), scale: plan.firstScale, examples: 30, learningRate: 1, to: &part, norm: &partNorm)
          parameters += part.parameters.values
          for slot in slots.indices { slots[slot] += part.slots[slot].values }
          norms.append(partNorm)
        }
        #expect(parameters == whole.parameters.values && slots == whole.slots.map(\.values))
        #expect(GradientNorm(joining: norms) == norm && GradientNorm(joining: norms).value == norm.value)
      }
    }
  }

  @Test(arguments: [Optimizer.Kind.sgd, .momentum, .nesterov])
  func `a small model is updated as the formula says`(kind: Optimizer.Kind) {
    var plan = plan(Optimizer(kind), shape: ModelShape(classes: 2, pixels: 3), l2: 0.25)
    plan.learningRate = LearningRate(base: 0.5, schedule: .constant, warmupSteps: 0, horizon: 1)
    let scale = Int32(plan.unitsPerOne)
    for rule in rules(plan) {
      var state = TrainingState(plan: plan)
      state.parameters = ParameterVector([1, 2, 3, 4, 5, 6, 7, 8])
      // Each mean gradient is 1 and each penalty w / 2, but for the bias.
      let sum = [Int32](repeating: 4 * scale, count: 8)
      let norm = rule.apply(sum, scale: plan.firstScale, examples: 4, learningRate: 0, to: &state)
      let gradients: [Float] = [1.5, 2, 2.5, 3, 3.5, 4, 1, 1]
      #expect(norm == Double(gradients.reduce(0) { $0 + $1 * $1 }).squareRoot())
      let directions = gradients.map { kind == .nesterov ? $0.addingProduct(0.9, $0) : $0 }
      #expect(state.parameters.values == zip(1...8, directions).map { Float($0).addingProduct(-0.5, $1) })
      #expect(state.slots.map(\.values) == (kind == .sgd ? [] : [gradients]))
    }
  }

  /// AdamW as well, because its decay is decoupled; Adam itself would divide the penalty by its root.
  @Test(arguments: [Optimizer.Kind.sgd, .adamw])
  func `a zero gradient shrinks the weights by the penalty and leaves the bias alone`(kind: Optimizer.Kind) {
    let plan = plan(Optimizer(kind), l2: 0.25)
    var state = TrainingState(plan: plan)
    for index in 30_720..<30_730 { state.parameters.values[index] = 3 }
    let before = state.parameters.values
    let sum = [Int32](repeating: 0, count: before.count)
    _ = UpdateRule(plan: plan, kernel: .best).apply(
      sum, scale: plan.firstScale, examples: 32, learningRate: 0, to: &state)
    let factor = 1 - 2 * plan.l2 * plan.learningRate.rate(at: 0)
    #expect(zip(state.parameters.values, before).prefix(30_720).allSatisfy { abs($0 - factor * $1) <= abs($1) * 1e-6 })
    #expect(state.parameters.values[30_720...] == before[30_720...])
    #expect(state.slots.allSatisfy { $0.values.allSatisfy { $0 == 0 } })
  }
}

// MARK: - Fractions of a step

extension UpdateRuleTests {
  @Test(arguments: optimizers)
  func `all shards as one fraction are the whole update, bit for bit`(optimizer: Optimizer) {
    let plan = plan(optimizer)
    let rule = UpdateRule(plan: plan, kernel: .best)
    let sum = gradientSum(count: plan.shape.parameterCount, seed: 4)
    var (whole, fraction) = (TrainingState(plan: plan), TrainingState(plan: plan))
    for step in 0..<2 as Range<UInt64> {
      let norm = rule.apply(sum, scale: plan.firstScale, examples: plan.batchSize, learningRate: step, to: &whole)
      #expect(
        rule.apply(sum, scale: plan.firstScale, shards: plan.shardCount, learningRate: step, to: &fraction) == norm)
    }
    #expect(whole == fraction)
  }

  /// Of each shard the same gradient, without a penalty, which would change with the weights.
  @Test(arguments: optimizers)
  func `one shard at a time leads to the state of one whole step`(optimizer: Optimizer) {
    let plan = plan(optimizer, l2: 0)
    let rule = UpdateRule(plan: plan, kernel: .best)
    let shard = gradientSum(count: plan.shape.parameterCount, seed: 6).map { $0 / 8 }
    var whole = TrainingState(plan: plan)
    // As after some steps.
    whole.slots = whole.slots.map { ParameterVector($0.values.indices.map { Float($0 % 7 + 1) }) }
    var parts = whole
    let norm = rule.apply(shard.map { $0 * 4 }, scale: plan.firstScale, learningRate: 5, to: &whole)
    for _ in 0..<plan.shardCount {
      #expect(rule.apply(shard, scale: plan.firstScale, shards: 1, learningRate: 5, to: &parts) == norm)
    }
    for (one, many) in zip(whole.slots, parts.slots) {
      #expect(zip(one.values, many.values).allSatisfy { abs($0 - $1) <= 2e-6 * max(1, abs($0)) })
    }
    if optimizer.kind == .sgd {
      #expect(zip(whole.parameters.values, parts.parameters.values).allSatisfy { abs($0 - $1) < 1e-6 })
    }
  }

  /// The state that a constant gradient leads to in the end: all directions are then the same, whatever the fraction.
  @Test(arguments: optimizers.filter { $0.kind != .adagrad })
  func `under a constant gradient, one shard at a time moves the weights like whole steps`(optimizer: Optimizer) {
    let plan = plan(optimizer, l2: 0)
    let rule = UpdateRule(plan: plan, kernel: .best)
    let shard = [Int32](repeating: Int32(plan.unitsPerOne) * 4, count: plan.shape.parameterCount)
    var state = TrainingState(plan: plan)
    for _ in 0..<200 { _ = rule.apply(shard.map { $0 * 4 }, scale: plan.firstScale, learningRate: 9_999, to: &state) }
    state.parameters = ParameterVector(zeros: shard.count)
    var parts = state
    _ = rule.apply(shard.map { $0 * 4 }, scale: plan.firstScale, learningRate: 9_999, to: &state)
    for _ in 0..<plan.shardCount {
      _ = rule.apply(shard, scale: plan.firstScale, shards: 1, learningRate: 9_999, to: &parts)
    }
    #expect(
      zip(state.parameters.values, parts.parameters.values).allSatisfy { $0 < 0 && abs($0 - $1) < 1e-5 * abs($0) })
  }

  @Test(arguments: [Optimizer.Kind.sgd, .momentum])
  func `one shard at a time shrinks weights and velocity like one whole step`(kind: Optimizer.Kind) {
    let plan = plan(Optimizer(kind), l2: kind == .sgd ? 0.25 : 0)
    let rule = UpdateRule(plan: plan, kernel: .best)
    let zero = [Int32](repeating: 0, count: plan.shape.parameterCount)
    var whole = TrainingState(plan: plan)
    whole.slots = whole.slots.map { _ in whole.parameters }
    var parts = whole
    _ = rule.apply(zero, scale: plan.firstScale, examples: plan.batchSize, learningRate: 0, to: &whole)
    for _ in 0..<plan.shardCount {
      _ = rule.apply(zero, scale: plan.firstScale, shards: 1, learningRate: 0, to: &parts)
    }
    if let velocity = whole.slots.first {
      let same = zip(parts.slots[0].values, velocity.values).allSatisfy { abs($0 - $1) <= 1e-6 * abs($1) }
      #expect(same && parts.slots[0].count == velocity.count)
    } else {
      // (1 − η 2λ / 4)⁴ is 1 − η 2λ up to the square of η 2λ = 0.005.
      let same = zip(parts.parameters.values, whole.parameters.values).allSatisfy { abs($0 - $1) <= 2e-5 * abs($1) }
      #expect(same)
    }
  }
}
