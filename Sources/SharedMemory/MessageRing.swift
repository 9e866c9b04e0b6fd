import Messaging
import Synchronization

/// The outcome of sending a message through memory.
public enum MemorySendResult {
  case sent
  /// The receiver has not taken the messages before it.
  case overflowed
  /// It does not fit, or its payload is not in the memory that its sender shares: the socket has to take it.
  case unsuitable
}

/// The outcome of reading a ring.
public enum MemoryReception {
  case message(Message, Envelope)
  case rejected(CodecError)
  /// The envelope names another incarnation than the one whose memory it came through.
  case impostor
}

/// The sending end of one direction: one process writes, another reads, and neither waits for the other.
struct RingWriter {
  private let slots: UnsafeMutableRawPointer
  /// Where payloads must lie for the receiver to find them.
  private let shared: UnsafeRawBufferPointer
  private var next = 0
  /// What the receiver may still be reading.
  private var held: InlineArray<4, Payload?> = .init(repeating: nil)
  private var writer = ByteWriter()

  init(slots: UnsafeMutableRawPointer, shared: UnsafeRawBufferPointer) {
    self.slots = slots
    self.shared = shared
  }

  /// Releases the payloads that the receiver has finished with.
  mutating func sweep() {
    for index in held.indices where held[index] != nil && isFree(index) { held[index] = nil }
  }

  mutating func send(_ message: Message, _ envelope: Envelope) -> MemorySendResult {
    sweep()
    guard isFree(next) else { return .overflowed }
    let payload = message.payload
    guard let offset = offset(of: payload.bytes) else { return .unsuitable }
    writer.removeAll()
    message.encodeFields(into: &writer)
    guard writer.bytes.count <= ChannelLayout.maximumFieldsLength else { return .unsuitable }
    var envelope = envelope
    let slot = slots + next * ChannelLayout.slotBytes
    writer.bytes.withUnsafeBytes { fields in
      message.seal(&envelope, fields: fields)
      UnsafeMutableRawBufferPointer(start: slot + ChannelLayout.fields, count: fields.count).copyMemory(from: fields)
    }
    envelope.encode(
      into: UnsafeMutableRawBufferPointer(start: slot + ChannelLayout.envelope, count: Envelope.byteCount))
    slot.storeBytes(of: UInt32(writer.bytes.count), toByteOffset: ChannelLayout.fieldsLength, as: UInt32.self)
    slot.storeBytes(of: UInt64(offset), toByteOffset: ChannelLayout.payloadOffset, as: UInt64.self)
    slot.storeBytes(of: UInt64(payload.count), toByteOffset: ChannelLayout.payloadLength, as: UInt64.self)
    held[next] = payload
    ChannelLayout.atomic(slot).pointee.store(ChannelLayout.full, ordering: .releasing)
    next = (next + 1) % ChannelLayout.slotCount
    return .sent
  }

  private func isFree(_ index: Int) -> Bool {
    ChannelLayout.atomic(slots + index * ChannelLayout.slotBytes).pointee.load(ordering: .acquiring)
      == ChannelLayout.free
  }

  private func offset(of bytes: UnsafeRawBufferPointer) -> Int? {
    guard let start = bytes.baseAddress, let base = shared.baseAddress else { return bytes.isEmpty ? 0 : nil }
    let offset = start - base
    return offset >= 0 && offset + bytes.count <= shared.count ? offset : nil
  }
}

/// The receiving end. What the other process wrote is checked like bytes from a socket; it can change them meanwhile,
/// so what decides about addresses is copied first.
struct RingReader {
  private let slots: UnsafeMutableRawPointer
  /// Where the sender's payloads lie; empty until that is known.
  var shared: UnsafeRawBufferPointer
  private let owner: any AnyObject & Sendable
  private let sender: Incarnation?
  private var next = 0
  /// The payloads over the slots' payload bytes; a slot returns to the sender when its payload is released.
  private var payloads: [Payload]
  private var isTaken: InlineArray<4, Bool> = .init(repeating: false)
  private var scratch: [UInt8] = []

