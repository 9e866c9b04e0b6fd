import Diagnostics
import Optimization

extension ResolvedSettings {
  /// The plan of the run over a training set of `exampleCount` examples, validation examples included.
  ///
  /// The horizon of the schedule is that of the epochs, whatever `max-steps` says: a run that is stopped early and
  /// resumed follows the same trajectory as one that was not.
  ///
  /// - Throws: `badConfiguration` where the settings do not fit each other or the training set.
  public func trainingPlan(exampleCount: Int) throws(Failure) -> TrainingPlan {
    // Steps per epoch is only defined for a plan whose shards and batch are in order, so that is checked first, with
    // a schedule that cannot be wrong yet.
    var plan = TrainingPlan(
      shape: .cifar10, loss: loss, l2: l2, batchSize: batchSize, shardCount: shards, seed: seed,
      initialStandardDeviation: initialStandardDeviation,
      learningRate: LearningRate(base: learningRate, schedule: .constant, warmupSteps: warmupSteps, horizon: 1),
      momentum: momentum, exampleCount: exampleCount, validationCount: validationExamples, totalSteps: 1,
      evaluateEvery: evaluateEvery, checkpointEvery: checkpointEvery, consistency: consistency)
    try plan.validate()
    let horizon = epochs * plan.stepsPerEpoch
    plan.learningRate.schedule = schedule
    plan.learningRate.horizon = horizon
    plan.totalSteps = min(horizon, maxSteps ?? horizon)
    try plan.validate()
    return plan
  }

  /// When the run of `plan` ends before its last step, and what its last step is called.
  public func stoppingRule(for plan: TrainingPlan) -> StoppingRule {
    StoppingRule(
      targetAccuracy: targetAccuracy, patience: patience, tolerance: tolerance, gradientNorm: gradientNorm,
      stepsAreEpochs: plan.totalSteps == plan.learningRate.horizon)
  }
}
