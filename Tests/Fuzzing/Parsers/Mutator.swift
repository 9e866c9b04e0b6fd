/// Changes inputs as a fuzzer does, the same way for the same seed: what continuous integration can afford of fuzzing.
public struct Mutator {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  /// splitmix64 (Steele, Lea, Flood).
  private mutating func word() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  private mutating func number(below bound: Int) -> Int { Int(word() % UInt64(max(bound, 1))) }

  /// One of the corpus, changed in one to eight places, of at most `limit` bytes.
  public mutating func next(from corpus: [[UInt8]], limit: Int) -> [UInt8] {
    var bytes = corpus.isEmpty ? [] : corpus[number(below: corpus.count)]
    for _ in 0...number(below: 8) { change(&bytes, corpus) }
    if bytes.count > limit { bytes.removeLast(bytes.count - limit) }
    return bytes
  }

  private static let extremes: [[UInt8]] = [
    [0], [0xFF], [0x7F], [0x80], [0xFF, 0xFF], [0xFF, 0xFF, 0xFF, 0xFF], [0, 0, 0, 0x80],
    [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], [0, 0, 0, 0, 0, 0, 0, 0x80], [0, 0, 0, 0, 0, 0, 0xF8, 0x7F],
  ]
  private static let words: [[UInt8]] = [
    "-1", "0", "1e999", "18446744073709551616", "9223372036854775807", "\u{0}", "\"", "\\u0000", "\\ud800", "{", "[",
    "]", "}", ":", ",", "null", "\n", " ", "#", "é", "\u{1F600}",
  ].map { Array($0.utf8) }

  private mutating func change(_ bytes: inout [UInt8], _ corpus: [[UInt8]]) {
    let place = number(below: bytes.count + 1)
    let length = min(bytes.count - place, 1 + number(below: 1 << number(below: 8)))
    switch number(below: 9) {
    case 0 where place < bytes.count: bytes[place] ^= 1 << UInt8(number(below: 8))
    case 1 where place < bytes.count: bytes[place] = UInt8(truncatingIfNeeded: word())
    case 2: bytes.removeSubrange(place..<place + length)
    case 3: bytes.insert(contentsOf: Array(bytes[place..<place + length]), at: number(below: bytes.count + 1))
    case 4: overwrite(&bytes, at: place, with: Self.extremes[number(below: Self.extremes.count)])
    case 5: bytes.insert(contentsOf: Self.words[number(below: Self.words.count)], at: place)
    case 6: overwrite(&bytes, at: place, with: Self.words[number(below: Self.words.count)])
    case 7 where !corpus.isEmpty:
      let other = corpus[number(below: corpus.count)]
      bytes.replaceSubrange(place..., with: other[number(below: other.count + 1)...])
    default: bytes.removeLast(min(bytes.count, number(below: 4)))
    }
  }

  private func overwrite(_ bytes: inout [UInt8], at place: Int, with other: [UInt8]) {
    bytes.replaceSubrange(place..<min(bytes.count, place + other.count), with: other)
  }
}
