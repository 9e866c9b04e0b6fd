import Diagnostics
import Optimization

/// The effect of the step size: the loss after one step of each size from the same weights along the same gradient
/// (CS231n, "Optimization", the table "for step size 1.000000e-10 new loss: 2.200652").
///
/// The lecture's inputs are bytes. Those here are `(pixel − mean) / 127.5`, so a step size η of the lecture has the effect
/// of 127.5² η here.
public struct StepSizes: Sendable {
  /// Where a step size stands.
  public enum Verdict: String, Sendable {
    /// The loss decreases by less than half of what the best step size achieves, and larger steps do better.
    case tooLow = "too low"
    /// The loss decreases by at least half of what the best step size achieves.
    case right
    /// The loss decreases by less than that, or increases, and smaller steps do better.
    case tooHigh = "too high"
  }

  /// A step of W − η g.
  public struct Step: Sendable, Equatable {
    /// η.
    public let size: Double
    /// At W − η g; the loss is not a number where that of an example is beyond the kernels.
    public let score: Evaluation.Score
    public let verdict: Verdict
  }

  public let loss: Loss
  /// That loss and gradient are means over.
  public let exampleCount: Int
  /// σ of the weights of pixel bytes.
  public let standardDeviation: Double
  public let seed: UInt64
  /// At W.
  public let original: Evaluation.Score
  /// ‖g‖₂.
  public let gradientNorm: Double
  /// In the order of the sizes that were given.
  public let steps: [Step]

  /// - Parameters:
  ///   - loss: the data loss, of a linear classifier.
  ///   - standardDeviation: σ of the weights W (`RandomWeights`).
  ///   - sizes: η in rising order, at least one.
  ///   - threads: at least 1; the result does not depend on it.
  ///   - completed: called after each step with the number of those done, from any thread.
  /// - Throws: `badConfiguration` for more examples than a gradient sum can have.
  public init(
    loss: LossOverExamples, standardDeviation: Double, seed: UInt64, sizes: [Double], threads: Int,
    completed: @Sendable (Int) -> Void = { _ in }
  ) throws(Failure) {
    let weights = RandomWeights(shape: loss.shape, standardDeviation: standardDeviation, seed: seed).draw(0)
    let gradient = try loss.gradient(at: weights)
    (self.loss, exampleCount) = (loss.loss, loss.indices.count)
    (self.standardDeviation, self.seed) = (standardDeviation, seed)
    original = loss.score(at: weights)
    gradientNorm = gradient.reduce(0) { $0 + $1 * $1 }.squareRoot()
    let scores = loss.scores(at: sizes.count, threads: threads, completed: completed) { index in
      weights.moved([(-sizes[index], gradient)])
    }
    let verdicts = Self.verdicts(original: original.meanLoss, after: scores.map(\.meanLoss))
    steps = sizes.indices.map { Step(size: sizes[$0], score: scores[$0], verdict: verdicts[$0]) }
  }

  /// 10^i in steps of 1 / `perDecade`, from one power of ten to another.
  public static func sizes(from lowest: Int, to highest: Int, perDecade: Int) -> [Double] {
    (lowest * perDecade...highest * perDecade).map { index in
      // The whole powers are read as they are written.
      let (decade, part) = index.quotientAndFloorRemainder(dividingBy: perDecade)
      let power = Double("1e\(decade)") ?? .nan
      guard part > 0 else { return power }
      return power
        * ElementaryFunctions.exponential(ElementaryFunctions.logarithm(10) * Double(part) / Double(perDecade))
    }
  }

  /// - Parameters:
  ///   - original: the loss before the step.
  ///   - losses: those after each step, in the order of rising sizes.
  package static func verdicts(original: Double, after losses: [Double]) -> [Verdict] {
    func decrease(_ index: Int) -> Double { losses[index].isNaN ? -.infinity : original - losses[index] }
    let best = losses.indices.max { decrease($0) < decrease($1) } ?? 0
    return losses.indices.map { index in
      if decrease(index) > 0, decrease(index) >= decrease(best) / 2 { return .right }
      // Where no step decreases the loss, all are too high.
      return index < best && decrease(best) > 0 ? .tooLow : .tooHigh
    }
  }
}

extension Int {
  /// The quotient rounded down, and the remainder, which is not negative.
  fileprivate func quotientAndFloorRemainder(dividingBy divisor: Int) -> (quotient: Int, remainder: Int) {
    let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
  }
}

extension ParameterVector {
  /// These parameters plus the sum of factors times directions, each [parameterCount]; computed in double precision.
  func moved(_ terms: [(factor: Double, direction: [Double])]) -> ParameterVector {
    var sums = values.map(Double.init)
    for (factor, direction) in terms where factor != 0 {
      for index in sums.indices { sums[index] += factor * direction[index] }
    }
    return ParameterVector(sums.map { Float($0) })
  }
}
