import CKernels

/// Gradient descent with the momentum of Nesterov (1983), which looks ahead to where the velocity leads:
///
///     v = μ v + g
///     w −= η (g + μ v)
///
/// as PyTorch has it, after Sutskever et al. 2013 and Bengio et al. 2012: w is the point that is looked ahead to, so that
/// the gradient is taken at w itself.
struct Nesterov: OptimizerFunction {
  var settingName: String { "nesterov" }
  var hyperparameters: [Optimizer.Hyperparameter] { [.momentum] }
  var slotNames: [String] { ["velocity"] }

  func defaultLearningRate(_ loss: Loss) -> Double { loss.defaultLearningRate }

  func direction(of g: Double, _ v: inout SIMD2<Double>, step t: UInt64, _ optimizer: Optimizer) -> Double {
    v[0] = optimizer[.momentum] * v[0] + g
    return g + optimizer[.momentum] * v[0]
  }

  func averages(
    _ optimizer: Optimizer, step t: UInt64, fraction: Double
  ) -> (first: descent_average, second: descent_average) {
    (.sum(decay: optimizer[.momentum], fraction: fraction), descent_average())
  }

  func direction(of g: Float, _ v: inout SIMD2<Float>, _ update: descent_update) -> Float {
    let share = update.first.gain * g
    v[0] = share.addingProduct(update.first.decay, v[0])
    return share.addingProduct(update.first.decay, v[0])
  }
}
