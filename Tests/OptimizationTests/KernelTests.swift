import CKernels
import Diagnostics
import Foundation
import Optimization
import Testing

private let pixels = Int(DESCENT_PIXELS)
private let classes = Int(DESCENT_CLASSES)
private let parameterCount = Int(DESCENT_PARAMETERS)

/// One variant's functions around arrays.
private struct Kernel {
  let pointer: OpaquePointer

  init(_ variant: KernelVariant) throws {
    var found: OpaquePointer?
    try #require(descent_kernel_find(variant.rawValue, &found) == DESCENT_KERNEL_OK)
    pointer = try #require(found)
  }

  func withWorkspace<Result>(_ problem: Problem, _ body: (OpaquePointer?) -> Result) -> Result {
    let workspace = descent_workspace_create(pointer, problem.records.count, problem.mean)
    defer { descent_workspace_destroy(workspace) }
    return body(workspace)
  }

  func scores(_ problem: Problem) -> [Float] {
    var scores = [Float](repeating: 0, count: problem.records.count * classes)
    withWorkspace(problem) {
      descent_scores($0, problem.parameters, problem.records, problem.records.count, &scores)
    }
    return scores
  }

  func gradient(_ problem: Problem, shards: Range<Int>, of count: Int, loss: descent_loss, scale: Float) -> Gradient {
    let examples = problem.records.count / count
    var gradient = Gradient(sum: [Int32](repeating: .min, count: parameterCount))
    withWorkspace(problem) {
      descent_gradient(
        $0, problem.parameters, Array(problem.records[(shards.lowerBound * examples)...]), shards.count, examples,
        loss, scale, &gradient.sum, &gradient.statistics)
    }
    return gradient
  }

  func evaluate(_ problem: Problem, loss: descent_loss) -> Confusion {
    var confusion = Confusion(counts: [Int64](repeating: 0, count: classes * classes))
    withWorkspace(problem) {
      descent_evaluate(
        $0, problem.parameters, problem.records, problem.records.count, loss, &confusion.counts,
        &confusion.statistics)
    }
    return confusion
  }

  /// Loss, derivatives and finiteness of one example.
  func loss(_ loss: descent_loss, scores: [Float], label: UInt8) -> (Double, [Float], descent_statistics) {
    var derivatives = [Float](repeating: .nan, count: classes)
    var statistics = descent_statistics()
    descent_loss_gradient(pointer, loss, scores, [label], 1, &derivatives, &statistics)
    return (Double(statistics.loss_sum) / 0x1p24, derivatives, statistics)
  }
}

private struct Gradient: Equatable {
  var sum: [Int32]
  var statistics = descent_statistics()

  static func == (left: Gradient, right: Gradient) -> Bool {
    left.sum == right.sum && left.statistics.loss_sum == right.statistics.loss_sum
      && left.statistics.correct == right.statistics.correct
      && left.statistics.is_finite == right.statistics.is_finite
  }
}

private struct Confusion {
  var counts: [Int64]
  var statistics = descent_statistics()
}

/// Random records at odd addresses, a mean image and parameters of a size that gives scores of a few units.
private struct Problem {
  let mean: [Float]
  var parameters: [Float]
  let records: [UnsafePointer<UInt8>?]
  let table: ExampleTable

  init(examples: Int, seed: UInt64) {
    var random = RandomSequence(Philox4x64(seed: seed, stream: .gradientCheck))
    func byte() -> UInt8 { UInt8(truncatingIfNeeded: random.next(below: 256)) }
    let bytes = (0..<examples).flatMap { _ in
      [UInt8(random.next(below: UInt64(classes)))] + (0..<pixels).map { _ in byte() }
    }
    let table = RecordBytes(bytes).table(recordSize: 1 + pixels)
    self.table = table
    records = (0..<examples).map { table.record(at: $0) }
    mean = (0..<pixels).map { _ in 100 + Float(byte()) / 8 }
    parameters = (0..<parameterCount).map { _ in (Float(byte()) - 127.5) / 4_000 }
  }

