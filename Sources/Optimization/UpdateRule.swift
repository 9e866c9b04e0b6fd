import CKernels

/// Which of the two classical momentum updates is made. The raw values are part of the wire format.
public enum MomentumKind: UInt8, Sendable, CaseIterable {
  /// `v ← μ v + g; w ← w − η v` (Polyak 1964, in the form PyTorch uses).
  case polyak = 1
  /// `v ← μ v + g; w ← w − η (g + μ v)` (Nesterov 1983, in the form of Sutskever et al. 2013 that PyTorch uses).
  case nesterov = 2
}

/// Momentum of the update; the velocity v starts at zero and has the layout of the parameters.
public struct Momentum: Sendable, Equatable {
  /// μ, in 0 ..< 1. At 0 there is no velocity and the update is `w ← w − η g`.
  public var coefficient: Float
  public var kind: MomentumKind

  public static let off = Momentum(coefficient: 0, kind: .polyak)

  public init(coefficient: Float, kind: MomentumKind) {
    self.coefficient = coefficient
    self.kind = kind
  }
}

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
  nonisolated(unsafe) private let kernel: UnsafePointer<descent_kernel>
  /// The kernels are compiled for one shape; a model of another one is updated by plain Swift, with the same bits.
  private let usesGenericPath: Bool
  /// The parameters that it updates.
  private let range: Range<Int>

  /// - Parameters:
  ///   - range: a part of the flat vector of parameters, nil for all: from a chunk of `GradientNorm` to another or to the
  ///     end. Sums, states and copies are those of the range, and each element gets the bits of an update of all.
  ///   - usesGenericPath: true for plain Swift even where there are kernels for the shape of the plan.
  public init(plan: TrainingPlan, range: Range<Int>? = nil, kernel: KernelVariant, usesGenericPath: Bool = false) {
    let all = 0..<plan.shape.parameterCount
    let range = range ?? all
    precondition(
      range.lowerBound % GradientNorm.chunk == 0 && range.clamped(to: all) == range
        && (range.upperBound % GradientNorm.chunk == 0 || range.upperBound == all.upperBound),
      "a range of parameters consists of chunks")
    self.plan = plan
    self.range = range
    self.usesGenericPath = usesGenericPath || plan.shape != .cifar10
    self.kernel = kernel.functions
  }

  /// Applies one whole step's gradient. Leaves `state.step` as it is.
  /// - Parameters:
  ///   - sum: int32 [range] at any alignment, as `KernelBackend` gives it, summed over shards.
  ///   - addend: the rest of the sum, if it came in two parts.
  ///   - examples: how many examples went into it, at least 1: B, or fewer where backup shards were dropped.
  ///   - step: the step whose learning rate applies.
  ///   - state: Float32 [range] each, the parameters and, with momentum, their velocity.
  ///   - norm: of the range, set to that of the mean gradient, penalty included.
  ///   - copy: [range], set to the new parameters on the way.
  public func apply(
    _ sum: UnsafeRawPointer, adding addend: UnsafeRawPointer? = nil, examples: Int, learningRate step: UInt64,
    to state: inout TrainingState, norm: inout GradientNorm, copy: UnsafeMutablePointer<Float>? = nil
  ) {
    update(
      Sum(sum, addend), examples: examples, decay: 2 * plan.l2, momentum: plan.momentum.coefficient,
      learningRateStep: step, state: &state, norm: &norm, copy)
  }

  /// Applies the gradient of some of a step's shards, f = `shards` / S of the whole: the data's part is that of a
  /// whole minibatch (divided by B), so decay and momentum are scaled to the same fraction, 2 λ f and μ^f, and S
  /// fractions together shrink weights and velocity like one step. Leaves `state.step` as it is.
  /// - Parameters:
  ///   - sum: int32 [range] at any alignment, as `KernelBackend` gives it, summed over these shards.
  ///   - shards: how many, in 1 ... S.
  ///   - learningRateStep: the step whose learning rate applies.
  ///   - state: Float32 [range] each, the parameters and, with momentum, their velocity.
  ///   - norm: of the range, set to that of this part.
  ///   - copy: [range], set to the new parameters on the way.
  public func applyFraction(
    _ sum: UnsafeRawPointer, shards: Int, learningRateStep: UInt64, to state: inout TrainingState,
    norm: inout GradientNorm, copy: UnsafeMutablePointer<Float>? = nil
  ) {
    let fraction = Double(shards) / Double(plan.shardCount)
    let momentum = Double(plan.momentum.coefficient)
    let partialMomentum =
      momentum == 0 ? 0 : ElementaryFunctions.exponential(fraction * ElementaryFunctions.logarithm(momentum))
    update(
      Sum(sum, nil), examples: plan.batchSize, decay: Float(2 * Double(plan.l2) * fraction),
      momentum: shards == plan.shardCount ? plan.momentum.coefficient : Float(partialMomentum),
      learningRateStep: learningRateStep, state: &state, norm: &norm, copy)
  }

  private typealias Sum = (UnsafeRawPointer, addend: UnsafeRawPointer?)

  private func update(
    _ sum: Sum, examples: Int, decay: Float, momentum: Float, learningRateStep: UInt64, state: inout TrainingState,
    norm: inout GradientNorm, _ copy: UnsafeMutablePointer<Float>?
  ) {
    var update = descent_update(
      gradient_scale: Float(1 / (Double(plan.fixedPointScale) * Double(examples))), decay: decay,
      learning_rate: plan.learningRate.rate(at: learningRateStep), momentum: momentum, kind: momentumKind)
    precondition(state.parameters.count == range.count, "the state is that of the range")
    if usesGenericPath {
      applyGenerically(update, sum, to: &state, &norm.squares)
      if let copy { state.parameters.withUnsafePointer { copy.update(from: $0, count: state.parameters.count) } }
      return
    }
    // Taken out while it is written to: the state then holds no second reference, so nothing is copied.
    var velocity = state.velocity.take()
    precondition((velocity == nil) == (plan.momentum.coefficient == 0), "momentum needs a velocity")
    precondition(velocity?.count ?? range.count == range.count, "the velocity has the layout of the parameters")
    state.parameters.withUnsafeMutablePointer { parameters in
      norm.squares.withUnsafeMutableBufferPointer { squares in
        func apply(_ velocity: UnsafeMutablePointer<Float>?) {
          kernel.pointee.apply(
            &update, range.lowerBound, range.count, sum.0, sum.addend, parameters, velocity, copy,
            squares.baseAddress)
        }
        if velocity == nil { apply(nil) } else { velocity?.withUnsafeMutablePointer { apply($0) } }
      }
    }
    state.velocity = velocity
  }

  /// What the kernels compute, in the same order and so with the same bits, for a model of any shape.
  private func applyGenerically(
    _ update: descent_update, _ sum: Sum, to state: inout TrainingState, _ squares: inout [Double]
  ) {
    for lane in squares.indices { squares[lane] = 0 }
    for block in plan.shape.blocks where block.range.overlaps(range) {
      let decay = block.isRegularized ? update.decay : 0
      for parameter in block.range.clamped(to: range) {
        let index = parameter - range.lowerBound
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
        let lane = index / GradientNorm.chunk * GradientNorm.lanes + index % GradientNorm.lanes
        squares[lane] += Double(gradient) * Double(gradient)
      }
    }
  }

  private static func element(_ index: Int, of sum: Sum) -> Int32 {
    let offset = index * MemoryLayout<Int32>.stride
    let first = sum.0.loadUnaligned(fromByteOffset: offset, as: Int32.self)
    return first &+ (sum.addend?.loadUnaligned(fromByteOffset: offset, as: Int32.self) ?? 0)
  }

  private var momentumKind: descent_momentum {
    guard plan.momentum.coefficient != 0 else { return DESCENT_MOMENTUM_NONE }
    return switch plan.momentum.kind {
    case .polyak: DESCENT_MOMENTUM_POLYAK
    case .nesterov: DESCENT_MOMENTUM_NESTEROV
    }
  }
}
