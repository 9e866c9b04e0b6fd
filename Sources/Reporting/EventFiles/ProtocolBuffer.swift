/// A message of Protocol Buffers: fields, one after the other, each a key and a value (protobuf.dev, "Encoding"). What
/// TensorBoard reads has some twenty fields, which a code generator would be heavier than.
package struct ProtocolBuffer: Sendable {
  package private(set) var bytes: [UInt8] = []

  package init() {}

  private enum WireType: UInt64 {
    case varint, eightBytes, lengthPrefixed
    case fourBytes = 5
  }

  private mutating func appendVarint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private mutating func appendKey(_ field: UInt64, _ type: WireType) { appendVarint(field << 3 | type.rawValue) }

  package mutating func integer(_ field: UInt64, _ value: UInt64) {
    appendKey(field, .varint)
    appendVarint(value)
  }

  package mutating func float(_ field: UInt64, _ value: Float) {
    appendKey(field, .fourBytes)
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
  }

  package mutating func double(_ field: UInt64, _ value: Double) {
    appendKey(field, .eightBytes)
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
  }

  package mutating func data(_ field: UInt64, _ value: [UInt8]) {
    appendKey(field, .lengthPrefixed)
    appendVarint(UInt64(value.count))
    bytes += value
  }

  package mutating func string(_ field: UInt64, _ value: String) { data(field, Array(value.utf8)) }

  /// A packed repeated field.
  package mutating func doubles(_ field: UInt64, _ values: [Double]) {
    data(field, values.flatMap { withUnsafeBytes(of: $0.bitPattern.littleEndian, Array.init) })
  }

  package mutating func message(_ field: UInt64, _ make: (inout ProtocolBuffer) -> Void) {
    var message = ProtocolBuffer()
    make(&message)
    data(field, message.bytes)
  }
}

/// The fields of a message, read one after the other. Ends at a field that is torn or of an unknown type.
struct ProtocolBufferFields: Sequence, IteratorProtocol {
  enum Value {
    case integer(UInt64)
    case bytes(ArraySlice<UInt8>)
    /// A number of four or eight bytes.
    case number
  }

  private var rest: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

  mutating func next() -> (field: UInt64, value: Value)? {
    guard let key = varint() else { return nil }
    switch key & 7 {
    case 0: return varint().map { (key >> 3, .integer($0)) }
    case 1: return take(8).map { _ in (key >> 3, .number) }
    case 2: return varint().flatMap { Int(exactly: $0) }.flatMap { take($0) }.map { (key >> 3, .bytes($0)) }
    case 5: return take(4).map { _ in (key >> 3, .number) }
    default: return nil
    }
  }

  private mutating func varint() -> UInt64? {
    var value: UInt64 = 0
    for place in 0..<10 {
      guard let byte = rest.popFirst() else { return nil }
      value |= UInt64(byte & 0x7f) << UInt64(7 * place)
      if byte < 0x80 { return value }
    }
    return nil
  }

  private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
    guard count <= rest.count else { return nil }
    defer { rest = rest.dropFirst(count) }
    return rest.prefix(count)
  }
}
