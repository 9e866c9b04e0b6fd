import Diagnostics
import Optimization
import Synchronization

/// Strategy 3 of CS231n, "Optimization": follow the gradient, that of all examples or of minibatches of any size, from the
/// same weights, with the examples in the same order, and a learning rate by the same rule.
public struct FollowSlope: Sendable {
  /// The model after some steps.
  public struct Measurement: Sendable, Equatable {
    public let steps: UInt64
    /// Steps times the batch size: of an example that was seen in two epochs, both count.
    public let examples: UInt64
    /// On all training examples, and on the validation examples; a loss is not a number where that of an example is beyond
    /// the kernels.
    public let training: Evaluation.Score
    public let validation: Evaluation.Score
  }

  /// A descent with one batch size.
  public struct Curve: Sendable, Equatable {
    /// The batch size.
    public let batchSize: Int
    public let learningRate: Double
    /// In the order of the steps, the first before any.
    public let measurements: [Measurement]

    /// The first after at least so many examples; nil if the first step has more, or if there is none.
    public func measurement(after examples: UInt64) -> Measurement? {
      examples < batchSize ? nil : measurements.first { $0.examples >= examples }
    }
  }

  public let loss: Loss
  /// λ of λ Σ W².
  public let l2: Float
  public let seed: UInt64
  public let trainingExamples: Int
  public let validationExamples: Int
  /// η = min(`learningRate`, `ratePerExample` · batch size).
  public let learningRate: Double
  public let ratePerExample: Double
  public let epochs: UInt64
  /// In the order of the batch sizes that were given.
  public let curves: [Curve]

  /// - Parameters:
  ///   - plan: shape, loss, penalty, seed and split of the descents, with one shard and at least one validation example;
  ///     batch size, rate and steps are set here.
  ///   - batchSizes: each 1 to the number of training examples.
  ///   - learningRate: η of large batches.
  ///   - ratePerExample: η of small batches, over the batch size.
  ///   - epochs: examples that every descent sees, over the number of training examples; at least 1.
  ///   - threads: at least 1; the result does not depend on it.
  ///   - completed: called with the number of examples that all descents have seen, from any thread.
  /// - Throws: `badConfiguration` for a batch that is too large.
  public init(
    plan: TrainingPlan, examples: ExampleTable, meanImage: [Float], kernel: KernelVariant, batchSizes: [Int],
    learningRate: Double, ratePerExample: Double, epochs: UInt64, threads: Int,
    completed: @Sendable (Int) -> Void = { _ in }
  ) throws(Failure) {
    precondition(plan.shardCount == 1 && plan.validationCount > 0, "one shard, and validation examples")
    let split = DataSplit(plan: plan)
    let trainingExamples = split.training.count
    let marks = Self.marks(trainingExamples: trainingExamples, epochs: epochs)
    let rates = batchSizes.map { min(learningRate, ratePerExample * Double($0)) }
    let plans = try zip(batchSizes, rates).map { (batchSize, rate) throws(Failure) in
      var plan = plan
      plan.batchSize = batchSize
      plan.learningRate = LearningRate(base: Float(rate), schedule: .constant, warmupSteps: 0, horizon: 1)
      plan.totalSteps = (epochs * UInt64(trainingExamples) - 1) / UInt64(batchSize) + 1
      try plan.validate()
      return plan
    }
    let seen = Mutex(0)
    let measurements = concurrentMap(plans.count, threads: threads) { index in
      Self.descend(plans[index], marks, split, examples, meanImage, kernel) { count in
        let total = seen.withLock { seen in
          seen += count
          return seen
        }
        completed(total)
      }
    }
    (loss, l2, seed, self.epochs) = (plan.loss, plan.l2, plan.seed, epochs)
    curves = zip(batchSizes, zip(rates, measurements)).map {
      Curve(batchSize: $0, learningRate: $1.0, measurements: $1.1)
    }
    (self.learningRate, self.ratePerExample) = (learningRate, ratePerExample)
    (self.trainingExamples, validationExamples) = (trainingExamples, split.validation.count)
  }

  /// The numbers of examples after which a descent is measured: powers of two, and every epoch.
  static func marks(trainingExamples: Int, epochs: UInt64) -> [UInt64] {
    let last = epochs * UInt64(trainingExamples)
    let powers = sequence(first: UInt64(1)) { $0 * 2 }.prefix { $0 < last }
    let ends = (1...epochs).map { $0 * UInt64(trainingExamples) }
    return (powers + ends).sorted()
  }

  /// - Parameters:
  ///   - marks: numbers of examples to measure after, in rising order.
  ///   - seen: called now and then with the number of examples seen since.
  private static func descend(
    _ plan: TrainingPlan, _ marks: [UInt64], _ split: DataSplit, _ examples: ExampleTable, _ meanImage: [Float],
    _ kernel: KernelVariant,
    seen: (Int) -> Void
  ) -> [Measurement] {
    func loss(_ indices: [UInt32]) -> LossOverExamples {
      LossOverExamples(
        shape: plan.shape, loss: plan.loss, margin: plan.margin, examples: examples, indices: indices,
        meanImage: meanImage, kernel: kernel)
    }
    // In the order of the file, whose pages are fetched together.
    let (training, validation) = (loss(split.training.sorted()), loss(split.validation.sorted()))
    var trainer = SequentialTrainer(
      plan: plan, examples: examples, meanImage: meanImage, state: TrainingState(plan: plan), kernel: kernel)
    func measurement() -> Measurement {
      Measurement(
        steps: trainer.state.step, examples: trainer.state.step * UInt64(plan.batchSize),
        training: training.score(at: trainer.state.parameters),
        validation: validation.score(at: trainer.state.parameters))
    }
    var measurements = [measurement()]
    for mark in marks {
      let before = trainer.state.step
      while trainer.state.step * UInt64(plan.batchSize) < mark { _ = trainer.step() }
      // One step may pass several marks.
      guard trainer.state.step > before else { continue }
      seen(Int(trainer.state.step - before) * plan.batchSize)
      measurements.append(measurement())
    }
    return measurements
  }
}
