import Optimization

/// Strategy 1 of CS231n, "Optimization": try many random weights and keep the best. "A first very bad idea solution", for
/// others to be compared with.
public struct RandomSearch: Sendable {
  /// What the lecture found with 1,000 tries, on all test examples.
  public static let lectureTestAccuracy = 0.155

  public let loss: Loss
  /// K.
  public let classes: Int
  /// Of the training set, that the losses are means over.
  public let exampleCount: Int
  /// σ of the weights of pixel bytes.
  public let standardDeviation: Double
  public let seed: UInt64
  /// Of each try on the training examples; a loss that is not a number is beyond the kernels.
  public let attempts: [Evaluation.Score]
  /// The try with the lowest loss, the first of equal ones; nil if no loss is a number.
  public let best: Int?
  /// Of the best weights; nil where there are none.
  public let test: Evaluation.Score?
  public let testExampleCount: Int

  /// - Parameters:
  ///   - training: the loss that chooses; of a linear classifier.
  ///   - test: asked once, at the end, for the best weights.
  ///   - tries: at least 1.
  ///   - standardDeviation: σ of `RandomWeights`.
  ///   - threads: at least 1; the result does not depend on it.
  ///   - completed: called after each try with the number of those done, from any thread.
  public init(
    training: LossOverExamples, test: LossOverExamples, tries: Int, standardDeviation: Double, seed: UInt64,
    threads: Int, completed: @Sendable (Int) -> Void = { _ in }
  ) {
    let weights = RandomWeights(shape: training.shape, standardDeviation: standardDeviation, seed: seed)
    let attempts = training.scores(at: tries, threads: threads, completed: completed) { weights.draw($0) }
    let best = attempts.indices.filter { !attempts[$0].meanLoss.isNaN }.min {
      attempts[$0].meanLoss < attempts[$1].meanLoss
    }
    (loss, classes, exampleCount) = (training.loss, training.shape.classes, training.indices.count)
    (self.standardDeviation, self.seed, self.attempts, self.best) = (standardDeviation, seed, attempts, best)
    self.test = best.map { test.score(at: weights.draw($0)) }
    testExampleCount = test.indices.count
  }

  /// The tries whose loss was lower than that of every one before.
  public var improvements: [Int] {
    var lowest = Double.infinity
    return attempts.indices.filter { attempt in
      guard attempts[attempt].meanLoss < lowest else { return false }
      lowest = attempts[attempt].meanLoss
      return true
    }
  }
}
