import Diagnostics

/// Everything that decides the trajectory of W, given the bytes of the data set. Two runs with equal plans and equal
/// data have the same bits under `bsp`, whatever the number of workers.
public struct TrainingPlan: Sendable, Equatable {
  public var shape: ModelShape
  public var loss: Loss
  /// λ of the penalty λ Σ w² over the weights, not the bias; its gradient is 2 λ w. At least 0.
  public var l2: Float
  /// B, the examples of one step over all workers; a multiple of `shardCount`.
  public var batchSize: Int
  /// S, the shards the training examples are cut into, in 1 ... `ShardSet.capacity`; not the number of workers.
  public var shardCount: Int
  public var seed: UInt64
  /// σ of the initial weights, at least 0; the bias starts at zero.
  public var initialStandardDeviation: Float
  public var learningRate: LearningRate
  public var momentum: Momentum
  /// Examples in the training files, before the validation split.
  public var exampleCount: Int
  /// Of these, the examples that are held out and never trained on.
  public var validationCount: Int
  /// At least 1.
  public var totalSteps: UInt64
  /// Steps between two evaluations on the validation examples; 0 = only at the end.
  public var evaluateEvery: UInt64
  /// Steps between two checkpoints; 0 = only at the end.
  public var checkpointEvery: UInt64
  public var consistency: ConsistencyModel

  public init(
    shape: ModelShape, loss: Loss, l2: Float, batchSize: Int, shardCount: Int, seed: UInt64,
    initialStandardDeviation: Float, learningRate: LearningRate, momentum: Momentum, exampleCount: Int,
    validationCount: Int, totalSteps: UInt64, evaluateEvery: UInt64, checkpointEvery: UInt64,
    consistency: ConsistencyModel
  ) {
    self.shape = shape
    self.loss = loss
    self.l2 = l2
    self.batchSize = batchSize
    self.shardCount = shardCount
    self.seed = seed
    self.initialStandardDeviation = initialStandardDeviation
    self.learningRate = learningRate
    self.momentum = momentum
    self.exampleCount = exampleCount
    self.validationCount = validationCount
    self.totalSteps = totalSteps
    self.evaluateEvery = evaluateEvery
    self.checkpointEvery = checkpointEvery
    self.consistency = consistency
  }

  /// b = B / S, the examples each shard gives to a step.
  public var examplesPerShard: Int { batchSize / shardCount }

  /// Training examples in the smallest shard; the largest has at most one more.
  public var smallestShard: Int { (exampleCount - validationCount) / shardCount }

  /// Steps until every shard starts anew: ⌊smallest shard / b⌋. What is left over of a shard waits for the next
  /// epoch's order.
  public var stepsPerEpoch: UInt64 { UInt64(smallestShard / examplesPerShard) }

  /// Whether the weights after `step` steps are evaluated.
  public func isEvaluationStep(_ step: UInt64) -> Bool { evaluateEvery > 0 && step % evaluateEvery == 0 }

  /// Whether the state after `step` steps is saved.
  public func isCheckpointStep(_ step: UInt64) -> Bool { checkpointEvery > 0 && step % checkpointEvery == 0 }

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

  /// Checks every field and their agreement. Whoever holds a plan that passed may compute with it without checking.
  /// - Throws: `badConfiguration`, naming the setting, what was found and what is allowed.
  public func validate() throws(Failure) {
    try validateModel()
    try validateOptimizer()
    try validateExamples()
    try validateBatch()
    try validateConsistency()
  }

  private func validateModel() throws(Failure) {
    try require(
      (2...256).contains(shape.classes), "number of classes", shape.classes, "2 to 256, as a label is one byte")
    try require((1...1_048_576).contains(shape.pixels), "number of pixel values", shape.pixels, "1 to 1048576")
    try require(l2.isFinite && l2 >= 0, "l2", l2, "a finite number, at least 0")
    try require(
      initialStandardDeviation.isFinite && initialStandardDeviation >= 0, "initial-standard-deviation",
      initialStandardDeviation, "a finite number, at least 0")
  }

  private func validateOptimizer() throws(Failure) {
    let rate = learningRate
    try require(rate.base.isFinite && rate.base > 0, "learning-rate", rate.base, "a finite number above 0")
    if case .step(let every, let factor) = rate.schedule {
      try require(every >= 1, "steps between two falls of the learning rate", every, "at least 1")
      try require(factor > 0 && factor <= 1, "factor of the step schedule", factor, "above 0, at most 1")
    }
    if rate.schedule == .cosine {
      try require(
        rate.horizon > rate.warmupSteps, "warmup-steps", rate.warmupSteps,
        "fewer than the \(rate.horizon) steps after which cosine reaches zero")
    }
    try require((0..<1).contains(momentum.coefficient), "momentum", momentum.coefficient, "at least 0, below 1")
    try require(totalSteps >= 1, "number of steps", totalSteps, "at least 1")
  }

  private func validateExamples() throws(Failure) {
    try require(
      (1...Int(UInt32.max)).contains(exampleCount), "number of examples", exampleCount, "1 to \(UInt32.max)")
    try require(
      (0..<exampleCount).contains(validationCount), "validation examples", validationCount,
      "0 to \(exampleCount - 1), as at least one of \(exampleCount) must be left to train on")
  }

  private func validateBatch() throws(Failure) {
    try require(
      (1...ShardSet.capacity).contains(shardCount), "shards", shardCount, "1 to \(ShardSet.capacity)")
    try require(
      (shardCount...max(shardCount, exampleCount)).contains(batchSize), "batch-size", batchSize,
      "\(shardCount) to \(exampleCount): at least one example of each of the \(shardCount) shards")
    let multipleBelow = batchSize / shardCount * shardCount
    try require(
      batchSize == multipleBelow, "batch-size", batchSize,
      "a multiple of the \(shardCount) shards, such as \(multipleBelow) or \(multipleBelow + shardCount)")
    try require(
      fixedPointBits >= Self.leastFixedPointBits, "batch-size", batchSize,
      "few enough examples for a gradient sum of 32 bits")
    try require(
      examplesPerShard <= smallestShard, "batch-size", batchSize,
      "at most \(smallestShard * shardCount), as the smallest of \(shardCount) shards has \(smallestShard) examples")
  }

  private func validateConsistency() throws(Failure) {
    switch consistency {
    case .bsp(let backup):
      try require(
        (0..<shardCount).contains(backup), "consistency", consistency,
        "fewer backup shards than the \(shardCount) shards there are")
    case .ssp(let bound):
      try require(bound >= 0, "consistency", consistency, "a staleness of at least 0")
    case .asp:
      break
    }
  }

  private func require(
    _ condition: Bool, _ setting: String, _ found: some CustomStringConvertible, _ expected: String
  ) throws(Failure) {
    guard condition else {
      throw Failure(.badConfiguration, "\(setting) is out of range", found: found.description, expected: expected)
    }
  }
}
