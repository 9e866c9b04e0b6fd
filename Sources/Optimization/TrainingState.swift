/// What the server owns and a checkpoint must hold to go on at this very step; everything else is a function of the
/// plan, the step and the data.
public struct TrainingState: Sendable, Equatable {
  /// Updates applied so far; the next gradient is that of this step.
  public var step: UInt64
  public var parameters: ParameterVector
  /// v, laid out as the parameters; nil where the plan has no momentum.
  public var velocity: ParameterVector?

  /// The state before the first step.
  public init(plan: TrainingPlan) {
    step = 0
    parameters = .initial(plan: plan)
    velocity = plan.momentum.coefficient == 0 ? nil : ParameterVector(zeros: plan.shape.parameterCount)
  }

  public init(step: UInt64, parameters: ParameterVector, velocity: ParameterVector?) {
    self.step = step
    self.parameters = parameters
    self.velocity = velocity
  }
}
