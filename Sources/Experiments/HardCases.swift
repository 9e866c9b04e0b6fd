import Datasets
import Diagnostics
import Optimization
import Pictures
import Reporting

/// A linear classifier and a network on the three sets of CS231n, "Linear Classification", "Hard cases for a linear
/// classifier": points in the plane that no line separates. Both models are trained in this process by
/// `SequentialTrainer` on the same points with the same settings; what differs is the hidden layer.
public struct HardCases: Sendable {
  /// One model on one set.
  public struct Fit: Sendable {
    public let shape: ModelShape
    /// As fractions, on the points trained on and on others of the same distribution.
    public let trainingAccuracy: Double
    public let testAccuracy: Double
    /// In the coordinates of the lecture, −2.5 to 2.5.
    public let regions: DecisionRegions
  }

  /// Both models on one set.
  public struct Case: Sendable {
    public let set: PlaneSet
    public let linear: Fit
    public let network: Fit
    /// Of each class, some of the points that the accuracy was measured on, in the coordinates of the lecture.
    let points: [[Point]]
  }

  public static let trainingExamples = 2_000
  public static let testExamples = 2_000
  /// Passes over the training examples.
  public static let epochs: UInt64 = 100
  private static let (batchSize, shards, shownPoints) = (40, 4, 300)

  public let seed: UInt64
  /// Units of each hidden layer of the network.
  public let hidden: [Int]
  /// One for each of `PlaneSet.allCases`.
  public let cases: [Case]

  /// Trains the six models, which takes about a second.
  ///
  /// - Parameters:
  ///   - seed: of the points, the initial weights and the order of the examples.
  ///   - hidden: units of each hidden layer of the network, ReLU; at least one layer.
  /// - Throws: `badConfiguration` for layers that are out of range.
  public init(seed: UInt64, hidden: [Int] = [50], kernel: KernelVariant) throws(Failure) {
    (self.seed, self.hidden) = (seed, hidden)
    let network = ModelShape(classes: 2, pixels: 2, hidden: hidden, activation: .relu)
    try Self.plan(network, seed: seed).validate()
    cases = PlaneSet.allCases.map { set in
      let training = set.examples(Self.trainingExamples, of: .training, seed: seed)
      let test = set.examples(Self.testExamples, of: .test, seed: seed)
      func fit(_ shape: ModelShape) -> Fit {
        Self.fit(Self.plan(shape, seed: seed), training: training, test: test, kernel: kernel)
      }
      let points = (0..<set.classNames.count).map { label in
        (0..<Self.shownPoints).filter { test.label(at: $0) == label }.map { index in
          let bytes = test.record(at: index) + 1
          return Point(PlaneSet.coordinate(of: Double(bytes[0])), PlaneSet.coordinate(of: Double(bytes[1])))
        }
      }
      return Case(
        set: set, linear: fit(ModelShape(classes: 2, pixels: 2)), network: fit(network), points: points)
    }
  }

  /// Softmax and Adam without a penalty, for both models.
  private static func plan(_ shape: ModelShape, seed: UInt64) -> TrainingPlan {
    let steps = epochs * UInt64(trainingExamples / batchSize)
    return TrainingPlan(
      exampleCount: trainingExamples, batchSize: batchSize, shardCount: shards, totalSteps: steps
    ) {
      $0.shape = shape
      $0.seed = seed
      $0.initialization = Initialization(advisedFor: shape)
      $0.initialStandardDeviation = 0.001
      $0.optimizer = Optimizer(.adam)
      $0.learningRate.base = 0.01
      $0.learningRate.schedule = .cosine
    }
  }

  private static func fit(
    _ plan: TrainingPlan, training: ExampleTable, test: ExampleTable, kernel: KernelVariant
  ) -> Fit {
    // Half of the range of a byte: the plane is symmetric, and both sets of points have the same inputs.
    let mean = [Float](repeating: ExampleTable.pixelScale, count: plan.shape.pixels)
    var trainer = SequentialTrainer(
      plan: plan, examples: training, meanImage: mean, state: TrainingState(plan: plan), kernel: kernel)
    while trainer.state.step < plan.totalSteps { _ = trainer.step() }
    let parameters = trainer.state.parameters
    func accuracy(_ examples: ExampleTable) -> Double {
      let evaluator = Evaluator(
        shape: plan.shape, loss: plan.loss, examples: examples, meanImage: mean, kernel: kernel)
      return parameters.withUnsafePointer {
        evaluator.evaluate(parameters: $0, indices: Array(0..<UInt32(examples.count))).score.accuracy
      }
    }
    let w = parameters.values.map(Double.init)
    let reference = ReferenceTrainer(plan: plan, w: w)
    let edge = PlaneSet.coordinate(of: 255)
    let regions = DecisionRegions(x: -edge...edge, y: -edge...edge, cells: 101, classCount: 2) { x, y in
      // A coordinate of ±2.5 is an input of ±1.
      reference.scores(of: [x / edge, y / edge], at: w)
    }
    return Fit(
      shape: plan.shape, trainingAccuracy: accuracy(training), testAccuracy: accuracy(test), regions: regions)
  }
}

// MARK: - Reporting

extension HardCases {
  /// Settings and accuracies as fractions; without the regions.
  package var json: JSONValue {
    func json(_ fit: Fit) -> JSONValue {
      [
        "model": .string(fit.shape.description), "training_accuracy": .measurement(fit.trainingAccuracy),
        "test_accuracy": .measurement(fit.testAccuracy),
      ]
    }
    return [
      "seed": .number(seed), "hidden": .numbers(hidden), "training_examples": .number(Self.trainingExamples),
      "test_examples": .number(Self.testExamples), "epochs": .number(Self.epochs),
      "cases": .array(
        cases.map { ["set": .string($0.set.rawValue), "linear": json($0.linear), "network": json($0.network)] }),
    ]
  }

  /// A row for each model on each set.
  public var text: String {
    let rows = cases.flatMap { item in
      [item.linear, item.network].map { fit in
        [
          item.set.rawValue, fit.shape.description, Display.percent(fit.trainingAccuracy),
          Display.percent(fit.testAccuracy),
        ]
      }
    }
    return table([["set", "model", "training", "test"]] + rows)
      + "\nboth classes have as many points: 50 % is chance\n"
  }

  /// The regions of both models side by side, a row for each set.
  public var figure: Figure {
    Figure(
      "Hard cases for a linear classifier",
      caption: """
        Decision regions and \(Self.shownPoints) of the \(Self.testExamples) points that the accuracies are measured on. \
        Softmax, Adam, \(Self.epochs) passes over \(Self.trainingExamples) other points; 50 % is chance. CS231n: no line \
        separates these classes.
        """,
      columns: 2,
      panels: cases.flatMap { item in
        [item.linear, item.network].map { fit in
          .heatMap(
            fit.regions.heatMap(
              "\(item.set.rawValue), \(fit.shape): \(Display.percent(fit.testAccuracy))", xLabel: "x", yLabel: "y",
              classNames: item.set.classNames,
              overlay: zip(item.set.classNames, item.points).map { Series($0, .points, points: $1) }))
        }
      })
  }
}
