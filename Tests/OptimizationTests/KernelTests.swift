import CKernels
import Foundation
import Optimization
import TestSupport
import Testing

private let pixels = Int(DESCENT_PIXELS)
private let classes = Int(DESCENT_CLASSES)
private let parameterCount = Int(DESCENT_PARAMETERS)

@Suite struct KernelTests {
  // MARK: The same bits

  /// Up to 64 examples of whole shards are scored together; a shard of more is scored in parts.
  @Test(
    arguments: Loss.allCases,
    [1, 2, 3, 5, 15, 16, 17, 31, 32, 33, 48, 64, 65, 67, 130, 192, 195])
  func `all variants give the same bits`(loss: Loss, examples: Int) throws {
    let problem = Problem(examples: examples, seed: UInt64(examples))
    let shards = examples % 3 == 0 ? 3 : 1
    let portable = Kernel(.portable)
    let scores = portable.scores(problem).map(\.bitPattern)
    let gradient = portable.gradient(
      problem, shards: 0..<shards, of: shards, loss: loss.kernelLoss, scale: 0x1p16)
    let confusion = portable.evaluate(problem, loss: loss.kernelLoss)
    #expect(confusion.statistics.loss_sum == gradient.statistics.loss_sum)
    #expect(confusion.counts.reduce(0, +) == examples)
    #expect((0..<classes).reduce(0) { $0 + confusion.counts[$1 * classes + $1] } == gradient.statistics.correct)

    for variant in KernelVariant.supported where variant != .portable {
      let kernel = Kernel(variant)
      #expect(kernel.scores(problem).map(\.bitPattern) == scores, "\(variant)")
      let same = kernel.gradient(problem, shards: 0..<shards, of: shards, loss: loss.kernelLoss, scale: 0x1p16)
      #expect(same == gradient, "\(variant)")
      let evaluation = kernel.evaluate(problem, loss: loss.kernelLoss)
      #expect(evaluation.counts == confusion.counts, "\(variant)")
      #expect(evaluation.statistics.loss_sum == confusion.statistics.loss_sum, "\(variant)")
    }
  }

  /// Where not all classes are computed together, the floats of a tile are kept for up to 12,416 examples.
  @Test func `all variants give the same bits for a shard of thousands of examples`() throws {
    let problem = Problem(examples: 12_417, seed: 3)
    let results = KernelVariant.supported.map {
      Kernel($0).gradient(problem, shards: 0..<1, of: 1, loss: DESCENT_LOSS_SOFTMAX, scale: 0x1p8)
    }
    #expect(results.allSatisfy { $0 == results[0] })
  }

  /// A multiply-add that rounds twice differs where the first result lies halfway between two floats: weights of few
  /// bits bring that about all the time, and the smallest ones have fewer bits than others.
  @Test(arguments: [1.0, 0x1p-20, 0x1p-118, 0x1p-127, 0x1p-140, 0x1p90])
  func `all variants round the same way, halfway between two floats and at the ends of their range`(unit: Double) throws
  {
    var problem = Problem(examples: 18, seed: 11)
    var random = RandomSequence(Philox4x64(seed: 12, stream: .gradientCheck))
    problem.parameters = (0..<parameterCount).map { _ in
      Float(
        unit * (Double(random.next(below: 16)) - 7.5)
          * Double(sign: .plus, exponent: Int(random.next(below: 24)), significand: 1))
    }
    let results = KernelVariant.supported.map { Kernel($0).scores(problem).map(\.bitPattern) }
    #expect(results.allSatisfy { $0 == results[0] })
    #expect(Set(results[0]).count > 100)
  }

  @Test(arguments: Loss.allCases)
  func `all variants give the same losses and derivatives, at any size of scores`(loss: Loss) throws {
    let generator = Philox4x64(seed: 5, stream: .gradientCheck)
    for scale in [1e-6, 1, 30, 1e4, 1e30] as [Double] {
      let scores = (0..<(67 * classes)).map { Float(scale * generator.normal(at: UInt64($0))) }
      let labels = (0..<67).map { UInt8($0 % classes) }
      let results = KernelVariant.supported.map { variant in
        var derivatives = [Float](repeating: .nan, count: scores.count)
        var statistics = descent_statistics()
        Kernel(variant).functions.loss_gradient(
          loss.kernelLoss, 1, classes, scores, labels, 67, &derivatives, &statistics)
        return derivatives.map { UInt64($0.bitPattern) } + [UInt64(bitPattern: statistics.loss_sum)]
      }
      #expect(results.allSatisfy { $0 == results[0] }, "scores of about \(scale)")
    }
  }

