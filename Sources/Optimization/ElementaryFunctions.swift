/// cos, exp and log in double precision from additions, multiplications and divisions alone, which IEEE 754 rounds
/// the same way everywhere: the initial weights and the learning rates are the same bits on every machine, which no
/// two versions of a C library promise. Accurate to about 2 units in the last place, for the few thousand calls a run
/// makes outside its hot loops.
public enum ElementaryFunctions {
  /// `cos(2π turns)`. A turn instead of a radian makes the reduction to an eighth of a turn exact.
  public static func cosineOfTurns(_ turns: Double) -> Double {
    guard turns.isFinite else { return .nan }
    // The nearest quarter turn, and the rest of at most an eighth either way.
    let quarters = (turns * 4).rounded()
    let rest = (turns - quarters / 4) * (2 * Double.pi)
    switch quarters.truncatingRemainder(dividingBy: 4) {
    case 0: return cosineSeries(rest)
    case 1, -3: return -sineSeries(rest)
    case 2, -2: return -cosineSeries(rest)
    default: return sineSeries(rest)
    }
  }

  /// The natural logarithm: −∞ at 0, not a number below.
  public static func logarithm(_ x: Double) -> Double {
    guard x > 0, x.isFinite else { return x == 0 ? -.infinity : (x > 0 ? x : .nan) }
    // x = 2^exponent · m with m in √½ ... √2, and log m = 2 artanh((m − 1) / (m + 1)).
    var exponent = Double(x.exponent)
    var mantissa = x.significand
    if mantissa > 2.0.squareRoot() {
      mantissa /= 2
      exponent += 1
    }
    let ratio = (mantissa - 1) / (mantissa + 1)
    let square = ratio * ratio
    var series = 0.0
    for odd in stride(from: 25.0, through: 3.0, by: -2.0) { series = (series + 1 / odd) * square }
    return exponent * logarithmOf2.upper + (exponent * logarithmOf2.lower + 2 * (ratio + ratio * series))
  }

  /// e to the power of x.
  public static func exponential(_ x: Double) -> Double {
    guard x > -746 else { return x.isNaN ? x : 0 }
    guard x < 710 else { return .infinity }
    let exponent = (x / (logarithmOf2.upper + logarithmOf2.lower)).rounded()
    let rest = (x - exponent * logarithmOf2.upper) - exponent * logarithmOf2.lower
    // Two factors, because 2^1024 and the subnormal powers do not fit in one.
    let half = Int(exponent) / 2
    return (1 + exponentialMinusOneSeries(rest)) * powerOfTwo(half) * powerOfTwo(Int(exponent) - half)
  }

  /// The `exponent`-th power of `base`, a number of at least 0; exactly `base` for an exponent of 1.
  public static func power(_ base: Double, _ exponent: Double) -> Double {
    exponent == 1 ? base : exponential(exponent * logarithm(base))
  }

  /// log 2 in two parts: `upper` has its last 20 bits zero, so that its products with exponents are exact.
  private static let logarithmOf2 = (upper: 0x1.62e42fee00000p-1, lower: 0x1.a39ef35793c76p-33)

  private static func powerOfTwo(_ exponent: Int) -> Double {
    Double(sign: .plus, exponent: exponent, significand: 1)
  }

  /// exp x − 1 = Σ_{n≥1} xⁿ / n! for |x| ≤ ½ log 2; the first term left out is below 2⁻⁶².
  private static func exponentialMinusOneSeries(_ x: Double) -> Double {
    var series = 0.0
    for n in stride(from: 14.0, through: 2.0, by: -1.0) { series = (series + 1) * (x / n) }
    return (series + 1) * x
  }

  /// Taylor's series for |x| ≤ π/4, innermost term first; the first term left out is below 2⁻⁶⁶.
  private static func cosineSeries(_ x: Double) -> Double { 1 + alternatingSeries(x, from: 18) }
  private static func sineSeries(_ x: Double) -> Double { x + x * alternatingSeries(x, from: 19) }

  private static func alternatingSeries(_ x: Double, from highest: Double) -> Double {
    let square = x * x
    var series = 0.0
    for n in stride(from: highest, through: 2, by: -2) { series = (1 + series) * (-square / (n * (n - 1))) }
    return series
  }
}
