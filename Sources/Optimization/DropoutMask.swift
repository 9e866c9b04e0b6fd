import CKernels

/// Which hidden units a training step leaves out, for each example: inverted dropout (Srivastava et al. 2014; CS231n, "Neural
/// Networks Part 2"). The others' values are divided by 1 − p, so that an evaluation, which leaves out none, needs no
/// factor.
///
/// The decision is a function of the seed, the step, the example's number in the data set, the layer and the unit: the same
/// for any number of workers. Its random word, of 32 bits, is one of eight of a block of `Philox4x64`, those of units
/// 8 n ... 8 n + 7 at counter (n, example, step, layer), the low half of each word first; a unit is left out where it is
/// below p · 2³².
public struct DropoutMask: Sendable {
  private let generator: Philox4x64
  /// p · 2³², rounded down.
  private let threshold: UInt32
  /// 1 / (1 − p), what the values of units that are kept are multiplied with.
  public let factor: Float

  public init(plan: TrainingPlan) {
    generator = Philox4x64(seed: plan.seed, stream: .dropout)
    threshold = UInt32(Double(plan.dropout) * 0x1p32)
    factor = Float(1 / (1 - Double(plan.dropout)))
  }

  /// Whether a unit takes part.
  /// - Parameters:
  ///   - example: its index in the training files.
  ///   - layer: of the hidden layers, that of the pixels is 0.
  ///   - unit: of that layer.
  public func keeps(step: UInt64, example: UInt32, layer: Int, unit: Int) -> Bool {
    let block = generator.block(
      at: Philox4x64.Counter(UInt64(unit / 8), UInt64(example), step, UInt64(layer)))
    return UInt32(truncatingIfNeeded: block[unit % 8 / 2] >> UInt64(unit % 2 * 32)) >= threshold
  }

  /// As `keeps(step:example:layer:unit:)` of the plan's mask.
  public static func keeps(plan: TrainingPlan, step: UInt64, example: UInt32, layer: Int, unit: Int) -> Bool {
    DropoutMask(plan: plan).keeps(step: step, example: example, layer: layer, unit: unit)
  }

  /// The same for the kernels, of step 0.
  /// - Parameter examples: the numbers of a step's examples in the data set; must outlive the result.
  package func kernelDropout(examples: UnsafePointer<UInt32>) -> descent_dropout {
    descent_dropout(
      key: (generator.key[0], generator.key[1]), step: 0, threshold: threshold, factor: factor, examples: examples)
  }
}
