import CKernels
import Optimization

/// The first frame of every message: 64 bytes, little-endian, checked before anything behind it is looked at.
///
/// | bytes | field |
/// |---|---|
/// | 0-3 | magic, "DSNT" |
/// | 4-5 | version of the protocol; peers of another version are refused |
/// | 6-7 | message type |
/// | 8-15 | run: messages of another run never count |
/// | 16-23 | membership epoch the sender acts under |
/// | 24-31 | incarnation: the sender's number, drawn at every process start |
/// | 32-39 | step the message speaks of |
/// | 40-47 | sequence, rising per sender |
/// | 48-51 | length of the fields (second frame) |
/// | 52-55 | length of the payload (third frame) |
/// | 56-59 | CRC-32C of the payload, unless it stays in memory that both share, followed by the fields |
/// | 60-63 | CRC-32C of bytes 0-59 |
public struct Envelope: Sendable, Equatable {
  public static let byteCount = 64
  public static let magic: UInt32 = 0x544E_5344
  public static let protocolVersion: UInt16 = 7
  /// Bounds on what is accepted at all; the message types have narrower ones. The longest payload is the state of the
  /// largest model: its parameters and two vectors of an optimizer, as Adam has.
  public static let maximumFieldsLength = 1 << 18
  public static let maximumPayloadLength = 3 * ModelShape.maximumParameterCount * MemoryLayout<Float>.stride

  public var type: MessageType
  public var run: RunID
  public var membershipEpoch: MembershipEpoch
  public var incarnation: Incarnation
  public var step: UInt64
  public var sequence: UInt64
  public var fieldsLength: UInt32 = 0
  public var payloadLength: UInt32 = 0
  public var bodyChecksum: UInt32 = 0
  /// When the sender wrote the message into memory that both share, by the clock of their host; nil for one from a socket.
  /// It is not one of the 64 bytes.
  public var written: Instant?

  public init(
    type: MessageType, run: RunID, membershipEpoch: MembershipEpoch, incarnation: Incarnation,
    step: UInt64, sequence: UInt64
  ) {
    self.type = type
    self.run = run
    self.membershipEpoch = membershipEpoch
    self.incarnation = incarnation
    self.step = step
    self.sequence = sequence
  }

  /// Bytes of the whole message, once it is sealed.
  public var messageByteCount: UInt64 { UInt64(Self.byteCount) + UInt64(fieldsLength) + UInt64(payloadLength) }

  /// Writes the 64 bytes.
  public func encode(into target: UnsafeMutableRawBufferPointer) {
    precondition(target.count == Self.byteCount, "an envelope has \(Self.byteCount) bytes")
    func store<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, at offset: Int) {
      target.storeBytes(of: value.littleEndian, toByteOffset: offset, as: Value.self)
    }
    store(Self.magic, at: 0)
    store(Self.protocolVersion, at: 4)
    store(type.rawValue, at: 6)
    store(run.value, at: 8)
    store(membershipEpoch.value, at: 16)
    store(incarnation.value, at: 24)
    store(step, at: 32)
    store(sequence, at: 40)
    store(fieldsLength, at: 48)
    store(payloadLength, at: 52)
    store(bodyChecksum, at: 56)
    store(descent_crc32c(0, target.baseAddress, 60), at: 60)
  }

  /// Reads and checks the header alone: length, magic, checksum, version, type, bounds of the lengths.
  public init(decoding bytes: UnsafeRawBufferPointer) throws(CodecError) {
    guard bytes.count == Self.byteCount else {
      throw .wrongLength(found: bytes.count, expected: Self.byteCount)
    }
    func load<Value: FixedWidthInteger & BitwiseCopyable>(_ type: Value.Type, at offset: Int) -> Value {
      Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
    }
    let magic = load(UInt32.self, at: 0)
    guard magic == Self.magic else { throw .wrongMagic(magic) }
    guard load(UInt32.self, at: 60) == descent_crc32c(0, bytes.baseAddress, 60) else {  // defence: header-checksum
      throw .wrongHeaderChecksum
    }
    let version = load(UInt16.self, at: 4)
    guard version == Self.protocolVersion else { throw .unsupportedVersion(version) }
    let rawType = load(UInt16.self, at: 6)
    guard let type = MessageType(rawValue: rawType) else { throw .unknownType(rawType) }
    self.init(
      type: type, run: RunID(load(UInt64.self, at: 8)),
      membershipEpoch: MembershipEpoch(load(UInt64.self, at: 16)),
      incarnation: Incarnation(load(UInt64.self, at: 24)), step: load(UInt64.self, at: 32),
      sequence: load(UInt64.self, at: 40))
    fieldsLength = load(UInt32.self, at: 48)
    payloadLength = load(UInt32.self, at: 52)
    bodyChecksum = load(UInt32.self, at: 56)
    guard fieldsLength <= Self.maximumFieldsLength else { throw .invalidField("fields length") }
    guard payloadLength <= Self.maximumPayloadLength else { throw .invalidField("payload length") }
  }

  /// CRC-32C of the payload followed by the fields: in this order the payload's part is the same for all peers it is sent to.
  package static func checksum(fields: UnsafeRawBufferPointer, payload: Payload) -> UInt32 {
    descent_crc32c(payload.checksum, fields.baseAddress, fields.count)
  }
}
