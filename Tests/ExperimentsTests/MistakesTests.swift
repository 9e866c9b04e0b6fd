import Datasets
import Diagnostics
import Experiments
import Optimization
import TestSupport
import Testing

@Suite struct MistakesTests {
  /// Two pixels; class 0 has the larger first one, class 1 the larger second one, class 2 is never predicted.
  private static let weights: [[Float]] = [[1, 0], [0, 1], [-9, -9]]

  private func mistakes(_ records: [[UInt8]], loss: Loss = .softmaxCrossEntropy) throws -> (Mistakes, Evaluation) {
    let model = try SmallModel.make(
      [(Self.weights, [0, 0, 0])], inputs: InputShape(width: 2, height: 1, channels: 1), loss: loss,
      classNames: ["left", "right", "none"])
    let bytes = Array(records.joined())
    return bytes.withUnsafeBufferPointer { bytes in
      let pointers = records.indices.map { bytes.baseAddress.unsafelyUnwrapped + $0 * 3 }
      let (evaluator, indices) = (model.evaluator(over: pointers), records.indices.map { UInt32($0) })
      let table = ExampleTable(records: pointers, classes: 3, owner: 0)
      let mistakes = Mistakes(of: model, evaluator: evaluator, examples: table, indices: indices)
      return (mistakes, model.parameters.withUnsafePointer { evaluator.evaluate(parameters: $0, indices: indices) })
    }
  }

  private let records: [[UInt8]] = [
    [0, 200, 100], [0, 100, 101], [0, 0, 255], [1, 0, 255], [1, 90, 80], [2, 255, 0], [2, 250, 0], [2, 80, 70],
    [2, 0, 9],
    [0, 7, 7],
  ]

  @Test func `pairs are ranked by their count, and their examples by confidence`() throws {
    let (mistakes, evaluation) = try mistakes(records)
    #expect(mistakes.examples == 10 && mistakes.count == 7)
    #expect(mistakes.accuracy == evaluation.score.accuracy)
    let pairs: [[Int]] = mistakes.pairs.map { [$0.actual, $0.predicted, $0.count] }
    #expect(pairs == [[2, 0, 3], [0, 1, 2], [1, 0, 1], [2, 1, 1]])
    #expect(mistakes.pairs[0].examples.map(\.index) == [5, 6, 7])
    #expect(mistakes.pairs[1].examples.map(\.index) == [2, 1])
    #expect(mistakes.share(of: mistakes.pairs[0]) == 0.75 && mistakes.share(of: mistakes.pairs[1]) == 0.5)
    for pair in mistakes.pairs { #expect(evaluation.confusion[pair.actual * 3 + pair.predicted] == pair.count) }
    let right = [0, 4, 8].map { evaluation.confusion[$0] }.reduce(0, +)
    #expect(mistakes.count + right == 10)
  }

  @Test func `confidence is the probability of the predicted class, or a margin where there are none`() throws {
    let softmax = try mistakes(records).0.pairs[2].examples[0]
    // 1 / (1 + exp(−10/127.5)) and next to nothing for class 2: exp(−9 · 170/127.5 …).
    #expect(abs(softmax.confidence - 0.51960) < 1e-4)
    let (hinge, _) = try mistakes(records, loss: .hinge)
    #expect(abs(hinge.pairs[2].examples[0].confidence - 10 / 127.5) < 1e-6)
    #expect(hinge.calibration == nil)
    #expect(hinge.text(limit: 9).contains("no calibration"))
  }

  @Test func `the table and JSON list pairs and bins`() throws {
    let (mistakes, _) = try mistakes(records)
    #expect(mistakes.text(limit: 1).contains("none    left       3      75.0 %              5 ("))
    #expect(mistakes.text(limit: 1).contains("and 3 more pairs"))
    #expect(
      mistakes.json.compactText.hasPrefix(#"{"examples":10,"mistakes":7,"accuracy":0.3,"pairs":[{"actual":"none""#))
  }

  @Test func `the expected calibration error is the mean distance of accuracy and confidence`() {
    let calibration = Calibration([
      (0.1, false), (0.15, true), (0.55, true), (0.58, false), (0.59, true), (0.91, true), (1, true),
    ])
    #expect(calibration.bins.map(\.count) == [0, 2, 0, 0, 0, 3, 0, 0, 0, 2])
    #expect(calibration.bins[1].meanConfidence == 0.125 && calibration.bins[1].accuracy == 0.5)
    #expect(calibration.bins[0].meanConfidence == nil && calibration.bins[0].accuracy == nil)
    // (2 |0.5 − 0.125| + 3 |2/3 − 0.57333| + 2 |1 − 0.955|) / 7
    let expected: Double = (0.75 + 0.28 + 0.09) / 7
    #expect(abs(calibration.expectedError - expected) < 1e-12)
    #expect(Calibration([]).expectedError.isNaN)
  }
}
