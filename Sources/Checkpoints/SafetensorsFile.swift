import Diagnostics

/// A file in the safetensors format: named, shaped tensors that NumPy, PyTorch, JAX and Rust read without us.
///
/// Layout: a little-endian UInt64 N, N bytes of JSON header (padded with spaces to a multiple of 8), then the
/// elements of all tensors, row-major and little-endian, without holes or overlaps. What this type writes is
/// Float32; it reads headers with any element type of the format, and values of Float32 only.
/// Source: https://github.com/huggingface/safetensors, "Format" and `tensor.rs`, version 0.8.
public struct SafetensorsFile: Sendable, Equatable {
  /// A named array of Float32, row-major. The shape has the sizes, slowest index first; it is empty for a scalar.
  public typealias Tensor = (name: String, shape: [Int], values: [Float])

  /// What the header says of one tensor.
  public struct Entry: Sendable, Equatable {
    public var name: String
    /// "F32" and so on, as in the header.
    public var elementType: String
    public var shape: [Int]
    /// Where the elements lie in `buffer`.
    public var bytes: Range<Int>
  }

  /// The most bytes a header may have, by the format.
  public static let headerLimit = 100_000_000
  /// The largest file this reader accepts, 512 MiB: the largest model has 128 MiB, and its optimizer up to twice that.
  public static let fileLimit = 1 << 29

  public private(set) var metadata: [KeyValue]
  /// In the order of their bytes.
  public private(set) var entries: [Entry]
  /// The elements of all tensors.
  public private(set) var buffer: [UInt8]
}

extension SafetensorsFile {
  /// Lays the tensors out as the official writer does: larger element types first (here all are Float32), then
  /// by name.
  ///
  /// - Precondition: names differ, and every tensor has as many values as its shape says.
  public init(metadata: [KeyValue], tensors: [Tensor]) {
    self.init(metadata: metadata, entries: [], buffer: [])
    buffer.reserveCapacity(4 * tensors.reduce(0) { $0 + $1.values.count })
    for tensor in tensors.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
      precondition(tensor.values.count == tensor.shape.reduce(1, *), "\(tensor.name) does not fill its shape")
      let start = buffer.count
      buffer.append(littleEndian: tensor.values)
      entries.append(
        Entry(name: tensor.name, elementType: "F32", shape: tensor.shape, bytes: start..<buffer.count))
    }
  }

  /// The bytes of the file.
  public var encoded: [UInt8] {
    var header = Array(headerValue.compactText.utf8)
    // Float32 values that start on a multiple of 8 can be used straight from a memory map.
    header.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - header.count % 8) % 8))
    var bytes: [UInt8] = []
    bytes.reserveCapacity(8 + header.count + buffer.count)
    for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: header.count >> shift)) }
    bytes += header
    bytes += buffer
    return bytes
  }

  private var headerValue: JSONValue {
    var members: [JSONValue.Member] = []
    if !metadata.isEmpty {
      let texts = metadata.map { JSONValue.Member($0.key, .string($0.value)) }
      members.append(JSONValue.Member("__metadata__", .object(texts)))
    }
    for entry in entries {
      let description: JSONValue = [
        "dtype": .string(entry.elementType), "shape": .numbers(entry.shape),
        "data_offsets": .numbers([entry.bytes.lowerBound, entry.bytes.upperBound]),
      ]
      members.append(JSONValue.Member(entry.name, description))
    }
    return .object(members)
  }

  /// The text under `key` in the metadata.
  public func text(_ key: String) -> String? { metadata.first { $0.key == key }?.value }

  /// The values of a tensor of Float32.
  ///
  /// - Parameter path: the file, for errors.
  /// - Throws: `badData` when it is absent, has another element type, or holds a value that is not finite.
  public func finiteTensor(named name: String, path: String) throws(Failure) -> Tensor {
    guard let entry = entries.first(where: { $0.name == name }) else {
      let names = entries.map(\.name).joined(separator: ", ")
      throw Failure(
        .badData, "\(path): no tensor \"\(name)\"", found: names.isEmpty ? "no tensors" : names, expected: name)
    }
    guard entry.elementType == "F32" else {
      throw Failure(
        .badData, "\(path): tensor \"\(name)\" has the wrong element type", found: entry.elementType,
        expected: "F32", remedy: "In NumPy: array.astype(\"float32\")")
    }
    let values = [Float](littleEndian: buffer[entry.bytes])
    if let index = values.firstIndex(where: { !$0.isFinite }) {
      throw Failure(
        .badData, "\(path): element \(index) of tensor \"\(name)\" is not finite", found: "\(values[index])",
        expected: "a finite number")
    }
    return (name, entry.shape, values)
  }
}

// MARK: - Decoding

extension SafetensorsFile {
  /// Bits of one element, by the format's name of the type. Sub-byte types exist in files of other makers.
  private static let bitsOfElement: [String: Int] = [
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64,
    "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
  ]

  /// Reads and checks a whole file.
  ///
  /// - Parameter path: the file, for errors.
  /// - Throws: `badData`, with the byte offset, for a header that is too long, not JSON, ambiguous or not of
  ///   the format; for element counts that overflow; for holes, overlaps, or bytes no tensor covers.
  public init(decoding bytes: [UInt8], path: String) throws(Failure) {
    let header = try Self.headerRange(bytes, path: path)
    guard case .object(let members) = try JSONReader.parse(bytes[header], source: path, offset: 8) else {
      throw Failure(.badData, "\(path), byte 8: the header is not an object")
    }
    var metadata: [KeyValue] = []
    var entries: [Entry] = []
    for member in members {
      if member.name == "__metadata__" {
        metadata = try Self.metadata(member.value, path: path)
      } else {
        entries.append(try Self.entry(member, path: path))
      }
    }
    entries.sort { ($0.bytes.lowerBound, $0.bytes.upperBound) < ($1.bytes.lowerBound, $1.bytes.upperBound) }
    try Self.checkCoverage(entries, bufferStart: header.upperBound, fileEnd: bytes.count, path: path)
    self.init(metadata: metadata, entries: entries, buffer: Array(bytes[header.upperBound...]))
  }

