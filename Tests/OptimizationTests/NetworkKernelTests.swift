import CKernels
import Optimization
import TestSupport
import Testing

/// Models of any shape: forward, backward and evaluation.
@Suite struct NetworkKernelTests {
  /// Linear ones and networks, of shapes that fill no tile, and the largest number of classes.
  static let shapes = [
    ModelShape(classes: 2, pixels: 1),
    ModelShape(classes: 2, pixels: 2),
    ModelShape(classes: 3, pixels: 15),
    ModelShape(classes: 11, pixels: 257),
    ModelShape(classes: 2, pixels: 5, hidden: [1], activation: .tanh),
    ModelShape(classes: 10, pixels: 64, hidden: [7], activation: .relu),
    ModelShape(classes: 256, pixels: 20, hidden: [13], activation: .sigmoid),
    ModelShape(classes: 4, pixels: 70, hidden: [9, 1, 6], activation: .elu(alpha: 0.5)),
    ModelShape(classes: 3, pixels: 30, hidden: [100, 300], activation: .leakyReLU(slope: 0.2)),
  ]

  // MARK: The definition

  @Test(arguments: shapes, [1, 2, 17, 66])
  func `every variant computes the chains of the definition, and their peaks`(shape: ModelShape, examples: Int) {
    let problem = NetworkProblem(shape, examples: examples, seed: UInt64(examples))
    let task = NetworkTask(shards: examples % 2 == 0 ? 2 : 1)
    let expected = ChainedGradient(problem, task).rounded()
    let portable = Kernel(.portable).gradient(problem, task)
    for variant in KernelVariant.supported {
      let gradient = Kernel(variant).gradient(problem, task)
      #expect(gradient.sum == expected.sum && gradient.peaks == expected.peaks, "\(variant)")
      #expect(gradient == portable && gradient.isFinite, "\(variant)")
    }
  }

  @Test(arguments: [
    (ModelShape(classes: 10, pixels: 3_072, hidden: [100]), 6), (ModelShape(classes: 2, pixels: 1_000_003), 2),
    (ModelShape(classes: 3, pixels: 3_071), 20),
  ])
  func `images of full size too`(shape: ModelShape, examples: Int) {
    let problem = NetworkProblem(shape, examples: examples)
    let task = NetworkTask(shards: 2, exponents: shape.blocks.map { _ in 20 })
    let expected = ChainedGradient(problem, task).rounded()
    for variant in KernelVariant.supported {
      let gradient = Kernel(variant).gradient(problem, task)
      #expect(gradient.sum == expected.sum && gradient.peaks == expected.peaks, "\(variant)")
    }
  }

  /// More examples than are computed together, in whole shards and in one.
  @Test(arguments: [1, 2, 33, 528], [[], [3]])
  func `a thousand examples give the chains of the definition`(shards: Int, hidden: [Int]) {
    let problem = NetworkProblem(ModelShape(classes: 3, pixels: 2, hidden: hidden), examples: 1_056)
    let task = NetworkTask(loss: .squaredHinge, shards: shards)
    let expected = ChainedGradient(problem, task).rounded()
    for variant in KernelVariant.supported {
      let gradient = Kernel(variant).gradient(problem, task)
      #expect(gradient.sum == expected.sum && gradient.peaks == expected.peaks, "\(variant)")
    }
  }

  /// Around the sizes of shards of which zero derivatives are left out, with more examples than a group.
  @Test(arguments: [23, 24, 32, 64, 65], [0, 0.5] as [Float])
  func `units that are off in many examples, in some shards and always`(examplesPerShard: Int, dropout: Float) {
    let (shape, shards) = (ModelShape(classes: 3, pixels: 131, hidden: [70, 19]), 9)
    var problem = NetworkProblem(shape, examples: shards * examplesPerShard)
    // Units whose sums are of either sign, almost never, and never positive.
    for (unit, bias) in [(0, -1.5), (1, -1e4), (69, -2)] as [(Int, Float)] {
      problem.parameters[shape.layers[0].bias.lowerBound + unit] = bias
    }
    var task = NetworkTask(shards: shards)
    if dropout > 0 {
      var plan = makePlan()
      plan.dropout = dropout
      task.dropout = (DropoutMask(plan: plan), 7, (0..<UInt32(problem.records.count)).reversed())
    }
    let expected = ChainedGradient(problem, task).rounded()
    for variant in KernelVariant.supported {
      let gradient = Kernel(variant).gradient(problem, task)
      #expect(gradient.sum == expected.sum && gradient.peaks == expected.peaks, "\(variant)")
    }
  }

