import Glibc

extension UnsafeBufferPointer<UInt8> {
  /// The place of the first line feed at or after `start`.
  func firstLineFeed(from start: Int) -> Int? {
    guard start < count, let base = baseAddress else { return nil }
    return memchr(base + start, 0x0a, count - start).map { $0 - UnsafeMutableRawPointer(mutating: base) }
  }
}

/// Reads a flat JSON object of numbers, as the lines of `metrics.jsonl` are, without allocation: a run of a million steps has
/// so many of them that a general parser would keep a reader waiting.
///
/// The buffer must be followed by a byte that belongs to no number.
struct NumberScanner {
  private let bytes: UnsafeBufferPointer<UInt8>
  private(set) var position = 0

  init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

  var current: UInt8? { position < bytes.count ? bytes[position] : nil }

  /// Steps over `byte` if it comes next, white space before it included.
  mutating func takes(_ byte: Unicode.Scalar) -> Bool {
    while position < bytes.count, bytes[position] == 0x20 || bytes[position] == 0x09 || bytes[position] == 0x0d {
      position += 1
    }
    guard position < bytes.count, bytes[position] == UInt8(ascii: byte) else { return false }
    position += 1
    return true
  }

  /// A quoted name without escapes.
  mutating func name() -> UnsafeBufferPointer<UInt8>? {
    guard takes("\"") else { return nil }
    let start = position
    while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
      guard bytes[position] >= 0x20, bytes[position] != UInt8(ascii: "\\") else { return nil }
      position += 1
    }
    guard position < bytes.count else { return nil }
    position += 1
    return UnsafeBufferPointer(rebasing: bytes[start..<position - 1])
  }

  /// A number, or NaN for null; nil for anything else.
  mutating func number() -> Double? {
    while current == 0x20 { position += 1 }
    guard let first = current else { return nil }
    if first == UInt8(ascii: "n") {
      guard bytes.count - position >= 4, bytes[position + 1] == UInt8(ascii: "u"),
        bytes[position + 2] == UInt8(ascii: "l"), bytes[position + 3] == UInt8(ascii: "l")
      else { return nil }
      position += 4
      return .nan
    }
    return decimal()
  }

  /// Exact: digits below 2⁵³ and a small power of ten are both exact as Double, so one operation rounds once (Clinger 1990);
  /// everything else is for strtod.
  private mutating func decimal() -> Double? {
    let start = position
    let isNegative = current == UInt8(ascii: "-")
    if isNegative { position += 1 }
    var (mantissa, digits, exponent): (UInt64, Int, Int) = (0, 0, 0)
    let integer = position
    takeDigits(&mantissa, &digits)
    guard position > integer else { return nil }
    if current == UInt8(ascii: ".") {
      position += 1
      let fraction = position
      takeDigits(&mantissa, &digits)
      guard position > fraction else { return nil }
      exponent = fraction - position
    }
    if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
      guard let power = takeExponent() else { return nil }
      exponent += power
    }
    if digits <= 19, mantissa < 1 << 53, abs(exponent) < Self.powers.count {
      let power = Self.powers[abs(exponent)]
      let value = exponent < 0 ? Double(mantissa) / power : Double(mantissa) * power
      return isNegative ? -value : value
    }
    guard position - start <= 64, let base = bytes.baseAddress else { return nil }
    let value = strtod(UnsafeRawPointer(base + start).assumingMemoryBound(to: CChar.self), nil)
    return value.isFinite ? value : nil
  }

  private mutating func takeDigits(_ mantissa: inout UInt64, _ digits: inout Int) {
    while position < bytes.count, case let digit = bytes[position] &- UInt8(ascii: "0"), digit < 10 {
      if digits < 19 { mantissa = mantissa &* 10 &+ UInt64(digit) }
      if digits > 0 || digit > 0 { digits += 1 }
      position += 1
    }
  }

  private mutating func takeExponent() -> Int? {
    position += 1
    let isNegative = current == UInt8(ascii: "-")
    if isNegative || current == UInt8(ascii: "+") { position += 1 }
    let start = position
    var power = 0
    while let byte = current, case let digit = byte &- UInt8(ascii: "0"), digit < 10 {
      power = min(power * 10 + Int(digit), 10_000)
      position += 1
    }
    return position > start ? (isNegative ? -power : power) : nil
  }

  /// 10⁰ ... 10²², exact.
  private static let powers: [Double] = [
    1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
  ]
}
