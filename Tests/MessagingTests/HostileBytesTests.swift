import Diagnostics
import Messaging
import Optimization
import Testing

/// Whatever arrives: an error or a message, never a trap.
@Suite struct HostileBytesTests {
  private var allFrames: [Frames] { Samples.messages.map { Frames($0) } }

  private func expectRefused(
    _ frames: Frames, _ what: @autoclosure () -> String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    if (try? frames.decoded()) != nil { Issue.record("accepted: \(what())", sourceLocation: sourceLocation) }
  }

  @Test func `every truncation is refused`() {
    for frames in allFrames {
      for (name, path) in [("header", \Frames.header), ("fields", \.fields), ("payload", \.payload)] {
        for count in 0..<frames[keyPath: path].count {
          var cut = frames
          cut[keyPath: path].removeLast(cut[keyPath: path].count - count)
          expectRefused(cut, "\(name) of \(count) bytes")
        }
      }
    }
  }

  @Test func `every byte too many is refused`() {
    for frames in allFrames {
      for (name, path) in [("header", \Frames.header), ("fields", \.fields), ("payload", \.payload)] {
        var longer = frames
        longer[keyPath: path].append(0)
        expectRefused(longer, "\(name) with a byte more")
      }
    }
  }

  @Test func `every flipped bit is refused`() {
    for frames in allFrames {
      for (name, path) in [("header", \Frames.header), ("fields", \.fields), ("payload", \.payload)] {
        for bit in 0..<frames[keyPath: path].count * 8 {
          var flipped = frames
          flipped[keyPath: path][bit / 8] ^= 1 << UInt8(bit % 8)
          expectRefused(flipped, "\(name) with bit \(bit) flipped")
        }
      }
    }
  }

  @Test func `frames of different messages do not mix`() {
    for (index, frames) in allFrames.enumerated() {
      for (otherIndex, other) in allFrames.enumerated()
      where index != otherIndex && (other.fields != frames.fields || other.payload != frames.payload) {
        var mixed = frames
        (mixed.fields, mixed.payload) = (other.fields, other.payload)
        expectRefused(mixed, "fields of sample \(otherIndex) behind the header of sample \(index)")
      }
    }
  }

  /// The checksums are right, so that the fields themselves are read.
  @Test func `random fields never trap`() {
    var random = RandomSequence(Philox4x64(key: [1, 2]))
    for _ in 0..<20_000 {
      let type = MessageType.allCases[Int(random.next(below: UInt64(MessageType.allCases.count)))]
      let fields = (0..<Int(random.next(below: 200))).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      _ = try? sealed(type, fields, payload: .empty)
    }
  }

  /// Samples with a few bytes changed get further into the fields than noise does.
  @Test func `changed fields under a right checksum never trap`() {
    var random = RandomSequence(Philox4x64(key: [3, 4]))
    let extremes: [UInt8] = [0, 1, 0x7F, 0x80, 0xFF]
    for message in Samples.messages {
      let original = message.encodeFields()
      guard !original.isEmpty else { continue }
      for _ in 0..<3_000 {
        var fields = original
        for _ in 0...random.next(below: 4) {
          let position = Int(random.next(below: UInt64(fields.count)))
          fields[position] = extremes[Int(random.next(below: UInt64(extremes.count)))]
        }
        if let (decoded, _) = try? sealed(message.type, fields, payload: message.payload) {
          #expect(decoded.type == message.type)
        }
      }
    }
  }

  @Test func `random headers never trap and are refused`() {
    var random = RandomSequence(Philox4x64(key: [5, 6]))
    for _ in 0..<20_000 {
      let header = (0..<Int(random.next(below: 80))).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      #expect(throws: CodecError.self) { try header.withUnsafeBytes { try Envelope(decoding: $0) } }
    }
  }

  @Test func `claimed lengths beyond the bounds are refused before anything is allocated`() {
    for (fields, payload) in [(UInt32.max, UInt32(0)), (0, UInt32.max), (1 << 18 + 1, 0), (0, 1 << 26 + 1)] {
      var envelope = Envelope(
        type: .push, run: RunID(1), membershipEpoch: MembershipEpoch(1), incarnation: Incarnation(1), step: 0,
        sequence: 0)
      envelope.fieldsLength = fields
      envelope.payloadLength = payload
      var header = [UInt8](repeating: 0, count: Envelope.byteCount)
      header.withUnsafeMutableBytes { envelope.encode(into: $0) }
      #expect(throws: CodecError.self) { try header.withUnsafeBytes { try Envelope(decoding: $0) } }
    }
  }

  @Test func `lists that claim more than there is are refused`() {
    let count = [UInt8](repeating: 0xFF, count: 4)
    #expect(throws: CodecError.self) { try sealed(.assignment, count, payload: .empty) }
    #expect(throws: CodecError.self) { try sealed(.start, count, payload: .empty) }
  }

  @Test func `a message without payload refuses one`() {
    #expect(throws: CodecError.self) { try sealed(.requestWork, [], payload: Samples.payload) }
  }

  /// Decodes fields behind an envelope whose lengths and checksum are right.
  @discardableResult
  private func sealed(_ type: MessageType, _ fields: [UInt8], payload: Payload) throws -> (Message, Envelope) {
    // A push's seal computes over any fields and its own payload.
    let carrier = Message.push(
      Message.Push(
        item: WorkItem(id: WorkItem.ID(0), step: 0, shards: ShardSet()), statistics: .zero, gradient: payload))
    var envelope = Envelope(
      type: type, run: RunID(1), membershipEpoch: MembershipEpoch(1), incarnation: Incarnation(1), step: 0,
      sequence: 0)
    carrier.seal(&envelope, fields: fields)
    envelope.type = type
    return (try fields.withUnsafeBytes { try Message(envelope, fields: $0, payload: payload) }, envelope)
  }
}
