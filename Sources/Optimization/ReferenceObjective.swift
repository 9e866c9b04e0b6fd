extension Loss {
  /// Lᵢ from the K scores of one example, in nats for softmax.
  public func value(scores: [Double], label: Int) -> Double {
    switch self {
    case .softmaxCrossEntropy:
      // Subtracting the largest score leaves the loss as it is and keeps exp from overflowing.
      let largest = scores.max() ?? 0
      let sum = scores.reduce(0) { $0 + ElementaryFunctions.exponential($1 - largest) }
      return ElementaryFunctions.logarithm(sum) - (scores[label] - largest)
    case .hinge:
      return margins(scores: scores, label: label).reduce(0) { $0 + max(0, $1) }
    }
  }

  /// ∂Lᵢ/∂s, [K].
  public func derivative(scores: [Double], label: Int) -> [Double] {
    switch self {
    case .softmaxCrossEntropy:
      let largest = scores.max() ?? 0
      let exponentials = scores.map { ElementaryFunctions.exponential($0 - largest) }
      let sum = exponentials.reduce(0, +)
      var derivative = exponentials.map { $0 / sum }
      derivative[label] -= 1
      return derivative
    case .hinge:
      var derivative = margins(scores: scores, label: label).map { $0 > 0 ? 1.0 : 0.0 }
      derivative[label] = -derivative.reduce(0, +)
      return derivative
    }
  }

  /// `s_j − s_y + Δ` for every class, zero for the label's own: where one of them is zero, the hinge loss has a kink.
  /// Softmax is smooth and has none.
  public func margins(scores: [Double], label: Int) -> [Double] {
    guard self == .hinge else { return [] }
    return scores.indices.map { $0 == label ? 0 : scores[$0] - scores[label] + Self.hingeMargin }
  }
}

/// The objective `L(W) = (1/N) Σ Lᵢ + λ Σ w²` over N given examples, and its gradient, in double precision and for
/// any K and D: slow, obvious, and what the fast kernels are measured against.
public struct ReferenceObjective: Sendable {
  public let shape: ModelShape
  public let loss: Loss
  /// λ; the penalty counts the weights, not the bias.
  public let l2: Double
  /// N inputs of D values, centred and scaled.
  public let inputs: [[Double]]
  /// N classes in 0 ..< K.
  public let labels: [Int]

  public init(shape: ModelShape, loss: Loss, l2: Double, inputs: [[Double]], labels: [Int]) {
    self.shape = shape
    self.loss = loss
    self.l2 = l2
    self.inputs = inputs
    self.labels = labels
  }

  /// The objective over the given examples of a table, `x = (pixel − mean) / ExampleTable.pixelScale`.
  /// - Parameter meanImage: [D], in pixel units.
  public init(plan: TrainingPlan, examples: ExampleTable, meanImage: [Float], indices: [UInt32]) {
    self.init(
      shape: plan.shape, loss: plan.loss, l2: Double(plan.l2),
      inputs: indices.map { index in
        let pixels = examples.record(at: Int(index)) + 1
        return meanImage.indices.map { (Double(pixels[$0]) - Double(meanImage[$0])) / Double(ExampleTable.pixelScale) }
      },
      labels: indices.map { examples.label(at: Int($0)) })
  }

  /// `s = W x + b` of every example, N arrays of K.
  public func scores(parameters: [Double]) -> [[Double]] {
    inputs.map { input in
      (0..<shape.classes).map { k in
        var score = parameters[shape.classes * shape.pixels + k]
        for j in 0..<shape.pixels { score += parameters[k * shape.pixels + j] * input[j] }
        return score
      }
    }
  }

  /// L(W), penalty included.
  public func value(parameters: [Double]) -> Double {
    value(scores: scores(parameters: parameters), parameters: parameters)
  }

  /// `scores` are those of `parameters`.
  func value(scores: [[Double]], parameters: [Double]) -> Double {
    let dataLoss = zip(scores, labels).reduce(0) { $0 + loss.value(scores: $1.0, label: $1.1) }
    var squares = 0.0
    for block in shape.blocks where block.isRegularized {
      for index in block.range { squares += parameters[index] * parameters[index] }
    }
    return dataLoss / Double(labels.count) + l2 * squares
  }

  /// ∂L/∂W, laid out as the parameters: `(1/N) Σ dᵢ xᵢᵀ + 2 λ W`, and for the bias `(1/N) Σ dᵢ`.
  public func gradient(parameters: [Double]) -> [Double] {
    var gradient = [Double](repeating: 0, count: shape.parameterCount)
    for (example, scores) in scores(parameters: parameters).enumerated() {
      let derivative = loss.derivative(scores: scores, label: labels[example])
      for k in 0..<shape.classes {
        let share = derivative[k] / Double(labels.count)
        for j in 0..<shape.pixels { gradient[k * shape.pixels + j] += share * inputs[example][j] }
        gradient[shape.classes * shape.pixels + k] += share
      }
    }
    for block in shape.blocks where block.isRegularized {
      for index in block.range { gradient[index] += 2 * l2 * parameters[index] }
    }
    return gradient
  }
}
