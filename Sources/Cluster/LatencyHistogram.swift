/// Counts durations in buckets of equal relative width: fixed memory, nothing allocated when recording, and
/// percentiles that are at most 1/32 too high.
///
/// Log-linear buckets as in HdrHistogram: below 32 ns each nanosecond has its own, above that each power of two is cut
/// into 32 equal parts.
public struct LatencyHistogram: Sendable, Equatable {
  private static let subdivisionBits = 5
  private static let subdivisions = 1 << subdivisionBits
  private static let bucketCount = (64 - subdivisionBits + 1) * subdivisions

  private var counts = [UInt64](repeating: 0, count: bucketCount)
  /// Durations recorded.
  public private(set) var count: UInt64 = 0
  /// The longest duration recorded, exactly; 0 before the first.
  private var largestNanoseconds: UInt64 = 0

  public init() {}

  /// Counts one duration.
  public mutating func record(nanoseconds: UInt64) {
    counts[Self.bucket(of: nanoseconds)] += 1
    count += 1
    largestNanoseconds = max(largestNanoseconds, nanoseconds)
  }

  /// The duration in seconds that a `fraction` (0 to 1) of those recorded do not exceed, to within 1/32 above; `nil`
  /// where nothing was recorded. At 1 it is the longest, exactly.
  public func seconds(atQuantile fraction: Double) -> Double? {
    guard count > 0 else { return nil }
    let rank = max(1, UInt64((min(max(fraction, 0), 1) * Double(count)).rounded(.up)))
    var seen: UInt64 = 0
    for index in counts.indices {
      seen += counts[index]
      if seen >= rank { return Double(min(Self.largest(in: index), largestNanoseconds)) / 1e9 }
    }
    return Double(largestNanoseconds) / 1e9
  }

  private static func bucket(of value: UInt64) -> Int {
    guard value >= subdivisions else { return Int(value) }
    let shift = 63 - value.leadingZeroBitCount - subdivisionBits
    return (shift + 1) * subdivisions + Int(value >> UInt64(shift)) - subdivisions
  }

  /// The largest value that falls into the bucket at `index`.
  private static func largest(in index: Int) -> UInt64 {
    guard index >= subdivisions else { return UInt64(index) }
    let shift = UInt64(index / subdivisions - 1)
    let smallest = UInt64(index % subdivisions + subdivisions) << shift
    return smallest + ((1 << shift) - 1)
  }
}
