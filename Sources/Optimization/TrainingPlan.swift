import Diagnostics

/// Everything that decides the trajectory of W, given the bytes of the data set. Two runs with equal plans and equal
/// data have the same bits under `bsp`, whatever the number of workers.
public struct TrainingPlan: Sendable, Equatable {
  public var shape = ModelShape.cifar10
  public var loss = Loss.softmaxCrossEntropy
  /// λ of the penalty λ Σ w² over the weights, not the bias; its gradient is 2 λ w. At least 0.
  public var l2: Float = 0
  /// B, the examples of one step over all workers; a multiple of `shardCount`.
  public var batchSize: Int
  /// S, the shards the training examples are cut into, in 1 ... `ShardSet.capacity`; not the number of workers.
  public var shardCount: Int
  public var seed: UInt64 = 1
  /// σ of the initial weights, at least 0; the bias starts at zero.
  public var initialStandardDeviation: Float = 0
  public var learningRate: LearningRate
  public var momentum = Momentum.off
  /// Examples in the training files, before the validation split.
  public var exampleCount: Int
  /// Of these, the examples that are held out and never trained on.
  public var validationCount = 0
  /// At least 1.
  public var totalSteps: UInt64
  /// Steps between two evaluations on the validation examples; 0 = only at the end.
  public var evaluateEvery: UInt64 = 0
  /// Steps between two checkpoints; 0 = only at the end.
  public var checkpointEvery: UInt64 = 0
  public var consistency = ConsistencyModel.bsp(backup: 0)

  /// The plainest plan of these sizes (softmax, weights from zero, a constant learning rate of 1, no penalty, no momentum,
  /// `bsp`), with what `change` makes different.
  public init(
    exampleCount: Int, batchSize: Int, shardCount: Int, totalSteps: UInt64,
    _ change: (inout TrainingPlan) -> Void = { _ in }
  ) {
    self.exampleCount = exampleCount
    self.batchSize = batchSize
    self.shardCount = shardCount
    self.totalSteps = totalSteps
    learningRate = LearningRate(base: 1, schedule: .constant, warmupSteps: 0, horizon: totalSteps)
    change(&self)
  }

  /// b = B / S, the examples each shard gives to a step.
  public var examplesPerShard: Int { batchSize / shardCount }

  /// Training examples in the smallest shard; the largest has at most one more.
  public var smallestShard: Int { (exampleCount - validationCount) / shardCount }

  /// Steps per epoch, after which every shard is shuffled again: ⌊smallest shard / b⌋. The remainder of a shard is not used
  /// in this epoch.
  public var stepsPerEpoch: UInt64 { UInt64(smallestShard / examplesPerShard) }

  /// Whether the weights after `step` steps are evaluated.
  public func isEvaluationStep(_ step: UInt64) -> Bool { evaluateEvery > 0 && step % evaluateEvery == 0 }

  /// Whether the state after `step` steps is saved.
  public func isCheckpointStep(_ step: UInt64) -> Bool { checkpointEvery > 0 && step % checkpointEvery == 0 }

  /// λ Σ w² over the weights, not the bias.
  /// - Parameter parameters: [parameterCount].
  public func penalty(of parameters: UnsafePointer<Float>) -> Double {
    let squares = shape.blocks.filter(\.isRegularized).map { block in
      block.range.reduce(0.0) { $0 + Double(parameters[$1]) * Double(parameters[$1]) }
    }
    return Double(l2) * squares.reduce(0, +)
  }

  /// All S shards.
  public var allShards: ShardSet { ShardSet(range: 0..<shardCount) }

  /// The units in one of an Int32 gradient sum: the largest power of two with which no sum of B examples can
  /// overflow. An element of one example's gradient is at most `dmax · 2`: |∂L/∂s| ≤ dmax, and |x| ≤ 2 because
  /// x = (pixel − mean) / 127.5.
  public var fixedPointScale: Float { Float(UInt64(1) << UInt64(max(fixedPointBits, 0))) }

