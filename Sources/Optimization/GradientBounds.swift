/// Upper bounds that hold for any examples and weights. A push above them is corrupt or forged; an honest worker never
/// exceeds them, even when training diverges.
///
/// The input is bounded, |x| ≤ 2 and a constant 1 for the bias (pixel and mean image are in 0…255 and 127.5 apart is 1),
/// and so is the loss' derivative by the scores; their product is the gradient.
extension TrainingPlan {
  /// The largest norm of an Int32 gradient sum, in its own units.
  ///
  /// One example: ‖∂L/∂s‖₂ · ‖x‖₂ ≤ c · √(4 D + 1), with c = √2 for softmax (a probability vector less a unit vector) and
  /// √(K (K − 1)) for hinge (K − 1 for the true class and 1 for each other). On CIFAR-10 that is 157 and 1,052. A
  /// hundredth is added for float arithmetic, and one unit for every element's rounding in every shard.
  public func largestGradientNorm(shards: Int) -> Double {
    let classes = Double(shape.classes)
    let squaredDerivative =
      switch loss {
      case .softmaxCrossEntropy: 2.0
      case .hinge: classes * (classes - 1)
      }
    let example = (squaredDerivative * Double(4 * shape.pixels + 1)).squareRoot()
    return Double(shards)
      * (Double(examplesPerShard) * example * 1.01 * Double(fixedPointScale)
        + Double(shape.parameterCount).squareRoot())
  }

  /// A bound on the loss of any one example, in nats or margins, at the given parameters: not a number or infinite if
  /// they are.
  ///
  /// Scores lie in ±m, m = max over classes of 2 Σ |w| + |b|, so softmax gives at most log K + 2 m and hinge
  /// (K − 1) (1 + 2 m).
  /// - Parameter parameters: float32 [parameterCount] at any alignment.
  public func largestLoss(at parameters: UnsafeRawBufferPointer) -> Double {
    let stride = MemoryLayout<Float>.stride
    func magnitude(_ index: Int) -> Double {
      Double(parameters.loadUnaligned(fromByteOffset: index * stride, as: Float.self).magnitude)
    }
    var largest = 0.0
    for label in 0..<shape.classes {
      var score = magnitude(shape.classes * shape.pixels + label)
      for pixel in 0..<shape.pixels { score += 2 * magnitude(label * shape.pixels + pixel) }
      if score.isNaN { return .nan }
      largest = max(largest, score)
    }
    switch loss {
    case .softmaxCrossEntropy: return ElementaryFunctions.logarithm(Double(shape.classes)) + 2 * largest
    case .hinge: return Double(shape.classes - 1) * (Loss.hingeMargin + 2 * largest)
    }
  }

  /// Whether an example may have a score or loss that is not finite, or too large to be counted, at these parameters.
  /// Half of what can be counted leaves room for rounding.
  public func mayDiverge(at parameters: UnsafeRawBufferPointer) -> Bool {
    !(largestLoss(at: parameters) < MinibatchStatistics.largestLoss / 2)
  }
}
