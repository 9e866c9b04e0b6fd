/// K binary logistic classifiers, each of one class against all others: `Σ_k log(1 + exp(−t_k s_k))` with t_k = 1 for the
/// label and −1 otherwise; in nats, K log 2 where all scores are zero.
struct Logistic: LossFunction {
  var settingName: String { "logistic" }
  var defaultLearningRate: Double { 0.05 }

  func callAsFunction(scores s: [Double], label y: Int) -> (value: Double, derivative: [Double]) {
    var value = 0.0
    let ds = s.indices.map { k in
      let target = k == y ? 1.0 : 0.0
      let z = k == y ? -s[k] : s[k]
      // log(1 + e^z), and for large z the same without e^z.
      value += max(0, z) + ElementaryFunctions.logarithm(1 + ElementaryFunctions.exponential(-abs(z)))
      return Self.sigmoid(s[k]) - target
    }
    return (value, ds)
  }

  func callAsFunction(gates s: [ComputationalGraph.Node], label y: Int) -> ComputationalGraph.Node {
    s.indices.map { k in -(k == y ? s[k] : -s[k]).sigmoid.logarithm }.sum
  }

  /// 1 / (1 + e^−x), for any x.
  static func sigmoid(_ x: Double) -> Double {
    let e = ElementaryFunctions.exponential(-abs(x))
    return (x < 0 ? e : 1) / (1 + e)
  }

  func derivativeBound(classes: Int) -> (element: Double, squaredNorm: Double)? { (1, Double(classes)) }

  func bound(classes: Int, scores m: Double) -> (derivative: Double, loss: Double) {
    (1, Double(classes) * (ElementaryFunctions.logarithm(2) + m))
  }
}
