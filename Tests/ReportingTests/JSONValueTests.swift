import FoundationEssentials
import Reporting
import Testing

@Suite struct JSONValueTests {
  private func text(_ value: JSONValue) -> String { String(decoding: value.line, as: UTF8.self) }

  @Test func keepsTheOrderOfTheMembers() {
    let value = JSONValue.object([.init("z", .integer(-1)), .init("a", .array([.null, .boolean(true)]))])
    #expect(text(value) == #"{"z":-1,"a":[null,true]}"#)
    #expect(value.indented == "{\n  \"z\": -1,\n  \"a\": [\n    null,\n    true\n  ]\n}\n")
    #expect(JSONValue.array([]).indented == "[]\n")
  }

  @Test(arguments: [Double.nan, .infinity, -.infinity])
  func whatIsNotFiniteBecomesNull(_ number: Double) {
    #expect(text(.number(number)) == "null")
  }

  @Test(arguments: [0, 1, -1, 0.1, 1e-7, 1e300, .leastNonzeroMagnitude, 2.5, 1e16, .pi] as [Double])
  func numbersReadBackAsTheSameBits(_ number: Double) throws {
    let decoded = try JSONDecoder().decode([Double].self, from: Data("[\(text(.number(number)))]".utf8))
    #expect(decoded == [number])
  }

  @Test func everyStringReadsBack() throws {
    let string = String((0..<0x180).compactMap(Unicode.Scalar.init).map(Character.init)) + "\u{2028}😀\\\"/"
    let decoded = try JSONDecoder().decode([String].self, from: Data("[\(text(.string(string)))]".utf8))
    #expect(decoded == [string])
  }

  @Test func lineFeedsNeverReachTheLine() {
    #expect(!JSONValue.string("a\nb\r\n").line.contains(10))
  }
}
