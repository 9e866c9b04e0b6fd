import CKernels

/// Stochastic gradient descent: `w −= η g`.
struct SGD: OptimizerFunction {
  var settingName: String { "sgd" }
  func defaultLearningRate(_ loss: Loss) -> Double { loss.defaultLearningRate }

  func direction(of g: Double, _ s: inout SIMD2<Double>, step t: UInt64, _ optimizer: Optimizer) -> Double { g }

  func direction(of g: Float, _ s: inout SIMD2<Float>, _ update: descent_update) -> Float { g }
}
