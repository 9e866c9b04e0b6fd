/// A strict reader of RFC 8259: no duplicate keys, no trailing bytes, bounded depth, bounded digits, valid
/// UTF-8. Every error names the file and the byte offset in it.
package struct JSONReader {
  /// Nothing of ours nests deeper than five; a hostile file must not exhaust the stack.
  package static let depthLimit = 16
  /// The shortest exact decimal of a Double has at most 24 characters.
  package static let digitLimit = 64

  private let bytes: ArraySlice<UInt8>
  private let source: String
  private let firstOffset: Int
  private var position: Int

  /// Reads one document that fills `bytes`, white space around it aside.
  ///
  /// - Parameters:
  ///   - source: the file, for errors.
  ///   - offset: where `bytes` starts in that file, for errors.
  package static func parse(
    _ bytes: ArraySlice<UInt8>, source: String, offset: Int = 0
  ) throws(Failure) -> JSONValue {
    var reader = JSONReader(bytes: bytes, source: source, offset: offset)
    let value = try reader.value(depth: 0)
    reader.skipWhiteSpace()
    if let byte = reader.current { throw reader.unexpected(byte, expected: "the end of the document") }
    return value
  }

  private init(bytes: ArraySlice<UInt8>, source: String, offset: Int) {
    self.bytes = bytes
    self.source = source
    self.firstOffset = offset - bytes.startIndex
    self.position = bytes.startIndex
  }

  private var current: UInt8? {
    guard position < bytes.endIndex else { return nil }  // defence: json-end
    return bytes[position]
  }

  private func failure(_ message: String, found: String? = nil, expected: String? = nil) -> Failure {
    Failure(
      .badData, "\(source), byte \(position + firstOffset): \(message)", found: found, expected: expected)
  }

  private func unexpected(_ byte: UInt8?, expected: String) -> Failure {
    let found = byte.map { (0x21...0x7e).contains($0) ? "'\(Character(Unicode.Scalar($0)))'" : "byte \($0)" }
    return failure("not valid JSON", found: found ?? "the end", expected: expected)
  }

  private mutating func skipWhiteSpace() {
    while let byte = current, byte == 0x20 || (0x09...0x0a).contains(byte) || byte == 0x0d { position += 1 }
  }

  private mutating func take(_ character: Unicode.Scalar) throws(Failure) {
    guard takes(character) else { throw unexpected(current, expected: "'\(character)'") }
  }

  /// Steps over `character` if it comes next.
  private mutating func takes(_ character: Unicode.Scalar) -> Bool {
    skipWhiteSpace()
    guard current == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func value(depth: Int) throws(Failure) -> JSONValue {
    skipWhiteSpace()
    guard depth < Self.depthLimit else {
      throw failure("nested too deeply", expected: "at most \(Self.depthLimit) levels")
    }
    switch current {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case let byte? where byte == UInt8(ascii: "-") || Self.isDigit(byte): return try number()
    case UInt8(ascii: "t"): return try literal("true", .boolean(true))
    case UInt8(ascii: "f"): return try literal("false", .boolean(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    default: throw unexpected(current, expected: "a value")
    }
  }

  private mutating func object(depth: Int) throws(Failure) -> JSONValue {
    try take("{")
    var members: [JSONValue.Member] = []
    var names: Set<String> = []
    if takes("}") { return .object(members) }
    repeat {
      skipWhiteSpace()
      let start = position
      let name = try string()
      guard names.insert(name).inserted else {
        position = start
        throw failure("the key \"\(name)\" stands twice in one object")
      }
      try take(":")
      members.append(JSONValue.Member(name, try value(depth: depth + 1)))
    } while takes(",")
    try take("}")
    return .object(members)
  }

  private mutating func array(depth: Int) throws(Failure) -> JSONValue {
    try take("[")
    var values: [JSONValue] = []
    if takes("]") { return .array(values) }
    repeat { values.append(try value(depth: depth + 1)) } while takes(",")
    try take("]")
    return .array(values)
  }

  private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(Failure) -> JSONValue {
    for expected in text.description.utf8 {
      guard current == expected else { throw unexpected(current, expected: text.description) }
      position += 1
    }
    return value
  }

  private mutating func number() throws(Failure) -> JSONValue {
    let start = position
    if current == UInt8(ascii: "-") { position += 1 }
    if current == UInt8(ascii: "0") { position += 1 } else { try digits() }
    if current == UInt8(ascii: ".") {
      position += 1
      try digits()
    }
    if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
      position += 1
      if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
      try digits()
    }
    guard position - start <= Self.digitLimit else {
      throw failure(
        "number too long", found: "\(position - start) characters", expected: "at most \(Self.digitLimit)")
    }
    return .number(String(decoding: bytes[start..<position], as: UTF8.self))
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

  private mutating func digits() throws(Failure) {
    let start = position
    while let byte = current, Self.isDigit(byte) { position += 1 }
    if position == start { throw unexpected(current, expected: "a digit") }
  }

  private mutating func string() throws(Failure) -> String {
    guard current == UInt8(ascii: "\"") else { throw unexpected(current, expected: "'\"'") }
    position += 1
    // Nearly every string is all plain; one with an escape is put together byte by byte from there on.
    let start = position
    while let byte = current, byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") { position += 1 }
    var content = bytes[start..<position]
    while let byte = current, byte != UInt8(ascii: "\"") {
      guard byte >= 0x20 else { throw unexpected(byte, expected: "no control character in a string") }
      if byte == UInt8(ascii: "\\") {
        try escape(into: &content)
      } else {
        content.append(byte)
        position += 1
      }
    }
    guard current != nil else { throw unexpected(nil, expected: "'\"'") }
    guard let text = String(validating: content, as: UTF8.self) else {
      throw failure("the string that ends here is not valid UTF-8")
    }
    position += 1
    return text
  }

  private mutating func escape(into content: inout ArraySlice<UInt8>) throws(Failure) {
    position += 1
    let byte = current
    position += byte == nil ? 0 : 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(byte ?? 0)
    case UInt8(ascii: "b"): content.append(0x08)
    case UInt8(ascii: "f"): content.append(0x0c)
    case UInt8(ascii: "n"): content.append(0x0a)
    case UInt8(ascii: "r"): content.append(0x0d)
    case UInt8(ascii: "t"): content.append(0x09)
    case UInt8(ascii: "u"): try content.append(contentsOf: String(Character(unicodeEscape())).utf8)
    default: throw unexpected(byte, expected: "an escape")
    }
  }

  /// The four digits after `\u`, and the second half of a surrogate pair.
  private mutating func unicodeEscape() throws(Failure) -> Unicode.Scalar {
    var code = try fourHexadecimalDigits()
    if (0xd800..<0xdc00).contains(code) {
      for byte in "\\u".utf8 {
        guard current == byte else { throw unexpected(current, expected: "a low surrogate") }
        position += 1
      }
      let low = try fourHexadecimalDigits()
      guard (0xdc00..<0xe000).contains(low) else { throw failure("a high surrogate without a low one") }
      code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
    }
    guard let scalar = Unicode.Scalar(code) else { throw failure("a low surrogate without a high one") }
    return scalar
  }

  private mutating func fourHexadecimalDigits() throws(Failure) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = current, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw unexpected(current, expected: "a hexadecimal digit")
      }
      code = code << 4 | UInt32(digit)
      position += 1
    }
    return code
  }
}
