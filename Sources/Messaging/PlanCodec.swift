import Optimization

extension TrainingPlan {
  func encode(into writer: inout ByteWriter) {
    writer.write(UInt32(shape.classes))
    writer.write(UInt32(shape.pixels))
    writer.write(loss.rawValue)
    writer.write(l2)
    writer.write(UInt32(batchSize))
    writer.write(UInt32(shardCount))
    writer.write(seed)
    writer.write(initialStandardDeviation)
    learningRate.encode(into: &writer)
    writer.write(momentum.coefficient)
    writer.write(momentum.kind.rawValue)
    writer.write(UInt32(exampleCount))
    writer.write(UInt32(validationCount))
    writer.write(totalSteps)
    writer.write(evaluateEvery)
    writer.write(checkpointEvery)
    writer.write(consistency.description)
  }

  /// A plan that is read is validated as well: what a peer sends is not better than what a person types.
  init(from reader: inout ByteReader) throws(CodecError) {
    let shape = try ModelShape(from: &reader)
    guard let loss = Loss(rawValue: try reader.read()) else { throw .invalidField("loss") }
    let l2 = try reader.readFloat()
    let batchSize = try reader.read(UInt32.self)
    let shardCount = try reader.read(UInt32.self)
    let seed = try reader.read(UInt64.self)
    let deviation = try reader.readFloat()
    let learningRate = try LearningRate(from: &reader)
    let coefficient = try reader.readFloat()
    guard let kind = MomentumKind(rawValue: try reader.read()) else { throw .invalidField("momentum") }
    let exampleCount = try reader.read(UInt32.self)
    let validationCount = try reader.read(UInt32.self)
    let totalSteps = try reader.read(UInt64.self)
    let evaluateEvery = try reader.read(UInt64.self)
    let checkpointEvery = try reader.read(UInt64.self)
    guard let consistency = ConsistencyModel(parsing: try reader.readString(limit: 64)) else {
      throw .invalidField("consistency")
    }
    self.init(
      shape: shape, loss: loss, l2: l2, batchSize: Int(batchSize), shardCount: Int(shardCount),
      seed: seed, initialStandardDeviation: deviation, learningRate: learningRate,
      momentum: Momentum(coefficient: coefficient, kind: kind), exampleCount: Int(exampleCount),
      validationCount: Int(validationCount), totalSteps: totalSteps, evaluateEvery: evaluateEvery,
      checkpointEvery: checkpointEvery, consistency: consistency)
    do { try validate() } catch { throw .invalidField("plan: \(error)") }
  }
}

extension ModelShape {
  /// Any shape whose parameters and velocity fit into one message; who computes with it knows which ones it can.
  fileprivate init(from reader: inout ByteReader) throws(CodecError) {
    let classes = try reader.read(UInt32.self)
    let pixels = try reader.read(UInt32.self)
    let longest = UInt64(Envelope.maximumBulkLength / (2 * MemoryLayout<Float>.stride))
    let (count, overflows) = UInt64(classes).multipliedReportingOverflow(by: UInt64(pixels) + 1)
    guard !overflows, count <= longest else { throw .invalidField("model shape [\(classes), \(pixels)]") }
    self.init(classes: Int(classes), pixels: Int(pixels))
  }
}

extension LearningRate {
  private enum Kind: UInt8 {
    case constant = 0
    case step = 1
    case cosine = 2
  }

  func encode(into writer: inout ByteWriter) {
    writer.write(base)
    writer.write(warmupSteps)
    writer.write(horizon)
    var stepEvery: UInt64 = 0
    var stepFactor: Float = 0
    let kind: Kind
    switch schedule {
    case .constant: kind = .constant
    case .step(let every, let factor): (kind, stepEvery, stepFactor) = (.step, every, factor)
    case .cosine: kind = .cosine
    }
    writer.write(kind.rawValue)
    writer.write(stepEvery)
    writer.write(stepFactor)
  }

  init(from reader: inout ByteReader) throws(CodecError) {
    let base = try reader.readFloat()
    let warmupSteps = try reader.read(UInt64.self)
    let horizon = try reader.read(UInt64.self)
    guard let kind = Kind(rawValue: try reader.read()) else { throw .invalidField("schedule") }
    let every = try reader.read(UInt64.self)
    let factor = try reader.readFloat()
    let schedule: LearningRateSchedule =
      switch kind {
      case .constant: .constant
      case .step: .step(every: every, factor: factor)
      case .cosine: .cosine
      }
    self.init(base: base, schedule: schedule, warmupSteps: warmupSteps, horizon: horizon)
  }
}