  private var fixedPointBits: Int {
    let largestSum = Double(batchSize) * Double(loss.largestScoreDerivative(classes: shape.classes)) * 2
    return Int((Double(Int32.max) / largestSum).exponent)
  }
}

extension TrainingPlan {
  /// Fractional bits a gradient sum must keep at least: below that the rounding would show in the weights.
  static let leastFixedPointBits = 8

  /// Checks every field and their agreement. A plan that passed needs no further checks.
  /// - Throws: `badConfiguration`, naming the setting, its value and what is allowed.
  public func validate() throws(Failure) {
    try validateModel()
    try validateOptimizer()
    try validateSizes()
    try validateConsistency()
  }

  private func validateModel() throws(Failure) {
    try require((2...256).contains(shape.classes), "number of classes", shape.classes, "2 to 256 (a label is one byte)")
    try require((1...1_048_576).contains(shape.pixels), "number of pixel values", shape.pixels, "1 to 1048576")
    try require(l2.isFinite && l2 >= 0, "l2", l2, "finite and at least 0")
    try require(
      initialStandardDeviation.isFinite && initialStandardDeviation >= 0, "initial-standard-deviation",
      initialStandardDeviation, "finite and at least 0")
  }

  private func validateOptimizer() throws(Failure) {
    let rate = learningRate
    try require(rate.base.isFinite && rate.base > 0, "learning-rate", rate.base, "finite and above 0")
    if case .step(let every, let factor) = rate.schedule {
      try require(every >= 1, "step-every", every, "at least 1")
      try require(factor > 0 && factor <= 1, "step-factor", factor, "above 0, at most 1")
    }
    if rate.schedule == .cosine {
      try require(
        rate.horizon > rate.warmupSteps, "warmup-steps", rate.warmupSteps,
        "less than the \(rate.horizon) steps of the cosine schedule")
    }
    try require((0..<1).contains(momentum.coefficient), "momentum", momentum.coefficient, "at least 0, below 1")
    try require(totalSteps >= 1, "number of steps", totalSteps, "at least 1")
  }

  private func validateSizes() throws(Failure) {
    try require(
      (1...Int(UInt32.max)).contains(exampleCount), "number of examples", exampleCount, "1 to \(UInt32.max)")
    try require(
      (0..<exampleCount).contains(validationCount), "validation-examples", validationCount,
      "0 to \(exampleCount - 1) (the data set has \(exampleCount) examples)")
    try require((1...ShardSet.capacity).contains(shardCount), "shards", shardCount, "1 to \(ShardSet.capacity)")
    try require(
      (shardCount...max(shardCount, exampleCount)).contains(batchSize), "batch-size", batchSize,
      "\(shardCount) to \(exampleCount) (at least one example of each of the \(shardCount) shards)")
    let multipleBelow = batchSize / shardCount * shardCount
    try require(
      batchSize == multipleBelow, "batch-size", batchSize,
      "a multiple of the \(shardCount) shards, such as \(multipleBelow) or \(multipleBelow + shardCount)")
    try require(
      fixedPointBits >= Self.leastFixedPointBits, "batch-size", batchSize, "small enough for gradient sums of 32 bits")
    try require(
      examplesPerShard <= smallestShard, "batch-size", batchSize,
      "at most \(smallestShard * shardCount) (the smallest of \(shardCount) shards has \(smallestShard) examples)")
  }

  private func validateConsistency() throws(Failure) {
    switch consistency {
    case .bsp(let backup):
      try require(
        (0..<shardCount).contains(backup), "number of backup shards", backup, "less than the \(shardCount) shards")
    case .ssp(let bound):
      try require(bound >= 0, "staleness bound of ssp", bound, "at least 0")
    case .asp:
      break
    }
  }

  private func require(
    _ condition: Bool, _ setting: String, _ value: some CustomStringConvertible, _ allowed: String
  ) throws(Failure) {
    guard condition else { throw Failure(.badConfiguration, "\(setting) must be \(allowed), but is \(value)") }
  }
}
