import CKernels

/// What one gradient computation or evaluation says about its examples. Sums of integers, so adding the parts of several workers
/// gives the same bits in any order.
public struct MinibatchStatistics: Sendable, Equatable {
  /// Fractional bits of `lossSum`.
  public static let lossFractionBits = 24
  /// The most that one example's loss counts as.
  public static let largestLoss = 16_384.0

  public var examples: Int
  /// Σ Lᵢ of the data loss, without the penalty, in units of 2⁻²⁴; every example is rounded on its own.
  public var lossSum: Int64
  /// Examples whose largest score is that of their label.
  public var correct: Int
  /// False once a score was infinite or not a number, a loss did not fit, or a label was no class; such examples count
  /// zero.
  public var isFinite: Bool
  /// Of the gradients that the statistics come with.
  public var peaks = GradientPeaks.none

  public static let zero = MinibatchStatistics(examples: 0, lossSum: 0, correct: 0)

  public init(examples: Int, lossSum: Int64, correct: Int, isFinite: Bool = true) {
    self.examples = examples
    self.lossSum = lossSum
    self.correct = correct
    self.isFinite = isFinite
  }

  /// Wraps instead of trapping, because the terms may come from a peer.
  public static func + (left: MinibatchStatistics, right: MinibatchStatistics) -> MinibatchStatistics {
    var sum = MinibatchStatistics(
      examples: left.examples &+ right.examples, lossSum: left.lossSum &+ right.lossSum,
      correct: left.correct &+ right.correct, isFinite: left.isFinite && right.isFinite)
    sum.peaks = left.peaks.merged(with: right.peaks)
    return sum
  }

  public static func += (left: inout MinibatchStatistics, right: MinibatchStatistics) { left = left + right }

  init(examples: Int, _ sums: descent_statistics) {
    self.init(examples: examples, lossSum: sums.loss_sum, correct: Int(sums.correct), isFinite: sums.is_finite)
  }

  /// Mean data loss per example; not a number where there is no example.
  public var meanLoss: Double { Double(lossSum) / Double(1 << Self.lossFractionBits) / Double(examples) }

  /// Share of correct examples; not a number where there is no example.
  public var accuracy: Double { Double(correct) / Double(examples) }

  public var score: Evaluation.Score { Evaluation.Score(meanLoss: meanLoss, accuracy: accuracy) }
}