  /// Where the JSON lies.
  private static func headerRange(_ bytes: [UInt8], path: String) throws(Failure) -> Range<Int> {
    guard bytes.count >= 8 else {
      throw Failure(
        .badData, "\(path) is not a safetensors file", found: bytes.isEmpty ? "an empty file" : "\(bytes.count) bytes",
        expected: "at least 8 bytes")
    }
    let length = bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= UInt64(headerLimit), length <= UInt64(bytes.count - 8) else {
      throw Failure(
        .badData, "\(path), byte 0: the header does not fit; truncated, or not a safetensors file",
        found: "a header of \(length) bytes", expected: "at most \(min(headerLimit, bytes.count - 8))")
    }
    guard length > 0, bytes[8] == UInt8(ascii: "{") else {
      throw Failure(.badData, "\(path), byte 8: not a safetensors header", expected: "'{'")
    }
    return 8..<8 + Int(length)
  }

  private static func metadata(_ value: JSONValue, path: String) throws(Failure) -> [KeyValue] {
    guard case .object(let members) = value else {
      throw Failure(.badData, "\(path): __metadata__ is not an object")
    }
    var metadata: [KeyValue] = []
    for member in members {
      guard case .string(let text) = member.value else {
        throw Failure(.badData, "\(path): __metadata__ \"\(member.name)\" is not a string")
      }
      metadata.append(KeyValue(member.name, text))
    }
    return metadata
  }

  private static func entry(_ member: JSONValue.Member, path: String) throws(Failure) -> Entry {
    let context = "\(path): tensor \"\(member.name)\""
    let fields = try JSONFields(member.value, context: context)
    try fields.requireExactly(["dtype", "shape", "data_offsets"])
    let elementType: String = try fields["dtype"]
    guard let bits = bitsOfElement[elementType] else {
      throw Failure(.badData, "\(context) has an unknown element type", found: elementType)
    }
    let shape: [Int] = try fields["shape"]
    let offsets: [Int] = try fields["data_offsets"]
    guard shape.allSatisfy({ $0 >= 0 }) else {
      throw Failure(.badData, "\(context) has a negative size", found: "\(shape)")
    }
    guard offsets.count == 2, 0 <= offsets[0], offsets[0] <= offsets[1] else {
      throw Failure(
        .badData, "\(context) has impossible data_offsets", found: "\(offsets)", expected: "[begin, end]")
    }
    guard let count = byteCount(shape, bits: bits), count == offsets[1] - offsets[0] else {
      throw Failure(
        .badData, "\(context): the shape and the offsets disagree",
        found: "\(offsets[1] - offsets[0]) bytes", expected: "those of \(shape) of \(elementType)")
    }
    return Entry(name: member.name, elementType: elementType, shape: shape, bytes: offsets[0]..<offsets[1])
  }

  /// Bytes of an array, or nil when the product overflows or is not a whole number of bytes.
  private static func byteCount(_ shape: [Int], bits: Int) -> Int? {
    var total = bits
    for size in shape {
      let (product, overflow) = total.multipliedReportingOverflow(by: size)
      if overflow { return nil }
      total = product
    }
    return total % 8 == 0 ? total / 8 : nil
  }

  /// Every byte of the buffer belongs to exactly one tensor.
  private static func checkCoverage(
    _ entries: [Entry], bufferStart: Int, fileEnd: Int, path: String
  ) throws(Failure) {
    var end = 0
    for entry in entries {
      guard entry.bytes.lowerBound == end else {
        throw Failure(
          .badData,
          "\(path), byte \(bufferStart + min(end, entry.bytes.lowerBound)): tensor \"\(entry.name)\" "
            + (entry.bytes.lowerBound > end ? "leaves a hole" : "overlaps another"),
          found: "offset \(entry.bytes.lowerBound)", expected: "offset \(end)")
      }
      end = entry.bytes.upperBound
    }
    guard end == fileEnd - bufferStart else {  // defence: tensor-end
      throw Failure(
        .badData,
        "\(path), byte \(min(bufferStart + end, fileEnd)): "
          + (end > fileEnd - bufferStart ? "the file is truncated" : "bytes that belong to no tensor"),
        found: "\(fileEnd) bytes", expected: "\(bufferStart.addingReportingOverflow(end).partialValue)")
    }
  }
}

extension [UInt8] {
  mutating func append(littleEndian values: [Float]) {
    // All at once: byte by byte it would be a third of what a checkpoint computes.
    values.map { $0.bitPattern.littleEndian }.withUnsafeBytes { append(contentsOf: $0) }
  }
}

extension [Float] {
  /// - Precondition: a whole number of values.
  init(littleEndian bytes: ArraySlice<UInt8>) {
    self = bytes.withUnsafeBytes { raw in
      [Float](unsafeUninitializedCapacity: raw.count / 4) { values, count in
        count = raw.count / 4
        for index in 0..<count {
          // The slice starts wherever its tensor does, so the load must not assume alignment.
          let bits = raw.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
          values.initializeElement(at: index, to: Float(bitPattern: UInt32(littleEndian: bits)))
        }
      }
    }
  }
}
