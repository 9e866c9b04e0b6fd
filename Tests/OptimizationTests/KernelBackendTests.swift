import CKernels
import Diagnostics
import Foundation
import Optimization
import Testing

@Suite struct KernelBackendTests {
  @Test(arguments: Loss.allCases)
  func `a step's gradient is that of its minibatch, for any set of shards`(loss: Loss) {
    let (plan, table) = (makePlan(loss: loss), SyntheticExamples.table())
    let mean = meanImage(of: table, over: SyntheticExamples.split().training)
    let kernel = KernelBackend(plan: plan, examples: table, meanImage: mean, kernel: .best)
    let parameters = ParameterVector.initial(plan: plan)
    var scale = plan.firstScale
    func gradient(_ shards: ShardSet) -> ([Int32], MinibatchStatistics) {
      var sum = [Int32](repeating: .max, count: plan.shape.parameterCount)
      let statistics = parameters.withUnsafePointer {
        kernel.gradient(parameters: $0, step: 3, shards: shards, scale: scale, into: &sum)
      }
      return (sum, statistics)
    }
    while let corrected = plan.correction(of: scale, for: gradient(plan.allShards).1.peaks) { scale = corrected }
    var sampler = MinibatchSampler(plan: plan)
    let indices = (0..<plan.shardCount).flatMap { sampler.minibatch(shard: $0, step: 3) }
    let minibatch = table.minibatch(at: indices, meanImage: mean)
    let (all, statistics) = gradient(plan.allShards)
    #expect(statistics.examples == plan.batchSize && statistics.isFinite)

    let penalty = 2 * Double(plan.l2)
    let reference = ReferenceTrainer(plan: plan)
      .lossAndGradient(minibatch, at: parameters.values.map(Double.init)).gradient
    let error = reference.indices.map { index in
      let block = index < Int(DESCENT_WEIGHTS) ? 0 : 1
      let unit = Double(scale.unitsPerOne(inBlock: block)) * Double(plan.batchSize)
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

  @Test
  func `an evaluation counts every example once and its probabilities add up to one`() {
    let (plan, table) = (makePlan(), SyntheticExamples.table())
    let mean = meanImage(of: table, over: SyntheticExamples.split().training)
    let evaluator = Evaluator(
      shape: plan.shape, loss: plan.loss, examples: table, meanImage: mean, kernel: .best)
    let parameters = ParameterVector.initial(plan: plan)
    let indices = (0..<UInt32(table.count)).map { $0 }
    parameters.withUnsafePointer { parameters in
      let evaluation = evaluator.evaluate(parameters: parameters, indices: indices)
      #expect(evaluation.statistics.examples == table.count && evaluation.statistics.isFinite)
      #expect(evaluation.confusion.reduce(0, +) == table.count)
      #expect(abs(evaluation.score.meanLoss - log(10)) < 0.05)
      // Sums of integers: in whatever order.
      #expect(evaluator.evaluate(parameters: parameters, indices: indices.reversed()) == evaluation)
      let none = evaluator.evaluate(parameters: parameters, indices: [])
      #expect(none.statistics.examples == 0 && none.confusion.allSatisfy { $0 == 0 })

      let probabilities = evaluator.probabilities(parameters: parameters, record: table.record(at: 17))
      let scores = evaluator.scores(parameters: parameters, record: table.record(at: 17))
      #expect(abs(probabilities.reduce(0, +) - 1) < 1e-6)
      #expect(probabilities.firstIndex(of: probabilities.max()!) == scores.firstIndex(of: scores.max()!))
    }
  }

  // MARK: Networks

  private static func networkPlan(_ hidden: [Int], _ activation: Activation, dropout: Float) -> TrainingPlan {
    var plan = makePlan()
    plan.shape = ModelShape(classes: 10, pixels: 3_072, hidden: hidden, activation: activation)
    plan.initialStandardDeviation = 0.02
    plan.dropout = dropout
    return plan
  }

  /// Deterministic weights of both signs in every layer.
  private static func parameters(_ shape: ModelShape) -> ParameterVector {
    ParameterVector((0..<shape.parameterCount).map { Float(($0 * 7_919) % 401 - 200) / 8_000 })
  }

  @Test(arguments: [[11], [20, 9]], [0, 0.5] as [Float])
  func `a network's sums have the same bits for any partition and variant, at the scale that fits`(
    hidden: [Int], dropout: Float
  ) {
    let plan = Self.networkPlan(hidden, .leakyReLU(slope: 0.2), dropout: dropout)
    let (table, parameters) = (SyntheticExamples.table(), Self.parameters(plan.shape))
    let mean = meanImage(of: table, over: SyntheticExamples.split().training)
    func compute(_ kernel: KernelVariant, cuts: [Int]) -> ([Int32], MinibatchStatistics, FixedPointScale) {
      let backend = KernelBackend(plan: plan, examples: table, meanImage: mean, kernel: kernel)
      var scale = plan.firstScale
      while true {
        var total = [Int32](repeating: 0, count: plan.shape.parameterCount)
        var statistics = MinibatchStatistics.zero
        for (start, end) in zip(cuts, cuts.dropFirst()).reversed() {
          var sum = total
          statistics += parameters.withUnsafePointer {
            backend.gradient(parameters: $0, step: 2, shards: ShardSet(range: start..<end), scale: scale, into: &sum)
          }
          for index in total.indices { total[index] &+= sum[index] }
        }
        guard let corrected = plan.correction(of: scale, for: statistics.peaks) else {
          return (total, statistics, scale)
        }
        scale = corrected
      }
    }
    let whole = compute(.portable, cuts: [0, 4])
    #expect(whole.1.examples == plan.batchSize && whole.1.isFinite)
    for kernel in KernelVariant.supported {
      for cuts in [[0, 4], [0, 1, 4], [0, 1, 2, 3, 4]] {
        #expect(compute(kernel, cuts: cuts) == whole, "\(kernel) \(cuts)")
      }
    }
    // Twenty bits of the largest element of every block.
    for (block, range) in plan.shape.blocks.map(\.range).enumerated() {
      #expect(whole.0[range].map(\.magnitude).max() ?? 0 >= 1 << 19, "block \(block)")
    }
  }

  @Test
  func `a step's dropout is that of its mask: other steps and seeds leave out other units, evaluations none`() {
    let plan = Self.networkPlan([16], .relu, dropout: 0.5)
    let (table, parameters) = (SyntheticExamples.table(), Self.parameters(plan.shape))
    let mean = meanImage(of: table, over: SyntheticExamples.split().training)
    func losses(_ plan: TrainingPlan) -> [Int64] {
      let backend = KernelBackend(plan: plan, examples: table, meanImage: mean, kernel: .best)
      var sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
      // Steps 0 and 6 see other examples; 0 twice the same.
      return [0, 6, 0].map { step in
        parameters.withUnsafePointer {
          backend.gradient(parameters: $0, step: step, shards: plan.allShards, scale: plan.firstScale, into: &sum)
        }.lossSum
      }
    }
    var without = plan
    without.dropout = 0
    let (dropped, whole) = (losses(plan), losses(without))
    #expect(dropped[0] == dropped[2] && whole[0] == whole[2] && dropped[0] != whole[0])
    let evaluator = Evaluator(
      shape: plan.shape, loss: plan.loss, examples: table, meanImage: mean, kernel: .best)
    var sampler = MinibatchSampler(plan: plan)
    let indices = (0..<4).flatMap { sampler.minibatch(shard: $0, step: 0) }
    let evaluation = parameters.withUnsafePointer { evaluator.evaluate(parameters: $0, indices: indices) }
    #expect(evaluation.statistics.lossSum == whole[0])
  }

  @Test func `examples fetched ahead change no gradient, end with the minibatch, and never leave the epoch`() {
    let plan = Self.networkPlan([16], .relu, dropout: 0.5)
    let (table, parameters) = (SyntheticExamples.table(), Self.parameters(plan.shape))
    let mean = meanImage(of: table, over: SyntheticExamples.split().training)
    let shards = ShardSet([1, 3])
    func sums(fetching: Bool) -> [[Int32]] {
      let backend = KernelBackend(plan: plan, examples: table, meanImage: mean, kernel: .best)
      #expect(!backend.fetchAhead(), "nothing is expected before the first gradient")
      return (0..<2 * plan.stepsPerEpoch).map { step in
        var sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
        _ = parameters.withUnsafePointer {
          backend.gradient(parameters: $0, step: step, shards: shards, scale: plan.firstScale, into: &sum)
        }
        guard fetching else { return sum }
        var calls = 1
        while backend.fetchAhead() { calls += 1 }
        let isLastOfEpoch = (step + 1) % plan.stepsPerEpoch == 0
        #expect(calls == (isLastOfEpoch ? 1 : (shards.count * plan.examplesPerShard + 3) / 4))
        #expect(!backend.fetchAhead())
        return sum
      }
    }
    #expect(sums(fetching: true) == sums(fetching: false))
  }

  @Test
  func `an evaluation of a network counts every example, in whatever parts it is made`() {
    let shape = ModelShape(classes: 7, pixels: 19, hidden: [30])
    let problem = NetworkProblem(shape, examples: 300)
    let evaluator = Evaluator(
      shape: shape, loss: .hinge, margin: 2, examples: problem.table, meanImage: problem.mean, kernel: .best)
    let evaluation = problem.parameters.withUnsafeBufferPointer {
      evaluator.evaluate(parameters: $0.baseAddress!, indices: Array(0..<300))
    }
    let whole = Kernel(.portable).evaluate(problem, NetworkTask(loss: .hinge, margin: 2), capacity: 300)
    #expect(evaluation.statistics.lossSum == whole.statistics.loss_sum && evaluation.statistics.examples == 300)
    #expect(evaluation.confusion == whole.counts.map(Int.init) && evaluation.classes == 7)
    let scores = problem.parameters.withUnsafeBufferPointer {
      evaluator.scores(parameters: $0.baseAddress!, record: problem.table.record(at: 5))
    }
    #expect(scores == Array(Kernel(.portable).scores(problem)[35..<42]))
    let table = ExampleTable.inMemory([9, 0, 0, 2, 0, 0], recordSize: 3, classes: 7)
    #expect(table.label(at: 0) == 6 && table.label(at: 1) == 2)
  }

  // MARK: Choice of variant

  @Test
  func `without a name the best supported variant runs; portable is always one of them`() throws {
    #expect(KernelVariant.supported.first == .best && KernelVariant.supported.contains(.portable))
    #expect(try KernelVariant(environment: [:]) == .best)
    #expect(try KernelVariant(environment: ["DESCENT_KERNEL": ""]) == .best)
    for variant in KernelVariant.supported {
      #expect(try KernelVariant(environment: ["DESCENT_KERNEL": variant.rawValue]) == variant)
    }
  }

  @Test
  func `a wrong DESCENT_KERNEL is an error that names the supported variants`() {
    let missing = KernelVariant.allCases.filter { !KernelVariant.supported.contains($0) }.map(\.rawValue)
    for name in ["avx1024", "AVX2"] + missing {
      do throws(Failure) {
        _ = try KernelVariant(environment: ["DESCENT_KERNEL": name])
        Issue.record("\(name) was accepted")
      } catch {
        #expect(error.status == .badConfiguration && error.description.contains("portable"))
        #expect(error.description.contains("cannot run") == missing.contains(name))
      }
    }
  }
}
