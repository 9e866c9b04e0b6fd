/// A flat vector of Float32 with the layout of `ModelShape.blocks`: parameters, or their velocity.
public struct ParameterVector: Sendable, Equatable {
  public var values: [Float]

  public init(_ values: [Float]) {
    self.values = values
  }

  public init(zeros count: Int) {
    values = [Float](repeating: 0, count: count)
  }

  public var count: Int { values.count }

  /// The parameters before step 0: every weight is N(0, σ²), σ = `plan.initialStandardDeviation`, drawn from the
  /// seed and its own index alone; every bias is zero, and with σ = 0 every weight too.
  public static func initial(plan: TrainingPlan) -> ParameterVector {
    var vector = ParameterVector(zeros: plan.shape.parameterCount)
    let deviation = Double(plan.initialStandardDeviation)
    guard deviation != 0 else { return vector }
    let generator = Philox4x64(seed: plan.seed, stream: .initialParameters)
    for block in plan.shape.blocks where block.name == "weight" {
      for index in block.range {
        vector.values[index] = Float(deviation * generator.normal(at: UInt64(index)))
      }
    }
    return vector
  }

  public func withUnsafePointer<Result, Failure: Error>(
    _ body: (UnsafePointer<Float>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try values.withUnsafeBufferPointer { (buffer) throws(Failure) in try body(buffer.baseAddress.unsafelyUnwrapped) }
  }

  public mutating func withUnsafeMutablePointer<Result, Failure: Error>(
    _ body: (UnsafeMutablePointer<Float>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try values.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try body(buffer.baseAddress.unsafelyUnwrapped)
    }
  }
}