  @Test(arguments: KernelVariant.supported)
  func `shards computed apart and added give the bits of all shards together`(variant: KernelVariant) throws {
    let (problem, kernel) = (Problem(examples: 36, seed: 9), Kernel(variant))
    let together = kernel.gradient(problem, shards: 0..<6, of: 6, loss: DESCENT_LOSS_SOFTMAX, scale: 0x1p20)
    for cuts in [[0, 6], [0, 1, 6], [0, 2, 4, 6], [0, 1, 2, 3, 4, 5, 6]] {
      var sum = [Int32](repeating: 0, count: parameterCount)
      for (start, end) in zip(cuts, cuts.dropFirst()).reversed() {
        let part = kernel.gradient(problem, shards: start..<end, of: 6, loss: DESCENT_LOSS_SOFTMAX, scale: 0x1p20)
        sum.withUnsafeMutableBufferPointer {
          kernel.functions.add_int32($0.baseAddress!, $0.baseAddress!, part.sum, parameterCount)
        }
      }
      #expect(sum == together.sum)
    }
  }

  // MARK: The right numbers

  @Test(arguments: Loss.allCases)
  func `scores and gradient agree with the reference in double precision`(loss: Loss) throws {
    let (problem, scale) = (Problem(examples: 14, seed: 3), 0x1p20)
    let kernel = Kernel(.best)
    var plan = makePlan(loss: loss)
    plan.l2 = 0
    let (reference, minibatch) = (ReferenceTrainer(plan: plan), problem.minibatch)
    let exact = problem.parameters.map(Double.init)

    let scores = minibatch.flatMap { reference.scores(of: $0.x, at: exact) }
    let scoreError = zip(kernel.scores(problem), scores).map { abs(Double($0) - $1) }.max() ?? .nan
    // Sums of 3,072 floats of size up to 8; measured 1.4e-6.
    #expect(scoreError < 2e-5)

    let gradient = kernel.gradient(problem, shards: 0..<2, of: 2, loss: loss.kernelLoss, scale: Float(scale))
    let expected = reference.lossAndGradient(minibatch, at: exact)
    let error = zip(gradient.sum, expected.gradient.map { $0 * 14 }).map { abs(Double($0) / scale - $1) }.max() ?? .nan
    // Half a unit of fixed point per shard is 1e-6; the rest is the float chain's rounding. Measured 7e-6, and 4e-5 for
    // the squared hinge loss, whose derivatives are some ten times as large.
    let isBounded = Loss.bounded.contains(loss)
    #expect(error < 2e-5 * (isBounded ? 1 : max(1, largestDerivative(loss, reference, minibatch, exact))))
    let meanLoss = Double(gradient.statistics.loss_sum) / 0x1p24 / 14
    #expect(abs(meanLoss - expected.loss) < 2e-6 * (isBounded ? 1 : max(1, expected.loss)))
  }

  private func largestDerivative(
    _ loss: Loss, _ reference: ReferenceTrainer, _ minibatch: [ReferenceTrainer.Example], _ parameters: [Double]
  ) -> Double {
    minibatch.flatMap { loss(scores: reference.scores(of: $0.x, at: parameters), label: $0.y).derivative.map(abs) }
      .max()
      ?? .nan
  }

