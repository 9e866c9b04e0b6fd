import CKernels

/// How the server turns the gradients of the steps into updates of the weights: `w ← w − η d`, with the direction d that the
/// optimizer makes of the gradient g and of its state (CS231n, "Neural Networks Part 3").
public struct Optimizer: Sendable, Equatable {
  /// The raw values are part of the wire format, and those of the kernels' `descent_optimizer`. Each case is one file beside
  /// this one, and one in `CKernels/optimizers`.
  public enum Kind: UInt8, Sendable, CaseIterable {
    case sgd = 0
    case momentum = 1
    case nesterov = 2
    case adagrad = 3
    case rmsprop = 4
    case adam = 5
    case adamw = 6

    var function: any OptimizerFunction {
      switch self {
      case .sgd: SGD()
      case .momentum: Momentum()
      case .nesterov: Nesterov()
      case .adagrad: AdaGrad()
      case .rmsprop: RMSProp()
      case .adam: Adam()
      case .adamw: AdamW()
      }
    }
  }

  /// A number that some of the optimizers have. The raw values count from zero.
  public enum Hyperparameter: Int, Sendable, CaseIterable {
    /// μ, the share of the velocity that a step keeps.
    case momentum
    /// β₁, the share of the average gradient that a step keeps.
    case beta1
    /// β₂, the share of the average square that a step keeps.
    case beta2
    /// ε, added to a root that is divided by.
    case epsilon
    /// ρ of RMSProp, the share of the average square that a step keeps.
    case decayRate

    public var settingName: String {
      switch self {
      case .momentum: "momentum"
      case .beta1: "beta1"
      case .beta2: "beta2"
      case .epsilon: "epsilon"
      case .decayRate: "decay-rate"
      }
    }

    public var defaultValue: Double {
      switch self {
      case .momentum, .beta1: 0.9
      case .beta2: 0.999
      case .epsilon: 1e-8
      case .decayRate: 0.99
      }
    }

    /// ε is so large that it is a normal number in single precision.
    public var range: Range<Double> { self == .epsilon ? 1e-30..<1 : 0..<1 }
  }

  public let kind: Kind
  /// Zero for those that the kind does not have.
  private var values = [Double](repeating: 0, count: Hyperparameter.allCases.count)

  /// - Parameter values: what differs from the defaults; those that the kind does not have are left out.
  public init(_ kind: Kind, _ values: KeyValuePairs<Hyperparameter, Double> = [:]) {
    self.kind = kind
    for hyperparameter in kind.hyperparameters {
      let value = values.first { $0.key == hyperparameter }?.value
      self.values[hyperparameter.rawValue] = value ?? hyperparameter.defaultValue
    }
  }

  /// One of `kind.hyperparameters`, in the range of the hyperparameter.
  public subscript(_ hyperparameter: Hyperparameter) -> Double {
    get { values[hyperparameter.rawValue] }
    set { if kind.hyperparameters.contains(hyperparameter) { values[hyperparameter.rawValue] = newValue } }
  }
}

extension Optimizer.Kind {
  /// The spelling in settings.
  public var settingName: String { function.settingName }
  public var hyperparameters: [Optimizer.Hyperparameter] { function.hyperparameters }
  /// Of the vectors of its state, each laid out as the parameters and zero before the first step: two at most.
  public var slotNames: [String] { function.slotNames }
  /// What a sweep over the linear model found; with momentum it is at the upper end of what is good.
  public func defaultLearningRate(_ loss: Loss) -> Double { function.defaultLearningRate(loss) }
  /// The most vectors that an optimizer's state has.
  public static let maximumSlots = 2
}

/// What there is to know of an optimizer. It sees each parameter by itself: a gradient g, and the same element of each vector
/// of its state, s₀ and s₁ ("slots", as TensorFlow calls them). Its types hold nothing, so that one can be made at every step
/// without memory.
protocol OptimizerFunction: Sendable {
  /// The spelling in settings and results.
  var settingName: String { get }
  var hyperparameters: [Optimizer.Hyperparameter] { get }
  var slotNames: [String] { get }
  /// Whether the gradient of the penalty is added to the direction and not to g (Loshchilov and Hutter 2019).
  var decouplesPenalty: Bool { get }
  func defaultLearningRate(_ loss: Loss) -> Double

  /// The lecture's form, in double precision: updates s with the gradient of step t = 1, 2, … and returns the direction.
  func direction(of g: Double, _ s: inout SIMD2<Double>, step t: UInt64, _ optimizer: Optimizer) -> Double

  /// How s₀ and s₁ follow the gradients in step t = 1, 2, …, or in a fraction of it: with `fraction` = 1/S, S updates with the
  /// same gradient lead from the same state to the same state as one whole step, but for rounding.
  func averages(
    _ optimizer: Optimizer, step t: UInt64, fraction: Double
  ) -> (first: descent_average, second: descent_average)

  /// What the kernels compute, in the same order and so with the same bits.
  func direction(of g: Float, _ s: inout SIMD2<Float>, _ update: descent_update) -> Float
}

extension OptimizerFunction {
  var hyperparameters: [Optimizer.Hyperparameter] { [] }
  var slotNames: [String] { [] }
  var decouplesPenalty: Bool { false }

  func averages(
    _ optimizer: Optimizer, step t: UInt64, fraction: Double
  ) -> (first: descent_average, second: descent_average) { (descent_average(), descent_average()) }
}

extension descent_average {
  /// A sum in which each gradient loses weight by `decay` a step, and to which a step's gradient is added as it is.
  static func sum(decay: Double, fraction: Double) -> descent_average {
    let kept = ElementaryFunctions.power(decay, fraction)
    // The sum over S fractions of (1 − kept) kept^k is 1 − decay.
    return descent_average(decay: Float(kept), gain: Float((1 - kept) / (1 - decay)), correction: 1)
  }

  /// An average in which each gradient loses weight by `decay` a step. In front of the first step it is zero, so that after
  /// step t its weights add up to 1 − decay^t only; `correction` divides by that.
  static func average(decay: Double, fraction: Double, step t: UInt64) -> descent_average {
    let kept = ElementaryFunctions.power(decay, fraction)
    return descent_average(
      decay: Float(kept), gain: Float(1 - kept),
      correction: Float(1 / (1 - ElementaryFunctions.power(decay, Double(t)))))
  }
}
