import Diagnostics
import Testing

@Suite("The JSON reader")
struct JSONReaderTests {
  private func status(_ body: () throws(Failure) -> Void) -> Diagnostics.ExitStatus? {
    do {
      try body()
      return nil
    } catch {
      return error.status
    }
  }

  private func parse(_ text: String) throws(Failure) -> JSONValue {
    try JSONReader.parse(Array(text.utf8)[...], source: "file.json")
  }

  @Test
  func `reads every kind of value, and writes it back in both forms`() throws {
    let text = #" {"a": [1, -2.5e-3, 18446744073709551615], "b": {"c": null, "d": true, "e": false}, "f": "" } "#
    let value: JSONValue = [
      "a": .array([.number(1), .number("-2.5e-3"), .number(UInt64.max)]),
      "b": ["c": .null, "d": .boolean(true), "e": .boolean(false)], "f": .string(""),
    ]
    #expect(try parse(text) == value)
    #expect(try parse(value.compactText) == value)
    #expect(try parse(value.indentedText) == value)
  }

  @Test
  func `decodes escapes, surrogate pairs included`() throws {
    #expect(try parse(#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#) == .string("\"\\/\u{8}\u{c}\n\r\té😀"))
    #expect(
      try parse(#"["plain é", "plain\n", "\nplain", "a\tb\tc é", ""]"#)
        == .strings(
          ["plain é", "plain\n", "\nplain", "a\tb\tc é", ""]))
  }

  @Test(arguments: [
    "", " ", "nul", "truex", "01", "1.", ".5", "+1", "-", "1e", "NaN", "Infinity", "[1,]", "{\"a\":1,}", "{a:1}",
    "'a'", "\"a", "\"\\x\"", "\"\\u12g4\"", "\"\\ud83d\"", "\"\\ud83d\\u0041\"", "\"\\ude00\"", "\"\n\"", "[1 2]",
    "{\"a\" 1}", "{\"a\":1}{", "{\"a\":1,\"a\":1}", "{\"\\u0061\":1,\"a\":1}", "//", "\u{feff}1", "[", "{", "{\"a\"",
    "\"\\", "\"\\u", "\"\\ud83d\\",
  ])
  func `refuses what RFC 8259 does not allow`(text: String) {
    #expect(status { () throws(Failure) in _ = try parse(text) } == .badData)
  }

  @Test
  func `refuses invalid UTF-8, deep nesting and endless numbers`() {
    let bytes: [UInt8] = [UInt8(ascii: "\""), 0xff, UInt8(ascii: "\"")]
    #expect(status { () throws(Failure) in _ = try JSONReader.parse(bytes[...], source: "") } == .badData)
    let deep = String(repeating: "[", count: 100_000)
    #expect(status { () throws(Failure) in _ = try parse(deep) } == .badData)
    #expect(status { () throws(Failure) in _ = try parse(String(repeating: "9", count: 65)) } == .badData)
  }

  @Test
  func `names the file and the byte`() {
    let failure = #expect(throws: Failure.self) { try parse(#"{"a": 1, "a": 2}"#) }
    #expect(failure?.description == "file.json, byte 9: the key \"a\" stands twice in one object")
  }
}
