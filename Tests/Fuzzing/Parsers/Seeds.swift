import Checkpoints
import Cluster
import Foundation
import Messaging
import Optimization
import Transport

/// Where fuzzing begins: inputs that are right, made by those who write them, so that they are right for ever.
enum Seeds {
  static let shape = ModelShape(classes: 2, pixels: 3)

  static let checkpoint: Checkpoint = {
    var totals = RunTotals()
    totals.examples = 1 << 60
    totals.lateShards = 9
    (totals.staleness[0], totals.staleness[2]) = (7, .max)
    let snapshot = TrainingSnapshot(
      step: 7, shardClocks: [7, 7], totals: totals,
      state: OptimizerState(parameters: ParameterVector([0, 1, 2, 3, 4, 5, 6, 7]), slots: []))
    return Checkpoint(
      run: RunState(
        snapshot: snapshot, membershipEpoch: MembershipEpoch(3),
        monitor: ConvergenceMonitor(evaluationsWithoutImprovement: 2),
        validation: .init(meanLoss: 2.3, accuracy: 0.25), train: .init(meanLoss: 0.5, accuracy: 0.75),
        best: .init(step: 5, score: .init(meanLoss: 2.2, accuracy: 0.5))),
      origin: Checkpoint.Origin(
        runIdentifier: "20261121-024300-a1b2c3", shape: shape, loss: .hinge, meanImage: [125.25, 0, 255],
        classNames: ["cat", "a \"dog\"\n é😀"], settings: [.init("learning-rate", "0.01")],
        datasetFingerprint: .max),
      seconds: 1.5)
  }()

  /// Two keys that nobody has.
  static let listText =
    "# keys\nworker-7 rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\n"
    + "server Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\n"

  static let allowList: AllowList = {
    guard let list = try? AllowList(text: listText, path: "seed") else { preconditionFailure("the seed is no list") }
    return list
  }()

  /// A plan whose parameters fit into a small input.
  static let plan = TrainingPlan(exampleCount: 40, batchSize: 4, shardCount: 2, totalSteps: 20) {
    $0.shape = shape
    $0.loss = .hinge
    $0.l2 = 0.25
    $0.seed = 9
    $0.initialStandardDeviation = 0.5
    $0.learningRate = LearningRate(
      base: 0.1, schedule: .step(every: 30, factor: 0.5), warmupSteps: 4, horizon: 200)
    $0.validationCount = 5
    $0.evaluateEvery = 2
    $0.checkpointEvery = 3
    $0.consistency = .ssp(4)
  }

  private static let networkPlan: TrainingPlan = {
    var network = plan
    network.shape = ModelShape(classes: 2, pixels: 3, hidden: [4], activation: .leakyReLU(slope: 0.25))
    (network.loss, network.dropout) = (.squaredHinge, 0.5)
    return network
  }()

  /// Of the blocks of `networkPlan`.
  private static let scale = FixedPointScale(exponents: SIMD16(20, -3, 17, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))

  private static let payload = Payload(concatenating: [Float](repeating: 0.5, count: shape.parameterCount))

  static let messages: [Message] = {
    let ending = ExitReason(status: .fenced, reason: "told to")
    let statistics = MinibatchStatistics(examples: 2, lossSum: 1 << 24, correct: 1, isFinite: true)
    let shards = ShardSet(range: 0..<1)
    let members = [Incarnation(10), Incarnation(11)].enumerated().map {
      Message.Assignment.Member(incarnation: $1, name: "worker-1@host", shards: ShardSet(range: $0..<$0 + 1))
    }
    let offer = Message.SharedMemoryOffer(processID: 16, memory: 17, doorbell: 18, byteCount: 19)
    var peaked = statistics
    (peaked.peaks.bits[0], peaked.peaks.bits[2]) = (21, -4)
    let scaled = WorkItem(id: WorkItem.ID(1), step: 0, shards: shards, scale: scale)
    return [
      .join(
        .init(role: .server, name: "server", processID: 3, host: "host", datasetFingerprint: 0, endpoint: "ipc:///a")),
      .join(
        .init(
          role: .worker, name: "worker-1", processID: 4, host: "host", datasetFingerprint: 77, endpoint: "",
          formerExit: "was killed by signal 9")),
      .welcome(.init(plan: plan, serverEndpoint: "ipc:///a", sharesMemory: true, meanImage: payload)),
      .heartbeat(
        .init(isReady: true) {
          $0.examples = 9
          $0.loss = 2.5
          $0.paces = [.init(worker: Incarnation(10)) { $0.answers = 3 }]
        }), .heartbeatReply,
      .start(.init(step: 1, shardClocks: [1, 1], totals: RunTotals(), state: OptimizerState(payload))),
      .assignment(.init(members: members)),
      .snapshot(
        .init(
          serial: 1, occasion: .interval,
          training: .init(step: 2, shardClocks: [2, 2], totals: RunTotals(), state: OptimizerState(payload)),
          interval: statistics, gradientNorm: 1, stepSecondsP50: 0.1, stepSecondsP99: 0.2)),
      .snapshotReceived(serial: 1), .snapshotRequest(hold: true), .leave, .statusRequest, .status(payload),
      .requestWork,
      .work(.init(item: WorkItem(id: WorkItem.ID(1), step: 0, shards: shards), parameters: payload)),
      .push(
        .init(item: WorkItem(id: WorkItem.ID(1), step: 0, shards: shards), statistics: statistics, gradient: payload)),
      .noWorkYet, .attach(offer),
      .attached(offer),
      .welcome(.init(plan: networkPlan, serverEndpoint: "ipc:///a", meanImage: payload)),
      .start(.init(step: 1, shardClocks: [1, 1], totals: RunTotals(), state: OptimizerState(payload), scale: scale)),
      .snapshot(
        .init(
          serial: 1, occasion: .interval,
          training: .init(
            step: 2, shardClocks: [2, 2], totals: RunTotals(), state: OptimizerState(payload), scale: scale),
          interval: peaked, gradientNorm: 1, stepSecondsP50: 0.1, stepSecondsP99: 0.2)),
      .work(.init(item: scaled, parameters: payload)),
      .push(.init(item: scaled, statistics: peaked, gradient: payload)),
      // Last, as nothing is heard after them.
      .refusal(ending), .stop(ending),
    ]
  }()

