import Diagnostics
import JSONText

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
    var metadata: [Metadata] = []
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

  private static func metadata(_ value: JSONValue, path: String) throws(Failure) -> [Metadata] {
    guard case .object(let members) = value else {
      throw Failure(.badData, "\(path): __metadata__ is not an object")
    }
    var metadata: [Metadata] = []
    for member in members {
      guard case .string(let text) = member.value else {
        throw Failure(.badData, "\(path): __metadata__ \"\(member.name)\" is not a string")
      }
      metadata.append(Metadata(member.name, text))
    }
    return metadata
  }

  private static func entry(_ member: JSONValue.Member, path: String) throws(Failure) -> Entry {
    let context = "\(path): tensor \"\(member.name)\""
    let fields = try JSONFields(member.value, context: context)
    try fields.requireExactly(["dtype", "shape", "data_offsets"])
    let elementType = try fields.string("dtype")
    guard let bits = bitsOfElement[elementType] else {
      throw Failure(.badData, "\(context) has an unknown element type", found: elementType)
    }
    let shape = try fields.integers("shape", as: Int.self)
    let offsets = try fields.integers("data_offsets", as: Int.self)
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
