/// Why bytes from a peer were not understood. The message they came in is dropped and counted.
public enum CodecError: Error, Sendable, Equatable {
  /// A frame is shorter or longer than its header says, or a field runs past its end.
  case wrongLength(found: Int, expected: Int)
  case wrongMagic(UInt32)
  case unsupportedVersion(UInt16)
  case unknownType(UInt16)
  case wrongHeaderChecksum
  case wrongBodyChecksum
  /// A field holds a value outside of its range.
  case invalidField(String)
}

/// Appends little-endian fields. The sizes of all our messages are small and known, so one array will do.
public struct ByteWriter {
  public private(set) var bytes: [UInt8] = []

  public init() {}

  /// Starts over in the same memory.
  public mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

  public mutating func write<Value: FixedWidthInteger>(_ value: Value) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  public mutating func write(_ value: Float) { write(value.bitPattern) }
  public mutating func write(_ value: Double) { write(value.bitPattern) }
  public mutating func write(_ value: Bool) { write(UInt8(value ? 1 : 0)) }

  /// UTF-8 with a 16-bit length. Text of more than `limit` bytes is cut between two characters: the reader refuses
  /// longer ones, and it is only shown to people.
  public mutating func write(_ text: String, limit: Int = 4096) {
    let utf8 = Array(text.utf8.prefix(limit + 1))
    var count = min(utf8.count, limit)
    while count < utf8.count, count > 0, utf8[count] & 0xC0 == 0x80 { count -= 1 }
    write(UInt16(count))
    bytes.append(contentsOf: utf8[..<count])
  }

  /// A 32-bit count, then the elements.
  public mutating func write(_ values: [UInt64]) {
    write(UInt32(values.count))
    for value in values { write(value) }
  }
}

/// Reads little-endian fields and never past the end; every failure is a `CodecError`.
public struct ByteReader {
  private let bytes: UnsafeRawBufferPointer
  private var offset = 0

  public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  public mutating func read<Value: FixedWidthInteger & BitwiseCopyable>(
    _ type: Value.Type = Value.self
  ) throws(CodecError) -> Value {
    let size = MemoryLayout<Value>.size
    try require(size)
    defer { offset += size }
    return Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Value.self))
  }

  public mutating func readFloat() throws(CodecError) -> Float { Float(bitPattern: try read()) }
  public mutating func readDouble() throws(CodecError) -> Double { Double(bitPattern: try read()) }

  public mutating func readBool() throws(CodecError) -> Bool {
    switch try read(UInt8.self) {
    case 0: false
    case 1: true
    default: throw .invalidField("boolean")
    }
  }

  public mutating func readString(limit: Int = 4096) throws(CodecError) -> String {
    let count = Int(try read(UInt16.self))
    guard count <= limit else { throw .invalidField("string of \(count) bytes") }
    try require(count)
    defer { offset += count }
    guard let text = String(validating: bytes[offset..<offset + count], as: UTF8.self) else {
      throw .invalidField("string that is not UTF-8")
    }
    return text
  }

  /// An array with a 32-bit count of at most `limit`, checked before anything is allocated.
  public mutating func readUInt64s(limit: Int) throws(CodecError) -> [UInt64] {
    let count = Int(try read(UInt32.self))
    guard count <= limit else { throw .invalidField("list of \(count)") }
    try require(count * 8)
    var values: [UInt64] = []
    values.reserveCapacity(count)
    for _ in 0..<count { values.append(try read()) }
    return values
  }

  /// Every byte must have been read: bytes left over belong to another format.
  public func finish() throws(CodecError) {
    guard offset == bytes.count else {
      throw .wrongLength(found: bytes.count, expected: offset)
    }
  }

  private func require(_ count: Int) throws(CodecError) {
    guard bytes.count - offset >= count else {
      throw .wrongLength(found: bytes.count, expected: offset + count)
    }
  }
}
