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

/// A structure of fields. `code` lists them once, in the order of their bytes, for both directions: a writer reads the
/// fields, and a reader sets them.
protocol Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure)
}

/// Writes or reads little-endian fields.
protocol FieldCoder {
  associatedtype Failure: Error
  mutating func code<Value: FixedWidthInteger & BitwiseCopyable>(_ value: inout Value) throws(Failure)
  /// UTF-8 with a 16-bit length of at most `limit`. Longer text is written in part: it is only shown to people.
  mutating func code(_ text: inout String, limit: Int) throws(Failure)
  /// A reader throws unless the field it has read has an allowed value.
  func require(_ condition: @autoclosure () -> Bool, _ name: @autoclosure () -> String) throws(Failure)
}

extension FieldCoder {
  mutating func code(_ value: inout Float) throws(Failure) {
    var bits = value.bitPattern
    try code(&bits)
    value = Float(bitPattern: bits)
  }

  mutating func code(_ value: inout Double) throws(Failure) {
    var bits = value.bitPattern
    try code(&bits)
    value = Double(bitPattern: bits)
  }

  /// In 32 bits: a value of 0 ... `UInt32.max`.
  mutating func code(_ value: inout Int) throws(Failure) {
    var number = UInt32(value)
    try code(&number)
    value = Int(number)
  }

  /// In a byte, 0 or 1.
  mutating func code(_ value: inout Bool) throws(Failure) {
    var byte: UInt8 = value ? 1 : 0
    try code(&byte)
    try require(byte <= 1, "boolean")
    value = byte == 1
  }

  mutating func code<Value: RawRepresentable>(_ value: inout Value, _ name: String) throws(Failure)
  where Value.RawValue: FixedWidthInteger & BitwiseCopyable {
    var raw = value.rawValue
    try code(&raw)
    let found = Value(rawValue: raw)
    try require(found != nil, name)
    if let found { value = found }
  }

  /// A 32-bit count of at most `limit`, then the elements.
  /// - Parameter blank: what an element is read into.
  mutating func code<Element: Coded>(
    _ list: inout [Element], limit: Int, blank: Element, _ name: String = "list"
  ) throws(Failure) {
    var count = list.count
    try code(&count)
    try require(count <= limit, "\(name) of \(count)")
    if list.count > count { list.removeSubrange(count...) }
    for index in 0..<count {
      if index == list.count { list.append(blank) }
      try list[index].code(with: &self)
    }
  }
}

extension UInt64: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) { try coder.code(&self) }
}

/// Appends fields. The sizes of all messages are small and known, so one array will do.
public struct ByteWriter: FieldCoder {
  /// Longer than what was written: a field is stored in place, which costs a third of an append to an array.
  private var memory = [UInt8](repeating: 0, count: 256)
  public private(set) var count = 0

  public init() {}

  public var bytes: [UInt8] { Array(memory[..<count]) }

  public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try memory.withUnsafeBytes { try body(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
  }

  /// Starts over in the same memory.
  public mutating func removeAll() { count = 0 }

  private mutating func store(_ size: Int, _ body: (UnsafeMutableRawBufferPointer, Int) -> Void) {
    if memory.count - count < size { memory += repeatElement(0, count: max(size, memory.count)) }
    let offset = count
    memory.withUnsafeMutableBytes { body($0, offset) }
    count += size
  }

  mutating func code<Value: FixedWidthInteger & BitwiseCopyable>(_ value: inout Value) throws(Never) {
    let bits = value.littleEndian
    store(MemoryLayout<Value>.size) { $0.storeBytes(of: bits, toByteOffset: $1, as: Value.self) }
  }

  /// Cuts text that is too long between two characters.
  mutating func code(_ text: inout String, limit: Int) throws(Never) {
    let utf8 = Array(text.utf8.prefix(limit + 1))
    var count = min(utf8.count, limit)
    while count < utf8.count, count > 0, utf8[count] & 0xC0 == 0x80 { count -= 1 }
    var length = UInt16(count)
    code(&length)
    store(count) { UnsafeMutableRawBufferPointer(rebasing: $0[$1...]).copyBytes(from: utf8[..<count]) }
  }

  @inline(__always)
  func require(_ condition: @autoclosure () -> Bool, _ name: @autoclosure () -> String) throws(Never) {}
}

/// Reads fields and never past the end; every failure is a `CodecError`.
struct ByteReader: FieldCoder {
  private let bytes: UnsafeRawBufferPointer
  private var offset = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// A structure with the fields that were read.
  /// - Parameter blank: holds what does not travel as a field.
  mutating func read<Value: Coded>(_ blank: Value) throws(CodecError) -> Value {
    var value = blank
    try value.code(with: &self)
    return value
  }

  mutating func code<Value: FixedWidthInteger & BitwiseCopyable>(_ value: inout Value) throws(CodecError) {
    let start = try advance(MemoryLayout<Value>.size)
    value = Value(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: Value.self))
  }

  mutating func code(_ text: inout String, limit: Int) throws(CodecError) {
    var count: UInt16 = 0
    try code(&count)
    try require(count <= limit, "string of \(count) bytes")
    let start = try advance(Int(count))
    guard let found = String(validating: bytes[start..<offset], as: UTF8.self) else {
      throw .invalidField("string that is not UTF-8")
    }
    text = found
  }

  @inline(__always)
  func require(_ condition: @autoclosure () -> Bool, _ name: @autoclosure () -> String) throws(CodecError) {
    guard condition() else { throw .invalidField(name()) }
  }

  /// Every byte must have been read: bytes left over belong to another format.
  func finish() throws(CodecError) {
    guard offset == bytes.count else { throw .wrongLength(found: bytes.count, expected: offset) }
  }

  /// - Returns: the offset of the next `count` bytes.
  private mutating func advance(_ count: Int) throws(CodecError) -> Int {
    guard bytes.count - offset >= count else { throw .wrongLength(found: bytes.count, expected: offset + count) }
    offset += count
    return offset - count
  }
}
