/// How the weights are drawn before step 0: from N(0, σ²) with a σ for each layer. Biases start at zero. The raw values are
/// part of the wire format.
///
/// CS231n, "Neural Networks Part 2", calls this calibrating the variances: the sums of a layer are to be as large as its
/// inputs, whatever their number.
public enum Initialization: UInt8, Sendable, CaseIterable {
  /// σ is `TrainingPlan.initialStandardDeviation`.
  case normal = 1
  /// σ² = 2 / inputs: half of the units of a ReLU layer are zero (He et al. 2015).
  case he = 2
  /// σ² = 2 / (inputs + outputs), a compromise between the passes forward and backward (Glorot and Bengio 2010). The lecture
  /// names this formula and, in its code, divides by √inputs.
  case xavier = 3

  /// What the lecture advises for a network with this activation; a linear classifier has `normal`.
  public init(advisedFor shape: ModelShape) {
    self =
      switch shape.activation {
      case _ where shape.isLinear: .normal
      case .relu, .leakyReLU, .elu: .he
      case .tanh, .sigmoid, .identity: .xavier
      }
  }

  /// σ of a layer's weights.
  /// - Parameter normal: σ where the layer does not decide it.
  public func standardDeviation(of layer: ModelShape.Layer, normal: Double) -> Double {
    switch self {
    case .normal: normal
    case .he: (2 / Double(layer.inputs)).squareRoot()
    case .xavier: (2 / Double(layer.inputs + layer.outputs)).squareRoot()
    }
  }
}

extension ParameterVector {
  /// The parameters before step 0. Every weight is drawn from the seed and its own index in the flat vector alone, with the
  /// σ of its layer; every bias is zero, and with σ = 0 every weight too.
  public static func initial(plan: TrainingPlan) -> ParameterVector {
    var vector = ParameterVector(zeros: plan.shape.parameterCount)
    let generator = Philox4x64(seed: plan.seed, stream: .initialParameters)
    for layer in plan.shape.layers {
      let deviation = plan.initialization.standardDeviation(of: layer, normal: Double(plan.initialStandardDeviation))
      guard deviation != 0 else { continue }
      for index in layer.weight { vector.values[index] = Float(deviation * generator.normal(at: UInt64(index))) }
    }
    return vector
  }
}
