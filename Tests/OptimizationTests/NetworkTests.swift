import Foundation
import Optimization
import TestSupport
import Testing

/// The reference trainer for networks, beside two other witnesses: central differences and the computational graph.
@Suite struct NetworkTests {
  /// Twelve inputs of 7 values in 5 classes, and weights of size one, so that units and losses differ.
  struct Problem {
    var plan: TrainingPlan
    let minibatch: [ReferenceTrainer.Example]
    let parameters: [Double]

    init(hidden: [Int], _ activation: Activation, _ change: (inout TrainingPlan) -> Void = { _ in }) {
      plan = makePlan()
      plan.shape = ModelShape(classes: 5, pixels: 7, hidden: hidden, activation: activation)
      change(&plan)
      let generator = Philox4x64(seed: 12, stream: .gradientCheck)
      minibatch = (0..<12).map { example in
        let x = (0..<7).map { generator.normal(at: UInt64(100 + example * 7 + $0)) }
        return ReferenceTrainer.Example(x: x, y: example % 5, index: UInt32(40 + example))
      }
      parameters = (0..<plan.shape.parameterCount).map { 0.7 * generator.normal(at: UInt64(1_000 + $0)) }
    }
  }

  static let shapes = [[], [6], [6, 4], [3, 1, 8]]

  /// Every loss with every shape and activation, half of them with dropout, a penalty, another margin and the sum.
  static let combinations: [(Loss, [Int], Activation)] = Loss.allCases.flatMap { loss in
    shapes.flatMap { hidden in Activation.all.prefix(hidden.isEmpty ? 1 : .max).map { (loss, hidden, $0) } }
  }

