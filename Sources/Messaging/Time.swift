/// A moment on the monotonic clock of one process, in nanoseconds from an arbitrary origin.
public struct Instant: Sendable, Hashable, Comparable {
  public let nanoseconds: UInt64
  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }
  public static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }
  public static func + (a: Self, b: Interval) -> Self {
    Instant(nanoseconds: a.nanoseconds + b.nanoseconds)
  }
  /// The time since `earlier`, zero if that lies ahead.
  public func since(_ earlier: Instant) -> Interval {
    Interval(nanoseconds: nanoseconds > earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0)
  }
}

/// A span of time, never negative.
public struct Interval: Sendable, Hashable, Comparable, CustomStringConvertible {
  public let nanoseconds: UInt64
  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }
  public static func milliseconds(_ value: UInt64) -> Self { Interval(nanoseconds: value * 1_000_000) }
  /// A negative value or NaN gives zero; 68 years are the longest.
  public static func seconds(_ value: Double) -> Self {
    Interval(nanoseconds: value > 0 ? UInt64(min(value, Double(Int32.max)) * 1e9) : 0)
  }
  public static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }
  public static func + (a: Self, b: Self) -> Self { Interval(nanoseconds: a.nanoseconds + b.nanoseconds) }
  /// What is left of this when `other` is taken away, zero if that is more.
  public func less(_ other: Interval) -> Interval {
    Interval(nanoseconds: nanoseconds > other.nanoseconds ? nanoseconds - other.nanoseconds : 0)
  }
  public static func * (a: Self, factor: UInt64) -> Self { Interval(nanoseconds: a.nanoseconds * factor) }
  public static func / (a: Self, divisor: UInt64) -> Self { Interval(nanoseconds: a.nanoseconds / divisor) }
  public var seconds: Double { Double(nanoseconds) / 1e9 }
  /// As log lines show it: "2.1 s".
  public var description: String {
    let tenths = (nanoseconds + 50_000_000) / 100_000_000
    return "\(tenths / 10).\(tenths % 10) s"
  }
}
