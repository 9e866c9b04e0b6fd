/// How a model does on a set of examples.
public struct Evaluation: Sendable, Equatable {
  public var examples: Int
  /// Σ Lᵢ of the data loss, without the penalty, in units of 2⁻²⁴ (`MinibatchStatistics.lossFractionBits`).
  public var lossSum: Int64
  public var correct: Int
  /// K · K counts: element `actual · K + predicted`.
  public var confusion: [Int]
  /// False once a score was infinite or not a number, or a loss did not fit.
  public var isFinite: Bool

  public init(examples: Int, lossSum: Int64, correct: Int, confusion: [Int], isFinite: Bool = true) {
    self.examples = examples
    self.lossSum = lossSum
    self.correct = correct
    self.confusion = confusion
    self.isFinite = isFinite
  }

  /// Mean data loss per example; not a number where there is no example.
  public var meanLoss: Double { MinibatchStatistics.meanLoss(sum: lossSum, examples: examples) }

  /// Share of correct examples; not a number where there is no example.
  public var accuracy: Double { Double(correct) / Double(examples) }

  /// The two numbers of an evaluation that a checkpoint keeps.
  public struct Score: Sendable, Equatable {
    /// Mean data loss per example, without the penalty; not a number where there is no example.
    public var meanLoss: Double
    /// In 0 ... 1; not a number where there is no example.
    public var accuracy: Double

    public init(meanLoss: Double, accuracy: Double) {
      self.meanLoss = meanLoss
      self.accuracy = accuracy
    }
  }

  public var score: Score { Score(meanLoss: meanLoss, accuracy: accuracy) }

  /// K, from the size of the confusion matrix.
  public var classes: Int { Int(Double(confusion.count).squareRoot()) }

  /// Share of each actual class that was predicted as itself; not a number for a class without examples.
  public var classAccuracy: [Double] {
    let classes = classes
    return (0..<classes).map { actual in
      let row = confusion[(actual * classes)..<((actual + 1) * classes)]
      return Double(row[row.startIndex + actual]) / Double(row.reduce(0, +))
    }
  }
}
