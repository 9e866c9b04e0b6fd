/// How far an analytic gradient is from central differences, for one block of the parameters.
public struct BlockGradientCheck: Sendable, Equatable {
  public var block: ParameterBlock
  /// Coordinates compared.
  public var checked = 0
  /// Coordinates left out because a margin of the loss or the sum of a hidden unit changes its sign there for some example,
  /// or a weight with an L1 penalty: no derivative exists.
  public var skippedAtKinks = 0
  /// The largest `GradientCheck.relativeError` of the coordinates compared.
  public var largestRelativeError = 0.0
}

/// An analytic gradient and a central difference at one coordinate of the parameters.
public struct CoordinateGradientCheck: Sendable, Equatable {
  /// The block, and the indices in it: "weight[3, 1207]".
  public var parameter: String
  /// w, where both are taken.
  public var value: Double
  public var difference: CentralDifference
  public var analytic: Double
  /// Of the two derivatives (`GradientCheck.relativeError`).
  public var relativeError: Double
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

  /// How many coordinates are tried for each that is to be compared: of several hidden layers many are at a kink of one
  /// example or another.
  private static let attempts = 10

  /// Compares `analytic` at coordinates of every block that the seed chooses: as many as are asked for, if the block has so
  /// many and few enough are skipped.
  /// - Parameters:
  ///   - analytic: ∂L/∂w to be checked, [parameterCount].
  ///   - reference: computes the objective, in double precision.
  ///   - minibatch: the examples of the objective.
  ///   - parameters: where both gradients are taken, [parameterCount].
  ///   - step: whose dropout masks apply; nil for none.
  ///   - kinkWidth: a margin or sum this near to zero counts as a kink too; for analytic gradients of single precision,
  ///     which may lie on the other side of it. Zero for double precision.
  ///   - smallestMagnitude: see `relativeError`; may be near zero for an analytic gradient of double precision.
  public static func compare(
    analytic: [Double], reference: ReferenceTrainer, minibatch: [ReferenceTrainer.Example], parameters: [Double],
    coordinatesPerBlock: Int, seed: UInt64, step: UInt64? = nil, kinkWidth: Double = 0,
    smallestMagnitude: Double = smallestMagnitude
  ) -> [BlockGradientCheck] {
    var random = RandomSequence(Philox4x64(seed: seed, stream: .gradientCheck))
    let objective = ObjectiveAlongCoordinate(
      reference: reference, minibatch: minibatch, parameters: parameters, step: step, kinkWidth: kinkWidth)
    return reference.plan.shape.blocks.map { block in
      var check = BlockGradientCheck(block: block)
      var coordinates = block.range.map(UInt32.init)
      random.shuffle(&coordinates)
      let (limit, isUnlimited) = coordinatesPerBlock.multipliedReportingOverflow(by: attempts)
      for coordinate in coordinates.prefix(isUnlimited ? .max : limit).map(Int.init) {
        if check.checked == coordinatesPerBlock { break }
        guard let difference = objective.difference(at: coordinate) else {
          check.skippedAtKinks += 1
          continue
        }
        check.checked += 1
        let error = relativeError(analytic[coordinate], difference.derivative, smallest: smallestMagnitude)
        check.largestRelativeError = max(check.largestRelativeError, error)
      }
      return check
    }
  }

  /// Checks the gradient that training would apply: that of one step's whole minibatch, by the kernel in single
  /// precision and fixed point, with the penalty, against differences in double precision. Every coordinate costs two
  /// passes of the oracle over the minibatch, but for what it does not change.
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
    let (analytic, minibatch) = appliedGradient(
      plan: plan, examples: examples, meanImage: meanImage, parameters: parameters, step: step, kernel: kernel)
    return compare(
      analytic: analytic, reference: ReferenceTrainer(plan: plan), minibatch: minibatch,
      parameters: parameters.values.map(Double.init), coordinatesPerBlock: coordinatesPerBlock, seed: plan.seed,
      step: step, kinkWidth: stepSize)
  }

  /// The same, coordinate by coordinate, as the table on the slides of CS231n's third lecture: of every block as many as are
  /// asked for, in rising order, those at kinks among them.
  ///
  /// - Parameters: as those of `checkGradient`.
  public static func table(
    plan: TrainingPlan, examples: ExampleTable, meanImage: [Float], parameters: ParameterVector, step: UInt64,
    coordinatesPerBlock: Int, kernel: KernelVariant
  ) -> [CoordinateGradientCheck] {
    let (analytic, minibatch) = appliedGradient(
      plan: plan, examples: examples, meanImage: meanImage, parameters: parameters, step: step, kernel: kernel)
    let objective = ObjectiveAlongCoordinate(
      reference: ReferenceTrainer(plan: plan), minibatch: minibatch, parameters: parameters.values.map(Double.init),
      step: step, kinkWidth: stepSize)
    var random = RandomSequence(Philox4x64(seed: plan.seed, stream: .gradientCheck))
    return plan.shape.blocks.flatMap { block in
      var coordinates = block.range.map(UInt32.init)
      random.shuffle(&coordinates)
      return coordinates.prefix(coordinatesPerBlock).sorted().map(Int.init).compactMap { coordinate in
        objective.difference(at: coordinate, evenAtKinks: true).map { difference in
          CoordinateGradientCheck(
            parameter: block.elementName(coordinate), value: Double(parameters.values[coordinate]),
            difference: difference, analytic: analytic[coordinate],
            relativeError: relativeError(
              analytic[coordinate], difference.derivative, smallest: smallestMagnitude))
        }
      }
    }
  }

  /// The gradient that training would apply in a step, and the examples that it is of.
  static func appliedGradient(
    plan: TrainingPlan, examples: ExampleTable, meanImage: [Float], parameters: ParameterVector, step: UInt64,
    kernel: KernelVariant
  ) -> (gradient: [Double], minibatch: [ReferenceTrainer.Example]) {
    var state = TrainingState(plan: plan, parameters: parameters)
    state.step = step
    var trainer = SequentialTrainer(
      plan: plan, examples: examples, meanImage: meanImage, state: state, kernel: kernel)
    var sampler = MinibatchSampler(plan: plan)
    let indices = plan.allShards.flatMap { sampler.minibatch(shard: $0, step: step) }
    return (trainer.gradient().gradient, examples.minibatch(at: indices, meanImage: meanImage))
  }
}

extension ParameterBlock {
  /// "weight[3, 1207]" of an index in the flat vector.
  fileprivate func elementName(_ index: Int) -> String {
    var (rest, indices) = (index - range.lowerBound, [String]())
    for size in shape.reversed() {
      indices.insert("\(rest % size)", at: 0)
      rest /= size
    }
    return "\(name)[\(indices.joined(separator: ", "))]"
  }
}
