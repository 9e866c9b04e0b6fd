import Diagnostics

/// Everything that decides the trajectory of W, given the bytes of the data set. Two runs with equal plans and equal
/// data have the same bits under `bsp`, whatever the number of workers.
public struct TrainingPlan: Sendable, Equatable {
  public var shape = ModelShape.cifar10
  public var preprocessing = Preprocessing.meanImage
  public var loss = Loss.softmaxCrossEntropy
  /// Δ of the hinge losses, at least 0: by how much the score of the label must exceed each other one.
  public var margin: Float = 1
  /// What the objective makes of the losses of a minibatch. The losses that are shown and compared are means either way.
  public var reduction = Reduction.mean
  /// The share of hidden units that a training step leaves out, in 0 ..< 1; evaluation leaves out none.
  public var dropout: Float = 0
  /// λ₂ of the penalty λ₂ Σ w² + λ₁ Σ |w| over the weights, not the bias. At least 0.
  public var l2: Float = 0
  /// λ₁ of the same penalty. At least 0.
  public var l1: Float = 0
  /// c: each update ends with the projection of every unit's weights onto ‖w‖₂ ≤ c. 0 for no limit.
  public var maxNorm: Float = 0
  /// B, the examples of one step over all workers; a multiple of `shardCount`.
  public var batchSize: Int
  /// S, the shards the training examples are cut into, in 1 ... `ShardSet.capacity`; not the number of workers.
  public var shardCount: Int
  public var seed: UInt64 = 1
  public var initialization = Initialization.normal
  /// σ of the initial weights where `initialization` is `normal`, at least 0.
  public var initialStandardDeviation: Float = 0
  public var learningRate: LearningRate
  public var optimizer = Optimizer(.sgd)
  /// Examples in the training files, before the validation split.
  public var exampleCount: Int
  /// Of these, the examples that are held out and never trained on.
  public var validationCount = 0
  /// Where they begin in the order that the seed gives the examples: 0, or further on for a fold of a cross-validation.
  public var validationStart = 0
  /// At least 1.
  public var totalSteps: UInt64
  /// Steps between two evaluations on the validation examples; 0 = only at the end.
  public var evaluateEvery: UInt64 = 0
  /// Steps between two checkpoints; 0 = only at the end.
  public var checkpointEvery: UInt64 = 0
  public var consistency = ConsistencyModel.bsp(backup: 0)

  /// The plainest plan of these sizes (softmax, weights from zero, a constant learning rate of 1, no penalty, plain SGD,
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

  /// Of the examples that are held out, in the order that the seed gives all of them.
  public var validationPositions: Range<Int> { validationStart..<(validationStart + validationCount) }

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

  /// All S shards.
  public var allShards: ShardSet { ShardSet(range: 0..<shardCount) }

  /// Whether the scale of gradient sums is a constant with which no sum overflows.
  public var hasProvenScale: Bool { shape.isLinear && loss.largestScoreDerivative(classes: shape.classes) != nil }

  /// The scale of the first step: the largest power of two with which no sum of B examples can overflow. An element of
  /// one example's gradient is at most `dmax · 2`: |∂L/∂s| ≤ dmax, and |x| ≤ 2 because x = (pixel − mean) / 127.5.
  /// Where there is no dmax it is a guess, as if 1 were one.
  public var firstScale: FixedPointScale {
    var scale = FixedPointScale()
    for block in 0..<shape.blockCount { scale.exponents[block] = Int8(min(max(fixedPointBits, 0), 100)) }
    return scale
  }

  private var fixedPointBits: Int {
    let largestSum =
      Double(batchSize) * (loss.largestScoreDerivative(classes: shape.classes) ?? 1) * 2
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
    try require(
      shape.hidden.count <= ModelShape.maximumHiddenLayers, "number of hidden layers", shape.hidden.count,
      "at most \(ModelShape.maximumHiddenLayers)")
    for units in shape.hidden {
      try require((1...1_048_576).contains(units), "number of hidden units", units, "1 to 1048576")
    }
    try require(
      shape.parameterCount <= ModelShape.maximumParameterCount, "number of parameters", shape.parameterCount,
      "at most \(ModelShape.maximumParameterCount)")
    if let parameter = shape.activation.parameter {
      try require(
        parameter.isFinite && parameter >= 0, "parameter of \(shape.activation.settingName)", parameter,
        "finite and at least 0")
    }
    try require((0..<1).contains(dropout), "dropout", dropout, "at least 0, below 1")
    try require(dropout == 0 || !shape.isLinear, "dropout", dropout, "0 where there is no hidden layer")
    for (name, value) in [("margin", margin), ("l2", l2), ("l1", l1), ("max-norm", maxNorm)] {
      try require(value.isFinite && value >= 0, name, value, "finite and at least 0")
    }
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
    for hyperparameter in optimizer.kind.hyperparameters {
      let (value, range) = (optimizer[hyperparameter], hyperparameter.range)
      try require(
        range.contains(value), hyperparameter.settingName, value,
        "at least \(range.lowerBound), below \(range.upperBound)")
    }
    try require(totalSteps >= 1, "number of steps", totalSteps, "at least 1")
  }

  private func validateSizes() throws(Failure) {
    try require(
      (1...Int(UInt32.max)).contains(exampleCount), "number of examples", exampleCount, "1 to \(UInt32.max)")
    try require(
      (0..<exampleCount).contains(validationCount), "validation-examples", validationCount,
      "0 to \(exampleCount - 1) (the data set has \(exampleCount) examples)")
    try require(
      (0...(exampleCount - validationCount)).contains(validationStart), "start of the validation examples",
      validationStart, "0 to \(exampleCount - validationCount)")
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
