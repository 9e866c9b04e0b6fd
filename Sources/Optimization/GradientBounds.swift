/// Upper bounds that hold for any examples. A push above them is corrupt or forged; an honest worker never exceeds them,
/// even when training diverges.
///
/// The input is bounded, |x| ≤ 2 and a constant 1 for the bias (pixel and mean image are in 0…255 and 127.5 apart is 1).
/// For a linear classifier whose loss has a bounded derivative, their product bounds the gradient at any weights.
extension TrainingPlan {
  /// The largest |x|.
  static let largestInput = 2.0

  /// The largest norm of an Int32 gradient sum, in its own units, at any weights; only where there is a bound
  /// (`hasProvenScale`).
  ///
  /// One example: ‖∂L/∂s‖₂ · ‖x‖₂ ≤ c · √(4 D + 1), with c = √2 for softmax (a probability vector less a unit vector) and
  /// √(K (K − 1)) for hinge (K − 1 for the true class and 1 for each other). On CIFAR-10 that is 157 and 1,052. A
  /// hundredth is added for float arithmetic, and one unit for every element's rounding in every shard.
  public func largestGradientNorm(shards: Int) -> Double {
    guard let bound = lossFunction.derivativeBound(classes: shape.classes) else { return .infinity }
    let inputs = Self.largestInput * Self.largestInput * Double(shape.pixels) + 1
    let example = (bound.squaredNorm * inputs).squareRoot()
    return Double(shards)
      * (Double(examplesPerShard) * example * 1.01 * Double(firstScale.unitsPerOne(inBlock: 0))
        + Double(shape.parameterCount).squareRoot())
  }

  /// The largest norm of some elements of a block of an Int32 gradient sum, in its own units, if those of each shard have the
  /// peaks that the sum comes with.
  public func largestGradientNorm(shards: Int, peaks: GradientPeaks, inBlock block: Int, elements: Int) -> Double {
    // Below 2^bits before it is rounded, and zero if it is below a half.
    let bits = min(max(Int(peaks.bits[block]), -1), bitsPerShard)
    let element = bits < 0 ? 0 : Double(sign: .plus, exponent: bits, significand: 1)
    return Double(shards) * element * Double(elements).squareRoot()
  }
}

/// What holds for every example at given parameters, by interval arithmetic from the pixels to the scores, and by the chain
/// rule with the largest of each factor on the way back. Proven, but the wider the more units and layers there are: each is
/// assumed to meet its worst input at once.
public struct ParameterBounds: Sendable {
  /// Of the loss of any one example, in nats or margins: not a number or infinite if the parameters are, or if sums of
  /// floats may overflow before the loss, which may be bounded, is taken.
  public let largestLoss: Double
  /// Of the magnitude of an element of one shard's gradient, for each block; a hundredth is added for float arithmetic.
  public let largestElements: [Double]

  /// One pass over the parameters: some milliseconds for three millions.
  /// - Parameter parameters: float32 [parameterCount] at any alignment.
  public init(of plan: TrainingPlan, at parameters: UnsafeRawBufferPointer) {
    let layers = plan.shape.layers
    func parameter(_ index: Int) -> Double {
      Double(parameters.loadUnaligned(fromByteOffset: index * MemoryLayout<Float>.stride, as: Float.self))
    }
    var inputs = [Interval](
      repeating: Interval(center: 0, radius: TrainingPlan.largestInput), count: plan.shape.pixels)
    var largestInputs: [Double] = []
    var largestSum = 0.0
    var score = 0.0
    for (l, layer) in layers.enumerated() {
      largestInputs.append(inputs.largest)
      let sums = (0..<layer.outputs).map { unit in
        var sum = Interval(center: parameter(layer.bias.lowerBound + unit), radius: 0)
        let row = layer.weight.lowerBound + unit * layer.inputs
        for j in 0..<layer.inputs { sum.add(parameter(row + j), times: inputs[j]) }
        return sum
      }
      score = sums.largest
      largestSum = score.isNaN ? .nan : max(largestSum, score)
      if l < plan.shape.hidden.count { inputs = sums.map { plan.outputs(of: $0) } }
    }
    guard largestSum <= 1e30 else {
      largestLoss = largestSum.isNaN ? .nan : .infinity
      largestElements = Array(repeating: .infinity, count: plan.shape.blockCount)
      return
    }
    let bound = plan.lossFunction.bound(classes: plan.shape.classes, scores: score)
    largestLoss = bound.loss
    var derivatives = [Double](repeating: bound.derivative, count: plan.shape.classes)
    var elements: [Double] = []
    for (l, layer) in layers.enumerated().reversed() {
      let largest = (derivatives.max() ?? 0) * Double(plan.examplesPerShard) * 1.01
      elements = [largest * largestInputs[l], largest] + elements
      if l == 0 { break }
      derivatives = (0..<layer.inputs).map { j in
        var sum = 0.0
        for k in 0..<layer.outputs {
          sum += abs(parameter(layer.weight.lowerBound + k * layer.inputs + j)) * derivatives[k]
        }
        return sum * plan.shape.activation.largestDerivative * Double(DropoutMask(plan: plan).factor)
      }
    }
    largestElements = elements
  }

  /// Whether an example may have a score or loss that is not finite, or too large to be counted. Half of what can be counted
  /// leaves room for rounding.
  public var mayDiverge: Bool { !(largestLoss < MinibatchStatistics.largestLoss / 2) }

  /// Whether a shard's gradient may have an element with these peaks.
  public func mayReach(_ peaks: GradientPeaks, at scale: FixedPointScale) -> Bool {
    largestElements.indices.allSatisfy { block in
      let largest = largestElements[block] * Double(scale.unitsPerOne(inBlock: block))
      let bits = peaks.bits[block]
      return bits == GradientPeaks.none.bits[block] || !largest.isFinite || Double(bits) <= Double(largest.exponent) + 1
    }
  }
}

/// center ± radius.
private struct Interval {
  var center: Double
  var radius: Double

  /// The largest magnitude in it.
  var largest: Double { abs(center) + radius }

  mutating func add(_ factor: Double, times other: Interval) {
    center += factor * other.center
    radius += abs(factor) * other.radius
  }
}

extension [Interval] {
  /// Not a number if one of them is.
  fileprivate var largest: Double {
    reduce(0) { $0.isNaN || $1.largest.isNaN ? .nan : Swift.max($0, $1.largest) }
  }
}

extension TrainingPlan {
  /// Of a hidden unit, dropped or not. No activation falls.
  fileprivate func outputs(of sums: Interval) -> Interval {
    let dropoutFactor = Double(DropoutMask(plan: self).factor)
    let low = min(0, shape.activation(sums.center - sums.radius).value * dropoutFactor)
    let high = max(0, shape.activation(sums.center + sums.radius).value * dropoutFactor)
    return Interval(center: (low + high) / 2, radius: (high - low) / 2)
  }
}
