import Optimization

extension TrainingPlan {
  func encode(into writer: inout ByteWriter) {
    var copy = self
    copy.code(with: &writer)
  }

  /// A plan from a peer is validated like one from the settings.
  init(from reader: inout ByteReader) throws(CodecError) {
    self.init(exampleCount: 0, batchSize: 0, shardCount: 0, totalSteps: 0)
    try code(with: &reader)
    // Any shape whose parameters and velocity fit into one message; the kernels know which ones they compute.
    let longest = UInt64(Envelope.maximumPayloadLength / (2 * MemoryLayout<Float>.stride))
    let (count, overflows) = UInt64(shape.classes).multipliedReportingOverflow(by: UInt64(shape.pixels) + 1)
    guard !overflows, count <= longest else { throw .invalidField("model shape [\(shape.classes), \(shape.pixels)]") }
    do { try validate() } catch { throw .invalidField("plan: \(error)") }
  }

  /// The fields in the order of their bytes, for both directions: a writer reads them, a reader sets them.
  private mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
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
    try coder.code(&learningRate.base)
    try coder.code(&learningRate.warmupSteps)
    try coder.code(&learningRate.horizon)
    var schedule = learningRate.schedule.fields
    try coder.code(&schedule.kind, "schedule")
    try coder.code(&schedule.every)
    try coder.code(&schedule.factor)
    learningRate.schedule = LearningRateSchedule(schedule.kind, every: schedule.every, factor: schedule.factor)
    // A schedule has one encoding: fields that its kind does not use are zero.
    let fields = learningRate.schedule.fields
    try coder.require(
      fields.every == schedule.every && fields.factor.bitPattern == schedule.factor.bitPattern, "schedule")
    try coder.code(&momentum.coefficient)
    try coder.code(&momentum.kind, "momentum")
    try coder.code(&exampleCount)
    try coder.code(&validationCount)
    try coder.code(&totalSteps)
    try coder.code(&evaluateEvery)
    try coder.code(&checkpointEvery)
    try coder.code(&consistency)
  }
}

/// A writer or reader of fields, so that a list of fields is written once.
private protocol FieldCoder {
  associatedtype Failure: Error
  /// In 32 bits: a value of 0 ... `UInt32.max`.
  mutating func code(_ value: inout Int) throws(Failure)
  mutating func code(_ value: inout UInt64) throws(Failure)
  mutating func code(_ value: inout Float) throws(Failure)
  mutating func code<Value: RawRepresentable<UInt8>>(_ value: inout Value, _ name: String) throws(Failure)
  mutating func code(_ value: inout ConsistencyModel) throws(Failure)
  func require(_ condition: Bool, _ name: String) throws(Failure)
}

extension ByteWriter: FieldCoder {
  typealias Failure = Never
  fileprivate mutating func code(_ value: inout Int) { write(UInt32(value)) }
  fileprivate mutating func code(_ value: inout UInt64) { write(value) }
  fileprivate mutating func code(_ value: inout Float) { write(value) }
  fileprivate mutating func code(_ value: inout some RawRepresentable<UInt8>, _ name: String) { write(value.rawValue) }
  fileprivate mutating func code(_ value: inout ConsistencyModel) { write(value.description) }
  fileprivate func require(_ condition: Bool, _ name: String) {}
}

extension ByteReader: FieldCoder {
  typealias Failure = CodecError
  fileprivate mutating func code(_ value: inout Int) throws(CodecError) { value = Int(try read(UInt32.self)) }
  fileprivate mutating func code(_ value: inout UInt64) throws(CodecError) { value = try read() }
  fileprivate mutating func code(_ value: inout Float) throws(CodecError) { value = try readFloat() }

  fileprivate mutating func code<Value: RawRepresentable<UInt8>>(
    _ value: inout Value, _ name: String
  ) throws(CodecError) {
    guard let found = Value(rawValue: try read()) else { throw .invalidField(name) }
    value = found
  }

  fileprivate mutating func code(_ value: inout ConsistencyModel) throws(CodecError) {
    guard let found = ConsistencyModel(parsing: try readString(limit: 64)) else { throw .invalidField("consistency") }
    value = found
  }

  fileprivate func require(_ condition: Bool, _ name: String) throws(CodecError) {
    guard condition else { throw .invalidField(name) }
  }
}
