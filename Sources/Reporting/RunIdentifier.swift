/// The name of a run: its start in UTC and six hexadecimal digits, "20260131-235959-a1b2c3". Names sort by time.
public enum RunIdentifier {
  /// A name for a run that begins now.
  public static func draw() -> String {
    var random = SystemRandomNumberGenerator()
    return make(at: .now(), using: &random)
  }

  /// A new name. The digits keep two runs apart that start in the same second.
  public static func make(at time: UTCTime, using random: inout some RandomNumberGenerator) -> String {
    let digits = String(random.next() & 0xFF_FFFF, radix: 16)
    return time.compact + "-" + String(repeating: "0", count: 6 - digits.utf8.count) + digits
  }
}
