import Diagnostics
import Optimization

// One pair of functions per structure: `encode(into:)` and `init(from:)` list the same fields in the same order.

extension Message.Join {
  private static let longestHost = 256
  private static let longestEndpoint = 512

  func encode(into writer: inout ByteWriter) {
    writer.write(role.rawValue)
    writer.write(processID)
    writer.write(host, limit: Self.longestHost)
    writer.write(datasetFingerprint)
    writer.write(endpoint, limit: Self.longestEndpoint)
  }

  init(from reader: inout ByteReader) throws(CodecError) {
    guard let role = NodeRole(rawValue: try reader.read()) else { throw .invalidField("role") }
    let processID = try reader.read(Int32.self)
    let host = try reader.readString(limit: Self.longestHost)
    let fingerprint = try reader.read(UInt64.self)
    let endpoint = try reader.readString(limit: Self.longestEndpoint)
    self.init(
      role: role, processID: processID, host: host, datasetFingerprint: fingerprint, endpoint: endpoint)
  }
}

extension Message.Welcome {
  func encode(into writer: inout ByteWriter) {
    writer.write(rank)
    writer.write(sharesMemory)
    plan.encode(into: &writer)
    writer.write(UInt8(servers.count))
    for server in servers {
      writer.write(UInt32(server.range.upperBound))
      writer.write(server.endpoint)
    }
  }

  /// The ranges of the servers are read from where they end, so that they follow each other.
  init(from reader: inout ByteReader, meanImage: Payload) throws(CodecError) {
    let rank = try reader.read(UInt32.self)
    let sharesMemory = try reader.readBool()
    let plan = try TrainingPlan(from: &reader)
    let count = Int(try reader.read(UInt8.self))
    guard 1...Self.maximumServers ~= count else { throw .invalidField("welcome with \(count) servers") }
    var servers: [ServerEndpoint] = []
    var begin = 0
    for _ in 0..<count {
      let end = Int(try reader.read(UInt32.self))
      guard end > begin else { throw .invalidField("range of a server") }
      servers.append(ServerEndpoint(range: begin..<end, endpoint: try reader.readString()))
      begin = end
    }
    guard begin == plan.shape.parameterCount else { throw .invalidField("ranges of the servers") }
    self.init(rank: rank, plan: plan, servers: servers, sharesMemory: sharesMemory, meanImage: meanImage)
  }
}

extension ExitReason {
  func encode(into writer: inout ByteWriter) {
    writer.write(status.rawValue)
    writer.write(reason)
  }

  init(from reader: inout ByteReader) throws(CodecError) {
    guard let status = ExitStatus(rawValue: try reader.read()) else { throw .invalidField("exit status") }
    self.init(status: status, reason: try reader.readString())
  }
}

extension Message.Heartbeat {
  func encode(into writer: inout ByteWriter) {
    writer.write(isReady)
    writer.write(assignmentEpoch.value)
    writer.write(examples)
    writer.write(loss)
    writer.write(waitingFor.value)
    writer.write(waitingMilliseconds)
    writer.write(rejectedPushes)
    writer.write(stalePushes)
    writer.write(untrusted.value)
  }

  init(from reader: inout ByteReader) throws(CodecError) {
    self.init(
      isReady: try reader.readBool(), assignmentEpoch: MembershipEpoch(try reader.read()),
      examples: try reader.read(), loss: try reader.readDouble(),
      waitingFor: Incarnation(try reader.read()), waitingMilliseconds: try reader.read(),
      rejectedPushes: try reader.read(), stalePushes: try reader.read(), untrusted: Incarnation(try reader.read()))
  }
}

extension WorkItem {
  func encode(into writer: inout ByteWriter) {
    writer.write(id.value)
    shards.encode(into: &writer)
  }

  init(from reader: inout ByteReader, step: UInt64) throws(CodecError) {
    let id = ID(try reader.read())
    self.init(id: id, step: step, shards: try ShardSet(from: &reader))
  }
}

extension Message.Assignment {
  func encode(into writer: inout ByteWriter) {
    writer.write(UInt32(members.count))
    for member in members {
      writer.write(member.incarnation.value)
      member.shards.encode(into: &writer)
    }
  }

  init(from reader: inout ByteReader) throws(CodecError) {
    let count = Int(try reader.read(UInt32.self))
    guard count <= Self.maximumMembers else { throw .invalidField("assignment of \(count) members") }
    var members: [Member] = []
    for _ in 0..<count {
      let incarnation = Incarnation(try reader.read())
      members.append(Member(incarnation: incarnation, shards: try ShardSet(from: &reader)))
    }
    self.init(members: members)
  }
}

