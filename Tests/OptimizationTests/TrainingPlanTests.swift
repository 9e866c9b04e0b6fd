import Diagnostics
import Optimization
import Testing

@Suite struct TrainingPlanTests {
  @Test
  func `a sound plan passes, with every consistency model and schedule`() throws {
    var plan = makePlan()
    for consistency in [ConsistencyModel.bsp(backup: 0), .bsp(backup: 3), .ssp(0), .ssp(4), .asp] {
      plan.consistency = consistency
      try plan.validate()
    }
    for schedule in [LearningRateSchedule.constant, .cosine, .step(every: 1, factor: 1)] {
      plan.learningRate.schedule = schedule
      try plan.validate()
    }
  }

  @Test
  func `a batch that does not divide into the shards is refused, naming the nearest that do`() throws {
    var plan = makePlan()
    plan.batchSize = 30
    let failure = #expect(throws: Failure.self) { try plan.validate() }
    #expect(
      failure?.description
        == "batch-size must be a multiple of the 4 shards, such as 28 or 32, but is 30")
    #expect(failure?.status == .badConfiguration)
  }

  @Test
  func `every field out of its range is refused, extremes included`() {
    let breaks: [(inout TrainingPlan) -> Void] = [
      { $0.shape = ModelShape(classes: 1, pixels: 3_072) }, { $0.shape = ModelShape(classes: 257, pixels: 1) },
      { $0.shape = ModelShape(classes: 10, pixels: 0) }, { $0.shape = ModelShape(classes: 10, pixels: .max) },
      { $0.l2 = -1 }, { $0.l2 = .nan }, { $0.l2 = .infinity },
      { $0.batchSize = 0 }, { $0.batchSize = -4 }, { $0.batchSize = .max }, { $0.batchSize = .min },
      { $0.batchSize = 2 }, { $0.batchSize = 220 },
      { $0.shardCount = 0 }, { $0.shardCount = -1 }, { $0.shardCount = 1_025 }, { $0.shardCount = .max },
      { $0.initialStandardDeviation = -0.1 }, { $0.initialStandardDeviation = .nan },
      { $0.learningRate.base = 0 }, { $0.learningRate.base = .nan }, { $0.learningRate.base = .infinity },
      { $0.learningRate.schedule = .step(every: 0, factor: 0.5) },
      { $0.learningRate.schedule = .step(every: 1, factor: 1.5) },
      { $0.learningRate.schedule = .step(every: 1, factor: .nan) },
      {
        $0.learningRate.schedule = .cosine
        $0.learningRate.warmupSteps = 20
      },
      { $0.optimizer = Optimizer(.momentum, [.momentum: 1]) },
      { $0.optimizer = Optimizer(.momentum, [.momentum: -0.1]) },
      { $0.optimizer = Optimizer(.nesterov, [.momentum: .nan]) }, { $0.optimizer = Optimizer(.adam, [.beta1: 1]) },
      { $0.optimizer = Optimizer(.adamw, [.beta2: -0.5]) }, { $0.optimizer = Optimizer(.rmsprop, [.decayRate: 1]) },
      { $0.optimizer = Optimizer(.adagrad, [.epsilon: 0]) }, { $0.optimizer = Optimizer(.adam, [.epsilon: 1]) },
      { $0.l1 = -1 }, { $0.l1 = .nan }, { $0.maxNorm = -1 }, { $0.maxNorm = .infinity },
      { $0.exampleCount = 0 }, { $0.exampleCount = .max }, { $0.validationCount = -1 },
      { $0.validationCount = $0.exampleCount }, { $0.validationCount = .min },
      { $0.validationStart = -1 }, { $0.validationStart = $0.exampleCount },
      { $0.totalSteps = 0 },
      { $0.consistency = .bsp(backup: 4) }, { $0.consistency = .bsp(backup: -1) }, { $0.consistency = .ssp(-1) },
    ]
    for (index, breakPlan) in breaks.enumerated() {
      var plan = makePlan()
      breakPlan(&plan)
      #expect(throws: Failure.self, "break \(index)") { try plan.validate() }
    }
  }

  @Test(arguments: Loss.bounded)
  func `no sum of a whole batch can overflow, and twice the scale could`(loss: Loss) {
    for batchSize in [1, 2, 100, 512, 4_096, 65_536] {
      var plan = makePlan(loss: loss)
      plan.batchSize = batchSize
      let scale = Double(plan.unitsPerOne)
      let derivative = loss == .hinge ? 9 : loss == .sigmoidSquaredError ? 8.0 / 27 : 1
      let largest = Double(batchSize) * derivative * 2
      #expect(scale.significand == 1)
      #expect(largest * scale <= Double(Int32.max))
      #expect(largest * scale * 2 > Double(Int32.max))
    }
  }

  @Test
  func `sizes that follow from a plan`() {
    let plan = makePlan()
    #expect(plan.examplesPerShard == 8)
    #expect(plan.smallestShard == 54)
    #expect(plan.stepsPerEpoch == 6)
    #expect(plan.shape.parameterCount == 30_730)
    #expect(plan.shape.blocks.map(\.range) == [0..<30_720, 30_720..<30_730])
  }

  @Test
  func `consistency models survive being written and read`() {
    for model in [ConsistencyModel.bsp(backup: 0), .bsp(backup: 2), .ssp(0), .ssp(14), .asp] {
      #expect(ConsistencyModel(parsing: model.description) == model)
    }
    #expect(ConsistencyModel(parsing: "bsp:backup=2") == .bsp(backup: 2))
    for text in [
      "", "BSP", "bsp:", "bsp:2", "bsp:backup=", "bsp:backup=-1", "bsp:backup=+1", "ssp", "ssp:", "ssp:x", "ssp: 4",
      "asp:1", "ssp:99999999999999999999", "ssp:٤",
    ] {
      #expect(ConsistencyModel(parsing: text) == nil, "\(text)")
    }
  }
}
