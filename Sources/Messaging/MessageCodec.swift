import Diagnostics
import Optimization

extension Message {
  public var type: MessageType {
    switch self {
    case .join: .join
    case .welcome: .welcome
    case .refusal: .refusal
    case .heartbeat: .heartbeat
    case .heartbeatReply: .heartbeatReply
    case .start: .start
    case .assignment: .assignment
    case .snapshot: .snapshot
    case .snapshotReceived: .snapshotReceived
    case .snapshotRequest: .snapshotRequest
    case .leave: .leave
    case .stop: .stop
    case .statusRequest: .statusRequest
    case .status: .status
    case .notAMember: .notAMember
    case .saveRequest: .saveRequest
    case .requestWork: .requestWork
    case .work: .work
    case .push: .push
    case .noWorkYet: .noWorkYet
    case .attach: .attach
    case .attached: .attached
    }
  }

  /// The third frame: what travels as it is.
  public var payload: Payload {
    switch self {
    case .welcome(let welcome): welcome.meanImage
    case .start(let start): start.state.payload
    case .snapshot(let snapshot): snapshot.training.state.payload
    case .work(let work): work.parameters
    case .push(let push): push.gradient
    case .status(let report): report
    default: .empty
    }
  }

  /// The second frame.
  public func encodeFields() -> [UInt8] {
    var writer = ByteWriter()
    encodeFields(into: &writer)
    return writer.bytes
  }

  /// The second frame, behind what is already in the writer.
  public func encodeFields(into writer: inout ByteWriter) {
    switch self {
    case .join(var join): join.code(with: &writer)
    case .welcome(var welcome): welcome.code(with: &writer)
    case .refusal(var reason), .stop(var reason): reason.code(with: &writer)
    case .heartbeat(var heartbeat): heartbeat.code(with: &writer)
    case .start(var training): training.code(with: &writer)
    case .assignment(var assignment): assignment.code(with: &writer)
    case .snapshot(var snapshot): snapshot.code(with: &writer)
    case .snapshotReceived(var serial): writer.code(&serial)
    case .snapshotRequest(var hold): writer.code(&hold)
    case .work(let work):
      var item = work.item
      item.code(with: &writer)
    case .push(let push):
      var (item, statistics) = (push.item, push.statistics)
      item.code(with: &writer)
      statistics.code(with: &writer)
    case .attach(var offer), .attached(var offer): offer.code(with: &writer)
    case .heartbeatReply, .leave, .statusRequest, .status, .notAMember, .saveRequest, .requestWork, .noWorkYet: break
    }
  }

  /// The envelope's type, lengths and checksum, filled in for these frames, and the step of a snapshot.
  public func seal(_ envelope: inout Envelope, fields: [UInt8]) {
    fields.withUnsafeBytes { seal(&envelope, fields: $0) }
  }

  /// - Parameter payloadTravels: whether the checksum covers the payload, too. Where sender and receiver read the same
  ///   memory there is no way on which it could change.
  public func seal(_ envelope: inout Envelope, fields: UnsafeRawBufferPointer, payloadTravels: Bool = true) {
    let payload = self.payload
    switch self {
    case .start(let training): envelope.step = training.step
    case .snapshot(let snapshot): envelope.step = snapshot.training.step
    case .work(let work): envelope.step = work.item.step
    case .push(let push): envelope.step = push.item.step
    default: break
    }
    envelope.type = type
    envelope.fieldsLength = UInt32(fields.count)
    envelope.payloadLength = UInt32(payload.count)
    envelope.bodyChecksum = Envelope.checksum(fields: fields, payload: payloadTravels ? payload : .empty)
  }

  /// Reads the frames behind a decoded envelope. Lengths and checksum are checked before any field is read,
  /// and every field's range before anything is allocated for it.
  /// - Parameter payloadTravels: as in `seal`.
  public init(
    _ envelope: Envelope, fields: UnsafeRawBufferPointer, payload: Payload, payloadTravels: Bool = true
  ) throws(CodecError) {
    guard fields.count == Int(envelope.fieldsLength) else {
      throw .wrongLength(found: fields.count, expected: Int(envelope.fieldsLength))
    }
    guard payload.count == Int(envelope.payloadLength) else {
      throw .wrongLength(found: payload.count, expected: Int(envelope.payloadLength))
    }
    guard
      Envelope.checksum(fields: fields, payload: payloadTravels ? payload : .empty) == envelope.bodyChecksum
    else {
      throw .wrongBodyChecksum
    }
    var reader = ByteReader(fields)
    self = try Message.decode(envelope, from: &reader, payload: payload)
    try reader.finish()  // defence: message-end
    guard self.payload.count == payload.count else { throw .wrongLength(found: payload.count, expected: 0) }
  }

  private static func decode(
    _ envelope: Envelope, from reader: inout ByteReader, payload: Payload
  ) throws(CodecError) -> Message {
    // What the fields are read into.
    var reason: ExitReason { ExitReason(status: .success, reason: "") }
    var offer: SharedMemoryOffer { SharedMemoryOffer(processID: 0, memory: 0, doorbell: 0, byteCount: 0) }
    var item: WorkItem { WorkItem(id: WorkItem.ID(0), step: envelope.step, shards: ShardSet()) }
    var training: TrainingSnapshot {
      TrainingSnapshot(step: envelope.step, shardClocks: [], totals: RunTotals(), state: OptimizerState(payload))
    }
    switch envelope.type {
    case .join:
      let blank = Join(role: .worker, name: "", processID: 0, host: "", datasetFingerprint: 0, endpoint: "")
      return .join(try reader.read(blank))
    case .welcome:
      let plan = TrainingPlan(exampleCount: 0, batchSize: 0, shardCount: 0, totalSteps: 0)
      return .welcome(try reader.read(Welcome(plan: plan, serverEndpoint: "", meanImage: payload)))
    case .refusal: return .refusal(try reader.read(reason))
    case .heartbeat: return .heartbeat(try reader.read(Heartbeat(isReady: false)))
    case .heartbeatReply: return .heartbeatReply
    case .start: return .start(try reader.read(training))
    case .assignment: return .assignment(try reader.read(Assignment(members: [])))
    case .snapshot:
      let blank = Snapshot(
        serial: 0, occasion: .interval, training: training, interval: .zero, gradientNorm: 0, stepSecondsP50: 0,
        stepSecondsP99: 0)
      return .snapshot(try reader.read(blank))
    case .snapshotReceived: return .snapshotReceived(serial: try reader.read(0))
    case .snapshotRequest:
      var hold = false
      try reader.code(&hold)
      return .snapshotRequest(hold: hold)
    case .leave: return .leave
    case .stop: return .stop(try reader.read(reason))
    case .statusRequest: return .statusRequest
    case .status: return .status(payload)
    case .notAMember: return .notAMember
    case .saveRequest: return .saveRequest
    case .requestWork: return .requestWork
    case .work: return .work(Work(item: try reader.read(item), parameters: payload))
    case .push:
      return .push(Push(item: try reader.read(item), statistics: try reader.read(.zero), gradient: payload))
    case .noWorkYet: return .noWorkYet
    case .attach: return .attach(try reader.read(offer))
    case .attached: return .attached(try reader.read(offer))
    }
  }
}