  /// The obvious way: one example at a time, in double precision.
  func objective(_ loss: Loss) -> ReferenceObjective {
    ReferenceObjective(
      shape: .cifar10, loss: loss, l2: 0,
      inputs: table.indices.map { example in
        mean.indices.map { (Double(table.record(at: example)[1 + $0]) - Double(mean[$0])) / 127.5 }
      },
      labels: table.indices.map { table.label(at: $0) })
  }
}

extension ExampleTable {
  fileprivate var indices: Range<Int> { 0..<count }
}

extension Loss {
  fileprivate var kernelLoss: descent_loss {
    self == .hinge ? DESCENT_LOSS_HINGE : DESCENT_LOSS_SOFTMAX
  }
}

@Suite struct KernelTests {
  // MARK: The same bits

  /// Up to 64 examples of whole shards are scored together; a shard of more is scored in parts.
  @Test(
    "All variants give the same bits", arguments: Loss.allCases,
    [1, 2, 3, 5, 15, 16, 17, 31, 32, 33, 48, 64, 65, 67, 130, 192, 195])
  func sameBits(loss: Loss, examples: Int) throws {
    let problem = Problem(examples: examples, seed: UInt64(examples))
    let shards = examples % 3 == 0 ? 3 : 1
    let portable = try Kernel(.portable)
    let scores = portable.scores(problem).map(\.bitPattern)
    let gradient = portable.gradient(
      problem, shards: 0..<shards, of: shards, loss: loss.kernelLoss, scale: 0x1p16)
    let confusion = portable.evaluate(problem, loss: loss.kernelLoss)
    #expect(confusion.statistics.loss_sum == gradient.statistics.loss_sum)
    #expect(confusion.counts.reduce(0, +) == examples)
    #expect((0..<classes).reduce(0) { $0 + confusion.counts[$1 * classes + $1] } == gradient.statistics.correct)

    for variant in KernelVariant.supported where variant != .portable {
      let kernel = try Kernel(variant)
      #expect(kernel.scores(problem).map(\.bitPattern) == scores, "\(variant)")
      let same = kernel.gradient(problem, shards: 0..<shards, of: shards, loss: loss.kernelLoss, scale: 0x1p16)
      #expect(same == gradient, "\(variant)")
      let evaluation = kernel.evaluate(problem, loss: loss.kernelLoss)
      #expect(evaluation.counts == confusion.counts, "\(variant)")
      #expect(evaluation.statistics.loss_sum == confusion.statistics.loss_sum, "\(variant)")
    }
  }

  /// A multiply-add that rounds twice differs where the first result lies halfway between two floats: weights of few
  /// bits bring that about all the time, and the smallest ones have fewer bits than others.
  @Test(
    "All variants round the same way, halfway between two floats and at the ends of their range",
    arguments: [1.0, 0x1p-20, 0x1p-118, 0x1p-127, 0x1p-140, 0x1p90])
  func sameRounding(unit: Double) throws {
    var problem = Problem(examples: 18, seed: 11)
    var random = RandomSequence(Philox4x64(seed: 12, stream: .gradientCheck))
    problem.parameters = (0..<parameterCount).map { _ in
      Float(
        unit * (Double(random.next(below: 16)) - 7.5)
          * Double(sign: .plus, exponent: Int(random.next(below: 24)), significand: 1))
    }
    let results = try KernelVariant.supported.map { try Kernel($0).scores(problem).map(\.bitPattern) }
    #expect(results.allSatisfy { $0 == results[0] })
    #expect(Set(results[0]).count > 100)
  }

  @Test("All variants give the same losses and derivatives, at any size of scores", arguments: Loss.allCases)
  func sameLosses(loss: Loss) throws {
    let generator = Philox4x64(seed: 5, stream: .gradientCheck)
    for scale in [1e-6, 1, 30, 1e4, 1e30] as [Double] {
      let scores = (0..<(67 * classes)).map { Float(scale * generator.normal(at: UInt64($0))) }
      let labels = (0..<67).map { UInt8($0 % classes) }
      let results = try KernelVariant.supported.map { variant in
        var derivatives = [Float](repeating: .nan, count: scores.count)
        var statistics = descent_statistics()
        descent_loss_gradient(
          try Kernel(variant).pointer, loss.kernelLoss, scores, labels, 67, &derivatives, &statistics)
        return derivatives.map { UInt64($0.bitPattern) } + [UInt64(bitPattern: statistics.loss_sum)]
      }
      #expect(results.allSatisfy { $0 == results[0] }, "scores of about \(scale)")
    }
  }

