/// A JSON document whose objects keep their order and whose numbers keep their digits.
///
/// Foundation's coders drop a duplicate key, round a large integer and choose the order of keys without a word, and
/// the manifests, results and logs here must not be ambiguous; hence this small strict type.
package enum JSONValue: Sendable, Equatable {
  case null
  case boolean(Bool)
  /// The digits as they stand in the document.
  case number(String)
  case string(String)
  case array([JSONValue])
  case object([Member])

  /// One member of an object.
  package struct Member: Sendable, Equatable {
    package var name: String
    package var value: JSONValue

    package init(_ name: String, _ value: JSONValue) {
      self.name = name
      self.value = value
    }
  }

  package static func number(_ value: some FixedWidthInteger) -> JSONValue { .number(String(value)) }

  /// A measurement: the shortest digits that read back as the same bits, whole numbers without a fraction; null for what
  /// was not measured or is not finite, which JSON numbers cannot say.
  package static func measurement(_ value: Double?) -> JSONValue {
    guard let value, value.isFinite else { return .null }
    let digits = value.description
    return .number(digits.hasSuffix(".0") ? String(digits.dropLast(2)) : digits)
  }

  /// A number that reads back as the same bits, whatever it is: what is not finite is written as the
  /// strings "inf", "-inf" and "nan", and nil as null.
  package static func exact(_ value: Double?) -> JSONValue {
    value.map { $0.isFinite ? .number($0.description) : .string($0.description) } ?? .null
  }

  package static func numbers(_ values: some Sequence<some FixedWidthInteger>) -> JSONValue {
    .array(values.map { .number($0) })
  }

  package static func strings(_ values: some Sequence<String>) -> JSONValue { .array(values.map { .string($0) }) }
}

// MARK: - Making

extension JSONValue {
  /// A report as JSON, so that it need not list its properties a second time: a structure is an object of its stored
  /// properties in their order, with their names in snake case; a floating-point number is a measurement, nil is null, an
  /// enumeration its raw value, JSON itself, and a type that describes itself (a `Failure`) its description.
  package init(reflecting value: Any) {
    let mirror = Mirror(reflecting: value)
    switch value {
    case let json as JSONValue: self = json
    case _ where mirror.displayStyle == .optional:
      self = mirror.children.first.map { JSONValue(reflecting: $0.value) } ?? .null
    case _ where mirror.displayStyle == .collection:
      self = .array(mirror.children.map { JSONValue(reflecting: $0.value) })
    case let flag as Bool: self = .boolean(flag)
    case let integer as any FixedWidthInteger: self = .number("\(integer)")
    case let number as Double: self = .measurement(number)
    case let number as Float: self = .measurement(Double(number))
    case let choice as any RawRepresentable<String>: self = .string(choice.rawValue)
    case let text as any CustomStringConvertible: self = .string(text.description)
    default:
      self = .object(
        mirror.children.map { Member(($0.label ?? "").snakeCased, JSONValue(reflecting: $0.value)) })
    }
  }
}

extension String {
  /// "weights_sha256" for "weightsSHA256".
  fileprivate var snakeCased: String {
    var (name, followsSmall) = ("", false)
    for character in self {
      if character.isUppercase, followsSmall { name.append("_") }
      name += character.lowercased()
      followsSmall = !character.isUppercase
    }
    return name
  }
}

/// An object reads as one: `["step": .number(12), "run": .string("a")]`.
extension JSONValue: ExpressibleByDictionaryLiteral {
  package init(dictionaryLiteral members: (String, JSONValue)...) {
    self = .object(members.map { Member($0.0, $0.1) })
  }
}

// MARK: - Writing

extension JSONValue {
  /// On one line, without spaces and without a line feed.
  package var compactText: String { String(decoding: compactBytes, as: UTF8.self) }

  /// `compactText` as the bytes of a file.
  package var compactBytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(256)
    append(to: &bytes, indentation: nil)
    return bytes
  }

  /// Two spaces a level, one member a line, arrays of plain values on one line, a line feed at the end.
  package var indentedText: String {
    var bytes: [UInt8] = []
    append(to: &bytes, indentation: 0)
    bytes.append(UInt8(ascii: "\n"))
    return String(decoding: bytes, as: UTF8.self)
  }

  private func append(to bytes: inout [UInt8], indentation: Int?) {
    switch self {
    case .null: bytes.append(contentsOf: "null".utf8)
    case .boolean(let value): bytes.append(contentsOf: (value ? "true" : "false").utf8)
    case .number(let digits): bytes.append(contentsOf: digits.utf8)
    case .string(let value): Self.appendQuoted(value, to: &bytes)
    case .array(let values):
      let breaksLines = values.contains { $0.isContainer }
      Self.append(values.map { (nil, $0) }, "[", "]", to: &bytes, indentation: breaksLines ? indentation : nil)
    case .object(let members):
      Self.append(members.map { ($0.name, $0.value) }, "{", "}", to: &bytes, indentation: indentation)
    }
  }

  private var isContainer: Bool {
    switch self {
    case .array, .object: true
    default: false
    }
  }

  private static func append(
    _ items: [(name: String?, value: JSONValue)], _ opening: Unicode.Scalar, _ closing: Unicode.Scalar,
    to bytes: inout [UInt8], indentation: Int?
  ) {
    bytes.append(UInt8(ascii: opening))
    for (index, item) in items.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      if let indentation { breakLine(indentation + 2, &bytes) }
      if let name = item.name {
        appendQuoted(name, to: &bytes)
        bytes.append(contentsOf: (indentation == nil ? ":" : ": ").utf8)
      }
      item.value.append(to: &bytes, indentation: indentation.map { $0 + 2 })
    }
    if let indentation, !items.isEmpty { breakLine(indentation, &bytes) }
    bytes.append(UInt8(ascii: closing))
  }

  private static func breakLine(_ indentation: Int, _ bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\n"))
    bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: indentation))
  }

  private static func appendQuoted(_ value: String, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    for byte in value.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(contentsOf: [UInt8(ascii: "\\"), byte])
      case UInt8(ascii: "\n"): bytes.append(contentsOf: "\\n".utf8)
      case UInt8(ascii: "\r"): bytes.append(contentsOf: "\\r".utf8)
      case UInt8(ascii: "\t"): bytes.append(contentsOf: "\\t".utf8)
      case 0..<0x20: bytes.append(contentsOf: "\\u00\(hexadecimal(byte))".utf8)
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }
}