  @Test(arguments: KernelVariant.supported)
  func `exp and log are within 1.1 and 0.9 units in the last place of libm in double precision`(variant: KernelVariant)
    throws
  {
    let kernel = Kernel(variant).functions
    // Stops above −87.33, where the result is 0 by definition.
    let exponents = (0...400_000).map { Float($0) * -87.3 / 400_000 }
    var powers = exponents
    kernel.exp(exponents, &powers, exponents.count)
    let sums = (0...400_000).map { 1 + Float($0) * 9 / 400_000 }
    var logarithms = sums
    kernel.log(sums, &logarithms, sums.count)

    func error(_ result: Float, _ exact: Double) -> Double { abs(Double(result) - exact) / Double(Float(exact).ulp) }
    #expect(zip(powers, exponents).allSatisfy { error($0, exp(Double($1))) < 1.1 })
    #expect(zip(logarithms, sums).allSatisfy { error($0, log(Double($1))) < 0.9 })

    var edges: [Float] = [0, -0.0, -87.4, -1e30, -.infinity]
    kernel.exp(edges, &edges, edges.count)
    #expect(edges == [1, 1, 0, 0, 0])
  }

  /// CS231n, "Linear classification": three classes, and images of cat, car and frog. Classes 3 to 9 do not take part.
  @Test(arguments: KernelVariant.supported)
  func `the slides' examples give the slides' numbers`(variant: KernelVariant) throws {
    let kernel = Kernel(variant)
    func padded(_ scores: [Float]) -> [Float] { scores + [Float](repeating: -1e6, count: classes - 3) }
    let images: [([Float], UInt8, Double)] = [
      ([3.2, 5.1, -1.7], 0, 2.9), ([1.3, 4.9, 2.0], 1, 0), ([2.2, 2.5, -3.1], 2, 12.9),
    ]
    var total = 0.0
    for (scores, label, loss) in images {
      let (value, derivatives, _) = kernel.loss(DESCENT_LOSS_HINGE, scores: padded(scores), label: label)
      #expect(abs(value - loss) < 1e-6)
      #expect(derivatives.reduce(0, +) == 0)
      total += value
    }
    // 15.8 / 3; the slides print 5.3.
    #expect(abs(total / 3 - 5.27) < 0.005)

    // The slides' 0.89 is the base-10 logarithm of the same probability 0.13.
    let (value, derivatives, _) = kernel.loss(DESCENT_LOSS_SOFTMAX, scores: padded([3.2, 5.1, -1.7]), label: 0)
    #expect(abs(value - 2.04) < 0.005)
    #expect(abs(value / log(10) - 0.89) < 0.005)
    #expect(abs(derivatives[0] + 1 - 0.13) < 0.005)
  }

  @Test(arguments: KernelVariant.supported)
  func `equal scores cost log 10 and 9`(variant: KernelVariant) throws {
    let kernel = Kernel(variant)
    let scores = [Float](repeating: 0.25, count: classes)
    #expect(abs(kernel.loss(DESCENT_LOSS_SOFTMAX, scores: scores, label: 4).0 - log(10)) < 1e-6)
    #expect(kernel.loss(DESCENT_LOSS_HINGE, scores: scores, label: 4).0 == 9)
  }

  // MARK: Edges

  @Test(arguments: KernelVariant.supported)
  func `huge finite scores overflow nowhere`(variant: KernelVariant) throws {
    let kernel = Kernel(variant)
    let scores: [Float] = [123, 456, 789] + [Float](repeating: 0, count: 7)
    let (loss, derivatives, statistics) = kernel.loss(DESCENT_LOSS_SOFTMAX, scores: scores, label: 0)
    #expect(loss == 666 && statistics.is_finite)
    #expect(derivatives[0] == -1 && derivatives[2] == 1)

    let extremes: [Float] = [-.greatestFiniteMagnitude, .greatestFiniteMagnitude] + [Float](repeating: 0, count: 8)
    for kind in [DESCENT_LOSS_SOFTMAX, DESCENT_LOSS_HINGE, DESCENT_LOSS_LOGISTIC] {
      let (loss, derivatives, statistics) = kernel.loss(kind, scores: extremes, label: 0)
      #expect(!statistics.is_finite && loss == 16_384)
      #expect(!derivatives.contains { !$0.isFinite })
      #expect(kind == DESCENT_LOSS_LOGISTIC || derivatives.reduce(0, +) == 0)
    }
  }

