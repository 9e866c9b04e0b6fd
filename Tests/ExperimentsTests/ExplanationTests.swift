import Datasets
import Experiments
import Optimization
import TestSupport
import Testing

@Suite struct ExplanationTests {
  @Test func `the pixels of the lecture's cat have the shares that its slide adds up`() throws {
    // CS231n 2026, lecture 2: W x + b of an image of 2 × 2 pixels. The slide prints 61.95 for the ship, without its bias.
    let weights: [[Float]] = [[0.2, -0.5, 0.1, 2.0], [1.5, 1.3, 2.1, 0.0], [0, 0.25, 0.2, -0.3]]
    let model = try SmallModel.make(
      [(weights.map { $0.map { $0 * 127.5 } }, [1.1, 3.2, -1.2])], inputs: InputShape(width: 2, height: 2, channels: 1),
      classNames: ["cat", "dog", "ship"])
    let explanation = try Explanation(of: [56, 231, 24, 2], model: model, evaluator: model.evaluator())
    #expect(explanation.classes.map(\.name) == ["dog", "ship", "cat"])
    for (result, score) in zip(explanation.classes, [437.9, 60.75, -96.8]) { #expect(abs(result.score - score) < 1e-3) }
    let cat = explanation.classes[2]
    for (share, expected) in zip(cat.shares, [11.2, -115.5, 2.4, 4.0]) { #expect(abs(share - expected) < 1e-4) }
    #expect(abs(cat.remainder - 1.1) < 1e-5 && abs(cat.pixels + 97.9) < 1e-4)
  }

  @Test func `the shares of a pixel are added over its channels, and with the bias they are the score`() throws {
    let shape = InputShape(width: 2, height: 1, channels: 3)
    let model = try SmallModel.make(
      [([[1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 1]], [7, 0])], inputs: shape, mean: [10, 0, 0, 0, 0, 255])
    let explanation = try Explanation(of: [137, 255, 0, 51, 0, 0], model: model, evaluator: model.evaluator())
    let first = explanation.classes[0]
    let left = 127.0 / 127.5
    let right: Double = (255 * 2 + 51 * 4 - 255 * 6) / 127.5
    let score = left + right + 7
    #expect(abs(first.shares[0] - left) < 1e-9)
    #expect(abs(first.shares[1] - right) < 1e-9)
    #expect(abs(first.score - score) < 1e-5)
    #expect(abs(first.remainder - 7) < 1e-9)
    let probabilities = explanation.classes.compactMap(\.probability)
    #expect(probabilities.count == 2)
    #expect(abs(probabilities.reduce(0, +) - 1) < 1e-6)
  }

  @Test(arguments: Activation.all)
  func `the gradient of a network's score agrees with central differences`(activation: Activation) throws {
    let model = try SmallModel.network(activation)
    let planes: [UInt8] = [12, 200, 31, 90, 255, 0, 77, 140, 5, 60, 180, 33]
    let pass = Backpropagation(model, planes: planes)
    for label in 0..<3 {
      let gradient = pass.gradient(ofScore: label)
      for index in planes.indices {
        // A byte more and a byte less: the activations bend little over so short a way.
        let scores = [1, -1].map { step in
          var changed = planes
          changed[index] = UInt8(max(0, min(255, Int(planes[index]) + step)))
          let pass = Backpropagation(model, planes: changed)
          return (score: pass.scores[label], input: pass.input[index])
        }
        let numeric = (scores[0].score - scores[1].score) / (scores[0].input - scores[1].input)
        #expect(abs(numeric - gradient[index]) < 2e-3, "class \(label), input \(index)")
      }
    }
  }

  @Test func `the pass has the scores of the kernels, and gradient × input is exact without bends`() throws {
    let planes: [UInt8] = [12, 200, 31, 90, 255, 0, 77, 140, 5, 60, 180, 33]
    for activation in Activation.all {
      let model = try SmallModel.network(activation)
      let explanation = try Explanation(of: planes, model: model, evaluator: model.evaluator())
      for result in explanation.classes { #expect(abs(result.pixels + result.remainder - result.score) < 1e-4) }
    }
    let model = try SmallModel.network(.identity)
    let biases = Backpropagation(try SmallModel.network(.identity), planes: Array(repeating: 100, count: 12)).scores
    let explanation = try Explanation(of: planes, model: model, evaluator: model.evaluator())
    for result in explanation.classes { #expect(abs(result.remainder - biases[result.label]) < 1e-9) }
  }

  @Test func `the nearest training images are those with the smallest distances`() throws {
    let directory = TemporaryDirectory()
    try SyntheticDataset.write(to: directory.path, trainingExamples: 60, testExamples: 10)
    let dataset = try Dataset(directory: directory.path, part: .training)
    let pixels = (0..<60).map { Array(UnsafeBufferPointer(start: dataset.examples.record(at: $0) + 1, count: 3_072)) }
    let zeros = [Float](repeating: 0, count: 3_072)
    let model = try SmallModel.make(
      [(Array(repeating: zeros, count: 10), Array(repeating: 0, count: 10))], inputs: .cifar10)
    var explanation = try Explanation(of: pixels[17], model: model, evaluator: model.evaluator())
    explanation.findNeighbors(3, of: pixels[17], in: dataset, kernel: .best)
    let distances = pixels.map { other -> Double in
      var sum = 0.0
      for (one, two) in zip(other, pixels[17]) { sum += (Double(one) - Double(two)) * (Double(one) - Double(two)) }
      return sum.squareRoot()
    }
    let nearest = Array(distances.indices.sorted { distances[$0] < distances[$1] }.prefix(3))
    #expect(explanation.neighbors.map(\.index) == nearest)
    #expect(explanation.neighbors[0].distance == 0)
    #expect(explanation.neighbors[0].image == explanation.picture)
    #expect(explanation.neighbors.map(\.distance) == nearest.map { distances[$0] })
  }
}
