import CKernels

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019): the gradient r of the penalty does not pass through the
/// moments, where it would shrink weights with large gradients less than others.
///
///     w −= η (m̂ / (√v̂ + ε) + r),   r = 2 λ₂ w + λ₁ sign w
///
/// A `weight_decay` of d in PyTorch's AdamW is an l2 of d/2.
struct AdamW: OptimizerFunction {
  var settingName: String { "adamw" }
  private let adam = Adam()
  var hyperparameters: [Optimizer.Hyperparameter] { adam.hyperparameters }
  var slotNames: [String] { adam.slotNames }
  var decouplesPenalty: Bool { true }

  func defaultLearningRate(_ loss: Loss) -> Double { adam.defaultLearningRate(loss) }

  func direction(of g: Double, _ s: inout SIMD2<Double>, step t: UInt64, _ optimizer: Optimizer) -> Double {
    adam.direction(of: g, &s, step: t, optimizer)
  }

  func averages(
    _ optimizer: Optimizer, step t: UInt64, fraction: Double
  ) -> (first: descent_average, second: descent_average) { adam.averages(optimizer, step: t, fraction: fraction) }

  func direction(of g: Float, _ s: inout SIMD2<Float>, _ update: descent_update) -> Float {
    adam.direction(of: g, &s, update)
  }
}
