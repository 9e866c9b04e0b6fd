import Diagnostics
import Experiments
import Optimization
import TestSupport
import Testing

@Suite struct StepSizesTests {
  @Test(.enabled(if: RealData.directory != nil, "DESCENT_DATA is not set"))
  func `the losses after steps along the gradient are those that NumPy computes`() throws {
    let reference = try SlopeReference.load()
    for loss in ["softmax", "svm"] {
      let expected = reference.steps.filter { $0.loss == loss }
      let steps = try StepSizes(
        loss: reference.function(loss), standardDeviation: reference.scale, seed: reference.seed,
        sizes: expected.map(\.size), threads: 2)
      #expect(steps.steps.count == 3)
      for (found, expected) in zip(steps.steps, expected) {
        #expect(abs(found.score.meanLoss / expected.value - 1) < 2e-6)
        #expect(abs(steps.gradientNorm / expected.gradientNorm - 1) < 1e-6)
      }
      #expect(abs(steps.original.meanLoss - (reference.tries.first { $0.loss == loss }?.value ?? .nan)) < 2e-6)
    }
  }

  /// The table of the notes: original loss 2.200718.
  @Test func `of the lecture's step sizes 1e-6 is right`() {
    let losses = [
      2.200652, 2.200057, 2.194116, 2.135493, 1.647802, 2.844355, 25.558142, 254.086573, 2539.370888, 25392.214036,
    ]
    #expect(
      StepSizes.verdicts(original: 2.200718, after: losses)
        == [.tooLow, .tooLow, .tooLow, .tooLow, .right, .tooHigh, .tooHigh, .tooHigh, .tooHigh, .tooHigh])
  }

  @Test func `a step size is right from half of the largest decrease on, and where none decreases all are too high`() {
    #expect(
      StepSizes.verdicts(original: 4, after: [3.5, 3, 2, 2.5, 3.9]) == [.tooLow, .right, .right, .right, .tooHigh])
    #expect(StepSizes.verdicts(original: 1, after: [1, 2, .nan]) == [.tooHigh, .tooHigh, .tooHigh])
  }

  @Test func `powers of ten are exact, and others lie evenly between them`() {
    #expect(StepSizes.sizes(from: -10, to: 3, perDecade: 1).prefix(4) == [1e-10, 1e-9, 1e-8, 1e-7])
    #expect(StepSizes.sizes(from: -10, to: 3, perDecade: 1).last == 1000)
    let sizes = StepSizes.sizes(from: -1, to: 1, perDecade: 4)
    #expect(sizes.count == 9 && sizes[0] == 0.1 && sizes[4] == 1 && sizes[8] == 10)
    for (low, high) in zip(sizes, sizes.dropFirst()) { #expect(abs(high / low - 1.778_279_410_038_923) < 1e-12) }
  }

  /// L(W − η g) = L − η ‖g‖² + O(η²).
  @Test(arguments: [Loss.softmaxCrossEntropy, .squaredHinge]) func `a small step follows the gradient`(loss: Loss)
    throws
  {
    let steps = try StepSizes(
      loss: .small(loss), standardDeviation: 0.001, seed: 1, sizes: [1e-4], threads: 1)
    let slope = (steps.original.meanLoss - steps.steps[0].score.meanLoss) / 1e-4
    #expect(abs(slope / (steps.gradientNorm * steps.gradientNorm) - 1) < 0.02)
  }

  @Test func `the bytes depend neither on the threads nor on the kernels`() throws {
    func json(_ threads: Int, _ kernel: KernelVariant) throws -> String {
      try StepSizes(
        loss: .small(.hinge, kernel: kernel), standardDeviation: 0.01, seed: 1,
        sizes: StepSizes.sizes(from: -3, to: 1, perDecade: 2), threads: threads
      ).json.indentedText
    }
    let expected = try json(1, .best)
    #expect(try json(5, .best) == expected)
    for kernel in KernelVariant.supported { #expect(try json(2, kernel) == expected) }
  }
}