  @Test("Shards computed apart and added give the bits of all shards together", arguments: KernelVariant.supported)
  func partitions(variant: KernelVariant) throws {
    let (problem, kernel) = (Problem(examples: 36, seed: 9), try Kernel(variant))
    let together = kernel.gradient(problem, shards: 0..<6, of: 6, loss: DESCENT_LOSS_SOFTMAX, scale: 0x1p20)
    for cuts in [[0, 6], [0, 1, 6], [0, 2, 4, 6], [0, 1, 2, 3, 4, 5, 6]] {
      var sum = [Int32](repeating: 0, count: parameterCount)
      for (start, end) in zip(cuts, cuts.dropFirst()).reversed() {
        let part = kernel.gradient(problem, shards: start..<end, of: 6, loss: DESCENT_LOSS_SOFTMAX, scale: 0x1p20)
        sum.withUnsafeMutableBufferPointer {
          descent_add_int32($0.baseAddress!, $0.baseAddress!, part.sum, parameterCount)
        }
      }
      #expect(sum == together.sum)
    }
  }

  // MARK: The right numbers

  @Test("Scores and gradient agree with the reference in double precision", arguments: Loss.allCases)
  func oracle(loss: Loss) throws {
    let (problem, scale) = (Problem(examples: 14, seed: 3), 0x1p20)
    let kernel = try Kernel(.selected)
    let objective = problem.objective(loss)
    let exact = problem.parameters.map(Double.init)

    let scores = objective.scores(parameters: exact).flatMap { $0 }
    let scoreError = zip(kernel.scores(problem), scores).map { abs(Double($0) - $1) }.max() ?? .nan
    // Sums of 3,072 floats of size up to 8; measured 1.4e-6.
    #expect(scoreError < 2e-5)

    let gradient = kernel.gradient(problem, shards: 0..<2, of: 2, loss: loss.kernelLoss, scale: Float(scale))
    let expected = objective.gradient(parameters: exact).map { $0 * 14 }
    let error = zip(gradient.sum, expected).map { abs(Double($0) / scale - $1) }.max() ?? .nan
    // Half a unit of fixed point per shard is 1e-6; the rest is the float chain's rounding. Measured 7e-6.
    #expect(error < 2e-5)
    let meanLoss = Double(gradient.statistics.loss_sum) / 0x1p24 / 14
    #expect(abs(meanLoss - objective.value(parameters: exact)) < 2e-6)
  }

  @Test(
    "exp and log are within 1.1 and 0.9 units in the last place of libm in double precision",
    arguments: KernelVariant.supported)
  func elementaryFunctions(variant: KernelVariant) throws {
    let kernel = try Kernel(variant).pointer
    // Stops above −87.33, where the result is 0 by definition.
    let exponents = (0...400_000).map { Float($0) * -87.3 / 400_000 }
    var powers = exponents
    descent_exp(kernel, exponents, &powers, exponents.count)
    let sums = (0...400_000).map { 1 + Float($0) * 9 / 400_000 }
    var logarithms = sums
    descent_log(kernel, sums, &logarithms, sums.count)

    func error(_ result: Float, _ exact: Double) -> Double { abs(Double(result) - exact) / Double(Float(exact).ulp) }
    #expect(zip(powers, exponents).allSatisfy { error($0, exp(Double($1))) < 1.1 })
    #expect(zip(logarithms, sums).allSatisfy { error($0, log(Double($1))) < 0.9 })

    var edges: [Float] = [0, -0.0, -87.4, -1e30, -.infinity]
    descent_exp(kernel, edges, &edges, edges.count)
    #expect(edges == [1, 1, 0, 0, 0])
  }

