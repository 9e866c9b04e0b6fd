import Diagnostics
import Testing

@Suite("A JSON value")
struct JSONValueTests {
  private func readBack(_ value: JSONValue) throws(Failure) -> JSONFields {
    let document = JSONValue.object([.init("value", value)])
    return try JSONFields(parsing: document.compactBytes, source: "test")
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
    let read: Double = try readBack(.measurement(number))["value"]
    #expect(read.bitPattern == number.bitPattern)
  }

  @Test(arguments: doubles + [.infinity, -.infinity])
  func `of an exact number reads back as the same bits`(_ number: Double) throws {
    let read: Double = try readBack(.exact(number))["value"]
    #expect(read.bitPattern == number.bitPattern)
  }

  @Test
  func `of an exact number that is none reads back as none`() throws {
    let read: Double = try readBack(.exact(.nan))["value"]
    #expect(read.isNaN)
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
    #expect(try readBack(.string(text))["value"] == text)
    #expect(!JSONValue.string("a\nb\r\n").compactBytes.contains { $0 < 0x20 })
  }

  private enum Color: String { case red = "RED" }

  private struct Inner { var p99: Double? = nil }

  private struct Outer {
    var weightsSHA256 = "abc"
    var isOfficial = true
    var count: UInt64 = .max
    var loss = Double.nan
    var share: Float? = 0.5
    var list: [Inner] = [Inner(p99: 2)]
    var color = Color.red
    var failure: Failure? = Failure(.usage, "what", found: "that")
  }

  @Test func `of a structure is an object of its properties`() {
    let expected =
      #"{"weights_sha256":"abc","is_official":true,"count":18446744073709551615,"loss":null,"share":0.5,"#
      + #""list":[{"p99":2}],"color":"RED","failure":"what: that"}"#
    #expect(JSONValue(reflecting: Outer()).compactText == expected)
  }

  @Test func `of another type or out of range is refused, with its key and what was expected`() throws {
    let fields = try JSONFields(["a": .array([.number(1), .string("x")]), "b": .number(-1)], context: "f")
    let list = #expect(throws: Failure.self) { _ = try fields["a"] as [Int]? }
    #expect(
      list?.description == #"f: wrong value of "a": [1,"x"] (expected an array; each element is an integer from "#
        + "\(Int.min) to \(Int.max), or null)")
    let number = #expect(throws: Failure.self) { _ = try fields["b"] as UInt64? }
    #expect(number?.found == "-1")
  }
}
