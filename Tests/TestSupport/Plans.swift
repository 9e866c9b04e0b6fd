import Optimization

extension TrainingPlan {
  /// A plan of CIFAR-10's shape that passes validation: softmax without penalty and momentum, 4 shards of 2 of 100
  /// examples a step, 10 steps from zero without evaluations and checkpoints. Tests change what they are about.
  public static func fixture(_ change: (inout TrainingPlan) -> Void = { _ in }) -> TrainingPlan {
    TrainingPlan(exampleCount: 100, batchSize: 8, shardCount: 4, totalSteps: 10) {
      $0.validationCount = 20
      change(&$0)
    }
  }

  /// Units of the weights' gradient sums in 1, before the first step.
  public var unitsPerOne: Float { firstScale.unitsPerOne(inBlock: 0) }
}
