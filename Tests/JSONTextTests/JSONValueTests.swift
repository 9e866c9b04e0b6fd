import Diagnostics
import JSONText
import Testing

@Suite("A JSON value")
struct JSONValueTests {
  private func readBack(_ value: JSONValue) throws(Failure) -> JSONFields {
    let document = JSONValue.object([.init("value", value)])
    return try JSONFields(JSONReader.parse(document.compactBytes[...], source: "test"), context: "test")
  }

  @Test("keeps the order of its members, on one line and on many")
  func order() {
    let value: JSONValue = ["z": .number(-1), "a": .array([.null, .boolean(true)]), "b": .array([["c": .array([])]])]
    #expect(value.compactText == #"{"z":-1,"a":[null,true],"b":[{"c":[]}]}"#)
    let lines = [
      "{", "  \"z\": -1,", "  \"a\": [null,true],", "  \"b\": [", "    {", "      \"c\": []", "    }", "  ]", "}", "",
    ]
    #expect(value.indentedText == lines.joined(separator: "\n"))
  }

  static let doubles: [Double] = [
    0, -0.0, 1, -1, 0.1, 1e-7, 2.5, 1e16, 1e22, 1e300, 1.0 / 3, .pi, .leastNonzeroMagnitude, .greatestFiniteMagnitude,
  ]

  @Test("of a measurement reads back as the same bits", arguments: doubles)
  func measurements(_ number: Double) throws {
    #expect(try readBack(.measurement(number)).double("value").bitPattern == number.bitPattern)
  }

  @Test("of an exact number reads back as the same bits", arguments: doubles + [.infinity, -.infinity])
  func exactNumbers(_ number: Double) throws {
    #expect(try readBack(.exact(number)).double("value").bitPattern == number.bitPattern)
  }

  @Test("of an exact number that is none reads back as none")
  func notANumber() throws {
    #expect(try readBack(.exact(.nan)).double("value").isNaN)
  }

  @Test(
    "of a measurement that is missing or not finite is null",
    arguments: [nil, .nan, .infinity, -.infinity] as [Double?])
  func notMeasured(_ number: Double?) {
    #expect(JSONValue.measurement(number) == .null)
  }

  @Test("of a whole measurement has no fraction")
  func wholeMeasurements() {
    #expect(JSONValue.measurement(356_352).compactText == "356352")
    #expect(JSONValue.exact(12).compactText == "12.0")
  }

  @Test("of any text reads back as the same text and stays on one line")
  func texts() throws {
    let text = String((0..<0x180).compactMap(Unicode.Scalar.init).map(Character.init)) + "\u{2028}😀\\\"/"
    #expect(try readBack(.string(text)).string("value") == text)
    #expect(!JSONValue.string("a\nb\r\n").compactBytes.contains { $0 < 0x20 })
  }
}
