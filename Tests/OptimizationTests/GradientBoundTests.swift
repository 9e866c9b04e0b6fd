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
    // With biases alone: of class 1 for softmax, against class 0 for the others.
    var parameters = [Float](repeating: 0, count: plan.shape.parameterCount)
    for label in 0..<10 {
      parameters[30_720 + label] =
        switch loss {
        case .softmaxCrossEntropy: label == 1 ? bias : 0
        case .hinge, .squaredHinge: label == 0 ? 0 : bias
        case .logistic, .squaredError: label == 0 ? -bias : bias
        // Outputs of 1/3 and 2/3, where the derivative is largest.
        case .sigmoidSquaredError: (label == 0 ? -1 : 1) * (bias == 100 ? Float(0.693_147_2) : bias)
        }
    }
    var sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
    let statistics = kernel.gradient(
      parameters: parameters, step: 0, shards: plan.allShards, scale: plan.firstScale, into: &sum)
    let norm = KernelVariant.best.norm(ofGradientSum: sum, count: sum.count)
    return (plan, norm, statistics, parameters)
  }

  @Test(arguments: Loss.bounded)
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
          let bounds = ParameterBounds(of: plan, at: bytes)
          if statistics.isFinite {
            #expect(statistics.meanLoss <= bounds.largestLoss, "\(loss) at \(bias)")
          } else {
            diverged += 1
            #expect(bounds.mayDiverge, "\(loss) at \(bias)")
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
      // Where the loss is a square, its bound is the square of a wide one.
      let size: Float = Loss.bounded.contains(loss) ? 0.01 : 0.001
      var parameters = (0..<plan.shape.parameterCount).map { Float($0 % 7 - 3) * size }
      change(&parameters)
      return parameters.withUnsafeBytes { ParameterBounds(of: plan, at: $0).mayDiverge }
    }
    #expect(!mayDiverge { _ in })
    #expect(mayDiverge { $0[17] = .nan })
    #expect(mayDiverge { $0[30_725] = -.infinity })
    #expect(mayDiverge { $0[3071] = loss == .sigmoidSquaredError ? 1e35 : 1e20 })
  }

  /// Networks at random weights, and the inputs that are worst for them: every pixel black or white, over a grey mean image.
  @Test(arguments: Activation.all, Loss.allCases)
  func `no example exceeds the bounds of a network, and they are not wide of what one reaches`(
    activation: Activation, loss: Loss
  ) {
    var plan = TrainingPlan(exampleCount: 32, batchSize: 4, shardCount: 2, totalSteps: 1) { $0.loss = loss }
    plan.shape = ModelShape(classes: 3, pixels: 6, hidden: [4, 3], activation: activation)
    let reference = ReferenceTrainer(plan: plan)
    let generator = Philox4x64(seed: 9, stream: .gradientCheck)
    for trial in 0..<8 as Range<UInt64> {
      let size = Float(1 << (trial % 4)) / 4
      let parameters = (0..<plan.shape.parameterCount).map {
        size * Float(generator.normal(at: trial * 1000 + UInt64($0)))
      }
      let bounds = parameters.withUnsafeBytes { ParameterBounds(of: plan, at: $0) }
      // All corners of ±1: what (pixel − mean) / 127.5 is there, of ±2 that it might be.
      let examples = (0..<64 * 3).map { corner in
        ReferenceTrainer.Example(x: (0..<6).map { (corner / 3) >> $0 & 1 == 0 ? -2 : 2 }, y: corner % 3)
      }
      var largestLoss = 0.0
      var largest = [Double](repeating: 0, count: plan.shape.blockCount)
      for example in examples {
        let (value, gradient) = reference.lossAndGradient([example], at: parameters.map(Double.init))
        largestLoss = max(largestLoss, value)
        for (block, range) in plan.shape.blocks.map(\.range).enumerated() {
          largest[block] = max(largest[block], gradient[range].map(abs).max() ?? 0)
        }
      }
      #expect(largestLoss <= bounds.largestLoss)
      if loss == .hinge, [.relu, .identity].contains(activation) {
        #expect(bounds.largestLoss < 30 * largestLoss, "trial \(trial)")
      }
      // Two examples a shard, both the worst one.
      var peaks = GradientPeaks.none
      for block in largest.indices where largest[block] > 0 {
        peaks.bits[block] = Int8((2 * largest[block] * 0x1p20).exponent + 1)
      }
      let scale = FixedPointScale(exponents: SIMD16(repeating: 20))
      #expect(bounds.mayReach(peaks, at: scale))
      #expect(bounds.mayReach(.none, at: scale))
      for block in largest.indices where largest[block] > 0 {
        var forged = peaks
        forged.bits[block] += 20
        #expect(!bounds.mayReach(forged, at: scale), "\(block)")
      }
    }
  }

  @Test
  func `a network at its initial weights cannot diverge, and may at weights that have exploded`() {
    for hidden in [[100], [512], [1024]] {
      var plan = TrainingPlan(exampleCount: 32, batchSize: 16, shardCount: 2, totalSteps: 1)
      plan.shape = ModelShape(classes: 10, pixels: 3072, hidden: hidden)
      plan.initialization = .he
      // As large as the initial weights, without the time to draw them.
      var parameters = [Float](repeating: 0, count: plan.shape.parameterCount)
      for layer in plan.shape.layers {
        let size = Float(0.8 * (2 / Double(layer.inputs)).squareRoot())
        for index in layer.weight { parameters[index] = index &* 0x9E37_79B9 & 64 == 0 ? size : -size }
      }
      #expect(!parameters.withUnsafeBytes { ParameterBounds(of: plan, at: $0).mayDiverge }, "\(hidden)")
      let exploded = parameters.map { $0 * 1000 }
      #expect(exploded.withUnsafeBytes { ParameterBounds(of: plan, at: $0).mayDiverge })
      parameters[plan.shape.layers[1].bias.lowerBound] = .nan
      #expect(parameters.withUnsafeBytes { ParameterBounds(of: plan, at: $0).mayDiverge })
    }
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
