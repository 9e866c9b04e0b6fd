import Diagnostics
import JSONText
import Testing

@Suite("A JSON value")
struct JSONValueTests {
  private func readBack(_ value: JSONValue) throws(Failure) -> JSONFields {
    let document = JSONValue.object([.init("value", value)])
    return try JSONFields(JSONReader.parse(document.compactBytes[...], source: "test"), context: "test")
  }

  @Test
  func `keeps the order of its members, on one line and on many`() {
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

  @Test(arguments: doubles)
  func `of a measurement reads back as the same bits`(_ number: Double) throws {
    #expect(try readBack(.measurement(number)).double("value").bitPattern == number.bitPattern)
  }

  @Test(arguments: doubles + [.infinity, -.infinity])
  func `of an exact number reads back as the same bits`(_ number: Double) throws {
    #expect(try readBack(.exact(number)).double("value").bitPattern == number.bitPattern)
  }

  @Test
  func `of an exact number that is none reads back as none`() throws {
    #expect(try readBack(.exact(.nan)).double("value").isNaN)
  }

  @Test(arguments: [nil, .nan, .infinity, -.infinity] as [Double?])
  func `of a measurement that is missing or not finite is null`(_ number: Double?) {
    #expect(JSONValue.measurement(number) == .null)
  }

  @Test
  func `of a whole measurement has no fraction`() {
    #expect(JSONValue.measurement(356_352).compactText == "356352")
    #expect(JSONValue.exact(12).compactText == "12.0")
  }

  @Test
  func `of any text reads back as the same text and stays on one line`() throws {
    let text = String((0..<0x180).compactMap(Unicode.Scalar.init).map(Character.init)) + "\u{2028}😀\\\"/"
    #expect(try readBack(.string(text)).string("value") == text)
    #expect(!JSONValue.string("a\nb\r\n").compactBytes.contains { $0 < 0x20 })
  }
}