extension Message.SharedMemoryOffer {
  func encode(into writer: inout ByteWriter) {
    writer.write(processID)
    writer.write(memory)
    writer.write(doorbell)
    writer.write(byteCount)
  }

  init(from reader: inout ByteReader) throws(CodecError) {
    let processID = try reader.read(Int32.self)
    let memory = try reader.read(Int32.self)
    let doorbell = try reader.read(Int32.self)
    guard processID > 0, memory >= 0, doorbell >= 0 else { throw .invalidField("shared memory offer") }
    self.init(processID: processID, memory: memory, doorbell: doorbell, byteCount: try reader.read())
  }
}

extension Message.Snapshot {
  func encode(into writer: inout ByteWriter) {
    writer.write(serial)
    writer.write(occasion.rawValue)
    training.totals.encode(into: &writer)
    interval.encode(into: &writer)
    writer.write(gradientNorm)
    writer.write(training.shardClocks)
    writer.write(stepSecondsP50)
    writer.write(stepSecondsP99)
  }

  init(from reader: inout ByteReader, step: UInt64, state: Payload) throws(CodecError) {
    let serial = try reader.read(UInt64.self)
    guard let occasion = Occasion(rawValue: try reader.read()) else { throw .invalidField("occasion") }
    let totals = try RunTotals(from: &reader)
    let interval = try MinibatchStatistics(from: &reader)
    let gradientNorm = try reader.readDouble()
    let clocks = try reader.readUInt64s(limit: ShardSet.capacity)
    self.init(
      serial: serial, occasion: occasion,
      training: TrainingSnapshot(step: step, shardClocks: clocks, totals: totals, state: OptimizerState(state)),
      interval: interval, gradientNorm: gradientNorm, stepSecondsP50: try reader.readDouble(),
      stepSecondsP99: try reader.readDouble())
  }
}

/// As `Message.start` has it: the step is the envelope's, the state the payload frame.
extension TrainingSnapshot {
  func encode(into writer: inout ByteWriter) {
    writer.write(shardClocks)
    totals.encode(into: &writer)
  }

  init(from reader: inout ByteReader, step: UInt64, state: Payload) throws(CodecError) {
    let clocks = try reader.readUInt64s(limit: ShardSet.capacity)
    self.init(step: step, shardClocks: clocks, totals: try RunTotals(from: &reader), state: OptimizerState(state))
  }
}

extension RunTotals {
  func encode(into writer: inout ByteWriter) {
    writer.write(examples)
    writer.write(lateShards)
    writer.write(staleness)
  }

  init(from reader: inout ByteReader) throws(CodecError) {
    self.init()
    examples = try reader.read()
    lateShards = try reader.read()
    staleness = try reader.readUInt64s(limit: Self.stalenessBuckets)
    guard staleness.count == Self.stalenessBuckets else { throw .invalidField("staleness histogram") }
  }
}

extension MinibatchStatistics {
  func encode(into writer: inout ByteWriter) {
    writer.write(UInt64(examples))
    writer.write(lossSum)
    writer.write(UInt64(correct))
    writer.write(isFinite)
  }

  init(from reader: inout ByteReader) throws(CodecError) {
    let examples = try reader.read(UInt64.self)
    let lossSum = try reader.read(Int64.self)
    let correct = try reader.read(UInt64.self)
    guard examples <= 1 << 48, correct <= examples else { throw .invalidField("minibatch statistics") }
    self.init(
      examples: Int(examples), lossSum: lossSum, correct: Int(correct), isFinite: try reader.readBool())
  }
}

extension ShardSet {
  /// The set's words up to the last one that is not zero, behind their number.
  func encode(into writer: inout ByteWriter) {
    var used = Self.wordCount
    while used > 0, words[used - 1] == 0 { used -= 1 }
    writer.write(UInt8(used))
    for index in 0..<used { writer.write(words[index]) }
  }

  /// A set has one encoding: what is not written so was not written by us.
  init(from reader: inout ByteReader) throws(CodecError) {
    let used = Int(try reader.read(UInt8.self))
    guard used <= Self.wordCount else { throw .invalidField("shard set") }
    self.init()
    for index in 0..<used { words[index] = try reader.read() }
    guard used == 0 || words[used - 1] != 0 else { throw .invalidField("shard set") }
  }
}
