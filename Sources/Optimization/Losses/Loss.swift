import CKernels

/// The loss of one example, from its K scores s and its label y (CS231n, "Linear classification").
///
/// The loss of a minibatch is the *mean* over its examples; what travels between processes is the *sum*.
/// The raw values are part of the wire format, and those of the kernels' `descent_loss`. Each case is one file beside this
/// one, and one in `CKernels/losses`.
public enum Loss: UInt8, Sendable, CaseIterable {
  case softmaxCrossEntropy = 1
  case hinge = 2
  case squaredHinge = 3
  case logistic = 4
  case squaredError = 5
  case sigmoidSquaredError = 6

  var function: any LossFunction { function(margin: 1) }

  /// - Parameter margin: Δ; the losses without one do not read it.
  func function(margin: Double) -> any LossFunction {
    switch self {
    case .softmaxCrossEntropy: SoftmaxCrossEntropy()
    case .hinge: Hinge(margin: margin)
    case .squaredHinge: SquaredHinge(margin: margin)
    case .logistic: Logistic()
    case .squaredError: SquaredError()
    case .sigmoidSquaredError: SigmoidSquaredError()
    }
  }

  package var kernelLoss: descent_loss { descent_loss(UInt32(rawValue)) }
}

/// What there is to know of a loss: its value and derivative in double precision, the oracle of the kernels, and the
/// bounds from which the scale of gradient sums and the plausibility of a push follow. Its types hold no more than the
/// margin, so that one can be made for every push without memory.
protocol LossFunction: Sendable {
  /// The spelling in settings, checkpoints and results.
  var settingName: String { get }
  /// What a sweep over the linear model found.
  var defaultLearningRate: Double { get }
  /// Whether the softmax of the scores is what the model says of the classes.
  var predictsBySoftmax: Bool { get }
  /// Whether Δ is part of it.
  var hasMargin: Bool { get }

  /// Lᵢ and ∂Lᵢ/∂s [K] of one example with scores s [K] and label y.
  func callAsFunction(scores s: [Double], label y: Int) -> (value: Double, derivative: [Double])

  /// Lᵢ of gates.
  func callAsFunction(gates s: [ComputationalGraph.Node], label y: Int) -> ComputationalGraph.Node

  /// Where one of these is zero the loss has a kink; empty for a smooth loss.
  func margins(scores s: [Double], label y: Int) -> [Double]

  /// The largest |∂Lᵢ/∂s_j| and the largest ‖∂Lᵢ/∂s‖₂² that an example can have; nil without a bound.
  func derivativeBound(classes: Int) -> (element: Double, squaredNorm: Double)?

  /// The largest |∂Lᵢ/∂s_j| and loss of an example with scores in −m ... m.
  func bound(classes: Int, scores m: Double) -> (derivative: Double, loss: Double)
}

extension LossFunction {
  var predictsBySoftmax: Bool { false }
  var hasMargin: Bool { false }
  func margins(scores s: [Double], label y: Int) -> [Double] { [] }
}

extension Loss {
  public var settingName: String { function.settingName }
  public var defaultLearningRate: Double { function.defaultLearningRate }
  public var predictsBySoftmax: Bool { function.predictsBySoftmax }
  /// Whether `TrainingPlan.margin` is part of it.
  public var hasMargin: Bool { function.hasMargin }

  /// Lᵢ, in nats for softmax and logistic, and ∂Lᵢ/∂s [K] of one example with scores s [K] and label y
  /// (https://cs231n.github.io/linear-classify).
  /// - Parameter margin: Δ of the hinge losses.
  public func callAsFunction(
    scores s: [Double], label y: Int, margin: Double = 1
  ) -> (value: Double, derivative: [Double]) {
    let function = function(margin: margin)
    return function(scores: s, label: y)
  }

  /// The largest |∂Lᵢ/∂s_j| an example can have; nil without a bound.
  public func largestScoreDerivative(classes: Int) -> Double? { function.derivativeBound(classes: classes)?.element }
}

extension TrainingPlan {
  /// The loss with the margin of the plan.
  var lossFunction: any LossFunction { loss.function(margin: Double(margin)) }
}
