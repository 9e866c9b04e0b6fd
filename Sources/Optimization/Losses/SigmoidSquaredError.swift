/// `‖σ(s) − t‖₂²`, t the label as a unit vector [K]: least squares on sigmoid outputs; K / 4 where all scores are zero. By
/// the chain rule its derivative is 2 (σ − t) σ (1 − σ), which vanishes where an output is wrong and saturated.
struct SigmoidSquaredError: LossFunction {
  var settingName: String { "sigmoid-squared-error" }
  var defaultLearningRate: Double { 0.5 }

  func callAsFunction(scores s: [Double], label y: Int) -> (value: Double, derivative: [Double]) {
    let outputs = s.map(Logistic.sigmoid)  // [K]
    let errors = outputs.indices.map { outputs[$0] - ($0 == y ? 1 : 0) }  // [K]
    let ds = zip(errors, outputs).map { 2 * $0 * $1 * (1 - $1) }
    return (errors.reduce(0) { $0 + $1 * $1 }, ds)
  }

  func callAsFunction(gates s: [ComputationalGraph.Node], label y: Int) -> ComputationalGraph.Node {
    SquaredError()(gates: s.map(\.sigmoid), label: y)
  }

  /// 2 σ² (1 − σ) is largest at σ = 2/3.
  static let largestDerivative = 8.0 / 27

  func derivativeBound(classes: Int) -> (element: Double, squaredNorm: Double)? {
    (Self.largestDerivative, Double(classes) * Self.largestDerivative * Self.largestDerivative)
  }

  func bound(classes: Int, scores m: Double) -> (derivative: Double, loss: Double) {
    (Self.largestDerivative, Double(classes))
  }
}
