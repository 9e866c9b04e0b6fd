import Diagnostics
import Glibc

/// An instant of civil time in UTC, for people and file names; no decision depends on it.
public struct UTCTime: Sendable, Equatable {
  /// Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Years 1970 to 9999.
  public let microseconds: Int64

  public init(microseconds: Int64) {
    self.microseconds = min(max(microseconds, 0), 253_402_300_799_999_999)
  }

  /// The time of the host's clock.
  public static func now() -> UTCTime {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UTCTime(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)
  }

  /// RFC 3339 with microseconds: "2026-01-31T23:59:59.000001Z".
  public var timestamp: String {
    let fraction = String(microseconds % 1_000_000 + 1_000_000).dropFirst()
    return formatted("%Y-%m-%dT%H:%M:%S") + ".\(fraction)Z"
  }

  /// For names of files, in the order of time: "20260131-235959".
  public var compact: String { formatted("%Y%m%d-%H%M%S") }

  private func formatted(_ format: String) -> String {
    var seconds = time_t(microseconds / 1_000_000)
    var fields = tm()
    gmtime_r(&seconds, &fields)
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { text in
      let count = strftime(text.baseAddress.unsafelyUnwrapped, text.count, format, &fields)
      return String(decoding: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(text)[..<count]), as: UTF8.self)
    }
  }
}

/// The name of a run: its start in UTC and six hexadecimal digits, "20260131-235959-a1b2c3". Names sort by time.
public enum RunIdentifier {
  /// A name for a run that begins now.
  public static func draw() -> String {
    var random = SystemRandomNumberGenerator()
    return make(at: .now(), using: &random)
  }

  /// A new name. The digits keep two runs apart that start in the same second.
  public static func make(at time: UTCTime, using random: inout some RandomNumberGenerator) -> String {
    time.compact + "-" + hexadecimal(random.next()).suffix(6)
  }
}
