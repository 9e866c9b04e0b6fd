import Diagnostics
import Optimization

extension ResolvedSettings {
  /// The plan of the run over a training set of `exampleCount` examples, validation examples included.
  ///
  /// The horizon of the schedule is that of the epochs, or of `schedule-epochs`, whatever `max-steps` says: a run that is
  /// stopped early and resumed follows the same trajectory as one that was not.
  ///
  /// - Throws: `badConfiguration` where the settings do not fit each other or the training set.
  public func trainingPlan(exampleCount: Int) throws(Failure) -> TrainingPlan {
    // Steps per epoch are only defined for a plan whose shards and batch are valid, so those are checked first, with
    // a schedule that cannot be wrong yet.
    var plan = TrainingPlan(
      exampleCount: exampleCount, batchSize: self.batchSize, shardCount: self.shards, totalSteps: 1
    ) {
      $0.loss = self.loss
      $0.l2 = Float(self.l2)
      $0.seed = self.seed
      $0.initialStandardDeviation = Float(self.initialStandardDeviation)
      $0.learningRate.base = Float(self.learningRate)
      $0.learningRate.warmupSteps = self.warmupSteps
      $0.momentum = Momentum(coefficient: Float(self.momentum), kind: self.momentumKind)
      $0.validationCount = self.validationExamples
      $0.checkpointEvery = self.checkpointEvery
      $0.consistency = self.consistency
    }
    try plan.validate()
    plan.evaluateEvery = self.evaluateEvery ?? plan.stepsPerEpoch
    let lastStep = self.epochs * plan.stepsPerEpoch
    plan.learningRate.schedule = LearningRateSchedule(
      self.schedule, every: self.stepEvery, factor: Float(self.stepFactor))
    plan.learningRate.horizon = horizonEpochs * plan.stepsPerEpoch
    plan.totalSteps = min(lastStep, self.maxSteps ?? lastStep)
    try plan.validate()
    return plan
  }

  /// When the run of `plan` ends before its last step, and what its last step is called.
  public func stoppingRule(for plan: TrainingPlan) -> StoppingRule {
    StoppingRule(
      targetAccuracy: self.targetAccuracy, patience: self.patience, tolerance: self.tolerance,
      gradientNorm: self.gradientNorm,
      stepsAreEpochs: plan.totalSteps == self.epochs * plan.stepsPerEpoch)
  }
}
