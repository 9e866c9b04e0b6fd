import CKernels

/// AdaGrad (Duchi et al. 2011): a parameter with large gradients gets small steps.
///
///     s = s + g²
///     w −= η g / (√s + ε)
///
/// as in the lecture and in PyTorch, whose ε is 10⁻¹⁰.
struct AdaGrad: OptimizerFunction {
  var settingName: String { "adagrad" }
  var hyperparameters: [Optimizer.Hyperparameter] { [.epsilon] }
  var slotNames: [String] { ["square_sum"] }

  func defaultLearningRate(_ loss: Loss) -> Double { 0.01 }

  func direction(of g: Double, _ s: inout SIMD2<Double>, step t: UInt64, _ optimizer: Optimizer) -> Double {
    s[0] += g * g
    return g / (s[0].squareRoot() + optimizer[.epsilon])
  }

  func averages(
    _ optimizer: Optimizer, step t: UInt64, fraction: Double
  ) -> (first: descent_average, second: descent_average) {
    (descent_average(decay: 1, gain: Float(fraction), correction: 1), descent_average())
  }

  func direction(of g: Float, _ s: inout SIMD2<Float>, _ update: descent_update) -> Float {
    s[0] += update.first.gain * (g * g)
    return g / (s[0].squareRoot() + update.epsilon)
  }
}
