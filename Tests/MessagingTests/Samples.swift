import Diagnostics
import Messaging
import Optimization

/// One message of every type, with fields that differ from zero and from one another.
enum Samples {
  static let plan = TrainingPlan(exampleCount: 5_000, batchSize: 64, shardCount: 16, totalSteps: 200) {
    $0.shape = ModelShape(classes: 10, pixels: 3_072, hidden: [7, 5], activation: .leakyReLU(slope: 0.125))
    $0.loss = .hinge
    $0.dropout = 0.375
    $0.l2 = 0.25
    $0.seed = 99
    $0.initialStandardDeviation = 0.5
    $0.learningRate = LearningRate(
      base: 0.1, schedule: .step(every: 30, factor: 0.5), warmupSteps: 4, horizon: 200)
    $0.optimizer = Optimizer(.nesterov)
    $0.validationCount = 500
    $0.validationStart = 1000
    $0.evaluateEvery = 20
    $0.checkpointEvery = 50
    $0.consistency = .ssp(4)
  }

  static var statistics: MinibatchStatistics {
    var statistics = MinibatchStatistics(examples: 12, lossSum: -345, correct: 7, isFinite: true)
    (statistics.peaks.bits[0], statistics.peaks.bits[2]) = (21, -4)
    return statistics
  }

  static let scale = FixedPointScale(exponents: SIMD16(17, -3, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
  static let shards = ShardSet([0, 5, 63, 64, 700])

  static var totals: RunTotals {
    var totals = RunTotals()
    totals.examples = 1_234
    totals.lateShards = 5
    totals.takenOverShards = 6
    for bucket in totals.staleness.indices { totals.staleness[bucket] = UInt64(bucket * bucket) }
    return totals
  }

  static let payload = Payload(concatenating: [UInt32](1...40))

  static var training: TrainingSnapshot {
    TrainingSnapshot(step: 24, shardClocks: [1, 2, 3], totals: totals, state: OptimizerState(payload), scale: scale)
  }

  /// To a run with these servers.
  static func welcome(
    _ servers: [ServerEndpoint], sharesMemory: Bool = false, meanImage: Payload = .empty
  ) -> Message.Welcome {
    var welcome = Message.Welcome(
      plan: plan, serverEndpoint: "", sharesMemory: sharesMemory, meanImage: meanImage)
    welcome.servers = servers
    return welcome
  }

  static var messages: [Message] {
    [
      .join(
        Message.Join(
          role: .server, name: "server", processID: -3, host: "höst", datasetFingerprint: 77, endpoint: "ipc:///a/b",
          formerExit: "was killed by signal 9")),
      .welcome(
        welcome(
          [
            ServerEndpoint(range: 0..<2_048, endpoint: "tcp://[::1]:5"),
            ServerEndpoint(range: 2_048..<plan.shape.parameterCount, endpoint: "tcp://[::1]:6"),
          ], sharesMemory: true, meanImage: payload)),
      .refusal(ExitReason(status: .fenced, reason: "too old")),
      .heartbeat(
        Message.Heartbeat(isReady: true) {
          $0.assignmentEpoch = MembershipEpoch(8)
          $0.examples = 9
          $0.loss = 2.5
          $0.waitingFor = Incarnation(10)
          $0.waitingMilliseconds = 11
          $0.rejectedPushes = 12
          $0.stalePushes = 13
          ($0.takenOverShards, $0.lateShards) = (14, 15)
          $0.untrusted = Incarnation(14)
          $0.paces = [
            Message.WorkerPace(worker: Incarnation(15)) {
              ($0.answers, $0.timesLast, $0.medianSeconds, $0.p99Seconds) = (16, 17, 0.5, 0.75)
              ($0.awaitedSeconds, $0.memberSeconds) = (1.5, 2.5)
            }
          ]
        }),
      .heartbeatReply,
      .start(training),
      .assignment(
        Message.Assignment(members: [
          .init(incarnation: Incarnation(1), name: "worker-1@höst", shards: shards),
          .init(incarnation: Incarnation(2), name: "", shards: ShardSet()),
        ])),
      .snapshot(
        Message.Snapshot(
          serial: 12, occasion: .requested, training: training, interval: statistics, gradientNorm: 0.75,
          stepSecondsP50: 0.001, stepSecondsP99: 0.25)),
      .snapshotReceived(serial: 13), .snapshotRequest(hold: true), .leave,
      .stop(ExitReason(status: .success, reason: "done")), .statusRequest,
      .status(Payload(concatenating: Array(#"{"step":1}"#.utf8))),
      .notAMember, .saveRequest, .requestWork,
      .work(
        Message.Work(item: WorkItem(id: WorkItem.ID(14), step: 24, shards: shards, scale: scale), parameters: payload)),
      .push(
        Message.Push(
          item: WorkItem(id: WorkItem.ID(15), step: 24, shards: shards, scale: scale), statistics: statistics,
          gradient: payload)),
      .noWorkYet,
      .attach(Message.SharedMemoryOffer(processID: 16, memory: 17, doorbell: 18, byteCount: 19)),
      .attached(Message.SharedMemoryOffer(processID: 20, memory: 21, doorbell: 22, byteCount: 23)),
    ]
  }
}

/// A message as its three frames.
struct Frames {
  var header: [UInt8]
  var fields: [UInt8]
  var payload: [UInt8]

  init(_ message: Message) {
    var envelope = Envelope(
      type: message.type, run: RunID(21), membershipEpoch: MembershipEpoch(22), incarnation: Incarnation(23),
      step: Self.step(of: message), sequence: 25)
    fields = message.encodeFields()
    message.seal(&envelope, fields: fields)
    header = [UInt8](repeating: 0, count: Envelope.byteCount)
    header.withUnsafeMutableBytes { envelope.encode(into: $0) }
    payload = Array(message.payload.bytes)
  }

  /// That of a snapshot is filled in as the message is sealed.
  private static func step(of message: Message) -> UInt64 {
    switch message {
    case .start, .snapshot: 0
    default: 24
    }
  }

  func decoded() throws -> (Message, Envelope) {
    let envelope = try header.withUnsafeBytes { try Envelope(decoding: $0) }
    let message = try fields.withUnsafeBytes {
      try Message(envelope, fields: $0, payload: Payload(concatenating: payload))
    }
    return (message, envelope)
  }
}
