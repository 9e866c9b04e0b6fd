import Datasets
import Experiments
import Foundation
import Optimization
import TestSupport
import Testing

/// What `Reference/slopes.py` computed with NumPy; the script says what each number is.
struct SlopeReference: Decodable {
  struct Try: Decodable {
    var loss: String
    var index: Int
    var value: Double
    var accuracy: Double
  }
  struct Step: Decodable {
    var loss: String
    var size: Double
    var value: Double
    var gradientNorm: Double
  }
  struct Slice: Decodable {
    var loss: String
    var along: String
    var range: Double
    var examples: Int
    /// At a, b of −range, 0 and range, row by row from the lowest b.
    var plane: [Double]
  }

  var examples: Int
  var seed: UInt64
  var scale: Double
  var l2: Float
  var tries: [Try]
  var steps: [Step]
  var slices: [Slice]

  static func load() throws -> SlopeReference {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    return try JSONDecoder().decode(
      SlopeReference.self, from: Data(contentsOf: tests.appending(path: "Reference/slopes.json")))
  }

  /// The loss of that name over the examples of the script.
  func function(_ name: String, kernel: KernelVariant = .best) throws -> LossOverExamples {
    let dataset = try Dataset(directory: #require(RealData.directory), part: .training)
    let loss = try #require(Loss.allCases.first { $0.settingName == name })
    let indices = Array(0..<UInt32(examples))
    return LossOverExamples(
      shape: .cifar10, loss: loss, examples: dataset.examples, indices: indices,
      meanImage: dataset.mean(.meanImage, over: indices), kernel: kernel)
  }
}

extension LossOverExamples {
  /// A small problem: examples of few pixels whose label shifts them, so that there is something to learn.
  static func small(
    _ loss: Loss, shape: ModelShape = ModelShape(classes: 3, pixels: 8), count: Int = 60, kernel: KernelVariant = .best
  ) -> LossOverExamples {
    let generator = Philox4x64(key: SIMD2(5, 99))
    let bytes = (0..<count).flatMap { example -> [UInt8] in
      let label = example % shape.classes
      let pixels = (0..<shape.pixels).map { pixel -> UInt8 in
        let word = generator.block(at: Philox4x64.Counter(UInt64(example), UInt64(pixel), 0, 0))[0]
        return UInt8(word % 180) + (pixel % shape.classes == label ? 70 : 0)
      }
      return [UInt8(label)] + pixels
    }
    return LossOverExamples(
      shape: shape, loss: loss,
      examples: .inMemory(bytes, recordSize: 1 + shape.pixels, classes: shape.classes),
      indices: Array(0..<UInt32(count)), meanImage: [Float](repeating: 110.5, count: shape.pixels), kernel: kernel)
  }

  /// The oracle of the same model.
  var reference: ReferenceTrainer {
    ReferenceTrainer(
      plan: TrainingPlan(exampleCount: examples.count, batchSize: 1, shardCount: 1, totalSteps: 1) {
        ($0.shape, $0.loss, $0.margin) = (shape, loss, margin)
      })
  }

  /// The mean loss in double precision.
  func oracle(at parameters: [Double]) -> Double {
    reference.lossAndGradient(examples.minibatch(at: indices, meanImage: meanImage), at: parameters).loss
  }
}
