import Foundation
import Optimization
import TestSupport
import Testing

/// What `Reference/trajectories.py` computed with NumPy; the script says what each number is.
struct Reference: Decodable {
  struct Block: Decodable {
    var key: [UInt64]
    var counter: [UInt64]
    var words: [UInt64]
  }
  struct Bounded: Decodable {
    var epoch: UInt64
    var shard: UInt64
    var bounds: [UInt64]
    var values: [UInt64]
  }
  struct Minibatch: Decodable {
    var shard: Int
    var step: UInt64
    var examples: [UInt32]
  }

  var philox: [Block]
  var bounded: Bounded
  var normals: [Double]
  var pixelSum: Int
  var validation: [UInt32]
  var shards: [[UInt32]]
  var minibatches: [Minibatch]
  var networks: [NetworkTrajectory]
  var trajectories: [ReferenceTrajectory]

  static func load() throws -> Reference {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    return try JSONDecoder().decode(
      Reference.self, from: Data(contentsOf: tests.appending(path: "Reference/trajectories.json")))
  }
}

struct ReferenceTrajectory: Decodable {
  /// Of them in the JSON.
  static let count = 14

  struct Settings: Decodable {
    var loss: String
    var momentum: Float
    /// "polyak" without momentum is plain SGD; others are names of optimizers, with the default hyperparameters.
    var kind: String
    var l1: Float?
    var maxNorm: Float?
    var schedule: String
    var warmupSteps: UInt64
    var learningRate: Float
    var l2: Float
    var initialStandardDeviation: Float

    var optimizer: Optimizer? {
      let name = kind == "polyak" ? momentum == 0 ? "sgd" : "momentum" : kind
      return Optimizer.Kind.allCases.first { $0.settingName == name }.map {
        Optimizer($0, [.momentum: Double(momentum)])
      }
    }
  }

  var settings: Settings
  var losses: [Double]
  var gradientNorms: [Double]
  var correct: [Int]
  var chosenIndices: [Int]
  var chosenParameters: [Double]
  var sumOfParameters: Double
  var sumOfSquares: Double
  var sumOfMagnitudes: Double
}

/// Of a network, or of a linear classifier with one of the losses that the other trajectories do not have.
struct NetworkTrajectory: Decodable {
  struct Settings: Decodable {
    var loss: String
    var margin: Float
    var reduction: String
    var hidden: [Int]
    var activation: String
    var activationParameter: Float
    var dropout: Float
    var initialization: String
    var l2: Float
    var momentum: Float
    var learningRate: Float
  }

  var settings: Settings
  var losses: [Double]
  var gradientNorms: [Double]
  var correct: [Int]
  var nearestKink: Double?
  var chosenIndices: [Int]
  var chosenParameters: [Double]
  var sumOfSquares: Double

  func plan() throws -> TrainingPlan {
    var plan = makePlan(loss: try #require(Loss.allCases.first { $0.settingName == settings.loss }))
    plan.shape = ModelShape(
      classes: 10, pixels: 3_072, hidden: settings.hidden,
      activation: try #require(
        Activation(settingName: settings.activation, parameter: settings.activationParameter)))
    (plan.margin, plan.dropout, plan.l2) = (settings.margin, settings.dropout, settings.l2)
    plan.reduction = settings.reduction == "sum" ? .sum : .mean
    plan.initialization = try #require(Initialization.allCases.first { "\($0)" == settings.initialization })
    if settings.momentum > 0 { plan.optimizer = Optimizer(.momentum, [.momentum: Double(settings.momentum)]) }
    plan.learningRate.base = settings.learningRate
    try plan.validate()
    return plan
  }
}

/// The small data set of the script: labels in rising order, pixels a quarter pattern and three quarters noise.
enum SyntheticExamples {
  static let count = 253
  static let validationCount = 34
  static let shardCount = 4
  static let batchSize = 32
  static let seed: UInt64 = 20_170_411

  static func table() -> ExampleTable {
    var bytes: [UInt8] = []
    for example in 0..<UInt64(count) {
      let label = example * 10 / UInt64(count)
      bytes.append(UInt8(label))
      for pixel in 1...UInt64(3_072) {
        let pattern = mix((label << 32) + pixel) >> 56
        let noise = mix((1 << 40) + (example << 12) + pixel) >> 56
        bytes.append(UInt8((pattern + 3 * noise) / 4))
      }
    }
    return .inMemory(bytes)
  }

  static func split() -> DataSplit {
    DataSplit(exampleCount: count, validation: 0..<validationCount, shardCount: shardCount, seed: seed)
  }

  /// The finalizer of splitmix64.
  private static func mix(_ value: UInt64) -> UInt64 {
    var x = value
    x = (x ^ (x >> 30)) &* 0xBF58_476D_1CE4_E5B9
    x = (x ^ (x >> 27)) &* 0x94D0_49BB_1331_11EB
    return x ^ (x >> 31)
  }
}

/// [3072], in pixel units: exact integer sums, divided and rounded once.
func meanImage(of examples: ExampleTable, over indices: [UInt32]) -> [Float] {
  var sums = [Int](repeating: 0, count: 3_072)
  for index in indices {
    let pixels = examples.record(at: Int(index)) + 1
    for j in sums.indices { sums[j] += Int(pixels[j]) }
  }
  return sums.map { Float(Double($0) / Double(indices.count)) }
}

/// A plan that passes validation, for the synthetic examples; tests change what they are about.
func makePlan(loss: Loss = .softmaxCrossEntropy, shardCount: Int = SyntheticExamples.shardCount) -> TrainingPlan {
  TrainingPlan(
    exampleCount: SyntheticExamples.count, batchSize: SyntheticExamples.batchSize, shardCount: shardCount,
    totalSteps: 20
  ) {
    $0.loss = loss
    $0.l2 = 0.001
    $0.seed = SyntheticExamples.seed
    $0.initialStandardDeviation = 0.001
    $0.learningRate.base = 0.01
    $0.validationCount = SyntheticExamples.validationCount
  }
}

extension Loss {
  /// Those whose derivative has a bound.
  static let bounded = allCases.filter { $0.largestScoreDerivative(classes: 10) != nil }
  /// Those that depend on differences of scores only.
  static let relative = [softmaxCrossEntropy, hinge, squaredHinge]
}
