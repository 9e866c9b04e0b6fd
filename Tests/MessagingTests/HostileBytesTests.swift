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
    let longest = (fields: UInt32(Envelope.maximumFieldsLength), payload: UInt32(Envelope.maximumPayloadLength))
    for (fields, payload) in [(UInt32.max, 0), (0, UInt32.max), (longest.fields + 1, 0), (0, longest.payload + 1)] {
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

  /// Behind the byte of `sharesMemory`: classes, pixel values, and the sizes of the hidden layers behind their number.
  @Test(arguments: [0, 1, 2, 7, 8, 255]) func `sizes of layers whose products overflow are refused`(layers: UInt8) {
    let welcome = Message.welcome(Samples.welcome([ServerEndpoint(range: 0..<21_611, endpoint: "")])).encodeFields()
    for size in [0, 1, 1 << 20, 1 << 20 + 1, 1 << 31, .max] as [UInt32] {
      for isWide in [false, true] {
        let inputs: [UInt32] = (isWide ? [size, size] : [10, 3_072]) + Array(repeating: size, count: Int(layers))
        var fields = [welcome[0]]
        for (index, input) in inputs.enumerated() {
          if index == 2 { fields.append(layers) }
          withUnsafeBytes(of: input.littleEndian) { fields.append(contentsOf: $0) }
        }
        if layers == 0 { fields.append(0) }
        fields += welcome[(1 + 8 + 1 + 8)...]
        #expect(throws: CodecError.self, "\(size)") { try sealed(.welcome, fields, payload: .empty) }
      }
    }
  }

  @Test func `scales and activations beyond their ranges are refused`() {
    for exponent in [-128, -101, 101, 127] as [Int8] {
      let fields = [UInt8](repeating: 0, count: 8) + [0, 1, UInt8(bitPattern: exponent)]
      #expect(throws: CodecError.self) { try sealed(.work, fields, payload: Samples.payload) }
    }
    for fields in [[17] + [UInt8](repeating: 1, count: 17), [1, 0], [2, 1, 0]] as [[UInt8]] {
      #expect(throws: CodecError.self, "\(fields)") {
        try sealed(.work, [UInt8](repeating: 0, count: 9) + fields, payload: Samples.payload)
      }
    }
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
