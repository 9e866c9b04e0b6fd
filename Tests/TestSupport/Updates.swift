import Optimization

extension UpdateRule {
  /// Applies a gradient of the state's parameters.
  /// - Returns: ‖g‖₂ of this gradient, penalty included.
  public func apply(
    _ sum: UnsafeRawPointer, scale: FixedPointScale, adding addend: UnsafeRawPointer? = nil, examples: Int? = nil,
    shards: Int? = nil, learningRate step: UInt64, to state: inout TrainingState,
    copy: UnsafeMutablePointer<Float>? = nil
  ) -> Double {
    var norm = GradientNorm(of: state.parameters.values.indices)
    apply(
      sum, scale: scale, adding: addend, examples: examples, shards: shards, learningRate: step, to: &state,
      norm: &norm, copy: copy)
    return norm.value
  }
}
