/// A flat vector of Float32 with the layout of `ModelShape.blocks`: parameters, or a vector of the optimizer's state.
public struct ParameterVector: Sendable, Equatable {
  public var values: [Float]

  public init(_ values: [Float]) {
    self.values = values
  }

  public init(zeros count: Int) {
    values = [Float](repeating: 0, count: count)
  }

  public var count: Int { values.count }

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
