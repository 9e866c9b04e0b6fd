import Diagnostics
import Optimization

/// The mean data loss over given examples, as a function of the parameters of a model.
public struct LossOverExamples: Sendable {
  public let shape: ModelShape
  public let loss: Loss
  /// Δ of the hinge losses.
  public let margin: Float
  /// Of the shape.
  public let examples: ExampleTable
  /// Those of `examples` that it is the mean over, at least one.
  public var indices: [UInt32]
  /// [D], in pixel units.
  public let meanImage: [Float]
  public let kernel: KernelVariant

  public init(
    shape: ModelShape, loss: Loss, margin: Float = 1, examples: ExampleTable, indices: [UInt32], meanImage: [Float],
    kernel: KernelVariant
  ) {
    precondition(!indices.isEmpty, "the mean over no examples is not defined")
    (self.shape, self.loss, self.margin, self.examples) = (shape, loss, margin, examples)
    (self.indices, self.meanImage, self.kernel) = (indices, meanImage, kernel)
  }

  /// Loss and accuracy at many parameters, by several threads; the loss is not a number where that of an example is beyond
  /// the kernels (`MinibatchStatistics.isFinite`).
  /// - Parameters:
  ///   - threads: at least 1.
  ///   - completed: called after each evaluation with the number of those done, from any thread.
  ///   - parameters: the index-th of the parameters, [parameterCount]; called once for each, from any thread.
  package func scores(
    at count: Int, threads: Int, completed: @Sendable (Int) -> Void = { _ in },
    parameters: @Sendable (Int) -> ParameterVector
  ) -> [Evaluation.Score] {
    concurrentMap(count, threads: threads, completed: completed, memory: evaluator) { evaluator, index in
      let statistics = parameters(index).withUnsafePointer { [evaluator] parameters in
        evaluator.evaluate(parameters: parameters, indices: indices).statistics
      }
      return Evaluation.Score(
        meanLoss: statistics.isFinite ? statistics.meanLoss : .nan, accuracy: statistics.accuracy)
    }
  }

  /// Loss and accuracy at one vector of parameters.
  public func score(at parameters: ParameterVector) -> Evaluation.Score {
    scores(at: 1, threads: 1) { _ in parameters }[0]
  }

  /// The gradient of the mean loss plus the penalty `l2` Σ W², [parameterCount]: the one that training applies, in units of
  /// its fixed point.
  /// - Throws: `badConfiguration` for more examples than a sum in fixed point can have.
  public func gradient(at parameters: ParameterVector, l2: Float = 0) throws(Failure) -> [Double] {
    let count = indices.count
    // Short chains of float additions are more precise than a long one.
    let shards = (1...min(count, 64)).last { count.isMultiple(of: $0) } ?? 1
    let plan = TrainingPlan(exampleCount: count, batchSize: count, shardCount: shards, totalSteps: 1) {
      ($0.shape, $0.loss, $0.margin, $0.l2) = (shape, loss, margin, l2)
    }
    try plan.validate()
    var trainer = SequentialTrainer(
      plan: plan, examples: examples.selecting(indices), meanImage: meanImage,
      state: TrainingState(plan: plan, parameters: parameters), kernel: kernel)
    return trainer.gradient().gradient
  }
}

/// Weights as CS231n, "Optimization", draws them, `np.random.randn(10, 3073) * 0.0001`: each from N(0, σ²), and the bias
/// among them.
///
/// The lecture multiplies bytes by them, 0 ... 255. A model here has inputs `(pixel − mean) / 127.5`, so its weights are
/// 127.5 times the drawn ones, and scores and losses are those of the lecture up to the mean image.
public struct RandomWeights: Sendable {
  private let shape: ModelShape
  private let standardDeviation: Double
  private let generator: Philox4x64

  /// - Parameters:
  ///   - shape: of a linear classifier.
  ///   - standardDeviation: σ, at least 0.
  public init(shape: ModelShape, standardDeviation: Double, seed: UInt64) {
    precondition(shape.isLinear, "the lecture draws the weights of a linear classifier")
    (self.shape, self.standardDeviation) = (shape, standardDeviation)
    generator = Philox4x64(seed: seed, stream: .randomWeights)
  }

  /// The index-th of independent draws, [parameterCount].
  public func draw(_ index: Int) -> ParameterVector {
    let first = UInt64(index) * UInt64(shape.parameterCount)
    let weight = standardDeviation * Double(ExampleTable.pixelScale)
    let bias = shape.layers[0].bias
    return ParameterVector(
      (0..<shape.parameterCount).map { element in
        Float((element < bias.lowerBound ? weight : standardDeviation) * generator.normal(at: first + UInt64(element)))
      })
  }
}
