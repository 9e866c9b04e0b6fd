import CKernels

/// Which of the two classical momentum updates is made. The raw values are part of the wire format, and those of the
/// kernels' `descent_momentum`.
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

  /// Applies the gradient of one step, or of some of its shards. Leaves `state.step` as it is.
  ///
  /// Of some shards, f = `shards` / S of the whole, the data's part is that of a whole minibatch (divided by B), so decay
  /// and momentum are scaled to the same fraction, 2 λ f and μ^f, and S fractions together shrink weights and velocity
  /// like one step.
  /// - Parameters:
  ///   - sum: int32 [range] at any alignment, as `KernelBackend` gives it, summed over shards.
  ///   - addend: the rest of the sum, if it came in two parts.
  ///   - examples: what the sum is divided by, at least 1: fewer than B where backup shards were dropped; nil for B.
  ///   - shards: how many of the step's shards it is the gradient of, in 1 ... S; nil for a whole step.
  ///   - step: the step whose learning rate applies.
  ///   - state: Float32 [range] each, the parameters and, with momentum, their velocity.
  ///   - norm: of the range, set to that of this gradient, penalty included.
  ///   - copy: [range], set to the new parameters on the way.
  public func apply(
    _ sum: UnsafeRawPointer, adding addend: UnsafeRawPointer? = nil, examples: Int? = nil, shards: Int? = nil,
    learningRate step: UInt64, to state: inout TrainingState, norm: inout GradientNorm,
    copy: UnsafeMutablePointer<Float>? = nil
  ) {
    let momentum = plan.momentum.coefficient
    var update = descent_update(
      gradient_scale: Float(1 / (Double(plan.fixedPointScale) * Double(examples ?? plan.batchSize))),
      decay: 2 * plan.l2,
      learning_rate: plan.learningRate.rate(at: step), momentum: momentum,
      kind: momentum == 0 ? DESCENT_MOMENTUM_NONE : descent_momentum(UInt32(plan.momentum.kind.rawValue)))
    if let shards, shards < plan.shardCount {
      let fraction = Double(shards) / Double(plan.shardCount)
      update.decay = Float(2 * Double(plan.l2) * fraction)
      if momentum != 0 {
        update.momentum = Float(
          ElementaryFunctions.exponential(fraction * ElementaryFunctions.logarithm(Double(momentum))))
      }
    }
    precondition(state.parameters.count == range.count, "the state is that of the range")
    if usesGenericPath {
      applyGenerically(update, sum, addend, to: &state, &norm.squares)
      if let copy { state.parameters.withUnsafePointer { copy.update(from: $0, count: state.parameters.count) } }
      return
    }
    // Taken out while it is written to: the state then holds no second reference, so nothing is copied.
    var velocity = state.velocity.take()
    precondition((velocity == nil) == (momentum == 0), "momentum needs a velocity")
    precondition(velocity?.count ?? range.count == range.count, "the velocity has the layout of the parameters")
    state.parameters.withUnsafeMutablePointer { parameters in
      norm.squares.withUnsafeMutableBufferPointer { squares in
        func apply(_ velocity: UnsafeMutablePointer<Float>?) {
          kernel.pointee.apply(
            &update, range.lowerBound, range.count, sum, addend, parameters, velocity, copy, squares.baseAddress)
        }
        if velocity == nil { apply(nil) } else { velocity?.withUnsafeMutablePointer { apply($0) } }
      }
    }
    state.velocity = velocity
  }

  /// What the kernels compute, in the same order and so with the same bits, for a model of any shape.
  private func applyGenerically(
    _ update: descent_update, _ sum: UnsafeRawPointer, _ addend: UnsafeRawPointer?, to state: inout TrainingState,
    _ squares: inout [Double]
  ) {
    func element(_ index: Int, of sum: UnsafeRawPointer) -> Int32 {
      sum.loadUnaligned(fromByteOffset: index * MemoryLayout<Int32>.stride, as: Int32.self)
    }
    for lane in squares.indices { squares[lane] = 0 }
    for block in plan.shape.blocks where block.range.overlaps(range) {
      let decay = block.isRegularized ? update.decay : 0
      for parameter in block.range.clamped(to: range) {
        let index = parameter - range.lowerBound
        let weight = state.parameters.values[index]
        let total = element(index, of: sum) &+ (addend.map { element(index, of: $0) } ?? 0)
        let gradient = (Float(total) * update.gradient_scale).addingProduct(decay, weight)
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
}
