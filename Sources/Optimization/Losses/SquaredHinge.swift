/// `Σ_{j≠y} max(0, s_j − s_y + Δ)²`: violations count by their square (the L2-SVM of CS231n); K − 1 where all scores are
/// equal and Δ is 1. Its second derivative jumps where a margin is zero, its derivative does not.
struct SquaredHinge: LossFunction {
  var settingName: String { "squared-hinge" }
  var defaultLearningRate: Double { 0.002 }
  var hasMargin: Bool { true }

  /// Δ.
  let margin: Double

  func callAsFunction(scores s: [Double], label y: Int) -> (value: Double, derivative: [Double]) {
    let excess = Hinge(margin: margin).margins(scores: s, label: y).map { max(0, $0) }  // [K]
    var ds = excess.map { 2 * $0 }
    ds[y] = -ds.reduce(0, +)
    return (excess.reduce(0) { $0 + $1 * $1 }, ds)
  }

  func callAsFunction(gates s: [ComputationalGraph.Node], label y: Int) -> ComputationalGraph.Node {
    Hinge(margin: margin).excess(gates: s, label: y).map { $0 * $0 }.sum
  }

  func derivativeBound(classes: Int) -> (element: Double, squaredNorm: Double)? { nil }

  func bound(classes: Int, scores m: Double) -> (derivative: Double, loss: Double) {
    let (others, largest) = (Double(classes - 1), margin + 2 * m)
    return (2 * others * largest, others * largest * largest)
  }
}
