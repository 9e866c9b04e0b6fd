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
    func gradient(_ shards: ShardSet) -> ([Int32], MinibatchStatistics) {
      var sum = [Int32](repeating: .max, count: plan.shape.parameterCount)
      let statistics = parameters.withUnsafePointer {
        kernel.gradient(parameters: $0, step: 3, shards: shards, into: &sum)
      }
      return (sum, statistics)
    }
    var sampler = MinibatchSampler(plan: plan)
    let indices = (0..<plan.shardCount).flatMap { sampler.minibatch(shard: $0, step: 3) }
    let minibatch = table.minibatch(at: indices, meanImage: mean)
    let (all, statistics) = gradient(plan.allShards)
    #expect(statistics.examples == plan.batchSize && statistics.isFinite)

    let penalty = 2 * Double(plan.l2)
    let reference = ReferenceTrainer(plan: plan)
      .lossAndGradient(minibatch, at: parameters.values.map(Double.init)).gradient
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
