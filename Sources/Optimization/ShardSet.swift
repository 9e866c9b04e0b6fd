/// A set of shard numbers in 0 ..< `capacity`, as a bitmap of fixed size: no allocation, one order, and every bit
/// pattern is a valid value, so a codec can copy the words without checking them.
public struct ShardSet: Sendable, Equatable, Sequence, CustomStringConvertible {
  public static let capacity = 1_024
  public static let wordCount = 16

  /// Shard s is bit s mod 64 of word s / 64.
  public var words: InlineArray<16, UInt64>

  public init() {
    words = InlineArray(repeating: 0)
  }

  /// `range` must be within 0 ..< `capacity`.
  public init(range: Range<Int>) {
    precondition(range.isEmpty || range.clamped(to: 0..<Self.capacity) == range, "shards \(range)")
    self.init()
    var next = range.lowerBound
    while next < range.upperBound {
      // To the end of the range or of the word.
      let end = Swift.min(range.upperBound, (next / 64 + 1) * 64)
      words[next / 64] |= (UInt64.max >> UInt64(64 - (end - next))) << UInt64(next % 64)
      next = end
    }
  }

  public init(_ shards: some Sequence<Int>) {
    self.init()
    for shard in shards { insert(shard) }
  }

  /// `shard` must be in 0 ..< `capacity`.
  public mutating func insert(_ shard: Int) {
    precondition((0..<Self.capacity).contains(shard), "shard \(shard) is outside 0 ..< \(Self.capacity)")
    words[shard / 64] |= 1 << UInt64(shard % 64)
  }

  public mutating func remove(_ shard: Int) {
    guard (0..<Self.capacity).contains(shard) else { return }
    words[shard / 64] &= ~(1 << UInt64(shard % 64))
  }

  /// False for any number outside 0 ..< `capacity`.
  public func contains(_ shard: Int) -> Bool {
    guard (0..<Self.capacity).contains(shard) else { return false }
    return words[shard / 64] >> UInt64(shard % 64) & 1 == 1
  }

  public var count: Int {
    var count = 0
    for index in words.indices { count += words[index].nonzeroBitCount }
    return count
  }

  public var isEmpty: Bool {
    for index in words.indices where words[index] != 0 { return false }
    return true
  }

  /// The highest number.
  public var last: Int? {
    for index in words.indices.reversed() where words[index] != 0 {
      return index * 64 + 63 - words[index].leadingZeroBitCount
    }
    return nil
  }

  public func union(_ other: ShardSet) -> ShardSet { combined(with: other, |) }
  public func intersection(_ other: ShardSet) -> ShardSet { combined(with: other, &) }
  public func subtracting(_ other: ShardSet) -> ShardSet { combined(with: other) { $0 & ~$1 } }
  public func isDisjoint(with other: ShardSet) -> Bool { intersection(other).isEmpty }
  public func isSubset(of other: ShardSet) -> Bool { subtracting(other).isEmpty }

  public static func == (left: ShardSet, right: ShardSet) -> Bool {
    left.combined(with: right, ^).isEmpty
  }

  /// Rising order.
  public func makeIterator() -> Iterator { Iterator(remaining: words) }

  public struct Iterator: IteratorProtocol, Sendable {
    fileprivate var remaining: InlineArray<16, UInt64>
    private var index = 0

    fileprivate init(remaining: InlineArray<16, UInt64>) { self.remaining = remaining }

    public mutating func next() -> Int? {
      while index < ShardSet.wordCount {
        let word = remaining[index]
        if word != 0 {
          remaining[index] = word & (word - 1)
          return index * 64 + word.trailingZeroBitCount
        }
        index += 1
      }
      return nil
    }
  }

  /// Runs of neighbours, for messages: `0-3, 7`.
  public var description: String {
    var runs: [ClosedRange<Int>] = []
    for shard in self {
      if let last = runs.last, last.upperBound + 1 == shard {
        runs[runs.count - 1] = last.lowerBound...shard
      } else {
        runs.append(shard...shard)
      }
    }
    return runs.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
      .joined(separator: ", ")
  }

  private func combined(with other: ShardSet, _ operation: (UInt64, UInt64) -> UInt64) -> ShardSet {
    var result = ShardSet()
    for index in words.indices { result.words[index] = operation(words[index], other.words[index]) }
    return result
  }
}
