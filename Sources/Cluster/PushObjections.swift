import Messaging
import Optimization

/// Pushes that no worker can have computed. Keys say who somebody is, not that they are right; nor does a checksum say
/// that the sum was right when it was made.
///
/// What is refused is what the loss and the data rule out (`GradientBounds`), and not what is merely unusual: a limit
/// drawn from the run so far, such as a thousand times the median norm, would refuse honest workers where gradients
/// vanish and return, as with a hinge loss whose margins are all kept but for one example's. The limit for a norm is also
/// the tighter one of the two: with the settings of `Config`, 145 (softmax) and 165 times (SVM) the median norm of a
/// step's gradient on CIFAR-10. Where gradients have all but vanished it is the wider one, and a thousandfold gradient
/// that examples might still give is taken. A sum has integers only, so what is infinite or not a number can only be said of
/// the loss.
extension ParameterStore {
  enum Objection: Error, Equatable, CustomStringConvertible {
    case wrongLength(found: Int, expected: Int)
    case wrongExamples(found: Int, expected: Int)
    case impossibleLoss(Double)
    /// It says that the loss is not finite, and that cannot be at the weights it was sent.
    case unfoundedDivergence(largestLoss: Double)
    case impossibleNorm(found: Double, largest: Double)

    var description: String {
      switch self {
      case .wrongLength(let found, let expected): "a gradient of \(found) bytes, expected \(expected)"
      case .wrongExamples(let found, let expected): "a gradient of \(found) examples, expected \(expected)"
      case .impossibleLoss(let loss): "a mean loss of \(loss)"
      case .unfoundedDivergence(let largest):
        "a loss that is not finite, at weights at which no example has more than \(largest)"
      case .impossibleNorm(let found, let largest):
        "a gradient whose norm is \(found / largest) times the largest that its examples can have"
      }
    }
  }

  /// What is wrong with a push, if anything. Costs one pass over the gradient.
  /// - Parameter parameters: the weights that its worker was sent.
  func objection(to push: Message.Push, computedAt parameters: Payload) -> Objection? {
    let length = plan.shape.parameterCount * MemoryLayout<Int32>.stride
    guard push.gradient.count == length else {  // defence: push-length
      return .wrongLength(found: push.gradient.count, expected: length)
    }
    let statistics = push.statistics
    let examples = push.shards.count * plan.examplesPerShard
    guard statistics.examples == examples else {
      return .wrongExamples(found: statistics.examples, expected: examples)
    }
    guard statistics.lossSum >= 0, statistics.meanLoss <= MinibatchStatistics.largestLoss else {  // defence: push-loss
      return .impossibleLoss(statistics.meanLoss)
    }
    guard statistics.isFinite || plan.mayDiverge(at: parameters.bytes) else {  // defence: push-divergence
      return .unfoundedDivergence(largestLoss: plan.largestLoss(at: parameters.bytes))
    }
    let norm = kernel.norm(
      ofGradientSum: push.gradient.bytes.baseAddress.unsafelyUnwrapped, count: plan.shape.parameterCount)
    let largest = plan.largestGradientNorm(shards: push.shards.count)
    guard norm <= largest else { return .impossibleNorm(found: norm, largest: largest) }  // defence: push-norm
    return nil
  }
}
