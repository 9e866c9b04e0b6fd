import Optimization

extension UpdateRule {
  /// Applies a gradient of the state's parameters.
  /// - Returns: ‖g‖₂ of the mean gradient, penalty included.
  public func apply(
    _ sum: UnsafeRawPointer, adding addend: UnsafeRawPointer? = nil, examples: Int, learningRate step: UInt64,
    to state: inout TrainingState, copy: UnsafeMutablePointer<Float>? = nil
  ) -> Double {
    var norm = GradientNorm(of: state.parameters.values.indices)
    apply(sum, adding: addend, examples: examples, learningRate: step, to: &state, norm: &norm, copy: copy)
    return norm.value
  }

  /// Applies the gradient of some of a step's shards.
  /// - Returns: ‖g‖₂ of this part.
  public func applyFraction(
    _ sum: UnsafeRawPointer, shards: Int, learningRateStep: UInt64, to state: inout TrainingState
  ) -> Double {
    var norm = GradientNorm(of: state.parameters.values.indices)
    applyFraction(sum, shards: shards, learningRateStep: learningRateStep, to: &state, norm: &norm)
    return norm.value
  }
}
