/// How the learning rate falls after the warm-up; steps are counted from the end of the warm-up.
public enum LearningRateSchedule: Sendable, Equatable {
  case constant
  /// Multiplied by `factor` (in 0 ... 1) after every `every` steps (at least 1).
  case step(every: UInt64, factor: Float)
  /// `(1 + cos π p) / 2`, p the share of the way to the horizon (Loshchilov and Hutter 2017, without restarts):
  /// 1 at first, zero at the horizon and beyond.
  case cosine

  /// A schedule without its numbers. The raw values are part of the wire format.
  public enum Kind: UInt8, Sendable, CaseIterable {
    case constant = 0
    case step = 1
    case cosine = 2
  }

  /// - Parameters `every` and `factor`: only those of `step`.
  public init(_ kind: Kind, every: UInt64, factor: Float) {
    switch kind {
    case .constant: self = .constant
    case .step: self = .step(every: every, factor: factor)
    case .cosine: self = .cosine
    }
  }

  /// The inverse; zeros where a schedule has no such numbers.
  public var fields: (kind: Kind, every: UInt64, factor: Float) {
    switch self {
    case .constant: (.constant, 0, 0)
    case .step(let every, let factor): (.step, every, factor)
    case .cosine: (.cosine, 0, 0)
    }
  }

  /// The factor on the base rate, in 0 ... 1.
  /// - Parameters:
  ///   - step: steps since the warm-up ended.
  ///   - horizon: the step, counted likewise, where cosine reaches zero; the others do not look at it.
  public func factor(at step: UInt64, horizon: UInt64) -> Double {
    switch self {
    case .constant:
      return 1
    case .step(let every, let factor):
      return power(Double(factor), step / every)
    case .cosine:
      guard step < horizon else { return 0 }
      // Half of the way round the circle at the horizon.
      return (1 + ElementaryFunctions.cosineOfTurns(Double(step) / Double(horizon) / 2)) / 2
    }
  }

  /// By repeated squaring, so that the bits do not depend on a library's `pow`.
  private func power(_ base: Double, _ exponent: UInt64) -> Double {
    var result = 1.0
    var square = base
    var remaining = exponent
    while remaining > 0 {
      if remaining & 1 == 1 { result *= square }
      square *= square
      remaining >>= 1
    }
    return result
  }
}

/// The learning rate as a pure function of the global step: nothing to save, nothing to keep in agreement.
public struct LearningRate: Sendable, Equatable {
  /// η₀, above zero.
  public var base: Float
  public var schedule: LearningRateSchedule
  /// Steps of linear warm-up: step t < `warmupSteps` has `base · (t + 1) / warmupSteps` (Goyal et al. 2017).
  public var warmupSteps: UInt64
  /// The global step at which cosine reaches zero: the planned number of steps.
  public var horizon: UInt64

  public init(base: Float, schedule: LearningRateSchedule, warmupSteps: UInt64, horizon: UInt64) {
    self.base = base
    self.schedule = schedule
    self.warmupSteps = warmupSteps
    self.horizon = horizon
  }

  /// Computed in double precision and rounded once.
  public func rate(at step: UInt64) -> Float {
    if step < warmupSteps {
      return Float(Double(base) * (Double(step) + 1) / Double(warmupSteps))
    }
    let sinceWarmup = step - warmupSteps
    let remaining = horizon > warmupSteps ? horizon - warmupSteps : 0
    return Float(Double(base) * schedule.factor(at: sinceWarmup, horizon: remaining))
  }
}
