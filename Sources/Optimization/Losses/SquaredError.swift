/// `‖s − t‖₂²`, t the label as a unit vector [K]: least squares on the scores (CS231n, "Neural Networks Part 2",
/// regression); 1 where all scores are zero.
struct SquaredError: LossFunction {
  var settingName: String { "squared-error" }
  var defaultLearningRate: Double { 0.002 }

  func callAsFunction(scores s: [Double], label y: Int) -> (value: Double, derivative: [Double]) {
    let errors = s.indices.map { s[$0] - ($0 == y ? 1 : 0) }  // [K]
    return (errors.reduce(0) { $0 + $1 * $1 }, errors.map { 2 * $0 })
  }

  func callAsFunction(gates s: [ComputationalGraph.Node], label y: Int) -> ComputationalGraph.Node {
    let errors = s.indices.map { k in s[k] + (k == y ? -1 : 0) }
    return errors.map { $0 * $0 }.sum
  }

  func derivativeBound(classes: Int) -> (element: Double, squaredNorm: Double)? { nil }

  func bound(classes: Int, scores m: Double) -> (derivative: Double, loss: Double) {
    (2 * (m + 1), Double(classes) * (m + 1) * (m + 1))
  }
}
