/// How a model does on a set of examples.
public struct Evaluation: Sendable, Equatable {
  /// Of all of them.
  public var statistics: MinibatchStatistics
  /// K · K counts: element `actual · K + predicted`.
  public var confusion: [Int]

  public init(_ statistics: MinibatchStatistics, confusion: [Int]) {
    self.statistics = statistics
    self.confusion = confusion
  }

  /// How a model does on a set of examples, in two numbers.
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

  public var score: Score { statistics.score }

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
