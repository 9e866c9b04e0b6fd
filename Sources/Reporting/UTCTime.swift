import Glibc

/// A moment of civil time in UTC, for people and file names; nothing is ever decided by it.
public struct UTCTime: Sendable, Equatable {
  /// Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Years 1970 to 9999.
  public let microseconds: Int64

  public init(microseconds: Int64) {
    self.microseconds = min(max(microseconds, 0), 253_402_300_799_999_999)
  }

  /// What the host's clock says.
  public static func now() -> UTCTime {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UTCTime(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)
  }

  /// RFC 3339 with microseconds: "2026-01-31T23:59:59.000001Z".
  public var timestamp: String {
    let (year, month, day) = date
    let (hour, minute, second) = time
    return "\(digits(year, 4))-\(digits(month, 2))-\(digits(day, 2))T"
      + "\(digits(hour, 2)):\(digits(minute, 2)):\(digits(second, 2)).\(digits(microseconds % 1_000_000, 6))Z"
  }

  /// For names of files, in the order of time: "20260131-235959".
  public var compact: String {
    let (year, month, day) = date
    let (hour, minute, second) = time
    return "\(digits(year, 4))\(digits(month, 2))\(digits(day, 2))-"
      + "\(digits(hour, 2))\(digits(minute, 2))\(digits(second, 2))"
  }

  private var time: (hour: Int64, minute: Int64, second: Int64) {
    let seconds = microseconds / 1_000_000 % 86_400
    return (seconds / 3600, seconds / 60 % 60, seconds % 60)
  }

  /// The civil date, by counting days in eras of 400 years whose years begin in March, so that the leap day is the
  /// last of its year (Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
  private var date: (year: Int64, month: Int64, day: Int64) {
    let days = microseconds / 86_400_000_000 + 719_468
    let era = days / 146_097
    let dayOfEra = days % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
  }

  private func digits(_ value: Int64, _ count: Int) -> String {
    let text = String(value)
    return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
  }
}