  /// As `FuzzTarget.message` takes them.
  static func packed(_ message: Message) -> [UInt8] {
    let fields = message.encodeFields()
    let type = MessageType.allCases.firstIndex(of: message.type) ?? 0
    return [UInt8(type), UInt8(fields.count & 0xFF), UInt8(fields.count >> 8)] + fields + Array(message.payload.bytes)
  }

  private static var envelope: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Envelope.byteCount)
    let envelope = Envelope(
      type: .push, run: RunID(1), membershipEpoch: MembershipEpoch(2), incarnation: Incarnation(3), step: 4,
      sequence: 5)
    bytes.withUnsafeMutableBytes { envelope.encode(into: $0) }
    return bytes
  }

  private static var zapRequest: [UInt8] {
    let texts = ["1.0", "7", "descent", "127.0.0.1", "id", "CURVE"].map { Array($0.utf8) }
    return (texts + [allowList.entries[0].key.bytes]).flatMap { [UInt8($0.count)] + $0 }
  }

  /// A palette with interlacing, 16 bits with alpha, and a JPEG: of Tests/DatasetsTests/Pictures.
  private static var pictures: [[UInt8]] {
    let texts = [
      "iVBORw0KGgoAAAANSUhEUgAAAAUAAAADAgMAAAFRXx39AAAADFBMVEU2foqClSXmm+7LyTzZDnGcAAAAFUlEQVR42mNoYDgA"
        + "hCsYGhgMGMwaACF7BA/wbVy3AAAAAElFTkSuQmCC",
      "iVBORw0KGgoAAAANSUhEUgAAAAUAAAADEAYAAAALphm7AAAAhklEQVR42gF7AIT/ANmydiG1P37Q0cvZcfwUR7mCujQU67aT"
        + "7apISX3z01weEr/SqEIWTDoAHY/9KTtNKKNFzYCUAjXL+XIo+CPiIXhSRBdMsua3/F+0Huo3Fy4/dgDS3cxtuijVvGB3Y5Vr"
        + "+lmYcWvNRm3+uR84ZTdx5xE9diAS2d7sPHpmreg7umb5NVoAAAAASUVORK5CYII=",
      "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcp"
        + "LDAxNDQ0Hyc5PTgyPC4zNDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIy"
        + "MjIyMjIyMjIyMjIyMjL/wAARCAAIAAgDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAP/xAAdEAACAQQDAAAAAAAA"
        + "AAAAAAAAAQIDBAYHERIx/8QAFQEBAQAAAAAAAAAAAAAAAAAAAwX/xAAdEQABBAIDAAAAAAAAAAAAAAABAgQRQQAFAyJR/9oA"
        + "DAMBAAIRAxEAPwCeN67io027fs5eLgAEkOuZaiJiIoWAbB9x9BungZJ7Z//Z",
    ]
    return texts.map { [UInt8](Data(base64Encoded: $0) ?? Data()) }
  }

  static func inputs(of target: FuzzTarget) -> [[UInt8]] {
    let files = Dictionary(uniqueKeysWithValues: checkpoint.encoded())
    switch target {
    case .envelope: return [envelope]
    case .message: return messages.map(packed)
    case .safetensors: return [files[.model] ?? [], files[.optimizer] ?? []]
    case .state: return [files[.state] ?? []]
    case .manifest: return [CheckpointManifest(of: checkpoint, files: checkpoint.encoded()).encoded]
    case .cifar: return [Array(repeating: 3, count: 3073), Array(repeating: 9, count: 2 * 3073)]
    case .picture: return pictures
    // Two images of one pixel, of two classes, in IDX.
    case .imports:
      return [[3, 18, 0] + [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5, 6] + [0, 0, 8, 1, 0, 0, 0, 2, 0, 1]]
    case .configuration:
      return ["batch-size: 256\nloss: svm # as the slides\n---\nname: \"a: b\"\nschedule: 'cosine'\n"].map {
        Array($0.utf8)
      }
    case .zap: return [zapRequest]
    case .json:
      return ["{\"a\": [1, -2.5e-3, true, null], \"\\u00e9\\ud83d\\ude00\": {\"b\": \"\\n\"}}"].map { Array($0.utf8) }
    case .allowList: return [Array(listText.utf8), Array("tcp://[::1]:5555".utf8), Array("ipc:///tmp/x".utf8)]
    case .machines: return MachineFuzzing.seeds
    }
  }
}

extension FuzzTarget {
  /// Inputs to begin with.
  public var seeds: [[UInt8]] { Seeds.inputs(of: self) }
}
