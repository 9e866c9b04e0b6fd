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
    case .stranger: .stranger
    case .hello: .hello
    case .work: .work
    case .push: .push
    case .wait: .wait
    case .attach: .attach
    case .attached: .attached
    }
  }

  /// The third frame: what travels as it is.
  public var bulk: Payload {
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
    case .welcome(let welcome):
      writer.write(welcome.rank)
      writer.write(welcome.serverEndpoint)
      writer.write(welcome.sharesMemory)
      welcome.plan.encode(into: &writer)
    case .refusal(let ending), .stop(let ending): ending.encode(into: &writer)
    case .heartbeat(let heartbeat): heartbeat.encode(into: &writer)
    case .start(let start): start.encode(into: &writer)
    case .assignment(let assignment): assignment.encode(into: &writer)
    case .snapshot(let snapshot): snapshot.encode(into: &writer)
    case .snapshotReceived(let serial): writer.write(serial)
    case .snapshotRequest(let hold): writer.write(hold)
    case .status(let text): writer.write(text, limit: Self.longestStatus)
    case .work(let work):
      writer.write(work.ticket)
      work.shards.encode(into: &writer)
    case .push(let push):
      writer.write(push.ticket)
      push.shards.encode(into: &writer)
      push.statistics.encode(into: &writer)
    case .attach(let offer), .attached(let offer): offer.encode(into: &writer)
    case .heartbeatReply, .leave, .statusRequest, .stranger, .hello, .wait: break
    }
  }

  /// The envelope's type, lengths and checksum, filled in for these frames, and the step of a snapshot.
  public func seal(_ envelope: inout Envelope, fields: [UInt8]) {
    fields.withUnsafeBytes { seal(&envelope, fields: $0) }
  }

  public func seal(_ envelope: inout Envelope, fields: UnsafeRawBufferPointer) {
    let bulk = self.bulk
    switch self {
    case .start(let training): envelope.step = training.step
    case .snapshot(let snapshot): envelope.step = snapshot.training.step
    default: break
    }
    envelope.type = type
    envelope.fieldsLength = UInt32(fields.count)
    envelope.bulkLength = UInt32(bulk.count)
    envelope.bodyChecksum = Envelope.checksum(fields: fields, bulk: bulk)
  }

  /// Reads the frames behind a decoded envelope. Lengths and checksum are checked before any field is read,
  /// and every field's range before anything is allocated for it.
  public init(_ envelope: Envelope, fields: UnsafeRawBufferPointer, bulk: Payload) throws(CodecError) {
    guard fields.count == Int(envelope.fieldsLength) else {
      throw .wrongLength(found: fields.count, expected: Int(envelope.fieldsLength))
    }
    guard bulk.count == Int(envelope.bulkLength) else {
      throw .wrongLength(found: bulk.count, expected: Int(envelope.bulkLength))
    }
    guard Envelope.checksum(fields: fields, bulk: bulk) == envelope.bodyChecksum else {
      throw .wrongBodyChecksum
    }
    var reader = ByteReader(fields)
    self = try Message.decode(envelope, from: &reader, bulk: bulk)
    try reader.finish()  // defence: message-end
    guard self.bulk.count == bulk.count else { throw .wrongLength(found: bulk.count, expected: 0) }
  }

  private static func decode(
    _ envelope: Envelope, from reader: inout ByteReader, bulk: Payload
  ) throws(CodecError) -> Message {
    switch envelope.type {
    case .join: return .join(try Join(from: &reader))
    case .welcome:
      let rank = try reader.read(UInt32.self)
      let endpoint = try reader.readString()
      let sharesMemory = try reader.readBool()
      let plan = try TrainingPlan(from: &reader)
      return .welcome(
        Welcome(rank: rank, plan: plan, serverEndpoint: endpoint, sharesMemory: sharesMemory, meanImage: bulk))
    case .refusal: return .refusal(try Ending(from: &reader))
    case .heartbeat: return .heartbeat(try Heartbeat(from: &reader))
    case .heartbeatReply: return .heartbeatReply
    case .start: return .start(try TrainingSnapshot(from: &reader, step: envelope.step, state: bulk))
    case .assignment: return .assignment(try Assignment(from: &reader))
    case .snapshot: return .snapshot(try Snapshot(from: &reader, step: envelope.step, state: bulk))
    case .snapshotReceived: return .snapshotReceived(serial: try reader.read())
    case .snapshotRequest: return .snapshotRequest(hold: try reader.readBool())
    case .leave: return .leave
    case .stop: return .stop(try Ending(from: &reader))
    case .statusRequest: return .statusRequest
    case .status: return .status(try reader.readString(limit: Self.longestStatus))
    case .stranger: return .stranger
    case .hello: return .hello
    case .work:
      let ticket = try reader.read(UInt64.self)
      return .work(Work(ticket: ticket, shards: try ShardSet(from: &reader), parameters: bulk))
    case .push:
      let ticket = try reader.read(UInt64.self)
      let shards = try ShardSet(from: &reader)
      let statistics = try MinibatchStatistics(from: &reader)
      return .push(Push(ticket: ticket, shards: shards, statistics: statistics, gradient: bulk))
    case .wait: return .wait
    case .attach: return .attach(try SharedMemoryOffer(from: &reader))
    case .attached: return .attached(try SharedMemoryOffer(from: &reader))
    }
  }
}
