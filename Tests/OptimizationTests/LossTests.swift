import Foundation
import Optimization
import Testing

/// The worked examples of CS231n's slides: scores of three images for cat, car and frog.
@Suite struct LossTests {
  static let slideScores = [[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]]

  @Test
  func `the multiclass SVM losses of the slides: 2.9, 0, 12.9; mean 5.27`() {
    let losses = Self.slideScores.enumerated().map { Loss.hinge(scores: $1, label: $0).value }
    #expect(zip(losses, [2.9, 0, 12.9]).allSatisfy { abs($0 - $1) < 1e-12 })
    #expect(abs(losses.reduce(0, +) / 3 - 5.27) < 0.005)
  }

  @Test
  func `the softmax loss of the slides' cat is 2.04 nats; their 0.89 is the base-10 logarithm of the same 0.13`() {
    let loss = Loss.softmaxCrossEntropy(scores: [3.2, 5.1, -1.7], label: 0).value
    #expect(abs(loss - 2.04) < 0.005)
    #expect(abs(exp(-loss) - 0.13) < 0.005)
    #expect(abs(-log10(exp(-loss)) - 0.89) < 0.005)
  }

  @Test
  func `with equal scores softmax loses log K and the SVM K − 1`() {
    let scores = [Double](repeating: 0.7, count: 10)
    #expect(abs(Loss.softmaxCrossEntropy(scores: scores, label: 3).value - log(10)) < 1e-15)
    #expect(abs(Loss.hinge(scores: scores, label: 3).value - 9) < 1e-15)
  }

  @Test
  func `the squared hinge loss of the slides' images: 8.41, 0, 83.25, each the sum of squared margins`() {
    // 2.9², 0, and 6.3² + 6.6² of the margins that the slides compute.
    let losses = Self.slideScores.enumerated().map { Loss.squaredHinge(scores: $1, label: $0).value }
    #expect(zip(losses, [8.41, 0, 83.25]).allSatisfy { abs($0 - $1) < 1e-12 })
  }

  @Test
  func `where all scores are zero: 10 log 2, 1 and 10 / 4; the derivative of the sigmoid at 0.73 is 0.20`() {
    let zeros = [Double](repeating: 0, count: 10)
    #expect(abs(Loss.logistic(scores: zeros, label: 3).value - 10 * log(2)) < 1e-14)
    #expect(Loss.squaredError(scores: zeros, label: 3).value == 1)
    #expect(Loss.sigmoidSquaredError(scores: zeros, label: 3).value == 2.5)
    // The sigmoid neuron of the lecture on backpropagation: an output of 0.73 at 1, a local gradient of 0.20.
    let (value, derivative) = Loss.sigmoidSquaredError(scores: [1, 1], label: 0)
    #expect(abs(value - (0.27 * 0.27 + 0.73 * 0.73)) < 5e-3)
    #expect(abs(derivative[1] - 2 * 0.73 * 0.20) < 5e-3 && abs(derivative[0] + 2 * 0.27 * 0.20) < 5e-3)
  }

  @Test
  func `scores of 123, 456 and 789 do not overflow`() {
    #expect(Loss.softmaxCrossEntropy(scores: [123, 456, 789], label: 2).value == 0)
    #expect(Loss.softmaxCrossEntropy(scores: [123, 456, 789], label: 0).value == 666)
    let derivative = Loss.softmaxCrossEntropy(scores: [123, 456, 789], label: 0).derivative
    #expect(zip(derivative, [-1, 0, 1]).allSatisfy { abs($0 - $1) < 1e-100 })
  }

  @Test
  func `adding a constant to all scores changes no loss that compares them`() {
    for loss in Loss.relative {
      let shifted = Self.slideScores[0].map { $0 + 64 }
      #expect(abs(loss(scores: shifted, label: 0).value - loss(scores: Self.slideScores[0], label: 0).value) < 1e-13)
    }
  }

  @Test func `no derivative exceeds the bound of the scale, and those of losses that compare scores sum to zero`() {
    var random = RandomSequence(Philox4x64(seed: 4, stream: .gradientCheck))
    for loss in Loss.allCases {
      for _ in 0..<500 {
        let scores = (0..<10).map { _ in Double(random.next(below: 2_001)) / 100 - 10 }
        let derivative = loss(scores: scores, label: Int(random.next(below: 10))).derivative
        if Loss.relative.contains(loss) { #expect(abs(derivative.reduce(0, +)) < 1e-12) }
        let largest = loss.largestScoreDerivative(classes: 10) ?? .infinity
        #expect(derivative.allSatisfy { abs($0) <= largest })
      }
    }
  }
}
