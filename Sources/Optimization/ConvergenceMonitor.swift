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
  /// A signal to the command, to the coordinator, or to the server alone.
  case signal
  /// A data file was changed during the run, or could not be read any more.
  case data
  /// The server was lost, and no other one connected in time.
  case serverLost = "server-lost"
  /// No server connected in time.
  case noServer = "no-server"
  /// No worker connected in time, or all were lost and no other one connected.
  case noWorker = "no-worker"
  /// A checkpoint or a record of the run could not be written.
  case inputOutput = "input-output"
  /// Another coordinator has taken over the run directory: said by the one that lost it, to people alone.
  case takenOver = "taken-over"
  /// The process ended without a word: SIGKILL, a crash or a power cut. Said by those that find the run afterwards.
  case killed
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

/// What a run remembers of its evaluations to tell when to stop. A value: saved with the checkpoint, it continues from
/// there.
public struct ConvergenceMonitor: Sendable, Equatable {
  /// Smallest mean validation loss that counted as an improvement; infinite before the first evaluation.
  public var bestValidationLoss: Double
  public var evaluationsWithoutImprovement: Int
  /// Of the newest evaluation; nil before the first, and without validation examples.
  public var newestAccuracy: Double?
  /// ‖g‖₂ at the newest evaluation; nil before the first.
  public var newestGradientNorm: Double?

  public init(
    bestValidationLoss: Double = .infinity, evaluationsWithoutImprovement: Int = 0, newestAccuracy: Double? = nil,
    newestGradientNorm: Double? = nil
  ) {
    self.bestValidationLoss = bestValidationLoss
    self.evaluationsWithoutImprovement = evaluationsWithoutImprovement
    self.newestAccuracy = newestAccuracy
    self.newestGradientNorm = newestGradientNorm
  }

  /// Records one evaluation. Of several criteria met at once the first of this order is the reason:
  /// 1. `diverged`: the validation loss or the gradient norm is not finite; nothing is recorded then;
  /// 2. `targetAccuracy`: the validation accuracy is at least the target;
  /// 3. `gradientNorm`: the norm is below the bound;
  /// 4. `converged`: this is the `patience`-th evaluation in a row whose loss did not fall by more than the tolerance.
  ///
  /// Without validation examples only the gradient norm is looked at.
  /// - Parameter gradientNorm: ‖g‖₂ of the newest step, penalty included.
  public mutating func observe(
    validation: Evaluation, gradientNorm: Double, rule: StoppingRule
  ) -> StopReason? {
    guard gradientNorm.isFinite, validation.statistics.isFinite else { return .diverged }
    if validation.statistics.examples > 0 {
      let isImprovement = validation.score.meanLoss < bestValidationLoss - rule.tolerance
      evaluationsWithoutImprovement = isImprovement ? 0 : evaluationsWithoutImprovement + 1
      if isImprovement { bestValidationLoss = validation.score.meanLoss }
    }
    newestAccuracy = validation.statistics.examples > 0 ? validation.score.accuracy : nil
    newestGradientNorm = gradientNorm
    return verdict(under: rule)
  }

  /// What the rule says to the newest evaluation. A run that was killed between its decision and its result
  /// comes to the same decision when it is resumed, instead of training past it.
  public func verdict(under rule: StoppingRule) -> StopReason? {
    if let target = rule.targetAccuracy, let newestAccuracy, newestAccuracy >= target { return .targetAccuracy }
    if let bound = rule.gradientNorm, let newestGradientNorm, newestGradientNorm < bound { return .gradientNorm }
    if rule.patience > 0, evaluationsWithoutImprovement >= rule.patience { return .converged }
    return nil
  }
}