  @Test(arguments: Loss.allCases, [0.25, 1, 3] as [Float])
  func `every loss and margin`(loss: Loss, margin: Float) {
    let shape = ModelShape(classes: 5, pixels: 12, hidden: [8], activation: .tanh)
    let problem = NetworkProblem(shape, examples: 24)
    let task = NetworkTask(loss: loss, margin: margin, shards: 3)
    let expected = ChainedGradient(problem, task).rounded()
    for variant in KernelVariant.supported {
      let gradient = Kernel(variant).gradient(problem, task)
      #expect(gradient.sum == expected.sum && gradient.peaks == expected.peaks, "\(variant)")
      let evaluation = Kernel(variant).evaluate(problem, task, capacity: 5)
      #expect(evaluation.statistics.loss_sum == gradient.lossSum && evaluation.statistics.correct == gradient.correct)
      #expect(evaluation.counts.reduce(0, +) == 24)
    }
  }

  // MARK: Double precision

  /// Central differences of the loss, in double precision.
  @Test(arguments: Activation.all, [[], [6], [5, 4]])
  func `the gradient agrees with differences of the loss`(activation: Activation, hidden: [Int]) {
    let shape = ModelShape(classes: 4, pixels: 9, hidden: hidden, activation: activation)
    let problem = NetworkProblem(shape, examples: 8)
    let gradient = Kernel(.best).gradient(problem, NetworkTask(exponents: shape.blocks.map { _ in 20 }))
    let w = problem.parameters.map(Double.init)
    for index in w.indices {
      var (above, below) = (w, w)
      above[index] += 1e-6
      below[index] -= 1e-6
      let difference = (loss(problem, above) - loss(problem, below)) / 2e-6
      #expect(abs(Double(gradient.sum[index]) * 0x1p-20 - difference) < 1e-5)
    }
  }

  /// Σ Lᵢ over the examples.
  private func loss(_ problem: NetworkProblem, _ w: [Double]) -> Double {
    let shape = problem.shape
    return problem.table.minibatch(at: 0..<UInt32(problem.records.count), meanImage: problem.mean).reduce(0) {
      total, example in
      var x = example.x
      for (index, layer) in shape.layers.enumerated() {
        let z = (0..<layer.outputs).map { unit in
          (0..<layer.inputs).reduce(w[layer.bias.lowerBound + unit]) {
            $0 + w[layer.weight.lowerBound + unit * layer.inputs + $1] * x[$1]
          }
        }
        x = index == shape.hidden.count ? z : z.map { shape.activation($0).value }
      }
      return total + Loss.softmaxCrossEntropy(scores: x, label: example.y).value
    }
  }

  // MARK: Partitions and scales

  @Test(arguments: KernelVariant.supported)
  func `shards computed apart and added give the bits and the peaks of all together`(variant: KernelVariant) {
    let shape = ModelShape(classes: 10, pixels: 100, hidden: [33, 12])
    let (problem, kernel) = (NetworkProblem(shape, examples: 36), Kernel(variant))
    let together = kernel.gradient(problem, NetworkTask(shards: 12))
    for cuts in [[0, 1, 12], [0, 5, 7, 12], Array(0...12)] {
      var sum = [Int32](repeating: 0, count: shape.parameterCount)
      var peaks = [Int8](repeating: .min, count: shape.blockCount)
      for (start, end) in zip(cuts, cuts.dropFirst()).reversed() {
        let part = kernel.gradient(problem, NetworkTask(shards: 12, own: start..<end))
        sum = zip(sum, part.sum).map { $0 &+ $1 }
        peaks = zip(peaks, part.peaks).map { max($0, $1) }
      }
      #expect(sum == together.sum && peaks == together.peaks)
    }
  }

  @Test(arguments: [-90, 40, 60, 100])
  func `elements that fit no integer are measured, and wrap in the same way in every variant`(exponent: Int) {
    let shape = ModelShape(classes: 3, pixels: 20, hidden: [8])
    let problem = NetworkProblem(shape, examples: 12)
    let task = NetworkTask(shards: 3, exponents: shape.blocks.map { _ in exponent })
    let expected = ChainedGradient(problem, task).rounded()
    #expect((expected.peaks.max() ?? 0 > 31) == (exponent > 0))
    for variant in KernelVariant.supported {
      let gradient = Kernel(variant).gradient(problem, task)
      #expect(gradient.sum == expected.sum && gradient.peaks == expected.peaks, "\(variant)")
    }
  }

  // MARK: Dropout

