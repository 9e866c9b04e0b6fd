/// The loss of one example, from its K scores s and its label y (CS231n, "Linear classification").
///
/// The loss of a minibatch is the *mean* over its examples; what travels between processes is the *sum*.
/// The raw values are part of the wire format, and those of the kernels' `descent_loss`.
public enum Loss: UInt8, Sendable, CaseIterable {
  /// `−s_y + log Σ_j exp s_j`, computed with the largest score subtracted. In nats: log K where all scores are equal.
  case softmaxCrossEntropy = 1
  /// The multiclass support vector machine of Weston and Watkins: `Σ_{j≠y} max(0, s_j − s_y + Δ)`, Δ = 1;
  /// K − 1 where all scores are equal.
  case hinge = 2

  /// The spelling in settings, checkpoints and results.
  public var settingName: String {
    switch self {
    case .softmaxCrossEntropy: "softmax"
    case .hinge: "svm"
    }
  }

  /// Δ, the margin of the hinge loss. CS231n shows that it and the strength of the penalty set the same trade-off,
  /// so it is a constant.
  public static let hingeMargin = 1.0

  /// The largest |∂Lᵢ/∂s_j| an example can have: 1 for softmax (a probability, or one minus it), K − 1 for hinge
  /// (the true class where every other violates the margin).
  public func largestScoreDerivative(classes: Int) -> Int {
    switch self {
    case .softmaxCrossEntropy: 1
    case .hinge: classes - 1
    }
  }
}
