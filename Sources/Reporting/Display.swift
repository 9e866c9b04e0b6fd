import Diagnostics

/// Numbers as people read them, without a locale; what is missing or not finite is a dash.
public enum Display {
  /// "2.303": fixed point with `places` digits after the point.
  public static func decimal(_ number: Double?, places: Int) -> String {
    guard let number, number.isFinite else { return "-" }
    var scale = 1.0
    for _ in 0..<places { scale *= 10 }
    let scaled = (abs(number) * scale).rounded()
    // Beyond 2⁵³ there is no fraction to show.
    guard scaled < 9_007_199_254_740_992 else { return "\(number)" }
    let sign = number < 0 && scaled > 0 ? "-" : ""
    let digits = String(UInt64(scaled))
    guard places > 0 else { return sign + digits }
    let filled = String(repeating: "0", count: max(0, places + 1 - digits.utf8.count)) + digits
    return "\(sign)\(filled.dropLast(places)).\(filled.suffix(places))"
  }

  /// "1.4e-06": two digits and the exponent.
  public static func scientific(_ number: Double) -> String {
    guard number.isFinite else { return "-" }
    guard number != 0 else { return "0" }
    var (digits, exponent) = (abs(number), 0)
    while digits >= 9.95 { (digits, exponent) = (digits / 10, exponent + 1) }
    while digits < 0.995 { (digits, exponent) = (digits * 10, exponent - 1) }
    let power = "\(abs(exponent))"
    return (number < 0 ? "-" : "") + decimal(digits, places: 1) + (exponent < 0 ? "e-" : "e+")
      + (power.count < 2 ? "0" + power : power)
  }

  /// "41.3 %".
  public static func percent(_ fraction: Double?, places: Int = 1) -> String {
    guard let fraction, fraction.isFinite else { return "-" }
    return decimal(fraction * 100, places: places) + " %"
  }

  /// Three digits: "812", "9.81k", "612k", "1.43M".
  package static func rate(_ number: Double?) -> String {
    guard let number, number.isFinite, number >= 0 else { return "-" }
    if number < 999.5 { return decimal(number, places: 0) }
    let (value, suffix) = number < 999_500 ? (number / 1e3, "k") : (number / 1e6, "M")
    return decimal(value, places: value < 9.995 ? 2 : value < 99.95 ? 1 : 0) + suffix
  }

  /// "0:07", "12:34", "1:02:03".
  package static func duration(_ seconds: Double?) -> String {
    guard let seconds, seconds >= 0, seconds < 1e9 else { return "-" }
    let whole = Int(seconds.rounded(.up))
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
    return hours > 0 ? "\(hours):\(two(minutes)):\(two(rest))" : "\(minutes):\(two(rest))"
  }

  /// "1 worker", "2 workers".
  public static func workers(_ count: Int) -> String { count == 1 ? "1 worker" : "\(count) workers" }

  /// "12 taken over from late workers, 8 late results dropped"; nil if both are 0.
  public static func shards(takenOver: UInt64, late: UInt64) -> String? {
    let parts = [(takenOver, "taken over from late workers"), (late, "late results dropped")]
    let known = parts.filter { $0.0 > 0 }.map { "\(grouped($0.0)) \($0.1)" }
    return known.isEmpty ? nil : known.joined(separator: ", ")
  }
}
