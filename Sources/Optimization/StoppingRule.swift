/// Why a run ended. The raw values are what people and scripts see.
public enum StopReason: String, Sendable, CaseIterable {
  /// The epochs asked for are done.
  case epochs
  /// The steps asked for are done.
  case steps
  case targetAccuracy = "target-accuracy"
  /// The validation loss stopped improving.
  case converged
  case gradientNorm = "gradient-norm"
  /// A loss, score or gradient was infinite or not a number.
  case diverged
  /// A person or the system asked for it.
  case stopped
}

/// When a run ends before its last step. Nil, or 0 for `patience`, turns a criterion off.
public struct StoppingRule: Sendable, Equatable {
  /// Validation accuracy, in 0 ... 1, that is enough.
  public var targetAccuracy: Double?
  /// Successive evaluations without improvement after which the run has converged.
  public var patience: Int
  /// The validation loss must fall below the best so far by more than this to count as an improvement; at least 0.
  public var tolerance: Double
  /// ‖g‖₂, penalty included, below which the run has converged.
  public var gradientNorm: Double?
  /// Whether the number of steps was asked for in epochs; decides only how the end of the plan is called.
  public var stepsAreEpochs: Bool

  public init(
    targetAccuracy: Double? = nil, patience: Int = 0, tolerance: Double = 0, gradientNorm: Double? = nil,
    stepsAreEpochs: Bool = false
  ) {
    self.targetAccuracy = targetAccuracy
    self.patience = patience
    self.tolerance = tolerance
    self.gradientNorm = gradientNorm
    self.stepsAreEpochs = stepsAreEpochs
  }

  /// The reason to give when all steps of the plan are done.
  public var endOfPlan: StopReason { stepsAreEpochs ? .epochs : .steps }
}