  /// - Parameters:
  ///   - sender: whose messages come this way; nil if any incarnation may.
  ///   - owner: keeps the memory of slots and payloads mapped.
  init(
    slots: UnsafeMutableRawPointer, shared: UnsafeRawBufferPointer, sender: Incarnation?,
    owner: any AnyObject & Sendable
  ) {
    self.slots = slots
    self.shared = shared
    self.sender = sender
    self.owner = owner
    payloads = (0..<ChannelLayout.slotCount).map { _ in
      Payload(borrowing: UnsafeRawBufferPointer(start: nil, count: 0)) { [owner] in _ = owner }
    }
    scratch.reserveCapacity(ChannelLayout.slotBytes)
  }

  /// Whether `receive` would find something.
  var hasMessage: Bool { !isTaken[next] && state(next).pointee.load(ordering: .acquiring) == ChannelLayout.full }

  /// Returns to the sender the slots whose payloads are released.
  mutating func sweep() {
    for index in isTaken.indices where isTaken[index] {
      guard Payload.reuse(&payloads[index], for: UnsafeRawBufferPointer(start: nil, count: 0)) else { continue }
      release(index)
    }
  }

  /// The next message, or the reason why it was rejected; nil when there is none.
  mutating func receive() -> MemoryReception? {
    sweep()
    guard hasMessage else { return nil }
    let index = next
    next = (next + 1) % ChannelLayout.slotCount
    isTaken[index] = true
    do {
      let (message, envelope) = try decode(index)
      guard sender == nil || envelope.incarnation == sender else {
        release(index)
        return .impostor
      }
      if message.payload.count == 0 { release(index) }
      return .message(message, envelope)
    } catch {
      release(index)
      return .rejected(error)
    }
  }

  private mutating func decode(_ index: Int) throws(CodecError) -> (Message, Envelope) {
    let slot = slots + index * ChannelLayout.slotBytes
    let fieldsLength = Int(slot.load(fromByteOffset: ChannelLayout.fieldsLength, as: UInt32.self))
    let offset = slot.load(fromByteOffset: ChannelLayout.payloadOffset, as: UInt64.self)
    let length = slot.load(fromByteOffset: ChannelLayout.payloadLength, as: UInt64.self)
    guard fieldsLength <= ChannelLayout.maximumFieldsLength else {
      throw .wrongLength(found: fieldsLength, expected: ChannelLayout.maximumFieldsLength)
    }
    guard length <= UInt64(Envelope.maximumPayloadLength), offset <= UInt64(shared.count),
      offset + length <= UInt64(shared.count)
    else { throw .wrongLength(found: Int(clamping: length), expected: shared.count) }
    scratch.removeAll(keepingCapacity: true)
    scratch.append(
      contentsOf: UnsafeRawBufferPointer(
        start: slot + ChannelLayout.envelope, count: Envelope.byteCount + fieldsLength))
    let content = UnsafeRawBufferPointer(rebasing: shared[Int(offset)..<Int(offset + length)])
    guard Payload.reuse(&payloads[index], for: content) else { throw .invalidField("slot in use") }
    let payload = content.isEmpty ? Payload.empty : payloads[index]
    return try scratch.withUnsafeBufferPointer { (buffer) throws(CodecError) in
      let bytes = UnsafeRawBufferPointer(buffer)
      let envelope = try Envelope(decoding: UnsafeRawBufferPointer(rebasing: bytes[..<Envelope.byteCount]))
      let message = try Message(
        envelope, fields: UnsafeRawBufferPointer(rebasing: bytes[Envelope.byteCount...]), payload: payload)
      return (message, envelope)
    }
  }

  private mutating func release(_ index: Int) {
    isTaken[index] = false
    state(index).pointee.store(ChannelLayout.free, ordering: .releasing)
  }

  private func state(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    ChannelLayout.atomic(slots + index * ChannelLayout.slotBytes)
  }
}
