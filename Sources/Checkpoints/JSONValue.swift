/// A JSON document whose objects keep their order and whose numbers keep their digits.
///
/// Foundation's decoders drop a duplicate key and round a large integer without a word, and the headers and
/// manifests here must not be ambiguous; hence this small strict type. Doubles that are not finite are written
/// as the strings "inf", "-inf" and "nan", which JSON numbers cannot say.
package enum JSONValue: Sendable, Equatable {
  case null
  case boolean(Bool)
  /// The digits as they stand in the document.
  case number(String)
  case string(String)
  case array([JSONValue])
  case object([Member])

  package struct Member: Sendable, Equatable {
    package var name: String
    package var value: JSONValue

    package init(_ name: String, _ value: JSONValue) {
      self.name = name
      self.value = value
    }
  }

  package static func number(_ value: some FixedWidthInteger) -> JSONValue { .number(String(value)) }

  /// The shortest digits that read back as the same bits.
  package static func number(_ value: Double) -> JSONValue {
    value.isFinite ? .number(value.description) : .string(value.description)
  }

  package static func number(orNull value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }

  package static func numbers(_ values: some Sequence<some FixedWidthInteger>) -> JSONValue {
    .array(values.map { .number($0) })
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
  /// On one line, without spaces.
  package var compactText: String {
    var text = ""
    append(to: &text, indentation: nil)
    return text
  }

  /// Two spaces a level, one member a line, arrays of plain values on one line, a line feed at the end.
  package var indentedText: String {
    var text = ""
    append(to: &text, indentation: 0)
    return text + "\n"
  }

  /// For people: a string without quotes, a list of them with commas.
  var plainText: String {
    switch self {
    case .string(let text): text
    case .array(let values): values.map(\.plainText).joined(separator: ", ")
    case .null: "-"
    default: compactText
    }
  }

  private func append(to text: inout String, indentation: Int?) {
    switch self {
    case .null: text += "null"
    case .boolean(let value): text += value ? "true" : "false"
    case .number(let digits): text += digits
    case .string(let value): Self.appendQuoted(value, to: &text)
    case .array(let values):
      let breaksLines = values.contains { $0.isContainer }
      Self.appendList(values, "[", "]", to: &text, indentation: breaksLines ? indentation : nil) {
        (value: JSONValue, text: inout String, inner: Int?) in value.append(to: &text, indentation: inner)
      }
    case .object(let members):
      Self.appendList(members, "{", "}", to: &text, indentation: indentation) {
        (member: Member, text: inout String, inner: Int?) in
        Self.appendQuoted(member.name, to: &text)
        text += inner == nil ? ":" : ": "
        member.value.append(to: &text, indentation: inner)
      }
    }
  }

  private var isContainer: Bool {
    switch self {
    case .array, .object: true
    default: false
    }
  }

  private static func appendList<Element>(
    _ elements: [Element], _ opening: String, _ closing: String, to text: inout String, indentation: Int?,
    _ append: (Element, inout String, Int?) -> Void
  ) {
    text += opening
    for (index, element) in elements.enumerated() {
      if index > 0 { text += "," }
      if let indentation { text += "\n" + String(repeating: " ", count: indentation + 2) }
      append(element, &text, indentation.map { $0 + 2 })
    }
    if let indentation, !elements.isEmpty { text += "\n" + String(repeating: " ", count: indentation) }
    text += closing
  }

  private static func appendQuoted(_ value: String, to text: inout String) {
    text += "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case "\u{0}"..<" ":
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