  @Test(arguments: combinations)
  func `analytic gradient, central differences and gates agree`(loss: Loss, hidden: [Int], activation: Activation) {
    for isPlain in [true, false] {
      let problem = Problem(hidden: hidden, activation) {
        $0.loss = loss
        guard !isPlain else { return }
        ($0.l2, $0.margin, $0.reduction, $0.dropout) = (0.1, 0.3, .sum, hidden.isEmpty ? 0 : 0.3)
      }
      let reference = ReferenceTrainer(plan: problem.plan)
      let step: UInt64? = isPlain ? nil : 5
      let (value, gradient) = reference.lossAndGradient(problem.minibatch, at: problem.parameters, step: step)
      let gates = reference.objectiveAndGradientByGates(problem.minibatch, at: problem.parameters, step: step)
      let objective = value + reference.penalty(at: problem.parameters)
      #expect(abs(objective - gates.objective) < 1e-12 * max(1, objective))
      let size = gradient.map(abs).max() ?? .nan
      #expect(zip(gradient, gates.gradient).allSatisfy { abs($0 - $1) < 1e-12 * size })

      let checks = GradientCheck.compare(
        analytic: gradient, reference: reference, minibatch: problem.minibatch, parameters: problem.parameters,
        coordinatesPerBlock: .max, seed: 0, step: step, smallestMagnitude: 1e-3 * size)
      #expect(checks.map(\.block) == problem.plan.shape.blocks)
      for check in checks {
        // Twice a rounding of the loss near 1e-16 of its size, over 2e-5.
        #expect(check.largestRelativeError < 1e-6, "\(check.block.name) \(isPlain)")
        #expect(check.checked + check.skippedAtKinks == check.block.range.count)
        #expect(check.checked > check.skippedAtKinks)
        if loss != .hinge, hidden.isEmpty || !activation.hasKink { #expect(check.skippedAtKinks == 0) }
      }
    }
  }

  @Test
  func `without an activation two layers are one: W₂ W₁ and W₂ b₁ + b₂`() {
    let problem = Problem(hidden: [6], .identity)
    let (w, layers) = (problem.parameters, problem.plan.shape.layers)
    var one = problem.plan
    one.shape = ModelShape(classes: 5, pixels: 7)
    var product = [Double](repeating: 0, count: one.shape.parameterCount)
    for k in 0..<5 {
      for unit in 0..<6 {
        let second = w[layers[1].weight.lowerBound + k * 6 + unit]
        for j in 0..<7 { product[k * 7 + j] += second * w[unit * 7 + j] }
        product[35 + k] += second * w[layers[0].bias.lowerBound + unit]
      }
      product[35 + k] += w[layers[1].bias.lowerBound + k]
    }
    for example in problem.minibatch {
      let two = ReferenceTrainer(plan: problem.plan).scores(of: example.x, at: w)
      let linear = ReferenceTrainer(plan: one).scores(of: example.x, at: product)
      #expect(zip(two, linear).allSatisfy { abs($0 - $1) < 1e-13 })
    }
  }

  @Test
  func `a two-layer network by hand: max(0, W₁ x + b₁), then W₂ h + b₂`() {
    var plan = makePlan()
    plan.shape = ModelShape(classes: 2, pixels: 2, hidden: [2], activation: .relu)
    plan.loss = .squaredError
    // W₁ = (1 −1; 2 0), b₁ = (0, −1), W₂ = (1 2; −1 1), b₂ = (0, 1)
    let w: [Double] = [1, -1, 2, 0, 0, -1, 1, 2, -1, 1, 0, 1]
    let trainer = ReferenceTrainer(plan: plan)
    // x = (1, 2): z = (−1, 1), h = (0, 1), s = (2, 2).
    #expect(trainer.scores(of: [1, 2], at: w) == [2, 2])
    let (loss, gradient) = trainer.lossAndGradient([.init(x: [1, 2], y: 1)], at: w)
    // Against (0, 1): 4 + 1; ds = (4, 2); dW₂ = ds hᵀ; dh = W₂ᵀ ds = (2, 10), of which the first unit is off.
    #expect(loss == 5)
    let penalty = w.indices.map { $0 < 4 || (6..<10).contains($0) ? 2 * Double(plan.l2) * w[$0] : 0 }
    let data: [Double] = [0, 0, 10, 20, 0, 10, 0, 4, 0, 2, 4, 2]
    #expect(zip(gradient, zip(data, penalty)).allSatisfy { abs($0 - $1.0 - $1.1) < 1e-12 })
  }

  @Test
  func `R(W) of (1, 0, 0, 0) is 1 and of (¼, ¼, ¼, ¼) is ¼, biases and inputs being what they may`() {
    // The lecture's example of two weight vectors with the same score: L2 prefers the spread one.
    var plan = makePlan()
    plan.l2 = 1
    plan.shape = ModelShape(classes: 2, pixels: 4)
    let trainer = ReferenceTrainer(plan: plan)
    let (first, second) = ([1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25])
    let rest: [Double] = [0, 0, 0, 0, 17, -4]
    let scores = [first, second].map { trainer.scores(of: [1, 1, 1, 1], at: $0 + rest)[0] }
    #expect(scores[0] == scores[1])
    #expect(trainer.penalty(at: first + rest) == 1)
    #expect(trainer.penalty(at: second + rest) == 0.25)
  }

  @Test
  func `a hidden unit at its kink is left out for every coordinate that moves it, and counted by block`() {
    var plan = makePlan()
    plan.shape = ModelShape(classes: 2, pixels: 1, hidden: [2], activation: .relu)
    // The first unit's z is 1 · 1 − 1 = 0, the second's 3.
    let parameters: [Double] = [1, 3, -1, 0, 1, 2, -1, 1, 0, 0]
    let reference = ReferenceTrainer(plan: plan)
    let minibatch = [ReferenceTrainer.Example(x: [1], y: 1)]
    let checks = GradientCheck.compare(
      analytic: reference.lossAndGradient(minibatch, at: parameters).gradient, reference: reference,
      minibatch: minibatch, parameters: parameters, coordinatesPerBlock: 10, seed: 0)
    #expect(checks.map(\.block.name) == ["0.weight", "0.bias", "2.weight", "2.bias"])
    #expect(checks.map(\.skippedAtKinks) == [1, 1, 0, 0])
    #expect(checks.map(\.checked) == [1, 1, 4, 2])
    #expect(checks.allSatisfy { $0.largestRelativeError < 1e-6 })
  }

  @Test
  func `skipped coordinates are made up for by others`() {
    // Five units of ten at their kinks: whichever coordinates the seed chooses, five are compared.
    var plan = makePlan()
    plan.shape = ModelShape(classes: 2, pixels: 1, hidden: [10], activation: .relu)
    var parameters = (0..<plan.shape.parameterCount).map { Double($0 % 7) / 4 - 0.6 }
    for unit in 0..<10 { parameters[unit] = unit < 5 ? 0 : Double(unit) }
    for unit in 0..<10 { parameters[10 + unit] = 0 }
    let checks = GradientCheck.compare(
      analytic: ReferenceTrainer(plan: plan).lossAndGradient([.init(x: [1], y: 0)], at: parameters).gradient,
      reference: ReferenceTrainer(plan: plan), minibatch: [.init(x: [1], y: 0)], parameters: parameters,
      coordinatesPerBlock: 5, seed: 3)
    #expect(checks[0].checked == 5)
    #expect(checks[0].skippedAtKinks <= 5)
  }

  @Test
  func `a dropout mask depends on seed, step, example, layer and unit, and is as frequent as it should be`() {
    var plan = makePlan()
    plan.shape = ModelShape(classes: 2, pixels: 3, hidden: [50])
    plan.dropout = 0.25
    func mask(_ plan: TrainingPlan, _ step: UInt64 = 3, _ example: UInt32 = 9, _ layer: Int = 0) -> [Bool] {
      (0..<50).map { DropoutMask(plan: plan).keeps(step: step, example: example, layer: layer, unit: $0) }
    }
    var other = plan
    other.seed += 1
    let masks = [mask(plan), mask(other), mask(plan, 4), mask(plan, 3, 10), mask(plan, 3, 9, 1)]
    #expect(Set(masks).count == masks.count)
    #expect(mask(plan) == masks[0])
    let all = (0..<400).flatMap { mask(plan, UInt64($0)) }
    let left = Double(all.count { !$0 }) / Double(all.count)
    // Four standard deviations of 20,000 draws.
    #expect(abs(left - 0.25) < 0.0125)
    #expect(DropoutMask(plan: plan).factor == Float(4.0 / 3))
    plan.dropout = 0
    #expect(mask(plan).allSatisfy { $0 })
  }

  @Test
  func `a step has the dropout masks of its number, and an evaluation none`() {
    let problem = Problem(hidden: [6, 4], .tanh) { $0.dropout = 0.5 }
    let trainer = ReferenceTrainer(plan: problem.plan)
    func gradient(_ step: UInt64?) -> [Double] {
      trainer.lossAndGradient(problem.minibatch, at: problem.parameters, step: step).gradient
    }
    #expect(gradient(0) != gradient(1))
    #expect(gradient(0) == gradient(0))
    #expect(gradient(nil) != gradient(0))
    var plain = problem.plan
    plain.dropout = 0
    let without = ReferenceTrainer(plan: plain).lossAndGradient(problem.minibatch, at: problem.parameters, step: 0)
    #expect(gradient(nil) == without.gradient)
  }

  @Test
  func `the mean is the sum divided by N, and a step reports the mean of either`() {
    let mean = Problem(hidden: [6], .relu) { $0.l2 = 0 }
    let sum = Problem(hidden: [6], .relu) { ($0.l2, $0.reduction) = (0, .sum) }
    let results = [mean, sum].map {
      ReferenceTrainer(plan: $0.plan).lossAndGradient($0.minibatch, at: $0.parameters)
    }
    #expect(abs(results[1].loss - 12 * results[0].loss) < 1e-12)
    #expect(zip(results[1].gradient, results[0].gradient).allSatisfy { abs($0 - 12 * $1) < 1e-12 })
    var trainers = [mean, sum].map { ReferenceTrainer(plan: $0.plan) }
    let steps = (trainers[0].step(mean.minibatch), trainers[1].step(sum.minibatch))
    #expect(abs(steps.0.loss - steps.1.loss) < 1e-14)
    #expect(abs(steps.1.gradientNorm - 12 * steps.0.gradientNorm) < 1e-12)
  }
}
