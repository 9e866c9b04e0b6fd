/// The objective at both sides of a coordinate of the parameters, and what follows for its derivative.
public struct CentralDifference: Sendable, Equatable {
  /// L(w + h) and L(w − h), penalty included.
  public var above: Double
  public var below: Double
  /// (L(w + h) − L(w − h)) / 2h, from the difference of each example, which rounds less than that of the sums.
  public var derivative: Double
  /// Whether there may be no derivative: a margin of the loss or the sum of a hidden unit that depends on the coordinate
  /// changes its sign between the two points or is near to zero at one of them for some example, or a weight with an L1
  /// penalty does.
  public var isAtKink: Bool
}

/// The objective of a minibatch as a function of one coordinate at a time, in double precision.
struct ObjectiveAlongCoordinate {
  private let reference: ReferenceTrainer
  private let labels: [Int]
  /// Of each example, at the parameters.
  private let passes: [ReferenceTrainer.ForwardPass]
  private let parameters: [Double]
  private let kinkWidth: Double

  /// - Parameters:
  ///   - parameters: [parameterCount].
  ///   - step: whose dropout masks apply; nil for none.
  ///   - kinkWidth: a margin or sum this near to zero counts as a kink too.
  init(
    reference: ReferenceTrainer, minibatch: [ReferenceTrainer.Example], parameters: [Double], step: UInt64?,
    kinkWidth: Double
  ) {
    (self.reference, self.parameters, self.kinkWidth) = (reference, parameters, kinkWidth)
    labels = minibatch.map(\.y)
    passes = minibatch.map { reference.forward($0, at: parameters, step: step) }
  }

  /// With h = `GradientCheck.stepSize`; nil at a kink, unless it is asked for there too.
  func difference(at coordinate: Int, evenAtKinks: Bool = false) -> CentralDifference? {
    let plan = reference.plan
    let (layer, unit) = place(of: coordinate)
    var (above, below) = (parameters, parameters)
    above[coordinate] += GradientCheck.stepSize
    below[coordinate] -= GradientCheck.stepSize
    var (highSum, lowSum, difference) = (0.0, 0.0, 0.0)
    var isAtKink = isAtKinkOfPenalty(coordinate)
    for (pass, label) in zip(passes, labels) {
      let high = reference.forward(pass, changing: unit, of: layer, at: above)
      let low = reference.forward(pass, changing: unit, of: layer, at: below)
      if plan.shape.activation.hasKink {
        let hidden = layer..<max(layer, plan.shape.layers.count - 1)
        isAtKink = isAtKink || hidden.contains { isKinked(high.sums[$0], low.sums[$0]) }
      }
      let loss = plan.lossFunction
      let margins = [high, low].map { loss.margins(scores: $0.scores, label: label) }
      isAtKink = isAtKink || isKinked(margins[0], margins[1])
      if isAtKink, !evenAtKinks { return nil }
      let (highLoss, lowLoss) = (
        loss(scores: high.scores, label: label).value, loss(scores: low.scores, label: label).value
      )
      highSum += highLoss
      lowSum += lowLoss
      difference += highLoss - lowLoss
    }
    let divisor = plan.divisor(examples: labels.count)
    let (highPenalty, lowPenalty) = (reference.penalty(at: above), reference.penalty(at: below))
    return CentralDifference(
      above: highSum / divisor + highPenalty, below: lowSum / divisor + lowPenalty,
      // The distance as the machine sees it: w + h is rounded.
      derivative: (difference / divisor + (highPenalty - lowPenalty)) / (above[coordinate] - below[coordinate]),
      isAtKink: isAtKink)
  }

  /// The layer that a coordinate belongs to, and the unit of it.
  private func place(of coordinate: Int) -> (layer: Int, unit: Int) {
    let layers = reference.plan.shape.layers
    guard let layer = layers.firstIndex(where: { coordinate < $0.bias.upperBound }) else {
      preconditionFailure("the model has no parameter \(coordinate)")
    }
    let place = layers[layer]
    let isWeight = place.weight.contains(coordinate)
    return (
      layer,
      isWeight ? (coordinate - place.weight.lowerBound) / place.inputs : coordinate - place.bias.lowerBound
    )
  }

  /// |w| has one at zero.
  private func isAtKinkOfPenalty(_ coordinate: Int) -> Bool {
    reference.plan.l1 != 0 && abs(parameters[coordinate]) <= GradientCheck.stepSize
      && reference.plan.shape.blocks.contains { $0.isRegularized && $0.range.contains(coordinate) }
  }

  private func isKinked(_ high: [Double], _ low: [Double]) -> Bool {
    zip(high, low).contains { high, low in
      high != low && ((high > 0) != (low > 0) || min(abs(high), abs(low)) <= kinkWidth)
    }
  }
}
