/// What a hidden unit makes of its sum z (CS231n, "Neural Networks Part 1", "Commonly used activation functions"). One
/// line each for the value, its derivative and its kink; in double precision, the oracle of the kernels.
public enum Activation: Sendable, Equatable, CustomStringConvertible {
  /// max(0, z); its derivative at 0 is 0.
  case relu
  /// z above 0, else slope · z; its derivative at 0 is the slope. The lecture's slope is 0.2.
  case leakyReLU(slope: Float)
  /// z above 0, else α (eᶻ − 1) (Clevert et al. 2015).
  case elu(alpha: Float)
  case tanh
  /// 1 / (1 + e⁻ᶻ).
  case sigmoid
  case identity

  /// Every kind, those with a parameter with its default.
  public static let all: [Activation] = [
    .relu, .leakyReLU(slope: 0.2), .elu(alpha: 1), .tanh, .sigmoid, .identity,
  ]

  /// The spelling in settings, checkpoints and results.
  public var settingName: String {
    switch self {
    case .relu: "relu"
    case .leakyReLU: "leaky-relu"
    case .elu: "elu"
    case .tanh: "tanh"
    case .sigmoid: "sigmoid"
    case .identity: "identity"
    }
  }

  /// - Parameter parameter: the slope of leaky ReLU or α of ELU; nil for its default. The others do not read it.
  public init?(settingName: String, parameter: Float?) {
    switch settingName {
    case "leaky-relu": self = .leakyReLU(slope: parameter ?? 0.2)
    case "elu": self = .elu(alpha: parameter ?? 1)
    default:
      guard let found = Self.all.first(where: { $0.settingName == settingName }) else { return nil }
      self = found
    }
  }

  /// The slope of leaky ReLU or α of ELU; nil for the others.
  public var parameter: Float? {
    switch self {
    case .leakyReLU(let slope): slope
    case .elu(let alpha): alpha
    case .relu, .tanh, .sigmoid, .identity: nil
    }
  }

  /// "relu", "leaky-relu 0.2".
  public var description: String { settingName + (parameter.map { " \($0)" } ?? "") }

  /// Whether the derivative jumps at z = 0.
  public var hasKink: Bool {
    switch self {
    case .relu: true
    case .leakyReLU(let slope): slope != 1
    case .elu(let alpha): alpha != 1
    case .tanh, .sigmoid, .identity: false
    }
  }

  /// Of the derivative, at any z.
  var largestDerivative: Double {
    switch self {
    case .relu, .tanh, .identity: 1
    case .leakyReLU(let slope): max(1, Double(slope))
    case .elu(let alpha): max(1, Double(alpha))
    case .sigmoid: 0.25
    }
  }

  /// The activation of z and its derivative there.
  public func callAsFunction(_ z: Double) -> (value: Double, derivative: Double) {
    switch self {
    case .relu: return z > 0 ? (z, 1) : (0, 0)
    case .leakyReLU(let slope): return z > 0 ? (z, 1) : (Double(slope) * z, Double(slope))
    case .elu(let alpha):
      let e = ElementaryFunctions.exponential(min(z, 0))
      return z > 0 ? (z, 1) : (Double(alpha) * (e - 1), Double(alpha) * e)
    case .tanh:
      let e = ElementaryFunctions.exponential(-2 * z.magnitude)
      let t = z.sign == .minus ? -(1 - e) / (1 + e) : (1 - e) / (1 + e)
      return (t, 1 - t * t)
    case .sigmoid:
      let e = ElementaryFunctions.exponential(-z.magnitude)
      let s = z.sign == .minus ? e / (1 + e) : 1 / (1 + e)
      return (s, s * (1 - s))
    case .identity: return (z, 1)
    }
  }

  /// The same of gates.
  func callAsFunction(_ z: ComputationalGraph.Node) -> ComputationalGraph.Node {
    // What of z is below zero, negated.
    let below = (-z).maximum(0)
    return switch self {
    case .relu: z.maximum(0)
    case .leakyReLU(let slope): z.maximum(0) - Double(slope) * below
    case .elu(let alpha): z.maximum(0) + Double(alpha) * ((-below).exponential + -1)
    case .tanh: 2 * (2 * z).sigmoid + -1
    case .sigmoid: z.sigmoid
    case .identity: z
    }
  }
}