  /// CS231n, "Linear classification": three classes, and images of cat, car and frog. Classes 3 to 9 do not take part.
  @Test("The slides' examples give the slides' numbers", arguments: KernelVariant.supported)
  func slides(variant: KernelVariant) throws {
    let kernel = try Kernel(variant)
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

  @Test("Equal scores cost log 10 and 9", arguments: KernelVariant.supported)
  func equalScores(variant: KernelVariant) throws {
    let kernel = try Kernel(variant)
    let scores = [Float](repeating: 0.25, count: classes)
    #expect(abs(kernel.loss(DESCENT_LOSS_SOFTMAX, scores: scores, label: 4).0 - log(10)) < 1e-6)
    #expect(kernel.loss(DESCENT_LOSS_HINGE, scores: scores, label: 4).0 == 9)
  }

  // MARK: Edges

  @Test("Huge finite scores overflow nowhere", arguments: KernelVariant.supported)
  func hugeScores(variant: KernelVariant) throws {
    let kernel = try Kernel(variant)
    let scores: [Float] = [123, 456, 789] + [Float](repeating: 0, count: 7)
    let (loss, derivatives, statistics) = kernel.loss(DESCENT_LOSS_SOFTMAX, scores: scores, label: 0)
    #expect(loss == 666 && statistics.is_finite)
    #expect(derivatives[0] == -1 && derivatives[2] == 1)

    let extremes: [Float] = [-.greatestFiniteMagnitude, .greatestFiniteMagnitude] + [Float](repeating: 0, count: 8)
    for kind in [DESCENT_LOSS_SOFTMAX, DESCENT_LOSS_HINGE] {
      let (loss, derivatives, statistics) = kernel.loss(kind, scores: extremes, label: 0)
      #expect(!statistics.is_finite && loss == 16_384)
      #expect(derivatives.allSatisfy(\.isFinite) && derivatives.reduce(0, +) == 0)
    }
  }

  @Test(
    "A score that is not finite is reported and counts zero", arguments: KernelVariant.supported,
    [Float.nan, .infinity, -.infinity])
  func nonFiniteScores(variant: KernelVariant, score: Float) throws {
    let kernel = try Kernel(variant)
    for kind in [DESCENT_LOSS_SOFTMAX, DESCENT_LOSS_HINGE] {
      for position in [0, 3, 9] {
        var scores = [Float](repeating: 1, count: classes)
        scores[position] = score
        let (loss, derivatives, statistics) = kernel.loss(kind, scores: scores, label: 3)
        #expect(loss == 0 && statistics.correct == 0 && !statistics.is_finite)
        #expect(derivatives.allSatisfy { $0 == 0 })
      }
    }
  }

  @Test("A weight that is not a number gives a zero gradient and a flag", arguments: KernelVariant.supported)
  func nonFiniteWeight(variant: KernelVariant) throws {
    var problem = Problem(examples: 5, seed: 1)
    problem.parameters[4_000] = .nan
    let kernel = try Kernel(variant)
    let gradient = kernel.gradient(problem, shards: 0..<1, of: 1, loss: DESCENT_LOSS_SOFTMAX, scale: 0x1p20)
    #expect(!gradient.statistics.is_finite)
    #expect(gradient.sum.allSatisfy { $0 == 0 })
    #expect(kernel.evaluate(problem, loss: DESCENT_LOSS_SOFTMAX).counts.allSatisfy { $0 == 0 })
  }

  @Test("The plan's scale leaves room for the largest gradient there can be", arguments: Loss.allCases)
  func noSaturation(loss: Loss) throws {
    var plan = makePlan(loss: loss, shardCount: 1)
    plan.batchSize = 7
    // Every example white on a black mean, in class 0 and scored as far from it as can be.
    let bytes = [[UInt8](repeating: 0, count: 1) + [UInt8](repeating: 255, count: pixels)]
    let table = RecordBytes(Array(repeatElement(bytes[0], count: 7).joined())).table(recordSize: 1 + pixels)
    var parameters = [Float](repeating: 0, count: parameterCount)
    parameters[parameterCount - classes] = -1_000
    let workspace = descent_workspace_create(
      try Kernel(.selected).pointer, 7, [Float](repeating: 0, count: pixels))
    defer { descent_workspace_destroy(workspace) }
    var sum = [Int32](repeating: 0, count: parameterCount)
    var statistics = descent_statistics()
    descent_gradient(
      workspace, parameters, (0..<7).map { table.record(at: $0) }, 1, 7, loss.kernelLoss, plan.fixedPointScale, &sum,
      &statistics)
    let largest = -2 * 7 * Double(loss.largestScoreDerivative(classes: classes)) * Double(plan.fixedPointScale)
    #expect(sum[..<pixels].allSatisfy { abs(Double($0) - largest) <= abs(largest) * 1e-6 })
    #expect(largest > Double(Int32.min))
  }

  // MARK: The kernel of a plan

  @Test("A step's gradient is that of its minibatch, for any set of shards", arguments: Loss.allCases)
  func plannedGradient(loss: Loss) {
    let (plan, table) = (makePlan(loss: loss), SyntheticExamples.table())
    let mean = meanImage(of: table, over: SyntheticExamples.split().training)
    let kernel = GradientKernel(plan: plan, examples: table, meanImage: mean)
    let parameters = ParameterVector.initial(plan: plan)
    func gradient(_ shards: ShardSet) -> ([Int32], MinibatchStatistics) {
      var sum = [Int32](repeating: .max, count: plan.shape.parameterCount)
      let statistics = parameters.withUnsafePointer {
        kernel.gradient(parameters: $0, step: 3, shards: shards, into: &sum)
      }
      return (sum, statistics)
    }
    var sampler = MinibatchSampler(split: SyntheticExamples.split(), batchSize: plan.batchSize, seed: plan.seed)
    let indices = (0..<plan.shardCount).flatMap { sampler.minibatch(shard: $0, step: 3) }
    let exact = ReferenceObjective(plan: plan, examples: table, meanImage: mean, indices: indices)
    let (all, statistics) = gradient(plan.allShards)
    #expect(statistics.examples == plan.batchSize && statistics.isFinite)

    let penalty = 2 * Double(plan.l2)
    let reference = exact.gradient(parameters: parameters.values.map(Double.init))
    let unit = Double(plan.fixedPointScale) * Double(plan.batchSize)
    let error = reference.indices.map { index in
      let decay = index < Int(DESCENT_WEIGHTS) ? penalty * Double(parameters.values[index]) : 0
      return abs(Double(all[index]) / unit + decay - reference[index])
    }.max()
    #expect(error ?? .nan < 2e-6)

    let (left, leftStatistics) = gradient(ShardSet(range: 0..<3))
    let (right, rightStatistics) = gradient(ShardSet(range: 3..<4))
    #expect(zip(left, right).map { $0 &+ $1 } == all)
    #expect(leftStatistics + rightStatistics == statistics)
    #expect(gradient(ShardSet()) == ([Int32](repeating: 0, count: all.count), .zero))
  }

  @Test("An evaluation counts every example once and its probabilities add up to one")
  func evaluation() {
    let (plan, table) = (makePlan(), SyntheticExamples.table())
    let mean = meanImage(of: table, over: SyntheticExamples.split().training)
    let evaluator = Evaluator(shape: plan.shape, loss: plan.loss, examples: table, meanImage: mean)
    let parameters = ParameterVector.initial(plan: plan)
    let indices = (0..<UInt32(table.count)).map { $0 }
    parameters.withUnsafePointer { parameters in
      let evaluation = evaluator.evaluate(parameters: parameters, indices: indices)
      #expect(evaluation.examples == table.count && evaluation.isFinite)
      #expect(evaluation.confusion.reduce(0, +) == table.count)
      #expect(abs(evaluation.meanLoss - log(10)) < 0.05)
      let none = evaluator.evaluate(parameters: parameters, indices: [])
      #expect(none.examples == 0 && none.confusion.allSatisfy { $0 == 0 })

      let probabilities = evaluator.probabilities(parameters: parameters, record: table.record(at: 17))
      let scores = evaluator.scores(parameters: parameters, record: table.record(at: 17))
      #expect(abs(probabilities.reduce(0, +) - 1) < 1e-6)
      #expect(probabilities.firstIndex(of: probabilities.max()!) == scores.firstIndex(of: scores.max()!))
    }
  }

  // MARK: Choice of variant

  @Test("A kernel that cannot be had is told apart from one that does not exist")
  func selection() {
    var kernel: OpaquePointer?
    #expect(descent_kernel_find("avx1024", &kernel) == DESCENT_KERNEL_UNKNOWN && kernel == nil)
    #expect(descent_kernel_find(nil, &kernel) == DESCENT_KERNEL_OK && kernel != nil)
    #expect(KernelVariant.supported.contains(.selected) && KernelVariant.supported.contains(.portable))
  }

  @Test("A wrong DESCENT_KERNEL is an error that names what there is, and is otherwise ignored")
  func environment() async {
    await #expect(processExitsWith: .success) {
      setenv("DESCENT_KERNEL", "avx1024", 1)
      #expect(KernelVariant.selected == KernelVariant.supported.first)
      do throws(Failure) {
        try KernelVariant.checkSelection()
        exit(1)
      } catch {
        #expect(error.status == .badConfiguration && error.description.contains("portable"))
      }
    }
    await #expect(processExitsWith: .success) {
      setenv("DESCENT_KERNEL", "portable", 1)
      try KernelVariant.checkSelection()
      guard KernelVariant.selected == .portable else { exit(1) }
    }
  }

  // MARK: Sums and checksums

  @Test("CRC-32C gives the published values, whole and in pieces")
  func checksums() {
    #expect(descent_crc32c(0, "123456789", 9) == 0xE306_9283)
    #expect(descent_crc32c(0, [UInt8](repeating: 0, count: 32), 32) == 0x8A91_36AA)  // RFC 3720, B.4
    #expect(descent_crc32c(0, [UInt8](repeating: 0xFF, count: 32), 32) == 0x62A8_AB43)
    #expect(descent_crc32c(0, nil, 0) == 0)

    /// One bit at a time.
    func slow(_ bytes: ArraySlice<UInt8>) -> UInt32 {
      var crc = UInt32.max
      for byte in bytes {
        crc ^= UInt32(byte)
        for _ in 0..<8 { crc = (crc >> 1) ^ (crc & 1 == 1 ? 0x82F6_3B78 : 0) }
      }
      return ~crc
    }
    var random = RandomSequence(Philox4x64(seed: 2, stream: .gradientCheck))
    let bytes = (0..<9_000).map { _ in UInt8(random.next(below: 256)) }
    for count in [1, 7, 8, 63, 64, 255, 256, 257, 511, 512, 1_023, 3_071, 3_072, 3_073, 6_200, 8_990] {
      let slice = bytes[5..<(5 + count)]
      let cut = count / 3
      slice.withUnsafeBytes { slice in
        let whole = descent_crc32c(0, slice.baseAddress, count)
        let first = descent_crc32c(0, slice.baseAddress, cut)
        #expect(whole == slow(bytes[5..<(5 + count)]))
        #expect(descent_crc32c(first, slice.baseAddress! + cut, count - cut) == whole)
      }
    }
  }

  @Test("Sums wrap and may read from any address")
  func sums() {
    let addends: [Int32] = [1, -1, .max, .min, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]
    for shift in 0..<4 {
      let bytes = [UInt8](repeating: 0, count: shift) + addends.withUnsafeBytes { Array($0) }
      var sum = [Int32](repeating: 1, count: addends.count)
      bytes.withUnsafeBytes { bytes in
        sum.withUnsafeMutableBufferPointer {
          descent_add_int32($0.baseAddress!, $0.baseAddress!, bytes.baseAddress! + shift, addends.count)
        }
      }
      #expect(sum == addends.map { $0 &+ 1 })
    }
  }
}
