/// A JSON text under construction: objects keep the order of their members, and what JSON cannot say becomes null.
///
/// Written by hand because it is on the path of every log line and metric: no formatter, no Foundation, one pass.
public enum JSONValue: Sendable, Equatable {
  case null
  case boolean(Bool)
  case integer(Int64)
  case unsigned(UInt64)
  /// Not finite is written as null.
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([Member])

  /// One member of an object.
  public struct Member: Sendable, Equatable {
    public let key: String
    public let value: JSONValue

    public init(_ key: String, _ value: JSONValue) {
      self.key = key
      self.value = value
    }
  }

  /// The number, or null where there is none.
  public static func number(_ number: Double?) -> JSONValue { number.map(JSONValue.number) ?? .null }

  /// The string, or null where there is none.
  public static func string(_ string: String?) -> JSONValue { string.map(JSONValue.string) ?? .null }

  /// On one line, without a line feed at the end.
  public var line: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(256)
    write(to: &bytes)
    return bytes
  }

  /// Over several lines, for files that people read; ends with a line feed.
  public var indented: String {
    var bytes: [UInt8] = []
    write(to: &bytes, depth: 0)
    bytes.append(UInt8(ascii: "\n"))
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Appends the text; on one line, or with `depth` given, indented by two blanks for each level below it.
  func write(to bytes: inout [UInt8], depth: Int? = nil) {
    switch self {
    case .null: bytes.append(contentsOf: "null".utf8)
    case .boolean(let flag): bytes.append(contentsOf: (flag ? "true" : "false").utf8)
    case .integer(let integer): bytes.append(contentsOf: String(integer).utf8)
    case .unsigned(let integer): bytes.append(contentsOf: String(integer).utf8)
    case .number(let number): Self.write(number, to: &bytes)
    case .string(let string): Self.write(string, to: &bytes)
    case .array(let elements):
      Self.write(elements, between: "[", and: "]", depth: depth, to: &bytes) { element, depth, bytes in
        element.write(to: &bytes, depth: depth)
      }
    case .object(let members):
      Self.write(members, between: "{", and: "}", depth: depth, to: &bytes) { member, depth, bytes in
        Self.write(member.key, to: &bytes)
        bytes.append(contentsOf: (depth == nil ? ":" : ": ").utf8)
        member.value.write(to: &bytes, depth: depth)
      }
    }
  }

  private static func write<Element>(
    _ elements: [Element], between opening: Unicode.Scalar, and closing: Unicode.Scalar, depth: Int?,
    to bytes: inout [UInt8], each: (Element, Int?, inout [UInt8]) -> Void
  ) {
    bytes.append(UInt8(ascii: opening))
    for (index, element) in elements.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      if let depth { breakLine(depth + 1, &bytes) }
      each(element, depth.map { $0 + 1 }, &bytes)
    }
    if let depth, !elements.isEmpty { breakLine(depth, &bytes) }
    bytes.append(UInt8(ascii: closing))
  }

  private static func breakLine(_ depth: Int, _ bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\n"))
    bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: 2 * depth))
  }

  /// The shortest decimal that reads back as the same number; whole numbers without a fraction.
  private static func write(_ number: Double, to bytes: inout [UInt8]) {
    guard number.isFinite else { return bytes.append(contentsOf: "null".utf8) }
    let text = number.description
    bytes.append(contentsOf: text.hasSuffix(".0") ? text.utf8.dropLast(2) : text.utf8[...])
  }

  private static func write(_ string: String, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    for byte in string.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(contentsOf: [UInt8(ascii: "\\"), byte])
      case UInt8(ascii: "\n"): bytes.append(contentsOf: "\\n".utf8)
      case UInt8(ascii: "\t"): bytes.append(contentsOf: "\\t".utf8)
      case 0..<0x20, 0x7F:
        bytes.append(contentsOf: "\\u00".utf8)
        bytes.append(contentsOf: [hexadecimal[Int(byte >> 4)], hexadecimal[Int(byte & 15)]])
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private static let hexadecimal = Array("0123456789abcdef".utf8)
}
