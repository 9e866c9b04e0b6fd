import Diagnostics
import Experiments
import Optimization
import TestSupport
import Testing

@Suite struct RandomSearchTests {
  private func search(
    _ loss: Loss = .hinge, tries: Int = 40, scale: Double = 0.01, seed: UInt64 = 1, threads: Int = 2,
    kernel: KernelVariant = .best
  ) -> RandomSearch {
    let function = LossOverExamples.small(loss, kernel: kernel)
    var test = function
    test.indices = Array(function.indices.suffix(20))
    return RandomSearch(
      training: function, test: test, tries: tries, standardDeviation: scale, seed: seed, threads: threads)
  }

  @Test(.enabled(if: RealData.directory != nil, "DESCENT_DATA is not set"), arguments: KernelVariant.supported)
  func `loss and accuracy of the first weights are those that NumPy computes`(kernel: KernelVariant) throws {
    let reference = try SlopeReference.load()
    for loss in ["softmax", "svm"] {
      let function = try reference.function(loss, kernel: kernel)
      let search = RandomSearch(
        training: function, test: function, tries: 3, standardDeviation: reference.scale, seed: reference.seed,
        threads: 2)
      let expected = reference.tries.filter { $0.loss == loss }
      #expect(expected.map(\.index) == [0, 1, 2])
      for (found, expected) in zip(search.attempts, expected) {
        #expect(abs(found.meanLoss - expected.value) < 2e-6)
        #expect(found.accuracy == expected.accuracy)
      }
      let best = try #require(search.best)
      #expect(expected.allSatisfy { $0.value >= expected[best].value })
      #expect(search.test == search.attempts[best])
    }
  }

  @Test func `the losses are those of the oracle at the drawn weights`() {
    let function = LossOverExamples.small(.softmaxCrossEntropy)
    let weights = RandomWeights(shape: function.shape, standardDeviation: 0.01, seed: 1)
    for (index, attempt) in search(.softmaxCrossEntropy).attempts.prefix(5).enumerated() {
      #expect(abs(attempt.meanLoss - function.oracle(at: weights.draw(index).values.map(Double.init))) < 1e-6)
    }
  }

  @Test func `weights have the deviation of bytes, and biases are drawn as well`() {
    let shape = ModelShape(classes: 100, pixels: 400)
    let values = RandomWeights(shape: shape, standardDeviation: 0.01, seed: 3).draw(7).values.map(Double.init)
    func deviation(_ range: Range<Int>) -> Double {
      (values[range].reduce(0) { $0 + $1 * $1 } / Double(range.count)).squareRoot()
    }
    // Four times the standard error of a standard deviation, σ / √2n.
    #expect(abs(deviation(shape.layers[0].weight) / 1.275 - 1) < 4 / Double(2 * 40_000).squareRoot())
    #expect(abs(deviation(shape.layers[0].bias) / 0.01 - 1) < 4 / Double(2 * 100).squareRoot())
    #expect(RandomWeights(shape: shape, standardDeviation: 0.01, seed: 3).draw(8).values != values.map { Float($0) })
  }

  @Test func `every improvement is below all losses before it, and the last one is the best`() throws {
    let search = search()
    let improvements = search.improvements
    #expect(improvements.first == 0 && improvements.last == search.best && improvements.count > 2)
    for attempt in search.attempts.indices {
      let isLowest = search.attempts[..<attempt].allSatisfy { $0.meanLoss > search.attempts[attempt].meanLoss }
      #expect(improvements.contains(attempt) == isLowest)
    }
    let lines = search.text.split(separator: "\n").filter { $0.hasPrefix("in attempt ") }
    #expect(lines.count == improvements.count)
    #expect(lines[0].wholeMatch(of: /in attempt 0 the loss was \d+\.\d{6}, best \d+\.\d{6}/) != nil)
  }

  @Test func `the bytes depend neither on the threads nor on the kernels`() {
    let expected = search(threads: 1).json.indentedText
    #expect(search(threads: 7).json.indentedText == expected)
    for kernel in KernelVariant.supported { #expect(search(kernel: kernel).json.indentedText == expected) }
    #expect(search(seed: 2).json.indentedText != expected)
  }

  @Test func `losses beyond the kernels are left out, and where there is no other the text says so`() {
    let search = search(scale: 1e6)
    #expect(search.best == nil && search.test == nil && search.improvements.isEmpty)
    #expect(search.text.contains("--scale"))
    #expect(search.json.indentedText.contains("null"))
  }
}
