import CKernels

/// Turns a summed gradient into new parameters: stochastic gradient descent with L2 on the weights and, as the plan
/// says, momentum (CS231n, "Neural Networks Part 3").
///
/// `g = q / (fixedPointScale · examples) + 2 λ w`, where the bias has no penalty; then
/// - without momentum `w ← w − η g`,
/// - Polyak `v ← μ v + g`, `w ← w − η v`,
/// - Nesterov `v ← μ v + g`, `w ← w − η (g + μ v)`.
public struct UpdateRule: Sendable {
  private let plan: TrainingPlan
  /// A constant of the program, found once by name.
  nonisolated(unsafe) private let kernel: OpaquePointer
  /// The kernels are compiled for one shape; a model of another one is updated by plain Swift, with the same bits.
  private let isPlain: Bool

  public init(plan: TrainingPlan, kernel: KernelVariant) {
    self.init(plan: plan, kernel: kernel, isPlain: plan.shape != .cifar10)
  }

  package init(plan: TrainingPlan, kernel: KernelVariant, isPlain: Bool) {
    self.plan = plan
    self.isPlain = isPlain
    self.kernel = kernel.functions
  }

  /// Applies one whole step's gradient. Leaves `state.step` as it is.
  /// - Parameters:
  ///   - sum: int32 [parameterCount] at any alignment, as `KernelBackend` gives it, summed over shards.
  ///   - addend: the rest of the sum, if it came in two parts.
  ///   - examples: how many examples went into it, at least 1: B, or fewer where backup shards were dropped.
  ///   - step: the step whose learning rate applies.
  ///   - copy: [parameterCount], set to the new parameters on the way.
  /// - Returns: ‖g‖₂ of the mean gradient, penalty included.
  public func apply(
    _ sum: UnsafeRawPointer, adding addend: UnsafeRawPointer? = nil, examples: Int, learningRate step: UInt64,
    to state: inout TrainingState, copy: UnsafeMutablePointer<Float>? = nil
  ) -> Double {
    update(
      Sum(sum, addend), examples: examples, decay: 2 * plan.l2, momentum: plan.momentum.coefficient,
      learningRateStep: step, state: &state, copy)
  }

  /// Applies the gradient of some of a step's shards, f = `shards` / S of the whole: the data's part is that of a
  /// whole minibatch (divided by B), so decay and momentum are scaled to the same fraction, 2 λ f and μ^f, and S
  /// fractions together shrink weights and velocity like one step. Leaves `state.step` as it is.
  /// - Returns: ‖g‖₂ of this part.
  public func applyFraction(
    _ sum: UnsafeRawPointer, shards: Int, learningRateStep: UInt64, to state: inout TrainingState,
    copy: UnsafeMutablePointer<Float>? = nil
  ) -> Double {
    let fraction = Double(shards) / Double(plan.shardCount)
    let momentum = Double(plan.momentum.coefficient)
    let partialMomentum =
      momentum == 0 ? 0 : ElementaryFunctions.exponential(fraction * ElementaryFunctions.logarithm(momentum))
    return update(
      Sum(sum, nil), examples: plan.batchSize, decay: Float(2 * Double(plan.l2) * fraction),
      momentum: shards == plan.shardCount ? plan.momentum.coefficient : Float(partialMomentum),
      learningRateStep: learningRateStep, state: &state, copy)
  }

  private typealias Sum = (UnsafeRawPointer, addend: UnsafeRawPointer?)

  private func update(
    _ sum: Sum, examples: Int, decay: Float, momentum: Float, learningRateStep: UInt64, state: inout TrainingState,
    _ copy: UnsafeMutablePointer<Float>?
  ) -> Double {
    var update = descent_update(
      gradient_scale: Float(1 / (Double(plan.fixedPointScale) * Double(examples))), decay: decay,
      learning_rate: plan.learningRate.rate(at: learningRateStep), momentum: momentum, kind: momentumKind)
    if isPlain {
      let squaredNorm = applyPlainly(update, sum, to: &state)
      if let copy { state.parameters.withUnsafePointer { copy.update(from: $0, count: state.parameters.count) } }
      return squaredNorm.squareRoot()
    }
    guard plan.momentum.coefficient != 0 else {
      return state.parameters.withUnsafeMutablePointer { parameters in
        descent_apply(kernel, &update, sum.0, sum.addend, parameters, nil, copy)
      }.squareRoot()
    }
    // Taken out while it is written to: the state then holds no second reference, so nothing is copied.
    guard var velocity = state.velocity.take() else { preconditionFailure("momentum needs a velocity") }
    precondition(velocity.count == state.parameters.count, "the velocity has the layout of the parameters")
    let squaredNorm = state.parameters.withUnsafeMutablePointer { parameters in
      velocity.withUnsafeMutablePointer { velocity in
        descent_apply(kernel, &update, sum.0, sum.addend, parameters, velocity, copy)
      }
    }
    state.velocity = velocity
    return squaredNorm.squareRoot()
  }

  /// What the kernels compute, in the same order and so with the same bits, for a model of any shape.
  /// - Returns: ‖g‖₂².
  private func applyPlainly(
    _ update: descent_update, _ sum: Sum, to state: inout TrainingState
  ) -> Double {
    var squares = [Double](repeating: 0, count: Self.lanes)
    for block in plan.shape.blocks {
      let decay = block.isRegularized ? update.decay : 0
      for index in block.range {
        let weight = state.parameters.values[index]
        let gradient = (Float(Self.element(index, of: sum)) * update.gradient_scale).addingProduct(decay, weight)
        var direction = gradient
        if var velocity = state.velocity?.values[index] {
          velocity = gradient.addingProduct(update.momentum, velocity)
          state.velocity?.values[index] = velocity
          direction =
            plan.momentum.kind == .nesterov ? gradient.addingProduct(update.momentum, velocity) : velocity
        }
        state.parameters.values[index] = weight.addingProduct(-update.learning_rate, direction)
        squares[(index - block.offset) % Self.lanes] += Double(gradient) * Double(gradient)
      }
    }
    while squares.count > 1 {
      squares = (0..<squares.count / 2).map { squares[$0] + squares[squares.count / 2 + $0] }
    }
    return squares[0]
  }

  private static func element(_ index: Int, of sum: Sum) -> Int32 {
    let offset = index * MemoryLayout<Int32>.stride
    let first = sum.0.loadUnaligned(fromByteOffset: offset, as: Int32.self)
    return first &+ (sum.addend?.loadUnaligned(fromByteOffset: offset, as: Int32.self) ?? 0)
  }

  /// Sums of squares that the kernels keep side by side.
  private static let lanes = 16

  private var momentumKind: descent_momentum {
    guard plan.momentum.coefficient != 0 else { return DESCENT_MOMENTUM_NONE }
    return switch plan.momentum.kind {
    case .polyak: DESCENT_MOMENTUM_POLYAK
    case .nesterov: DESCENT_MOMENTUM_NESTEROV
    }
  }
}
