/// What a sequence of random numbers is for; the second word of the generator's key, so that no use of the seed sees
/// the numbers of another. The raw values decide the bits of W: never renumber them.
public enum RandomStream: UInt64, Sendable {
  case initialParameters = 1
  case dataSplit = 2
  case minibatchOrder = 3
  case gradientCheck = 4
  case dropout = 5
  case hyperparameters = 6
  case randomWeights = 7
  case slice = 8
}

/// The counter-based generator Philox4x64-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy
/// as 1, 2, 3"): four random words are a function of a key of two words and a counter of four, with no state between.
/// It is what `numpy.random.Philox` computes (which adds one to its counter before the first block).
public struct Philox4x64: Sendable {
  public typealias Counter = SIMD4<UInt64>

  let key: SIMD2<UInt64>

  public init(key: SIMD2<UInt64>) {
    self.key = key
  }

  public init(seed: UInt64, stream: RandomStream) {
    self.init(key: SIMD2(seed, stream.rawValue))
  }

  /// The four words that belong to `counter`.
  public func block(at counter: Counter) -> SIMD4<UInt64> {
    // Scalars, because vector registers have no such product: moving words between both takes most of the time.
    var (a, b, c, d) = (counter[0], counter[1], counter[2], counter[3])
    var (left, right) = (key[0], key[1])
    for _ in 0..<10 {
      let first = a.multipliedFullWidth(by: 0xD2E7_470E_E14C_6C93)
      let second = c.multipliedFullWidth(by: 0xCA5A_8263_9512_1157)
      (a, b, c, d) = (second.high ^ b ^ left, second.low, first.high ^ d ^ right, first.low)
      left &+= 0x9E37_79B9_7F4A_7C15
      right &+= 0xBB67_AE85_84CA_A73B
    }
    return SIMD4(a, b, c, d)
  }

  /// The index-th of a sequence of independent N(0, 1) numbers (Box and Muller 1958), each from a block of its own.
  public func normal(at index: UInt64) -> Double {
    let words = block(at: Counter(index, 0, 0, 0))
    let radius = (-2 * ElementaryFunctions.logarithm(Self.unitInterval(words[0], above: 1))).squareRoot()
    return radius * ElementaryFunctions.cosineOfTurns(Self.unitInterval(words[1], above: 0))
  }

  /// The upper 53 bits plus `above`, over 2⁵³: in 0 ..< 1 for `above` 0, and in 0 <... 1 for 1, where a logarithm
  /// is finite.
  fileprivate static func unitInterval(_ word: UInt64, above: UInt64) -> Double {
    Double((word >> 11) + above) * 0x1p-53
  }
}

/// The words of successive blocks, the first counter word running and the others fixed: counter (block, epoch,
/// shard, 0).
public struct RandomSequence: Sendable {
  private let generator: Philox4x64
  private var counter: Philox4x64.Counter
  private var words = SIMD4<UInt64>()
  private var used = 4

  public init(_ generator: Philox4x64, epoch: UInt64 = 0, shard: UInt64 = 0) {
    self.generator = generator
    counter = Philox4x64.Counter(0, epoch, shard, 0)
  }

  public mutating func next() -> UInt64 {
    if used == 4 {
      words = generator.block(at: counter)
      counter[0] += 1
      used = 0
    }
    defer { used += 1 }
    return words[used]
  }

  /// Uniform in 0 ..< 1.
  package mutating func nextUnit() -> Double { Philox4x64.unitInterval(next(), above: 0) }

  /// Uniform in 0 ..< `bound`, without bias: Lemire 2019, "Fast random integer generation in an interval"; a word that
  /// would favour some values is thrown away and the next one drawn. `bound` ≥ 1.
  public mutating func next(below bound: UInt64) -> UInt64 {
    var product = next().multipliedFullWidth(by: bound)
    if product.low < bound {
      let threshold = (0 &- bound) % bound
      while product.low < threshold { product = next().multipliedFullWidth(by: bound) }
    }
    return product.high
  }

  /// Fisher and Yates from the last element down, as in Knuth's Algorithm 3.4.2P.
  public mutating func shuffle(_ elements: inout [UInt32]) {
    elements.withUnsafeMutableBufferPointer { buffer in
      var remaining = buffer.count
      while remaining > 1 {
        let chosen = Int(next(below: UInt64(remaining)))
        remaining -= 1
        buffer.swapAt(chosen, remaining)
      }
    }
  }
}
