import Diagnostics
import Messaging
import Optimization
import Testing

@Suite struct RoundTripTests {
  @Test func `there is a sample of every type`() {
    #expect(Samples.messages.map(\.type) == MessageType.allCases)
  }

  @Test(arguments: MessageType.allCases) func `every message comes back as it was`(type: MessageType) throws {
    let message = try #require(Samples.messages.first { $0.type == type })
    let (decoded, envelope) = try Frames(message).decoded()
    #expect(envelope.type == type)
    #expect(envelope.run == RunID(21))
    #expect(envelope.membershipEpoch == MembershipEpoch(22))
    #expect(envelope.incarnation == Incarnation(23))
    #expect(envelope.step == 24)
    #expect(envelope.sequence == 25)
    #expect("\(description(of: decoded))" == "\(description(of: message))")
    #expect(decoded.encodeFields() == message.encodeFields())
    #expect(Array(decoded.payload.bytes) == Array(message.payload.bytes))
  }

  /// All fields as text; payloads by their bytes, as they have no description of their own.
  private func description(of message: Message) -> String {
    switch message {
    case .welcome(let welcome): "\(welcome.plan) \(welcome.servers)"
    case .start(let training): description(of: training)
    case .snapshot(let snapshot):
      "\(snapshot.serial) \(snapshot.occasion) \(description(of: snapshot.training)) \(snapshot.interval) "
        + "\(snapshot.gradientNorm) \(snapshot.stepSecondsP50) \(snapshot.stepSecondsP99)"
    case .status: ""
    case .work(let work): "\(work.item)"
    case .push(let push): "\(push.item) \(push.statistics)"
    default: "\(message)"
    }
  }

  private func description(of training: TrainingSnapshot) -> String {
    "\(training.step) \(training.shardClocks) \(training.totals) \(String(describing: training.scale))"
  }

  @Test(arguments: [
    LearningRateSchedule.constant, .step(every: 7, factor: 0.25), .cosine,
  ]) func `every schedule travels`(schedule: LearningRateSchedule) throws {
    try expectTravels { $0.learningRate.schedule = schedule }
  }

  @Test(arguments: Optimizer.Kind.allCases) func `every optimizer travels`(kind: Optimizer.Kind) throws {
    try expectTravels {
      $0.optimizer = Optimizer(
        kind, [.momentum: 0.5, .beta1: 0.25, .beta2: 0.125, .epsilon: 1e-10, .decayRate: 0.0625])
      ($0.l1, $0.maxNorm) = (0.5, 3)
    }
  }

  @Test func `hyperparameters out of their range are refused`() {
    #expect(throws: CodecError.self) { try expectTravels { $0.optimizer = Optimizer(.adam, [.beta2: 1]) } }
    #expect(throws: CodecError.self) { try expectTravels { $0.optimizer = Optimizer(.adagrad, [.epsilon: 0]) } }
    #expect(throws: CodecError.self) { try expectTravels { $0.optimizer = Optimizer(.momentum, [.momentum: .nan]) } }
  }

  @Test(arguments: [ConsistencyModel.bsp(backup: 0), .bsp(backup: 2), .ssp(0), .ssp(64), .asp])
  func `every consistency model travels`(consistency: ConsistencyModel) throws {
    try expectTravels { $0.consistency = consistency }
  }

  /// The server never knows the model: any shape travels whose state fits into a message.
  @Test(arguments: [
    ModelShape(classes: 2, pixels: 15), ModelShape(classes: 32, pixels: 1_048_575),
    ModelShape(classes: 10, pixels: 3_072, hidden: [1_024]), ModelShape(classes: 2, pixels: 1, hidden: [1]),
    ModelShape(classes: 3, pixels: 4, hidden: Array(repeating: 5, count: ModelShape.maximumHiddenLayers)),
  ]) func `every shape that fits travels`(shape: ModelShape) throws { try expectTravels { $0.shape = shape } }

  @Test(arguments: Activation.all + [.leakyReLU(slope: 0), .elu(alpha: 3.5)])
  func `every activation travels`(activation: Activation) throws {
    try expectTravels { $0.shape = ModelShape(classes: 3, pixels: 4, hidden: [5], activation: activation) }
  }

  @Test(arguments: Loss.allCases) func `every loss travels`(loss: Loss) throws {
    try expectTravels { $0.loss = loss }
  }

