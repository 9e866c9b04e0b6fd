/// What becomes of the losses of a minibatch in the objective. The raw values are part of the wire format.
public enum Reduction: UInt8, Sendable, CaseIterable {
  /// (1/N) Σ Lᵢ: the learning rate does not depend on the batch size.
  case mean = 1
  /// Σ Lᵢ: the gradient grows with the batch size.
  case sum = 2
}

extension TrainingPlan {
  /// What the gradient sum of `examples` is divided by in an update.
  public func divisor(examples: Int) -> Double {
    switch reduction {
    case .mean: Double(examples)
    case .sum: 1
    }
  }
}
