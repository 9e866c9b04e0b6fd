import Optimization

extension TrainingPlan {
  /// A plan of CIFAR-10's shape that passes validation: softmax without penalty and momentum, 4 shards of 2 of 100
  /// examples a step, 10 steps from zero without evaluations and checkpoints. Tests change what they are about.
  public static func fixture(_ change: (inout TrainingPlan) -> Void = { _ in }) -> TrainingPlan {
    var plan = TrainingPlan(
      shape: .cifar10, loss: .softmaxCrossEntropy, l2: 0, batchSize: 8, shardCount: 4, seed: 1,
      initialStandardDeviation: 0,
      learningRate: LearningRate(base: 1, schedule: .constant, warmupSteps: 0, horizon: 10), momentum: .off,
      exampleCount: 100, validationCount: 20, totalSteps: 10, evaluateEvery: 0, checkpointEvery: 0,
      consistency: .bsp(backup: 0))
    change(&plan)
    return plan
  }
}
