import CKernels

/// Adam (Kingma and Ba 2015): a momentum whose step is that of RMSProp. In step t = 1, 2, …
///
///     m = β₁ m + (1 − β₁) g,    m̂ = m / (1 − β₁ᵗ)
///     v = β₂ v + (1 − β₂) g²,   v̂ = v / (1 − β₂ᵗ)
///     w −= η m̂ / (√v̂ + ε)
///
/// as in PyTorch; the lecture leaves out the corrections m̂ and v̂ at first and then adds them. m and v begin at zero and
/// would be too small in the first steps.
struct Adam: OptimizerFunction {
  var settingName: String { "adam" }
  var hyperparameters: [Optimizer.Hyperparameter] { [.beta1, .beta2, .epsilon] }
  var slotNames: [String] { ["first_moment", "second_moment"] }

  func defaultLearningRate(_ loss: Loss) -> Double { 0.001 }

  func direction(of g: Double, _ s: inout SIMD2<Double>, step t: UInt64, _ optimizer: Optimizer) -> Double {
    let (beta1, beta2) = (optimizer[.beta1], optimizer[.beta2])
    s[0] = beta1 * s[0] + (1 - beta1) * g  // m
    s[1] = beta2 * s[1] + (1 - beta2) * g * g  // v
    let m = s[0] / (1 - ElementaryFunctions.power(beta1, Double(t)))
    let v = s[1] / (1 - ElementaryFunctions.power(beta2, Double(t)))
    return m / (v.squareRoot() + optimizer[.epsilon])
  }

  /// Of a fraction the corrections are those of the whole step, which are too small rather than too large.
  func averages(
    _ optimizer: Optimizer, step t: UInt64, fraction: Double
  ) -> (first: descent_average, second: descent_average) {
    (
      .average(decay: optimizer[.beta1], fraction: fraction, step: t),
      .average(decay: optimizer[.beta2], fraction: fraction, step: t)
    )
  }

  func direction(of g: Float, _ s: inout SIMD2<Float>, _ update: descent_update) -> Float {
    let (first, second) = (update.first, update.second)
    s[0] = (first.gain * g).addingProduct(first.decay, s[0])
    s[1] = (second.gain * (g * g)).addingProduct(second.decay, s[1])
    return (s[0] * first.correction) / ((s[1] * second.correction).squareRoot() + update.epsilon)
  }
}
