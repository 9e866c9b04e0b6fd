extension Loss {
  /// Lᵢ, in nats for softmax, and ∂Lᵢ/∂s [K] of one example with scores s [K] and label y
  /// (https://cs231n.github.io/linear-classify).
  public func callAsFunction(scores s: [Double], label y: Int) -> (value: Double, derivative: [Double]) {
    switch self {
    case .softmaxCrossEntropy:
      // Subtracting the largest score leaves the loss as it is and keeps exp from overflowing.
      let highest = s.max() ?? 0
      let exps = s.map { ElementaryFunctions.exponential($0 - highest) }  // [K]
      let sum = exps.reduce(0, +)
      var ds = exps.map { $0 / sum }  // the probabilities p [K]
      ds[y] -= 1  // p_k − [k = y]
      return (ElementaryFunctions.logarithm(sum) - (s[y] - highest), ds)
    case .hinge:
      let margins = margins(scores: s, label: y)  // [K]
      var ds = margins.map { $0 > 0 ? 1.0 : 0.0 }
      ds[y] = -ds.reduce(0, +)
      return (margins.reduce(0) { $0 + max(0, $1) }, ds)
    }
  }

  /// `s_j − s_y + Δ` [K], zero at the label: where another one is zero, the hinge loss has a kink. Empty for softmax,
  /// which is smooth.
  public func margins(scores s: [Double], label y: Int) -> [Double] {
    switch self {
    case .softmaxCrossEntropy: []
    case .hinge: s.indices.map { $0 == y ? 0 : s[$0] - s[y] + Self.hingeMargin }
    }
  }
}

// K, D and N as in the lecture.
// swift-format-ignore: AlwaysUseLowerCamelCase
/// The lecture on one page: a linear classifier trained by minibatch stochastic gradient descent, in double precision
/// and one obvious line each. Slow, and the oracle that everything fast is compared with.
///
/// CS231n, https://cs231n.github.io: "Linear classification" (scores, losses, penalty), "Optimization" (gradient
/// descent) and "Neural Networks Part 3" (momentum). With K classes, D pixel values and N examples in a minibatch:
///
///     s = W x + b                                     scores [K] of an input x [D]
///     L = (1/N) Σ Lᵢ(s, y) + λ Σ W²                   the objective; the bias b [K] has no penalty
///     dW = (1/N) Σ ds xᵀ + 2 λ W,  db = (1/N) Σ ds    its gradient: ds = ∂Lᵢ/∂s [K]
///     v = μ v + g,  w −= η v                          the update of W and b, with g = dW and db
///
/// `w` and `v` are flat, [K·D + K]: W [K, D] row-major, then b [K], as in `ParameterVector`.
public struct ReferenceTrainer: Sendable {
  /// An input x [D], `(pixel − mean) / 127.5`, and its label y in 0 ..< K.
  public typealias Example = (x: [Double], y: Int)

  /// Shape, loss, penalty, learning rate and momentum.
  public let plan: TrainingPlan
  /// The parameters [K·D + K].
  public private(set) var w: [Double]
  /// The velocity [K·D + K]; without momentum, the newest gradient.
  public private(set) var v: [Double]
  /// Updates made so far.
  public private(set) var t: UInt64 = 0

  private let K: Int
  private let D: Int

  /// Begins with the initial parameters of the plan.
  public init(plan: TrainingPlan) {
    self.plan = plan
    (K, D) = (plan.shape.classes, plan.shape.pixels)
    w = ParameterVector.initial(plan: plan).values.map(Double.init)
    v = [Double](repeating: 0, count: plan.shape.parameterCount)
  }

  /// One step of the training loop.
  /// - Returns: the mean of Lᵢ before the update, without the penalty, and ‖g‖₂ with it.
  public mutating func step(_ minibatch: [Example]) -> (loss: Double, gradientNorm: Double) {
    let (loss, g) = lossAndGradient(minibatch, at: w)
    update(by: g)
    return (loss, g.reduce(0) { $0 + $1 * $1 }.squareRoot())
  }

  /// (1/N) Σ Lᵢ of N examples, and the gradient of the objective [K·D + K].
  public func lossAndGradient(_ minibatch: [Example], at w: [Double]) -> (loss: Double, gradient: [Double]) {
    let N = Double(minibatch.count)
    let lambda = Double(plan.l2)
    var loss = 0.0
    var g = [Double](repeating: 0, count: K * D + K)
    for (x, y) in minibatch {
      let s = scores(of: x, at: w)  // [K]
      let (value, ds) = plan.loss(scores: s, label: y)  // Lᵢ, [K]
      loss += value / N
      for k in 0..<K {
        let share = ds[k] / N
        for j in 0..<D { g[k * D + j] += share * x[j] }  // dW [K, D] += ds xᵀ / N
        g[K * D + k] += share  // db [K] += ds / N
      }
    }
    for i in 0..<(K * D) { g[i] += 2 * lambda * w[i] }  // dW += 2 λ W
    return (loss, g)
  }

  /// Moves w by the gradient g [K·D + K].
  public mutating func update(by g: [Double]) {
    let eta = Double(plan.learningRate.rate(at: t))
    let mu = Double(plan.momentum.coefficient)
    for i in w.indices {
      v[i] = mu * v[i] + g[i]
      switch plan.momentum.kind {
      case .polyak: w[i] -= eta * v[i]
      case .nesterov: w[i] -= eta * (g[i] + mu * v[i])
      }
    }
    t += 1
  }

  /// s = W x + b [K].
  public func scores(of x: [Double], at w: [Double]) -> [Double] {
    (0..<K).map { k in
      var s = w[K * D + k]
      for j in 0..<D { s += w[k * D + j] * x[j] }
      return s
    }
  }

  /// λ Σ W².
  public func penalty(at w: [Double]) -> Double {
    Double(plan.l2) * w[..<(K * D)].reduce(0) { $0 + $1 * $1 }
  }
}

extension ExampleTable {
  /// The examples at `indices` as the model sees them.
  /// - Parameter meanImage: [D], in pixel units.
  public func minibatch(at indices: some Sequence<UInt32>, meanImage: [Float]) -> [ReferenceTrainer.Example] {
    indices.map { index in
      let pixels = record(at: Int(index)) + 1
      let x = meanImage.indices.map { (Double(pixels[$0]) - Double(meanImage[$0])) / Double(Self.pixelScale) }
      return (x, label(at: Int(index)))
    }
  }
}
