import Optimization
import TestSupport
import Testing

@Suite struct RegularizationTests {
  /// One row of four weights for each of two classes, and two biases.
  private func plan(_ change: (inout TrainingPlan) -> Void) -> TrainingPlan {
    TrainingPlan.fixture {
      $0.shape = ModelShape(classes: 2, pixels: 4)
      change(&$0)
    }
  }

  private func penalty(_ weights: [Float], _ change: (inout TrainingPlan) -> Void) -> Double {
    // The biases would count if they were not left out.
    (weights + [0, 0, 0, 0] + [100, -100]).withUnsafeBufferPointer { plan(change).penalty(of: $0.baseAddress!) }
  }

  /// CS231n, lecture 3: both have the score 1 for x = (1, 1, 1, 1). L2 prefers the weights that are spread out; L1 sees no
  /// difference.
  @Test func `R of (1, 0, 0, 0) and of four quarters`() {
    let (one, spread): ([Float], [Float]) = ([1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25])
    #expect(penalty(one) { $0.l2 = 1 } == 1)
    #expect(penalty(spread) { $0.l2 = 1 } == 0.25)
    #expect(penalty(one) { $0.l1 = 1 } == 1)
    #expect(penalty(spread) { $0.l1 = 1 } == 1)
    // Elastic net, λ Σ (β w² + |w|) with λ = ½ and β = 2.
    #expect(penalty(one) { ($0.l1, $0.l2) = (0.5, 1) } == 1.5)
    #expect(penalty(spread) { ($0.l1, $0.l2) = (0.5, 1) } == 0.75)
    #expect(penalty([-1, 0, 0, 0]) { ($0.l1, $0.l2) = (0.5, 1) } == 1.5)
  }

  @Test func `the derivative is that of central differences, and zero at zero`() {
    let plan = plan { ($0.l1, $0.l2) = (0.5, 0.25) }
    for w in [-2, -0.125, 0.25, 3] as [Float] {
      func value(_ w: Float) -> Double { penalty([w, 0, 0, 0]) { ($0.l1, $0.l2) = (0.5, 0.25) } }
      let difference = (value(w + 0x1p-10) - value(w - 0x1p-10)) / 0x1p-9
      #expect(abs(plan.penaltyDerivative(at: Double(w)) - difference) < 1e-12)
    }
    #expect(plan.penaltyDerivative(at: 0) == 0)
  }

  @Test func `a zero gradient moves each weight toward zero by the strength of L1, and none that is zero`() {
    let plan = plan { ($0.l1, $0.learningRate.base) = (0.5, 0.25) }
    for isGeneric in [false, true] {
      var state = TrainingState(
        plan: plan, parameters: ParameterVector([1, -1, 0, 0.5, -0.5, 2, -2, -0.0, 3, -3]))
      _ = UpdateRule(plan: plan, kernel: .best, usesGenericPath: isGeneric).apply(
        [Int32](repeating: 0, count: 10), scale: plan.firstScale, learningRate: 0, to: &state)
      #expect(state.parameters.values == [0.875, -0.875, 0, 0.375, -0.375, 1.875, -1.875, 0, 3, -3])
    }
  }

  @Test func `a row with a larger norm is scaled to the limit, others and the bias are left alone`() {
    let plan = plan { $0.maxNorm = 2.5 }
    for isGeneric in [false, true] {
      // Of norms 5 and 2.5.
      var state = TrainingState(plan: plan, parameters: ParameterVector([3, 0, -4, 0, 1.5, 0, 0, 2, 30, -40]))
      _ = UpdateRule(plan: plan, kernel: .best, usesGenericPath: isGeneric).apply(
        [Int32](repeating: 0, count: 10), scale: plan.firstScale, learningRate: 0, to: &state)
      #expect(state.parameters.values == [1.5, 0, -2, 0, 1.5, 0, 0, 2, 30, -40])
    }
    var w: [Double] = [3, 0, -4, 0, 1.5, 0, 0, 2, 30, -40]
    plan.limitNorms(of: &w)
    #expect(w == [1.5, 0, -2, 0, 1.5, 0, 0, 2, 30, -40])
  }

  @Test func `each unit of each layer has a norm of its own`() {
    let plan = TrainingPlan.fixture {
      $0.shape = ModelShape(classes: 2, pixels: 40, hidden: [3])
      $0.maxNorm = 1
    }
    var state = TrainingState(
      plan: plan, parameters: ParameterVector((0..<plan.shape.parameterCount).map { Float($0 + 1) }))
    _ = UpdateRule(plan: plan, kernel: .best).apply(
      [Int32](repeating: 0, count: plan.shape.parameterCount), scale: plan.firstScale, learningRate: 0, to: &state)
    for block in plan.shape.blocks {
      let values = state.parameters.values[block.range]
      guard block.isRegularized else {
        #expect(Array(values) == block.range.map { Float($0 + 1) })
        continue
      }
      for row in stride(from: block.range.lowerBound, to: block.range.upperBound, by: block.rowLength) {
        let norm = values[row..<row + block.rowLength].reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        #expect(abs(norm - 1) < 1e-6)
      }
    }
  }

  @Test func `weights that are not finite stay so`() {
    let plan = plan { $0.maxNorm = 1 }
    for isGeneric in [false, true] {
      var state = TrainingState(
        plan: plan, parameters: ParameterVector([.nan, 1, 1, 1, .infinity, 1, 1, 1, 0, 0]))
      _ = UpdateRule(plan: plan, kernel: .best, usesGenericPath: isGeneric).apply(
        [Int32](repeating: 0, count: 10), scale: plan.firstScale, learningRate: 0, to: &state)
      #expect(state.parameters.values[0].isNaN && state.parameters.values[4].isNaN)
    }
  }
}