  @Test(
    arguments: KernelVariant.supported,
    [Float.nan, .infinity, -.infinity])
  func `a score that is not finite is reported and counts zero`(variant: KernelVariant, score: Float) throws {
    let kernel = Kernel(variant)
    for kind in Loss.allCases.map(\.kernelLoss) {
      for position in [0, 3, 9] {
        var scores = [Float](repeating: 1, count: classes)
        scores[position] = score
        let (loss, derivatives, statistics) = kernel.loss(kind, scores: scores, label: 3)
        #expect(loss == 0 && statistics.correct == 0 && !statistics.is_finite)
        #expect(derivatives.allSatisfy { $0 == 0 })
      }
    }
  }

  @Test(arguments: KernelVariant.supported)
  func `a weight that is not a number gives a zero gradient and a flag`(variant: KernelVariant) throws {
    var problem = Problem(examples: 5, seed: 1)
    problem.parameters[4_000] = .nan
    let kernel = Kernel(variant)
    let gradient = kernel.gradient(problem, shards: 0..<1, of: 1, loss: DESCENT_LOSS_SOFTMAX, scale: 0x1p20)
    #expect(!gradient.statistics.is_finite)
    #expect(gradient.sum.allSatisfy { $0 == 0 })
    #expect(kernel.evaluate(problem, loss: DESCENT_LOSS_SOFTMAX).counts.allSatisfy { $0 == 0 })
  }

  @Test(arguments: Loss.bounded)
  func `the plan's scale leaves room for the largest gradient there can be`(loss: Loss) throws {
    var plan = makePlan(loss: loss, shardCount: 1)
    plan.batchSize = 7
    // Every example white on a black mean, in class 0 and scored as far from it as can be.
    let table = ExampleTable.inMemory([0] + [UInt8](repeating: 255, count: pixels), repeated: 7)
    var parameters = [Float](repeating: 0, count: parameterCount)
    // An output of 1/3 is where the squared error of a sigmoid is steepest.
    parameters[parameterCount - classes] = loss == .sigmoidSquaredError ? -0.693_147_2 : -1_000
    let workspace = descent_workspace_create(
      [pixels, classes], 1, DESCENT_IDENTITY, 0, 7, [Float](repeating: 0, count: pixels))
    defer { descent_workspace_destroy(workspace) }
    var sum = [Int32](repeating: 0, count: parameterCount)
    var statistics = descent_statistics()
    Kernel(.best).functions.gradient(
      workspace, parameters, (0..<7).map { table.record(at: $0) }, 1, 7, loss.kernelLoss, 1, nil,
      [plan.unitsPerOne, plan.unitsPerOne], &sum, &statistics, nil)
    let derivative = loss.largestScoreDerivative(classes: classes) ?? .nan
    let largest = -2 * 7 * derivative * Double(plan.unitsPerOne)
    #expect(sum[..<pixels].allSatisfy { abs(Double($0) - largest) <= abs(largest) * 1e-6 })
    #expect(largest > Double(Int32.min))
  }
}

/// Labels are checked when a file is opened, but another process may write to it afterwards.
extension KernelTests {
  @Test(arguments: KernelVariant.supported, Loss.allCases)
  func
    `a label is no class any more when it is used: the example counts nowhere, and nothing is written beside an array`(
      variant: KernelVariant, loss: Loss
    ) throws
  {
    let kernel = Kernel(variant)
    let whole = Problem(examples: 20, seed: 3)
    let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: pixels + 1)
    defer { bytes.deallocate() }
    let original = try #require(whole.records[7])
    bytes.update(from: original, count: pixels + 1)
    for label in [10, 11, 127, 128, 255] as [UInt8] {
      bytes[0] = label
      var problem = whole
      problem.records[7] = UnsafePointer(bytes)
      let evaluation = kernel.evaluate(problem, loss: loss.kernelLoss)
      #expect(!evaluation.statistics.is_finite)
      #expect(evaluation.counts.reduce(0, +) == 19)
      let gradient = kernel.gradient(problem, shards: 0..<1, of: 1, loss: loss.kernelLoss, scale: 0x1p16)
      #expect(!gradient.statistics.is_finite)
      #expect(gradient.statistics.loss_sum == evaluation.statistics.loss_sum)
    }
    try Evidence.add(
      .data, "\(variant), \(loss.settingName)",
      observed: "marked as not finite; 19 of 20 examples in the confusion matrix")
  }
}
