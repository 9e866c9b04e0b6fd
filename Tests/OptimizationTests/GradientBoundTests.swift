import CKernels
import Optimization
import TestSupport
import Testing

/// What the server refuses to believe must be impossible, and not by far.
@Suite struct GradientBoundTests {
  /// 32 records that are all white, of class 0, over a mean image that is all black: x = 2 everywhere.
  private static func extremes(_ loss: Loss) -> (TrainingPlan, ExampleTable, [Float]) {
    let plan = TrainingPlan(exampleCount: 32, batchSize: 16, shardCount: 2, totalSteps: 1) { $0.loss = loss }
    let table = ExampleTable.inMemory([0] + [UInt8](repeating: 255, count: 3072), repeated: 32)
    return (plan, table, [Float](repeating: 0, count: 3072))
  }

  private func gradient(_ loss: Loss, bias: Float) -> (plan: TrainingPlan, norm: Double, MinibatchStatistics, [Float]) {
    let (plan, examples, mean) = Self.extremes(loss)
    let kernel = KernelBackend(plan: plan, examples: examples, meanImage: mean, kernel: .best)
    // Class 1 is preferred for its bias alone; with the hinge loss all but class 0 are.
    var parameters = [Float](repeating: 0, count: plan.shape.parameterCount)
    for label in 1..<(loss == .hinge ? 10 : 2) { parameters[30_720 + label] = bias }
    var sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
    let statistics = kernel.gradient(parameters: parameters, step: 0, shards: plan.allShards, into: &sum)
    let norm = KernelVariant.best.norm(ofGradientSum: sum, count: sum.count)
    return (plan, norm, statistics, parameters)
  }

  @Test(arguments: Loss.allCases)
  func `the worst examples reach the largest norm and do not exceed it`(loss: Loss) {
    let (plan, norm, statistics, _) = gradient(loss, bias: 100)
    #expect(statistics.examples == 16)
    let largest = plan.largestGradientNorm(shards: 2)
    #expect(norm <= largest)
    #expect(norm >= 0.98 * largest)
    #expect(plan.largestGradientNorm(shards: 1) == largest / 2)
  }

  @Test
  func `a loss is within its bound, and where it is not finite the weights are such that it may be`() {
    var diverged = 0
    for loss in Loss.allCases {
      for exponent in stride(from: 0, through: 38, by: 1) {
        var bias: Float = 1
        for _ in 0..<exponent { bias *= 10 }
        let (plan, _, statistics, parameters) = gradient(loss, bias: bias)
        parameters.withUnsafeBytes { bytes in
          if statistics.isFinite {
            #expect(statistics.meanLoss <= plan.largestLoss(at: bytes), "\(loss) at \(bias)")
          } else {
            diverged += 1
            #expect(plan.mayDiverge(at: bytes), "\(loss) at \(bias)")
          }
        }
      }
    }
    #expect(diverged > 60)
  }

  @Test(arguments: Loss.allCases)
  func `weights of a training that goes well cannot diverge, and broken ones can`(loss: Loss) {
    let (plan, _, _) = Self.extremes(loss)
    func mayDiverge(_ change: (inout [Float]) -> Void) -> Bool {
      var parameters = (0..<plan.shape.parameterCount).map { Float($0 % 7 - 3) * 0.01 }
      change(&parameters)
      return parameters.withUnsafeBytes { plan.mayDiverge(at: $0) }
    }
    #expect(!mayDiverge { _ in })
    #expect(mayDiverge { $0[17] = .nan })
    #expect(mayDiverge { $0[30_725] = -.infinity })
    #expect(mayDiverge { $0[3071] = 1e20 })
  }

  @Test
  func `the sum of squares is right, in every variant the same, whatever the alignment and the length`() throws {
    let generator = Philox4x64(key: [1, 2])
    for count in [0, 1, 15, 63, 64, 65, 1000, 30_730] {
      let values = (0..<count).map { Int32(truncatingIfNeeded: generator.block(at: [UInt64($0), 0, 0, 0])[0] >> 34) }
      let exact = values.reduce(0.0) { $0 + Double($1) * Double($1) }
      let bytes = [UInt8](repeating: 0, count: 3) + values.withUnsafeBytes { Array($0) }
      var results: [Double] = []
      for variant in KernelVariant.supported {
        results.append(
          bytes.withUnsafeBytes { variant.functions.pointee.squared_norm_int32($0.baseAddress! + 3, count) })
      }
      #expect(Set(results).count == 1)
      #expect(abs(try #require(results.first) - exact) <= 1e-4 * exact)
    }
    let extreme = [Int32](repeating: .min, count: 30_730)
    let squared = KernelVariant.best.functions.pointee.squared_norm_int32(extreme, extreme.count)
    #expect(abs(squared / (30_730.0 * 0x1p62) - 1) < 1e-4)
  }
}