  @Test(arguments: [
    ModelShape(classes: 32, pixels: 1_048_576), ModelShape(classes: 1, pixels: 3_072),
    ModelShape(classes: 256, pixels: 1_048_576),
    ModelShape(classes: 257, pixels: 3_072), ModelShape(classes: 10, pixels: 0),
    ModelShape(classes: 10, pixels: 1 << 21),
    ModelShape(classes: 10, pixels: 3_072, hidden: [0]), ModelShape(classes: 10, pixels: 3_072, hidden: [1 << 21]),
    ModelShape(classes: 10, pixels: 3_072, hidden: [12_000]),
    ModelShape(classes: 2, pixels: 3, hidden: Array(repeating: 4, count: ModelShape.maximumHiddenLayers + 1)),
    ModelShape(classes: 2, pixels: 3, hidden: [4], activation: .leakyReLU(slope: .nan)),
    ModelShape(classes: 2, pixels: 3, hidden: [4], activation: .leakyReLU(slope: -0.5)),
    ModelShape(classes: 2, pixels: 3, hidden: [4], activation: .elu(alpha: .infinity)),
  ]) func `a shape out of bounds is refused`(shape: ModelShape) {
    #expect(throws: CodecError.self) { try expectTravels { $0.shape = shape } }
  }

  @Test(arguments: [.nan, -0.5, 1, .infinity] as [Float]) func `a dropout out of bounds is refused`(dropout: Float) {
    #expect(throws: CodecError.self) { try expectTravels { $0.dropout = dropout } }
  }

  @Test(arguments: [[], [0..<9], [0..<2_048, 2_048..<21_612], [0..<21_611, 21_611..<21_611]])
  func `servers that do not hold all parameters are rejected`(ranges: [Range<Int>]) {
    let servers = ranges.map { ServerEndpoint(range: $0, endpoint: "") }
    #expect(throws: CodecError.self) { try Frames(.welcome(Samples.welcome(servers))).decoded() }
  }

  @Test func `a slice shares the payload's bytes and keeps them`() {
    var whole: Payload? = Payload(concatenating: [UInt8](0...99))
    let slice = whole?.slice(10..<20)
    #expect(slice?.bytes.baseAddress == whole?.bytes.baseAddress.map { $0 + 10 })
    whole = nil
    #expect(slice.map { Array($0.bytes) } == Array(10..<20))
  }

  private func expectTravels(_ change: (inout TrainingPlan) -> Void) throws {
    var plan = Samples.plan
    change(&plan)
    if plan.shape.isLinear { plan.dropout = 0 }
    let server = ServerEndpoint(range: 0..<min(plan.shape.parameterCount, Int(UInt32.max)), endpoint: "")
    var welcome = Samples.welcome([server])
    welcome.plan = plan
    guard case .welcome(let decoded) = try Frames(.welcome(welcome)).decoded().0 else {
      Issue.record("not a welcome")
      return
    }
    #expect(decoded.plan == plan)
  }

  @Test func `text that is too long is cut at a character`() throws {
    let long = String(repeating: "ä€", count: 40_000)
    let message = Message.stop(ExitReason(status: .success, reason: long))
    guard case .stop(let ending) = try Frames(message).decoded().0 else {
      Issue.record("not a stop")
      return
    }
    let text = ending.reason
    #expect(text.utf8.count <= 4096)
    #expect(text.utf8.count >= 4094)
    #expect(text.allSatisfy { $0 == "ä" || $0 == "€" })
  }
}

@Suite struct EnvelopeTests {
  /// From a Python script with `struct` and a bitwise CRC-32C (which gives 0xE3069283 for "123456789").
  static let golden =
    "44534e540700090088776655443322110300000000000000ddccbbaa00000000"
    + "2a00000000000000050000000000000008000000000000008eb771768934172c"

  @Test func `the bytes are those of the golden table`() {
    let message = Message.snapshotReceived(serial: 7)
    var envelope = Envelope(
      type: message.type, run: RunID(0x1122_3344_5566_7788), membershipEpoch: MembershipEpoch(3),
      incarnation: Incarnation(0xAABB_CCDD), step: 42, sequence: 5)
    message.seal(&envelope, fields: message.encodeFields())
    var bytes = [UInt8](repeating: 0, count: Envelope.byteCount)
    bytes.withUnsafeMutableBytes { envelope.encode(into: $0) }
    let text = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    #expect(text == Self.golden)
  }

  @Test func `the checksum covers a payload that travels, and no other`() throws {
    let message = Message.status(Payload(concatenating: [UInt8](repeating: 1, count: 100)))
    let changed = Payload(concatenating: [UInt8](repeating: 2, count: 100))
    for travels in [true, false] {
      var envelope = Envelope(
        type: message.type, run: RunID(1), membershipEpoch: MembershipEpoch(3), incarnation: Incarnation(2), step: 0,
        sequence: 5)
      try message.encodeFields().withUnsafeBytes { fields in
        message.seal(&envelope, fields: fields, payloadTravels: travels)
        _ = try Message(envelope, fields: fields, payload: message.payload, payloadTravels: travels)
        #expect(throws: CodecError.wrongBodyChecksum) {
          try Message(envelope, fields: fields, payload: message.payload, payloadTravels: !travels)
        }
        if travels {
          #expect(throws: CodecError.wrongBodyChecksum) { try Message(envelope, fields: fields, payload: changed) }
        } else {
          _ = try Message(envelope, fields: fields, payload: changed, payloadTravels: false)
        }
      }
    }
  }
}
