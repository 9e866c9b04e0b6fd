import Messaging
import Synchronization

/// Where things are in the memory that a worker shares with its server. Everything below is in the order of the machine
/// that both run on.
///
/// | bytes | what |
/// |---|---|
/// | 0-7 | magic |
/// | 8-15 | incarnation of the worker |
/// | 64-67 | not zero while the worker sleeps, so that it must be woken |
/// | 128-131 | the same for the server |
/// | 4,096 | ring of messages to the server |
/// | 20,480 | ring of messages to the worker |
/// | 36,864 | the worker's gradients |
///
/// No checksum covers a payload. It stays where it is, so that nothing can change it on the way. If its sender changes a
/// gradient, the server judges that as any other gradient.
///
/// A ring has four slots of 4,096 bytes, used in turn:
///
/// | bytes | what |
/// |---|---|
/// | 0-3 | 0: the sender may write the slot; 1: the receiver may read it |
/// | 4-7 | length of the fields |
/// | 8-15 | where the payload begins in the memory that its sender shares |
/// | 16-23 | length of the payload |
/// | 24-31 | when the slot was written, in nanoseconds of CLOCK_MONOTONIC: the receiver may see it much later |
/// | 64-127 | envelope |
/// | 128- | fields |
enum ChannelLayout {
  /// "DSNTMEM3".
  static let magic: UInt64 = 0x334D_454D_544E_5344
  static let incarnation = 8
  static let workerSleeps = 64
  static let serverSleeps = 128
  static let ringToServer = 4096
  static let ringToWorker = ringToServer + slotCount * slotBytes
  static let gradients = ringToWorker + slotCount * slotBytes

  /// The protocol has one piece of work and a few short messages under way, like the limit of the sockets' queues.
  static let slotCount = 4
  static let slotBytes = 4096
  static let fieldsLength = 4
  static let payloadOffset = 8
  static let payloadLength = 16
  static let written = 24
  static let envelope = 64
  static let fields = 128
  static let maximumFieldsLength = slotBytes - fields

  static let free: UInt32 = 0
  static let full: UInt32 = 1

  /// An integer that both processes change.
  static func atomic(_ address: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Atomic<UInt32>> {
    address.assumingMemoryBound(to: Atomic<UInt32>.self)
  }
}

/// Whether the reader of a ring sleeps: the writer then has to ring its doorbell.
struct SleepFlag {
  private let flag: UnsafeMutablePointer<Atomic<UInt32>>

  init(_ address: UnsafeMutableRawPointer) { flag = ChannelLayout.atomic(address) }

  /// To be followed by a last look at the rings: a message that came before would not ring.
  func set() {
    flag.pointee.store(1, ordering: .relaxed)
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }

  func clear() { flag.pointee.store(0, ordering: .relaxed) }

  /// Whether the reader has to be woken; true once for each sleep.
  func take() -> Bool {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    guard flag.pointee.load(ordering: .relaxed) != 0 else { return false }
    return flag.pointee.exchange(0, ordering: .relaxed) != 0
  }
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

  /// `unroutable` if the message does not fit, or its payload is not in the memory that its sender shares: the socket has
  /// to take it.
  mutating func send(_ message: Message, _ envelope: Envelope) -> SendResult {
    sweep()
    guard isFree(next) else { return .overflowed }
    let payload = message.payload
    guard let offset = offset(of: payload.bytes) else { return .unroutable }
    writer.removeAll()
    message.encodeFields(into: &writer)
    guard writer.count <= ChannelLayout.maximumFieldsLength else { return .unroutable }
    var envelope = envelope
    let slot = slots + next * ChannelLayout.slotBytes
    writer.withUnsafeBytes { fields in
      message.seal(&envelope, fields: fields, payloadTravels: false)
      UnsafeMutableRawBufferPointer(start: slot + ChannelLayout.fields, count: fields.count).copyMemory(from: fields)
    }
    envelope.encode(
      into: UnsafeMutableRawBufferPointer(start: slot + ChannelLayout.envelope, count: Envelope.byteCount))
    slot.storeBytes(of: UInt32(writer.count), toByteOffset: ChannelLayout.fieldsLength, as: UInt32.self)
    slot.storeBytes(of: UInt64(offset), toByteOffset: ChannelLayout.payloadOffset, as: UInt64.self)
    slot.storeBytes(of: UInt64(payload.count), toByteOffset: ChannelLayout.payloadLength, as: UInt64.self)
    slot.storeBytes(of: Instant.now.nanoseconds, toByteOffset: ChannelLayout.written, as: UInt64.self)
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
  /// Where the sender's payloads lie.
  private let shared: UnsafeRawBufferPointer
  private let sender: Incarnation
  private var next = 0
  /// The payloads over the slots' payload bytes; a slot returns to the sender when its payload is released.
  private var payloads: [Payload]
  private var isTaken: InlineArray<4, Bool> = .init(repeating: false)
  private var scratch: [UInt8] = []

  /// - Parameters:
  ///   - sender: whose messages come this way.
  ///   - owner: keeps the memory of slots and payloads mapped.
  init(
    slots: UnsafeMutableRawPointer, shared: UnsafeRawBufferPointer, sender: Incarnation, owner: [SharedRegion]
  ) {
    self.slots = slots
    self.shared = shared
    self.sender = sender
    payloads = (0..<ChannelLayout.slotCount).map { _ in
      Payload(borrowing: UnsafeRawBufferPointer(start: nil, count: 0)) { _ = owner }
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
  mutating func receive() -> Reception? {
    sweep()
    guard hasMessage else { return nil }
    let index = next
    next = (next + 1) % ChannelLayout.slotCount
    isTaken[index] = true
    do {
      let (message, envelope) = try decode(index)
      guard envelope.incarnation == sender else {
        release(index)
        return .rejected(.identity)
      }
      if message.payload.count == 0 { release(index) }
      return .message(message, envelope)
    } catch {
      release(index)
      return .rejected(TransportCounters.Rejection(error))
    }
  }

  private mutating func decode(_ index: Int) throws(CodecError) -> (Message, Envelope) {
    let slot = slots + index * ChannelLayout.slotBytes
    let fieldsLength = Int(slot.load(fromByteOffset: ChannelLayout.fieldsLength, as: UInt32.self))
    let offset = slot.load(fromByteOffset: ChannelLayout.payloadOffset, as: UInt64.self)
    let length = slot.load(fromByteOffset: ChannelLayout.payloadLength, as: UInt64.self)
    let written = Instant(nanoseconds: slot.load(fromByteOffset: ChannelLayout.written, as: UInt64.self))
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
      var envelope = try Envelope(decoding: UnsafeRawBufferPointer(rebasing: bytes[..<Envelope.byteCount]))
      envelope.written = written
      let message = try Message(
        envelope, fields: UnsafeRawBufferPointer(rebasing: bytes[Envelope.byteCount...]), payload: payload,
        payloadTravels: false)
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
