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
    default: .empty
    }
  }

  /// Fits into the fields' frame with its length in front.
  private static let longestStatus = 60_000

  /// The second frame.
  public func encodeFields() -> [UInt8] {
    var writer = ByteWriter()
    encodeFields(into: &writer)
    return writer.bytes
  }

  /// The second frame, behind what is already in the writer.
  public func encodeFields(into writer: inout ByteWriter) {
    switch self {
    case .join(let join): join.encode(into: &writer)
    case .welcome(let welcome): welcome.encode(into: &writer)
    case .refusal(let ending), .stop(let ending): ending.encode(into: &writer)
    case .heartbeat(let heartbeat): heartbeat.encode(into: &writer)
    case .start(let start): start.encode(into: &writer)
    case .assignment(let assignment): assignment.encode(into: &writer)
    case .snapshot(let snapshot): snapshot.encode(into: &writer)
    case .snapshotReceived(let serial): writer.write(serial)
    case .snapshotRequest(let hold): writer.write(hold)
    case .status(let text): writer.write(text, limit: Self.longestStatus)
    case .work(let work): work.item.encode(into: &writer)
    case .push(let push):
      push.item.encode(into: &writer)
      push.statistics.encode(into: &writer)
    case .attach(let offer), .attached(let offer): offer.encode(into: &writer)
    case .heartbeatReply, .leave, .statusRequest, .notAMember, .requestWork, .noWorkYet: break
    }
  }

  /// The envelope's type, lengths and checksum, filled in for these frames, and the step of a snapshot.
  public func seal(_ envelope: inout Envelope, fields: [UInt8]) {
    fields.withUnsafeBytes { seal(&envelope, fields: $0) }
  }

  public func seal(_ envelope: inout Envelope, fields: UnsafeRawBufferPointer) {
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
    envelope.bodyChecksum = Envelope.checksum(fields: fields, payload: payload)
  }

  /// Reads the frames behind a decoded envelope. Lengths and checksum are checked before any field is read,
  /// and every field's range before anything is allocated for it.
  public init(_ envelope: Envelope, fields: UnsafeRawBufferPointer, payload: Payload) throws(CodecError) {
    guard fields.count == Int(envelope.fieldsLength) else {
      throw .wrongLength(found: fields.count, expected: Int(envelope.fieldsLength))
    }
    guard payload.count == Int(envelope.payloadLength) else {
      throw .wrongLength(found: payload.count, expected: Int(envelope.payloadLength))
    }
    guard Envelope.checksum(fields: fields, payload: payload) == envelope.bodyChecksum else {
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
    switch envelope.type {
    case .join: return .join(try Join(from: &reader))
    case .welcome: return .welcome(try Welcome(from: &reader, meanImage: payload))
    case .refusal: return .refusal(try ExitReason(from: &reader))
    case .heartbeat: return .heartbeat(try Heartbeat(from: &reader))
    case .heartbeatReply: return .heartbeatReply
    case .start: return .start(try TrainingSnapshot(from: &reader, step: envelope.step, state: payload))
    case .assignment: return .assignment(try Assignment(from: &reader))
    case .snapshot: return .snapshot(try Snapshot(from: &reader, step: envelope.step, state: payload))
    case .snapshotReceived: return .snapshotReceived(serial: try reader.read())
    case .snapshotRequest: return .snapshotRequest(hold: try reader.readBool())
    case .leave: return .leave
    case .stop: return .stop(try ExitReason(from: &reader))
    case .statusRequest: return .statusRequest
    case .status: return .status(try reader.readString(limit: Self.longestStatus))
    case .notAMember: return .notAMember
    case .requestWork: return .requestWork
    case .work:
      return .work(Work(item: try WorkItem(from: &reader, step: envelope.step), parameters: payload))
    case .push:
      let item = try WorkItem(from: &reader, step: envelope.step)
      return .push(Push(item: item, statistics: try MinibatchStatistics(from: &reader), gradient: payload))
    case .noWorkYet: return .noWorkYet
    case .attach: return .attach(try SharedMemoryOffer(from: &reader))
    case .attached: return .attached(try SharedMemoryOffer(from: &reader))
    }
  }
}
