/// A problem so small that the gradient of every combination of model, loss, activation and penalty is checked at every
/// coordinate, by three witnesses: the kernels against central differences of the reference trainer, and the reference
/// trainer against gates.
public struct GradientCheckProblem {
  /// What the witnesses say of one block.
  public struct Result {
    public let plan: TrainingPlan
    /// The kernels' gradient against central differences.
    public let check: BlockGradientCheck
    /// Largest relative error of the reference trainer's gradient against that of the gates.
    public let largestErrorOfReference: Double
  }

  /// What `largestErrorOfReference` should stay below: the order of the sums differs.
  public static let recommendedBoundOfReference = 1e-9

  private static let (classes, pixels, examples, shards, batchSize) = (4, 11, 48, 4, 8)

  private let table: ExampleTable
  private let meanImage = [Float](repeating: 117.25, count: GradientCheckProblem.pixels)

  public init() {
    let generator = Philox4x64(seed: 1, stream: .gradientCheck)
    let bytes = (0..<Self.examples * (1 + Self.pixels)).map { index in
      let word = generator.block(at: Philox4x64.Counter(UInt64(index), 1, 0, 0))[0]
      let (example, place) = index.quotientAndRemainder(dividingBy: 1 + Self.pixels)
      return place == 0 ? UInt8(example % Self.classes) : UInt8(truncatingIfNeeded: word)
    }
    table = ExampleTable(copying: bytes, recordByteCount: 1 + Self.pixels, classes: Self.classes)
  }

  /// Every loss with every model, activation and penalty (none, L2, L1, elastic net); with a penalty the networks have dropout
  /// and the hinge losses another margin.
  public var plans: [TrainingPlan] {
    Loss.allCases.flatMap { loss in
      Self.shapes.flatMap { shape in
        [(0, 0), (0.1, 0), (0, 0.05), (0.1, 0.05)].map { (l2: Float, l1: Float) in
          TrainingPlan(
            exampleCount: Self.examples, batchSize: Self.batchSize, shardCount: Self.shards, totalSteps: 100
          ) {
            ($0.loss, $0.shape) = (loss, shape)
            ($0.initialization, $0.initialStandardDeviation) = (Initialization(advisedFor: shape), 0.1)
            $0.learningRate.base = 0.01
            guard l2 + l1 > 0 else { return }
            ($0.l2, $0.l1, $0.margin) = (l2, l1, 0.5)
            if !shape.isLinear { $0.dropout = 0.25 }
          }
        }
      }
    }
  }

  private static var shapes: [ModelShape] {
    [ModelShape(classes: classes, pixels: pixels)]
      + [[6], [6, 5]].flatMap { hidden in
        Activation.all.map { ModelShape(classes: classes, pixels: pixels, hidden: hidden, activation: $0) }
      }
  }

  /// Checks the gradient of a plan after some steps of training.
  public func check(_ plan: TrainingPlan, afterSteps steps: UInt64, kernel: KernelVariant) -> [Result] {
    var trainer = SequentialTrainer(
      plan: plan, examples: table, meanImage: meanImage, state: TrainingState(plan: plan), kernel: kernel)
    while trainer.state.step < steps { _ = trainer.step() }
    let checks = GradientCheck.checkGradient(
      plan: plan, examples: table, meanImage: meanImage, parameters: trainer.state.parameters, step: steps,
      coordinatesPerBlock: .max, kernel: kernel)
    let reference = ReferenceTrainer(plan: plan)
    var sampler = MinibatchSampler(plan: plan)
    let indices = plan.allShards.flatMap { sampler.minibatch(shard: $0, step: steps) }
    let minibatch = table.minibatch(at: indices, meanImage: meanImage)
    let parameters = trainer.state.parameters.values.map(Double.init)
    let derived = reference.lossAndGradient(minibatch, at: parameters, step: steps).gradient
    let gates = reference.objectiveAndGradientByGates(minibatch, at: parameters, step: steps).gradient
    return checks.map { check in
      let errors = check.block.range.map {
        GradientCheck.relativeError(derived[$0], gates[$0], smallest: GradientCheck.smallestMagnitude)
      }
      return Result(plan: plan, check: check, largestErrorOfReference: errors.max() ?? 0)
    }
  }
}
