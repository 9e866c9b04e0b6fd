import Messaging
import Optimization

/// Why a push cannot have been computed.
enum PushRejection: Error, Equatable, CustomStringConvertible {
  case wrongLength(found: Int, expected: Int)
  case wrongExamples(found: Int, expected: Int)
  case impossibleLoss(Double)
  /// It reports a loss that is not finite, which is impossible at the weights that its worker was sent.
  case implausibleDivergence(largestLoss: Double)
  case impossibleNorm(found: Double, largest: Double)

  var description: String {
    switch self {
    case .wrongLength(let found, let expected): "the gradient must have \(expected) bytes, but has \(found)"
    case .wrongExamples(let found, let expected): "the gradient must be over \(expected) examples, but is over \(found)"
    case .impossibleLoss(let loss): "the mean loss is \(loss)"
    case .implausibleDivergence(let largest):
      "the loss is not finite, although no example's exceeds \(largest) at these weights"
    case .impossibleNorm(let found, let largest):
      "the gradient's norm is \(found / largest) times the largest that its examples can have"
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
extension TrainingPlan {
  /// Checks a push in one pass over its gradient.
  /// - Parameters:
  ///   - range: of the parameters that it is a gradient of. Its norm is at most that of the whole gradient.
  ///   - parameters: Float32 [parameters]: all the weights that its worker was sent.
  func validate(_ push: Message.Push, of range: Range<Int>, computedAt parameters: Payload, _ kernel: KernelVariant)
    throws(PushRejection)
  {
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
    guard statistics.isFinite || mayDiverge(at: parameters.bytes) else {  // defence: push-divergence
      throw .implausibleDivergence(largestLoss: largestLoss(at: parameters.bytes))
    }
    let norm = kernel.norm(ofGradientSum: push.gradient.bytes.baseAddress.unsafelyUnwrapped, count: range.count)
    let largest = largestGradientNorm(shards: push.item.shards.count)
    guard norm <= largest else { throw .impossibleNorm(found: norm, largest: largest) }  // defence: push-norm
  }
}
