/// What the server owns, and what a checkpoint must hold to continue at exactly this step. Everything else is a function
/// of the plan, the step and the data.
public struct TrainingState: Sendable, Equatable {
  /// Updates applied so far; the next gradient is that of this step.
  public var step: UInt64
  public var parameters: ParameterVector
  /// The optimizer's state: the vectors that `Optimizer.Kind.slotNames` lists, each laid out as the parameters.
  public var slots: [ParameterVector]
  /// Of the next gradient's sum.
  public var scale: FixedPointScale

  /// The state before the first step.
  /// - Parameter parameters: nil for those that the seed gives.
  public init(plan: TrainingPlan, parameters: ParameterVector? = nil) {
    step = 0
    self.parameters = parameters ?? .initial(plan: plan)
    slots = plan.optimizer.kind.slotNames.map { _ in ParameterVector(zeros: plan.shape.parameterCount) }
    scale = plan.firstScale
  }

  public init(step: UInt64, parameters: ParameterVector, slots: [ParameterVector], scale: FixedPointScale) {
    self.scale = scale
    self.step = step
    self.parameters = parameters
    self.slots = slots
  }
}

/// What one step reports.
public struct StepStatistics: Sendable, Equatable {
  public var minibatch: MinibatchStatistics
  /// ‖g‖₂ of the gradient that was applied, penalty included.
  public var gradientNorm: Double
}

/// Minibatch stochastic gradient descent, the whole of it, in one thread. Under `bsp` every cluster must end with
/// the bits of this loop. It never waits, so `ssp` and `asp` mean the same to it as `bsp`.
public struct SequentialTrainer {
  public private(set) var state: TrainingState

  private let plan: TrainingPlan
  private let backend: any GradientBackend
  private let update: UpdateRule
  private var sum: [Int32]
  private var norm: GradientNorm

  /// - Parameters:
  ///   - plan: one that passed `validate()`.
  ///   - backend: computes the gradients of that plan.
  ///   - state: where to continue; `TrainingState(plan:)` to begin.
  public init(plan: TrainingPlan, backend: any GradientBackend, state: TrainingState, kernel: KernelVariant) {
    self.plan = plan
    self.backend = backend
    self.state = state
    update = UpdateRule(plan: plan, kernel: kernel)
    sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
    norm = GradientNorm(of: 0..<plan.shape.parameterCount)
  }

  /// A trainer on the gradients of the data.
  /// - Parameter meanImage: [D], in pixel units.
  public init(
    plan: TrainingPlan, examples: ExampleTable, meanImage: [Float], state: TrainingState, kernel: KernelVariant
  ) {
    self.init(
      plan: plan,
      backend: KernelBackend(plan: plan, examples: examples, meanImage: meanImage, kernel: kernel),
      state: state, kernel: kernel)
  }

  /// Computes the gradient of this step's minibatch and applies it.
  public mutating func step() -> StepStatistics {
    let minibatch = computeSum()
    sum.withUnsafeBufferPointer { sum in
      update.apply(
        sum.baseAddress.unsafelyUnwrapped, scale: state.scale, examples: minibatch.examples, learningRate: state.step,
        to: &state, norm: &norm)
    }
    state.step += 1
    state.scale = plan.scale(after: state.scale, minibatch.peaks)
    return StepStatistics(minibatch: minibatch, gradientNorm: norm.value)
  }

  /// The gradient of the objective at the state, penalty included, over the minibatch of its step: what `step` would apply.
  /// Leaves the state as it is but for the scale.
  public mutating func gradient() -> (minibatch: MinibatchStatistics, gradient: [Double]) {
    let minibatch = computeSum()
    var gradient = sum.map(Double.init)
    for (index, block) in plan.shape.blocks.enumerated() {
      let unit = 1 / (Double(state.scale.unitsPerOne(inBlock: index)) * plan.divisor(examples: minibatch.examples))
      for element in block.range {
        let penalty = block.isRegularized ? plan.penaltyDerivative(at: Double(state.parameters.values[element])) : 0
        gradient[element] = gradient[element] * unit + penalty
      }
    }
    return (minibatch, gradient)
  }

  /// Sets the scale of the state to one with which the sum counts.
  private mutating func computeSum() -> MinibatchStatistics {
    while true {
      var minibatch = sum.withUnsafeMutableBufferPointer { [state, backend, shards = plan.allShards] sum in
        state.parameters.withUnsafePointer { parameters in
          backend.gradient(
            parameters: parameters, step: state.step, shards: shards, scale: state.scale,
            into: sum.baseAddress.unsafelyUnwrapped)
        }
      }
      if plan.overflows(at: state.scale, minibatch.peaks) { minibatch.isFinite = false }
      guard minibatch.isFinite, let corrected = plan.correction(of: state.scale, for: minibatch.peaks) else {
        return minibatch
      }
      state.scale = corrected
    }
  }
}
