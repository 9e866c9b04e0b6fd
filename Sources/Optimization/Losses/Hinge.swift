/// The multiclass support vector machine of Weston and Watkins: `Σ_{j≠y} max(0, s_j − s_y + Δ)`; K − 1 where all scores
/// are equal and Δ is 1.
struct Hinge: LossFunction {
  var settingName: String { "svm" }
  // It sums over K − 1 margins, so its gradient is larger and its steps must be smaller.
  var defaultLearningRate: Double { 0.005 }
  var hasMargin: Bool { true }

  /// Δ. CS231n shows that it and the strength of the penalty set the same trade-off.
  let margin: Double

  func callAsFunction(scores s: [Double], label y: Int) -> (value: Double, derivative: [Double]) {
    let margins = margins(scores: s, label: y)  // [K]
    var ds = margins.map { $0 > 0 ? 1.0 : 0.0 }
    ds[y] = -ds.reduce(0, +)
    return (margins.reduce(0) { $0 + max(0, $1) }, ds)
  }

  func callAsFunction(gates s: [ComputationalGraph.Node], label y: Int) -> ComputationalGraph.Node {
    excess(gates: s, label: y).sum
  }

  /// `max(0, s_j − s_y + Δ)` [K − 1] of the other classes.
  func excess(gates s: [ComputationalGraph.Node], label y: Int) -> [ComputationalGraph.Node] {
    s.indices.filter { $0 != y }.map { (s[$0] - s[y] + margin).maximum(0) }
  }

  /// `s_j − s_y + Δ` [K], zero at the label.
  func margins(scores s: [Double], label y: Int) -> [Double] {
    s.indices.map { $0 == y ? 0 : s[$0] - s[y] + margin }
  }

  /// The true class where every other violates the margin; K − 1 for it and 1 for each other.
  func derivativeBound(classes: Int) -> (element: Double, squaredNorm: Double)? {
    (Double(classes - 1), Double(classes) * Double(classes - 1))
  }

  func bound(classes: Int, scores m: Double) -> (derivative: Double, loss: Double) {
    (Double(classes - 1), Double(classes - 1) * (margin + 2 * m))
  }
}
