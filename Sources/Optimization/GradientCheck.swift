/// How far an analytic gradient is from central differences, for one block of the parameters.
public struct BlockGradientCheck: Sendable, Equatable {
  public var block: ParameterBlock
  /// Coordinates compared.
  public var checked = 0
  /// Coordinates left out because a margin of the hinge loss changes its sign there, where no derivative exists.
  public var skippedAtKinks = 0
  /// The largest `GradientCheck.relativeError` of the coordinates compared.
  public var largestRelativeError = 0.0
}

/// Compares an analytic gradient with central differences of the objective, as CS231n's "Gradient checks" advises:
/// double precision, relative errors, kinks left out and counted, on real data and after some steps rather than at the
/// first weights alone.
public enum GradientCheck {
  /// h of `(L(w + h) − L(w − h)) / 2h`: the truncation error, of order h², and the rounding error, of order 2⁻⁵³ / h,
  /// are both near 10⁻¹¹.
  public static let stepSize = 1e-5

  /// Derivatives smaller than this are compared with it instead of with each other: single precision and fixed point
  /// leave an absolute error near 10⁻⁸ that would look large beside a derivative that happens to be near zero.
  public static let smallestMagnitude = 1e-3

  /// What `checkGradient` should stay below. On CIFAR-10 it finds at most 5·10⁻⁵ for both losses, batches of 64 to
  /// 4,096, with and without penalty, after 0 to 500 steps; a forgotten term or factor gives 10⁻¹ and more.
  public static let recommendedBound = 1e-3

  /// `|a − n| / max(|a| + |n|, smallest)`; infinite where one of them is infinite or not a number.
  public static func relativeError(_ analytic: Double, _ numeric: Double, smallest: Double) -> Double {
    guard analytic.isFinite, numeric.isFinite else { return .infinity }
    return abs(analytic - numeric) / max(abs(analytic) + abs(numeric), smallest)
  }

  /// Compares `analytic` at coordinates of every block that the seed chooses; a block of at most
  /// `coordinatesPerBlock` elements is compared whole.
  /// - Parameters:
  ///   - analytic: ∂L/∂w to be checked, [parameterCount].
  ///   - reference: computes the objective, in double precision.
  ///   - minibatch: the examples of the objective.
  ///   - parameters: where both gradients are taken, [parameterCount].
  ///   - kinkWidth: a margin this near to zero counts as a kink too; for analytic gradients of single precision, whose
  ///     scores may lie on the other side of it. Zero for double precision.
  ///   - smallestMagnitude: see `relativeError`; may be near zero for an analytic gradient of double precision.
  public static func compare(
    analytic: [Double], reference: ReferenceTrainer, minibatch: [ReferenceTrainer.Example], parameters: [Double],
    coordinatesPerBlock: Int, seed: UInt64, kinkWidth: Double = 0, smallestMagnitude: Double = smallestMagnitude
  ) -> [BlockGradientCheck] {
    var random = RandomSequence(Philox4x64(seed: seed, stream: .gradientCheck))
    return reference.plan.shape.blocks.map { block in
      var check = BlockGradientCheck(block: block)
      var coordinates = block.range.map(UInt32.init)
      random.shuffle(&coordinates)
      for coordinate in coordinates.prefix(coordinatesPerBlock).map(Int.init) {
        guard
          let numeric = numericDerivative(
            of: reference, minibatch, at: parameters, coordinate: coordinate, kinkWidth: kinkWidth)
        else {
          check.skippedAtKinks += 1
          continue
        }
        check.checked += 1
        let error = relativeError(analytic[coordinate], numeric, smallest: smallestMagnitude)
        check.largestRelativeError = max(check.largestRelativeError, error)
      }
      return check
    }
  }

  /// Checks the gradient that training would apply: that of one step's whole minibatch, by the kernel in single
  /// precision and fixed point, with the penalty, against differences in double precision. Every coordinate costs two
  /// passes of the oracle over the minibatch: some 35 ms for 512 examples of CIFAR-10.
  ///
  /// - Parameters:
  ///   - plan: one that passed `validate()`.
  ///   - meanImage: [D], in pixel units.
  ///   - parameters: where to check.
  ///   - step: decides the minibatch.
  public static func checkGradient(
    plan: TrainingPlan, examples: ExampleTable, meanImage: [Float], parameters: ParameterVector, step: UInt64,
    coordinatesPerBlock: Int, kernel: KernelVariant
  ) -> [BlockGradientCheck] {
    var sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
    let backend = KernelBackend(plan: plan, examples: examples, meanImage: meanImage, kernel: kernel)
    _ = parameters.withUnsafePointer { parameters in
      sum.withUnsafeMutableBufferPointer { sum in
        backend.gradient(
          parameters: parameters, step: step, shards: plan.allShards, into: sum.baseAddress.unsafelyUnwrapped)
      }
    }
    var sampler = MinibatchSampler(plan: plan)
    let indices = plan.allShards.flatMap { sampler.minibatch(shard: $0, step: step) }
    return compare(
      analytic: gradient(fromSum: sum, plan: plan, parameters: parameters),
      reference: ReferenceTrainer(plan: plan), minibatch: examples.minibatch(at: indices, meanImage: meanImage),
      parameters: parameters.values.map(Double.init), coordinatesPerBlock: coordinatesPerBlock, seed: plan.seed,
      kinkWidth: stepSize)
  }

  /// The mean gradient with the penalty, from a whole step's fixed-point sum.
  private static func gradient(
    fromSum sum: [Int32], plan: TrainingPlan, parameters: ParameterVector
  ) -> [Double] {
    let unit = 1 / (Double(plan.fixedPointScale) * Double(plan.batchSize))
    var gradient = sum.map { Double($0) * unit }
    for block in plan.shape.blocks where block.isRegularized {
      for index in block.range { gradient[index] += 2 * Double(plan.l2) * Double(parameters.values[index]) }
    }
    return gradient
  }

  /// Nil where a margin that depends on the coordinate changes sign between the two points, or is within `kinkWidth`
  /// of zero at one of them.
  private static func numericDerivative(
    of reference: ReferenceTrainer, _ minibatch: [ReferenceTrainer.Example], at parameters: [Double], coordinate: Int,
    kinkWidth: Double
  ) -> Double? {
    let loss = reference.plan.loss
    var (above, below) = (parameters, parameters)
    above[coordinate] += stepSize
    below[coordinate] -= stepSize
    var difference = 0.0
    for (x, y) in minibatch {
      let (scoresAbove, scoresBelow) = (reference.scores(of: x, at: above), reference.scores(of: x, at: below))
      let margins = zip(loss.margins(scores: scoresAbove, label: y), loss.margins(scores: scoresBelow, label: y))
      for (high, low) in margins where high != low {
        if (high > 0) != (low > 0) || min(abs(high), abs(low)) <= kinkWidth { return nil }
      }
      difference += loss(scores: scoresAbove, label: y).value - loss(scores: scoresBelow, label: y).value
    }
    difference = difference / Double(minibatch.count) + reference.penalty(at: above) - reference.penalty(at: below)
    // The distance as the machine sees it: w + h is rounded.
    return difference / (above[coordinate] - below[coordinate])
  }
}