  @Test(arguments: [0.125, 0.5, 0.9] as [Float], [Activation.relu, .sigmoid])
  func `dropout leaves out the units of the mask, and no unit in an evaluation`(rate: Float, activation: Activation) {
    var plan = makePlan()
    plan.dropout = rate
    let shape = ModelShape(classes: 5, pixels: 24, hidden: [33, 9], activation: activation)
    let problem = NetworkProblem(shape, examples: 40)
    let numbers = (0..<40).map { UInt32($0 * 1_000_003 % 65_537) }
    let task = NetworkTask(shards: 4, dropout: (DropoutMask(plan: plan), 7, numbers))
    let expected = ChainedGradient(problem, task).rounded()
    for variant in KernelVariant.supported {
      let gradient = Kernel(variant).gradient(problem, task)
      #expect(gradient.sum == expected.sum && gradient.peaks == expected.peaks, "\(variant)")
      let half = Kernel(variant).gradient(
        problem, NetworkTask(shards: 4, own: 2..<4, dropout: (DropoutMask(plan: plan), 7, numbers)))
      let rest = Kernel(variant).gradient(
        problem, NetworkTask(shards: 4, own: 0..<2, dropout: (DropoutMask(plan: plan), 7, numbers)))
      #expect(zip(half.sum, rest.sum).map { $0 &+ $1 } == gradient.sum)
      #expect(
        Kernel(variant).evaluate(problem, task).statistics.loss_sum
          == Kernel(variant).gradient(problem, NetworkTask()).lossSum)
    }
  }

  @Test(arguments: [0.1, 0.5, 0.75] as [Float])
  func `a mask keeps its share of the units, independently of step, example, layer and unit`(rate: Float) {
    var plan = makePlan()
    plan.dropout = rate
    let mask = DropoutMask(plan: plan)
    #expect(mask.factor == Float(1 / (1 - Double(rate))))
    typealias Place = (step: UInt64, example: UInt32, layer: Int, unit: Int)
    let lines: [(Int) -> Place] = [
      { (UInt64($0), 3, 0, 5) }, { (4, UInt32($0), 0, 5) }, { (4, 3, 1, $0) }, { (UInt64($0), UInt32($0), 0, $0) },
    ]
    let count = 4_000
    let spread = (Double(count) * Double(rate) * Double(1 - rate)).squareRoot()
    for line in lines {
      let kept = (0..<count).map { index in
        let place = line(index)
        return mask.keeps(step: place.step, example: place.example, layer: place.layer, unit: place.unit)
      }
      #expect(abs(Double(kept.count { $0 }) - Double(count) * Double(1 - rate)) < 4.5 * spread)
      // Neighbours agree as often as independent ones.
      let agreeing = Double(1 - 2 * rate * (1 - rate)) * Double(count - 1)
      #expect(abs(Double(zip(kept, kept.dropFirst()).count { $0 == $1 }) - agreeing) < 4.5 * 32)
    }
    #expect(
      DropoutMask.keeps(plan: plan, step: 9, example: 8, layer: 1, unit: 7)
        == mask.keeps(step: 9, example: 8, layer: 1, unit: 7))
  }

  // MARK: Edges

  @Test(arguments: KernelVariant.supported, [Float.nan, .infinity, -.infinity])
  func `a parameter that is not finite gives a zero gradient and a flag`(variant: KernelVariant, value: Float) {
    let shape = ModelShape(classes: 3, pixels: 4, hidden: [5, 6])
    for layer in shape.layers {
      var problem = NetworkProblem(shape, examples: 7)
      problem.parameters[layer.bias.lowerBound + 1] = value
      let gradient = Kernel(variant).gradient(problem, NetworkTask())
      #expect(!gradient.isFinite && gradient.lossSum == 0 && gradient.correct == 0)
      #expect(gradient.sum.allSatisfy { $0 == 0 } && gradient.peaks.allSatisfy { $0 == .min })
      let evaluation = Kernel(variant).evaluate(problem, NetworkTask())
      #expect(!evaluation.statistics.is_finite && evaluation.counts.allSatisfy { $0 == 0 })
      #expect(Kernel(variant).scores(problem).contains { !$0.isFinite })
    }
  }

  @Test(arguments: KernelVariant.supported)
  func `a label that is no class of the model counts nowhere`(variant: KernelVariant) {
    let shape = ModelShape(classes: 3, pixels: 4, hidden: [5])
    let whole = NetworkProblem(shape, examples: 20)
    let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 5)
    defer { bytes.deallocate() }
    bytes.update(from: whole.table.record(at: 7), count: 5)
    for label in [3, 4, 127, 128, 255] as [UInt8] {
      bytes[0] = label
      var problem = whole
      problem.records[7] = UnsafePointer(bytes)
      let evaluation = Kernel(variant).evaluate(problem, NetworkTask())
      #expect(!evaluation.statistics.is_finite && evaluation.counts.reduce(0, +) == 19)
      #expect(Kernel(variant).gradient(problem, NetworkTask()).lossSum == evaluation.statistics.loss_sum)
    }
  }

  @Test(arguments: KernelVariant.supported)
  func `no shard gives a zero sum`(variant: KernelVariant) {
    let problem = NetworkProblem(ModelShape(classes: 3, pixels: 4, hidden: [5]), examples: 4)
    let gradient = Kernel(variant).gradient(problem, NetworkTask(shards: 2, own: 1..<1))
    #expect(gradient == NetworkGradient(sum: gradient.sum.map { _ in 0 }, peaks: [.min, .min, .min, .min]))
  }
}
