/// `−s_y + log Σ_j exp s_j`, computed with the largest score subtracted. In nats: log K where all scores are equal.
struct SoftmaxCrossEntropy: LossFunction {
  var settingName: String { "softmax" }
  var defaultLearningRate: Double { 0.05 }
  var predictsBySoftmax: Bool { true }

  func callAsFunction(scores s: [Double], label y: Int) -> (value: Double, derivative: [Double]) {
    // Subtracting the largest score leaves the loss as it is and keeps exp from overflowing.
    let highest = s.max() ?? 0
    let exps = s.map { ElementaryFunctions.exponential($0 - highest) }  // [K]
    let sum = exps.reduce(0, +)
    var ds = exps.map { $0 / sum }  // the probabilities p [K]
    ds[y] -= 1  // p_k − [k = y]
    return (ElementaryFunctions.logarithm(sum) - (s[y] - highest), ds)
  }

  func callAsFunction(gates s: [ComputationalGraph.Node], label y: Int) -> ComputationalGraph.Node {
    let highest = s.map(\.value).max() ?? 0
    return s.map { ($0 + -highest).exponential }.sum.logarithm + highest - s[y]
  }

  /// A probability, or one minus it; as a vector, probabilities less a unit vector.
  func derivativeBound(classes: Int) -> (element: Double, squaredNorm: Double)? { (1, 2) }

  func bound(classes: Int, scores m: Double) -> (derivative: Double, loss: Double) {
    (1, ElementaryFunctions.logarithm(Double(classes)) + 2 * m)
  }
}
