/// What one step reports.
public struct StepStatistics: Sendable, Equatable {
  public var minibatch: MinibatchStatistics
  /// ‖g‖₂ of the gradient that was applied, penalty included.
  public var gradientNorm: Double

  public init(minibatch: MinibatchStatistics, gradientNorm: Double) {
    self.minibatch = minibatch
    self.gradientNorm = gradientNorm
  }
}

/// Minibatch stochastic gradient descent, the whole of it, in one thread. Under `bsp` every cluster must end with
/// the bits of this loop. It has no one to wait for, so `ssp` and `asp` mean the same to it as `bsp`.
public struct SequentialTrainer {
  public private(set) var state: TrainingState

  private let plan: TrainingPlan
  private let kernel: GradientKernel
  private let update: UpdateRule
  private var sum: [Int32]

  /// - Parameters:
  ///   - plan: one that passed `validate()`.
  ///   - meanImage: [D], in pixel units.
  ///   - state: where to go on; `TrainingState(plan:)` to begin.
  public init(plan: TrainingPlan, examples: ExampleTable, meanImage: [Float], state: TrainingState) {
    self.plan = plan
    self.state = state
    kernel = GradientKernel(plan: plan, examples: examples, meanImage: meanImage)
    update = UpdateRule(plan: plan)
    sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
  }

  /// Draws the minibatch of this step, computes its gradient and applies it.
  public mutating func step() -> StepStatistics {
    let (step, shards) = (state.step, plan.allShards)
    let minibatch = sum.withUnsafeMutableBufferPointer { sum in
      state.parameters.withUnsafePointer { parameters in
        kernel.gradient(
          parameters: parameters, step: step, shards: shards, into: sum.baseAddress.unsafelyUnwrapped)
      }
    }
    let norm = sum.withUnsafeBufferPointer { sum in
      update.apply(
        sum.baseAddress.unsafelyUnwrapped, examples: minibatch.examples, learningRate: step, to: &state)
    }
    state.step += 1
    return StepStatistics(minibatch: minibatch, gradientNorm: norm)
  }
}
