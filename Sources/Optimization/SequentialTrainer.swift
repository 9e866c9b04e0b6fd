/// What the server owns, and what a checkpoint must hold to continue at exactly this step. Everything else is a function
/// of the plan, the step and the data.
public struct TrainingState: Sendable, Equatable {
  /// Updates applied so far; the next gradient is that of this step.
  public var step: UInt64
  public var parameters: ParameterVector
  /// v, laid out as the parameters; nil where the plan has no momentum.
  public var velocity: ParameterVector?

  /// The state before the first step.
  /// - Parameter parameters: nil for those that the seed gives.
  public init(plan: TrainingPlan, parameters: ParameterVector? = nil) {
    step = 0
    self.parameters = parameters ?? .initial(plan: plan)
    velocity = plan.momentum.coefficient == 0 ? nil : ParameterVector(zeros: plan.shape.parameterCount)
  }

  public init(step: UInt64, parameters: ParameterVector, velocity: ParameterVector?) {
    self.step = step
    self.parameters = parameters
    self.velocity = velocity
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
    let (step, shards) = (state.step, plan.allShards)
    let minibatch = sum.withUnsafeMutableBufferPointer { sum in
      state.parameters.withUnsafePointer { parameters in
        backend.gradient(
          parameters: parameters, step: step, shards: shards, into: sum.baseAddress.unsafelyUnwrapped)
      }
    }
    sum.withUnsafeBufferPointer { sum in
      update.apply(
        sum.baseAddress.unsafelyUnwrapped, examples: minibatch.examples, learningRate: step, to: &state, norm: &norm)
    }
    state.step += 1
    return StepStatistics(minibatch: minibatch, gradientNorm: norm.value)
  }
}
