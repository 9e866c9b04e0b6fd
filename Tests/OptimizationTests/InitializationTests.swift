import Optimization
import Testing

@Suite struct InitializationTests {
  private func parameters(_ initialization: Initialization, _ shape: ModelShape) -> (TrainingPlan, [Double]) {
    var plan = makePlan()
    (plan.shape, plan.initialization, plan.initialStandardDeviation) = (shape, initialization, 0.01)
    return (plan, ParameterVector.initial(plan: plan).values.map(Double.init))
  }

  @Test(arguments: Initialization.allCases)
  func `the weights of every layer have their mean and standard deviation, and biases are zero`(
    initialization: Initialization
  ) {
    let shape = ModelShape(classes: 10, pixels: 300, hidden: [80, 40])
    let (_, values) = parameters(initialization, shape)
    let expected: [Double] =
      switch initialization {
      case .normal: [0.01, 0.01, 0.01]
      // √(2 / inputs), and √(2 / (inputs + outputs)).
      case .he: [(2.0 / 300).squareRoot(), (2.0 / 80).squareRoot(), (2.0 / 40).squareRoot()]
      case .xavier: [(2.0 / 380).squareRoot(), (2.0 / 120).squareRoot(), (2.0 / 50).squareRoot()]
      }
    for (layer, sigma) in zip(shape.layers, expected) {
      let weights = values[layer.weight]
      let count = Double(weights.count)
      let mean = weights.reduce(0, +) / count
      let deviation = (weights.reduce(0) { $0 + $1 * $1 } / count).squareRoot()
      // Four standard errors of the mean and of the standard deviation.
      #expect(abs(mean) < 4 * sigma / count.squareRoot())
      #expect(abs(deviation / sigma - 1) < 4 / (2 * count).squareRoot())
      #expect(values[layer.bias].allSatisfy { $0 == 0 })
    }
  }

  @Test
  func `a weight is a function of the seed, its index and its layer alone`() {
    let generator = Philox4x64(seed: SyntheticExamples.seed, stream: .initialParameters)
    let shape = ModelShape(classes: 3, pixels: 5, hidden: [4])
    let (_, values) = parameters(.he, shape)
    for (layer, sigma) in zip(shape.layers, [(2.0 / 5).squareRoot(), (2.0 / 4).squareRoot()]) {
      for index in layer.weight { #expect(values[index] == Double(Float(sigma * generator.normal(at: UInt64(index))))) }
    }
  }

  @Test
  func `the advice of the lecture: He for the ReLU kinds, Xavier for the others, a small σ for the linear classifier`()
  {
    func advice(_ activation: Activation) -> Initialization {
      Initialization(advisedFor: ModelShape(classes: 10, pixels: 8, hidden: [4], activation: activation))
    }
    #expect([Activation.relu, .leakyReLU(slope: 0.2), .elu(alpha: 1)].allSatisfy { advice($0) == .he })
    #expect([Activation.tanh, .sigmoid, .identity].allSatisfy { advice($0) == .xavier })
    #expect(Initialization(advisedFor: .cifar10) == .normal)
  }

  @Test
  func `under the advised initialization the outputs of seven layers neither vanish nor explode`() {
    // The lecture's experiment: with He's σ the outputs of a deep ReLU network keep their size; with a small one they
    // vanish.
    let shape = ModelShape(classes: 2, pixels: 64, hidden: [Int](repeating: 64, count: 7))
    func size(_ initialization: Initialization) -> Double {
      let (plan, values) = parameters(initialization, shape)
      let generator = Philox4x64(seed: 5, stream: .gradientCheck)
      let x = (0..<64).map { generator.normal(at: UInt64($0)) }
      let outputs = ReferenceTrainer(plan: plan).forward(.init(x: x, y: 0), at: values).inputs[7]
      return (outputs.reduce(0) { $0 + $1 * $1 } / 64).squareRoot()
    }
    #expect((0.2...5).contains(size(.he)))
    #expect(size(.normal) < 1e-6)
  }
}
