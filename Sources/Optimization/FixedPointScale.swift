/// The units of a gradient sum: in block b of the parameters, 1 stands for 2^−exponents[b].
///
/// The bound of a loss may prove that no sum overflows at a constant scale; then the scale of a run never changes. Where
/// there is no such bound (`TrainingPlan.hasProvenScale`), the scale follows the gradients: it is part of the training
/// state, travels with the work, and a step whose gradient does not fit is computed again at another one. Whether it
/// fits is decided by the largest element of any one shard, which does not depend on how the shards are spread over
/// workers. So all bits are those of the sequential trainer, whichever process computes which shard.
public struct FixedPointScale: Sendable, Equatable {
  /// The most blocks of parameters that a model may have.
  public static let maximumBlocks = 16
  /// Exponents stay in −100 ... 100, so that a scale and its inverse are normal numbers.
  public static let exponentLimit = 100

  /// 0 for blocks that the model does not have.
  public var exponents: SIMD16<Int8>

  public init(exponents: SIMD16<Int8> = SIMD16()) { self.exponents = exponents }

  /// Units in 1, a power of two.
  public func unitsPerOne(inBlock block: Int) -> Float {
    Float(sign: .plus, exponent: Int(exponents[block]), significand: 1)
  }

  /// Whether every exponent is one that a run can have, and only blocks of the model have one.
  public func fits(_ shape: ModelShape) -> Bool {
    (0..<Self.maximumBlocks).allSatisfy {
      abs(Int(exponents[$0])) <= Self.exponentLimit && ($0 < shape.blockCount || exponents[$0] == 0)
    }
  }
}

/// The magnitude of the largest element of any one shard's gradient, for each block: the number of bits before the binary
/// point in units of the scale, so that it is below 2^bits and, unless it is zero, at least 2^(bits − 1). Not measured,
/// and `none`, where the scale is proven.
public struct GradientPeaks: Sendable, Equatable {
  /// The bits of zero.
  public static let none = GradientPeaks(bits: SIMD16(repeating: .min))

  public var bits: SIMD16<Int8>

  public init(bits: SIMD16<Int8>) { self.bits = bits }

  /// Of two sets of shards together.
  public func merged(with other: GradientPeaks) -> GradientPeaks {
    GradientPeaks(bits: pointwiseMax(bits, other.bits))
  }
}

extension TrainingPlan {
  /// Bits that an element of one shard's gradient may have: S of them fit in an Int32.
  var bitsPerShard: Int { 31 - (Int.bitWidth - (shardCount - 1).leadingZeroBitCount) }

  /// Bits that the largest element of any shard must have: fewer, and rounding to integers would be seen in the weights.
  var leastPeakBits: Int { min(20, bitsPerShard - 3) }

  /// Bits of the largest element after the scale was changed: as far from the one limit as the gradients' change from
  /// step to step asks for.
  private var preferredPeakBits: Int { max(leastPeakBits + 1, bitsPerShard - 4) }

  /// The scale with which to compute a step again, because the sum of its gradients does not fit or has too few bits; nil
  /// if it counts. The same whichever workers computed the gradients.
  public func correction(of scale: FixedPointScale, for peaks: GradientPeaks) -> FixedPointScale? {
    guard !hasProvenScale else { return nil }
    var corrected = scale
    for block in 0..<shape.blockCount where peaks.bits[block] != GradientPeaks.none.bits[block] {
      let bits = Int(peaks.bits[block])
      if bits > bitsPerShard || bits < leastPeakBits { corrected.exponents[block] = adjusted(scale, peaks, block) }
    }
    return corrected == scale ? nil : corrected
  }

  /// The scale of the step after one that counts. It changes seldom, and before a correction is necessary.
  public func scale(after scale: FixedPointScale, _ peaks: GradientPeaks) -> FixedPointScale {
    guard !hasProvenScale else { return scale }
    var next = scale
    for block in 0..<shape.blockCount where peaks.bits[block] != GradientPeaks.none.bits[block] {
      let bits = Int(peaks.bits[block])
      if bits > bitsPerShard - 2 || bits < leastPeakBits + 2 { next.exponents[block] = adjusted(scale, peaks, block) }
    }
    return next
  }

  private func adjusted(_ scale: FixedPointScale, _ peaks: GradientPeaks, _ block: Int) -> Int8 {
    let limit = FixedPointScale.exponentLimit
    return Int8(
      min(limit, max(-limit, Int(scale.exponents[block]) + preferredPeakBits - Int(peaks.bits[block]))))
  }

  /// Whether a sum over all shards, one of which has these peaks, may overflow.
  public func mayOverflow(_ peaks: GradientPeaks) -> Bool {
    !hasProvenScale && (0..<shape.blockCount).contains { Int(peaks.bits[$0]) > bitsPerShard }
  }

  /// Whether a sum with these peaks overflows, at a scale that cannot be made any smaller.
  public func overflows(at scale: FixedPointScale, _ peaks: GradientPeaks) -> Bool {
    guard !hasProvenScale else { return false }
    return (0..<shape.blockCount).contains {
      Int(peaks.bits[$0]) > bitsPerShard && Int(scale.exponents[$0]) == -FixedPointScale.exponentLimit
    }
  }
}
