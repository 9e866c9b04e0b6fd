import Reporting
import Testing

@Suite struct UTCTimeTests {
  /// Expected values from `date -u -d @SECONDS`.
  @Test(arguments: [
    (0, "1970-01-01T00:00:00.000000Z"),
    (951_782_399_000_001, "2000-02-28T23:59:59.000001Z"),
    (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
    (951_868_800_000_000, "2000-03-01T00:00:00.000000Z"),
    (1_234_567_890_123_456, "2009-02-13T23:31:30.123456Z"),
    (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
    (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
  ])
  func `formats in RFC 3339 with microseconds`(_ microseconds: Int64, _ expected: String) {
    #expect(UTCTime(microseconds: microseconds).timestamp == expected)
  }

  @Test func `run identifiers are the time and six hexadecimal digits`() {
    struct Constant: RandomNumberGenerator {
      let value: UInt64
      func next() -> UInt64 { value }
    }
    let time = UTCTime(microseconds: 1_234_567_890_123_456)
    var small = Constant(value: 0xAB)
    var large = Constant(value: .max)
    #expect(RunIdentifier.make(at: time, using: &small) == "20090213-233130-0000ab")
    #expect(RunIdentifier.make(at: time, using: &large) == "20090213-233130-ffffff")
  }
}
