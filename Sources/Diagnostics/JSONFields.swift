/// The members of a JSON object, read by name and type; every error names the file and the key.
package struct JSONFields {
  package let members: [JSONValue.Member]
  /// The file and the place in it, for errors.
  package let context: String

  package init(_ value: JSONValue, context: String) throws(Failure) {
    guard case .object(let members) = value else {
      throw Failure(.badData, "\(context) is not a JSON object")
    }
    self.members = members
    self.context = context
  }

  /// Reads a file that is one object.
  ///
  /// - Parameter source: the file, for errors.
  package init(parsing bytes: [UInt8], source: String) throws(Failure) {
    try self.init(JSONReader.parse(bytes[...], source: source), context: source)
  }

  /// Refuses absent and unknown keys, so that a file of another version is not half understood.
  package func requireExactly(_ names: [String]) throws(Failure) {
    for name in names { _ = try value(name) }
    if let member = members.first(where: { !names.contains($0.name) }) {
      throw Failure(
        .badData, "\(context): unknown key", found: member.name, expected: names.joined(separator: ", "))
    }
  }

  package func contains(_ name: String) -> Bool { members.contains { $0.name == name } }

  package func value(_ name: String) throws(Failure) -> JSONValue {
    guard let member = members.first(where: { $0.name == name }) else {
      throw Failure(.badData, "\(context): no key \"\(name)\"")
    }
    return member.value
  }

  /// The value under `name` in the type that the caller needs: `let step: UInt64 = try fields["step"]`.
  package subscript<Value: JSONReadable>(_ name: String) -> Value {
    get throws(Failure) {
      let json = try value(name)
      if let value = Value(json: json) { return value }
      throw Failure(
        .badData, "\(context): wrong value of \"\(name)\"", found: String(json.compactText.prefix(80)),
        expected: Value.expectation)
    }
  }

  package func object(_ name: String) throws(Failure) -> JSONFields {
    try JSONFields(value(name), context: "\(context), \"\(name)\"")
  }

  /// The object under `name`, or nil when it is null.
  package func objectIfPresent(_ name: String) throws(Failure) -> JSONFields? {
    try value(name) == .null ? nil : object(name)
  }

  /// Nil as well when a version that did not know the key has written the file.
  package func objectIfRecorded(_ name: String) throws(Failure) -> JSONFields? {
    members.contains { $0.name == name } ? try objectIfPresent(name) : nil
  }

  /// The objects of an array, each made into an element.
  package func objects<Element>(
    _ name: String, _ make: (JSONFields) throws(Failure) -> Element
  ) throws(Failure) -> [Element] {
    let values: [JSONValue] = try self[name]
    return try values.map { (value) throws(Failure) in
      try make(JSONFields(value, context: "\(context), \"\(name)\""))
    }
  }
}

/// A type that a JSON value can be read as.
package protocol JSONReadable {
  /// For errors: "a number".
  static var expectation: String { get }
  /// Nil for a value of another type or out of range.
  init?(json: JSONValue)
}

extension JSONValue: JSONReadable {
  package static var expectation: String { "a value" }
  package init?(json: JSONValue) { self = json }
}

extension JSONReadable where Self: FixedWidthInteger {
  package static var expectation: String { "an integer from \(min) to \(max)" }

  package init?(json: JSONValue) {
    guard case .number(let digits) = json else { return nil }
    self.init(digits)
  }
}

extension Int: JSONReadable {}
extension Int32: JSONReadable {}
extension UInt64: JSONReadable {}

extension Double: JSONReadable {
  package static var expectation: String { "a number" }

  package init?(json: JSONValue) {
    switch json {
    case .number(let digits):
      guard let number = Double(digits), number.isFinite else { return nil }
      self = number
    // As `JSONValue.exact` writes them.
    case .string("inf"): self = .infinity
    case .string("-inf"): self = -.infinity
    case .string("nan"): self = .nan
    default: return nil
    }
  }
}

extension Bool: JSONReadable {
  package static var expectation: String { "true or false" }

  package init?(json: JSONValue) {
    guard case .boolean(let value) = json else { return nil }
    self = value
  }
}

extension String: JSONReadable {
  package static var expectation: String { "a string" }

  package init?(json: JSONValue) {
    guard case .string(let text) = json else { return nil }
    self = text
  }
}

/// One of the cases of an enumeration.
extension JSONReadable where Self: RawRepresentable<String> & CaseIterable {
  package static var expectation: String { allCases.map(\.rawValue).joined(separator: ", ") }

  package init?(json: JSONValue) {
    guard case .string(let name) = json else { return nil }
    self.init(rawValue: name)
  }
}

extension Optional: JSONReadable where Wrapped: JSONReadable {
  package static var expectation: String { "\(Wrapped.expectation), or null" }

  package init?(json: JSONValue) {
    self = .none
    if json == .null { return }
    guard let value = Wrapped(json: json) else { return nil }
    self = value
  }
}

extension Array: JSONReadable where Element: JSONReadable {
  package static var expectation: String { "an array; each element is \(Element.expectation)" }

  package init?(json: JSONValue) {
    guard case .array(let values) = json else { return nil }
    self = values.compactMap { Element(json: $0) }
    guard count == values.count else { return nil }
  }
}
