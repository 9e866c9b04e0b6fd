import Messaging
import Optimization

/// Why a push cannot have been computed.
enum PushRejection: Error, Equatable, CustomStringConvertible {
  case wrongLength(found: Int, expected: Int)
  case wrongExamples(found: Int, expected: Int)
  case impossibleLoss(Double)
  /// It reports a loss that is not finite, which is impossible at the weights that its worker was sent.
  case implausibleDivergence(largestLoss: Double)
  /// Of a network, whose bounds are wide: another worker has to report it of the same step.
  case unconfirmedDivergence
  case impossibleNorm(found: Double, largest: Double)
  /// No shard's gradient can be as large as it says at the weights that its worker was sent.
  case impossiblePeaks

  var description: String {
    switch self {
    case .wrongLength(let found, let expected): "the gradient must have \(expected) bytes, but has \(found)"
    case .wrongExamples(let found, let expected): "the gradient must be over \(expected) examples, but is over \(found)"
    case .impossibleLoss(let loss): "the mean loss is \(loss)"
    case .implausibleDivergence(let largest):
      "the loss is not finite, although no example's exceeds \(largest) at these weights"
    case .unconfirmedDivergence: "the loss is not finite, which no other worker has reported of this step"
    case .impossibleNorm(let found, let largest):
      "the gradient's norm is \(found / largest) times the largest that its examples can have"
    case .impossiblePeaks: "a shard's gradient is said to be larger than it can be at these weights"
    }
  }
}

/// Finds pushes that no worker can have computed. A key proves the sender's identity, not that it is right; nor does a
/// checksum prove that the sum was right when it was made.
///
/// The limits follow from the loss and the data (`GradientBounds`). A limit drawn from the run so far, such as a thousand
/// times the median norm, would reject correct workers where gradients vanish and return, as with a hinge loss when all
/// margins but one example's are satisfied. The limit for a norm is also the tighter one of the two: with the settings of
/// `Config`, 145 (softmax) and 165 times (SVM) the median norm of a step's gradient on CIFAR-10. Where gradients have all but
/// vanished it is the wider one, and accepts a thousandfold gradient that examples might still give. The elements of a sum
/// are integers, so only the loss can be infinite or not a number.
///
/// A network, or a loss without a bound on its derivative, has a limit for the norm only in the peaks that a push comes with:
/// the gradient must agree with them, and whether they and a loss that is not finite are possible is judged by the weights
/// (`ParameterBounds`). Of wide networks these limits are wide, too.
extension TrainingPlan {
  /// Checks a push in one pass over its gradient.
  /// - Parameters:
  ///   - range: of the parameters that it is a gradient of. Its norm is at most that of the whole gradient.
  ///   - parameters: Float32 [parameters]: all the weights that its worker was sent.
  ///   - known: the bounds at the weights that were looked at last; they are computed for a push that needs them.
  ///   - scale: that of the item that the push answers.
  func validate(
    _ push: Message.Push, of range: Range<Int>, computedAt parameters: Payload, _ known: inout KnownBounds,
    _ scale: FixedPointScale, _ kernel: KernelVariant
  ) throws(PushRejection) {
    let length = range.count * MemoryLayout<Int32>.stride
    guard push.gradient.count == length else {  // defence: push-length
      throw .wrongLength(found: push.gradient.count, expected: length)
    }
    let statistics = push.statistics
    let examples = push.item.shards.count * examplesPerShard
    guard statistics.examples == examples else {
      throw .wrongExamples(found: statistics.examples, expected: examples)
    }
    guard statistics.lossSum >= 0, statistics.meanLoss <= MinibatchStatistics.largestLoss else {  // defence: push-loss
      throw .impossibleLoss(statistics.meanLoss)
    }
    guard statistics.isFinite || known.bounds(of: self, at: parameters).mayDiverge else {  // defence: push-divergence
      throw .implausibleDivergence(largestLoss: known.bounds(of: self, at: parameters).largestLoss)
    }
    guard !hasProvenScale || statistics.peaks == .none else { throw .impossiblePeaks }
    if mayOverflow(statistics.peaks) {
      // The sum does not count and says nothing. A worker cannot have a step computed again without reason.
      // defence: push-peaks
      guard known.bounds(of: self, at: parameters).mayReach(statistics.peaks, at: scale) else { throw .impossiblePeaks }
      return
    }
    guard hasProvenScale else { return try validatePeaks(push, of: range, kernel) }
    let norm = kernel.norm(ofGradientSum: push.gradient.bytes.baseAddress.unsafelyUnwrapped, count: range.count)
    let largest = largestGradientNorm(shards: push.item.shards.count)
    guard norm <= largest else { throw .impossibleNorm(found: norm, largest: largest) }  // defence: push-norm
  }

  /// Checks the gradient against the peaks that it comes with, block by block.
  private func validatePeaks(
    _ push: Message.Push, of range: Range<Int>, _ kernel: KernelVariant
  ) throws(PushRejection) {
    for (index, layer) in shape.layers.enumerated() {
      for (block, all) in [(2 * index, layer.weight), (2 * index + 1, layer.bias)] {
        let part = all.clamped(to: range)
        if part.isEmpty { continue }
        let offset = (part.lowerBound - range.lowerBound) * MemoryLayout<Int32>.stride
        let norm = kernel.norm(
          ofGradientSum: push.gradient.bytes.baseAddress.unsafelyUnwrapped + offset, count: part.count)
        let largest = largestGradientNorm(
          shards: push.item.shards.count, peaks: push.statistics.peaks, inBlock: block, elements: part.count)
        guard norm <= largest * 1.001 else {  // defence: push-norm
          throw .impossibleNorm(found: norm, largest: largest)
        }
      }
    }
  }
}

/// The bounds at the weights of the newest push that needed them, so that they are computed once for all workers.
struct KnownBounds {
  private var known: (parameters: Payload, bounds: ParameterBounds)?

  /// - Parameter parameters: Float32 [parameters].
  mutating func bounds(of plan: TrainingPlan, at parameters: Payload) -> ParameterBounds {
    if let known, known.parameters === parameters { return known.bounds }
    let bounds = ParameterBounds(of: plan, at: parameters.bytes)
    known = (parameters, bounds)
    return bounds
  }

  /// So that the weights' memory can be used again.
  mutating func forget() { known = nil }
}
