import CKernels

/// RMSProp (Hinton 2012, lecture 6e of his course), which forgets the squares that AdaGrad adds up:
///
///     s = ρ s + (1 − ρ) g²
///     w −= η g / (√s + ε)
///
/// as in the lecture and in PyTorch, where ρ is called `alpha`.
struct RMSProp: OptimizerFunction {
  var settingName: String { "rmsprop" }
  var hyperparameters: [Optimizer.Hyperparameter] { [.decayRate, .epsilon] }
  var slotNames: [String] { ["square_average"] }

  func defaultLearningRate(_ loss: Loss) -> Double { 0.001 }

  func direction(of g: Double, _ s: inout SIMD2<Double>, step t: UInt64, _ optimizer: Optimizer) -> Double {
    let rho = optimizer[.decayRate]
    s[0] = rho * s[0] + (1 - rho) * g * g
    return g / (s[0].squareRoot() + optimizer[.epsilon])
  }

  func averages(
    _ optimizer: Optimizer, step t: UInt64, fraction: Double
  ) -> (first: descent_average, second: descent_average) {
    (.average(decay: optimizer[.decayRate], fraction: fraction, step: t), descent_average())
  }

  func direction(of g: Float, _ s: inout SIMD2<Float>, _ update: descent_update) -> Float {
    s[0] = (update.first.gain * (g * g)).addingProduct(update.first.decay, s[0])
    return g / (s[0].squareRoot() + update.epsilon)
  }
}
