import Diagnostics
import Optimization

extension TrainingPlan: Coded {
  /// A plan from a peer is validated like one from the settings.
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    var (classes, pixels) = (shape.classes, shape.pixels)
    try coder.code(&classes)
    try coder.code(&pixels)
    shape = ModelShape(classes: classes, pixels: pixels)
    try coder.code(&loss, "loss")
    try coder.code(&l2)
    try coder.code(&batchSize)
    try coder.code(&shardCount)
    try coder.code(&seed)
    try coder.code(&initialStandardDeviation)
    try learningRate.code(with: &coder)
    try coder.code(&momentum.coefficient)
    try coder.code(&momentum.kind, "momentum")
    try coder.code(&exampleCount)
    try coder.code(&validationCount)
    try coder.code(&totalSteps)
    try coder.code(&evaluateEvery)
    try coder.code(&checkpointEvery)
    var name = consistency.description
    try coder.code(&name, limit: 64)
    let found = ConsistencyModel(parsing: name)
    try coder.require(found != nil, "consistency")
    if let found { consistency = found }
    try coder.require(shape.fitsMessage, "model shape [\(shape.classes), \(shape.pixels)]")
    try coder.require(problem == nil, "plan: \(problem?.description ?? "")")
  }

  private var problem: Failure? {
    do throws(Failure) { try validate() } catch { return error }
    return nil
  }
}

extension LearningRate: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try coder.code(&base)
    try coder.code(&warmupSteps)
    try coder.code(&horizon)
    var found = schedule.fields
    try coder.code(&found.kind, "schedule")
    try coder.code(&found.every)
    try coder.code(&found.factor)
    schedule = LearningRateSchedule(found.kind, every: found.every, factor: found.factor)
    // A schedule has one encoding: fields that its kind does not use are zero.
    let fields = schedule.fields
    try coder.require(fields.every == found.every && fields.factor.bitPattern == found.factor.bitPattern, "schedule")
  }
}

extension ModelShape {
  /// Whether parameters and velocity fit into one message; the kernels know which shapes they compute.
  fileprivate var fitsMessage: Bool {
    let (count, overflows) = UInt64(classes).multipliedReportingOverflow(by: UInt64(pixels) + 1)
    return !overflows && count <= UInt64(Envelope.maximumPayloadLength / (2 * MemoryLayout<Float>.stride))
  }
}
