import CKernels

/// Gradient descent with momentum (Polyak 1964):
///
///     v = μ v + g
///     w −= η v
///
/// as PyTorch has it. The lecture moves the learning rate into the velocity, `v = μ v − η g; w += v`, which is the same as
/// long as η is constant.
struct Momentum: OptimizerFunction {
  var settingName: String { "momentum" }
  var hyperparameters: [Optimizer.Hyperparameter] { [.momentum] }
  var slotNames: [String] { ["velocity"] }

  func defaultLearningRate(_ loss: Loss) -> Double { loss.defaultLearningRate }

  func direction(of g: Double, _ v: inout SIMD2<Double>, step t: UInt64, _ optimizer: Optimizer) -> Double {
    v[0] = optimizer[.momentum] * v[0] + g
    return v[0]
  }

  func averages(
    _ optimizer: Optimizer, step t: UInt64, fraction: Double
  ) -> (first: descent_average, second: descent_average) {
    (.sum(decay: optimizer[.momentum], fraction: fraction), descent_average())
  }

  func direction(of g: Float, _ v: inout SIMD2<Float>, _ update: descent_update) -> Float {
    v[0] = (update.first.gain * g).addingProduct(update.first.decay, v[0])
    return v[0]
  }
}
