import Diagnostics

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

  /// Refuses absent and unknown keys, so that a file of another version is not half understood.
  package func requireExactly(_ names: [String]) throws(Failure) {
    for name in names { _ = try value(name) }
    if let member = members.first(where: { !names.contains($0.name) }) {
      throw Failure(
        .badData, "\(context): unknown key", found: member.name, expected: names.joined(separator: ", "))
    }
  }

  package func value(_ name: String) throws(Failure) -> JSONValue {
    guard let member = members.first(where: { $0.name == name }) else {
      throw Failure(.badData, "\(context): no key \"\(name)\"")
    }
    return member.value
  }

  package func object(_ name: String) throws(Failure) -> JSONFields {
    try JSONFields(value(name), context: "\(context), \"\(name)\"")
  }

  /// The object under `name`, or nil when it is null.
  package func objectIfPresent(_ name: String) throws(Failure) -> JSONFields? {
    try value(name) == .null ? nil : object(name)
  }

  package func array(_ name: String) throws(Failure) -> [JSONValue] {
    guard case .array(let values) = try value(name) else { throw wrongType(name, "an array") }
    return values
  }

  /// The objects of an array, each made into an element.
  package func objects<Element>(
    _ name: String, _ make: (JSONFields) throws(Failure) -> Element
  ) throws(Failure) -> [Element] {
    var elements: [Element] = []
    for value in try array(name) { elements.append(try make(JSONFields(value, context: "\(context), \"\(name)\""))) }
    return elements
  }

  package func string(_ name: String) throws(Failure) -> String {
    guard case .string(let text) = try value(name) else { throw wrongType(name, "a string") }
    return text
  }

  /// The string under `name`, or nil when it is null.
  package func stringIfPresent(_ name: String) throws(Failure) -> String? {
    try value(name) == .null ? nil : string(name)
  }

  package func strings(_ name: String) throws(Failure) -> [String] {
    var strings: [String] = []
    for case .string(let text) in try array(name) { strings.append(text) }
    guard try array(name).count == strings.count else { throw wrongType(name, "strings") }
    return strings
  }

  /// One of the cases of an enumeration.
  package func choice<Choice: RawRepresentable<String> & CaseIterable>(_ name: String) throws(Failure) -> Choice {
    guard let choice = Choice(rawValue: try string(name)) else {
      throw wrongType(name, Choice.allCases.map(\.rawValue).joined(separator: ", "))
    }
    return choice
  }

  package func integer<Integer: FixedWidthInteger>(_ name: String, as type: Integer.Type) throws(Failure) -> Integer {
    guard let integer = Self.integer(try value(name), as: type) else {
      throw wrongType(name, "an integer from \(Integer.min) to \(Integer.max)")
    }
    return integer
  }

  package func integers<Integer: FixedWidthInteger>(_ name: String, as type: Integer.Type) throws(Failure) -> [Integer]
  {
    var integers: [Integer] = []
    for element in try array(name) {
      guard let integer = Self.integer(element, as: type) else {
        throw wrongType(name, "integers from \(Integer.min) to \(Integer.max)")
      }
      integers.append(integer)
    }
    return integers
  }

  package func double(_ name: String) throws(Failure) -> Double {
    switch try value(name) {
    case .number(let digits):
      if let number = Double(digits), number.isFinite { return number }
    case .string("inf"): return .infinity
    case .string("-inf"): return -.infinity
    case .string("nan"): return .nan
    default: break
    }
    throw wrongType(name, "a number")
  }

  package func doubleIfPresent(_ name: String) throws(Failure) -> Double? {
    try value(name) == .null ? nil : double(name)
  }

  private static func integer<Integer: FixedWidthInteger>(_ value: JSONValue, as: Integer.Type) -> Integer? {
    guard case .number(let digits) = value else { return nil }
    return Integer(digits)
  }

  private func wrongType(_ name: String, _ expected: String) -> Failure {
    let found = members.first { $0.name == name }?.value.compactText ?? "nothing"
    return Failure(
      .badData, "\(context): wrong value of \"\(name)\"", found: String(found.prefix(80)), expected: expected)
  }
}
