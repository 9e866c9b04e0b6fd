import Diagnostics
import Optimization
import Reporting

/// Where the values of an axis lie along its side of a panel, and the ticks there.
package struct AxisScale {
  let kind: Axis.Scale
  /// Of the side, in units of `coordinate(of:)`: lower < upper.
  package let lower: Double
  package let upper: Double

  /// What counts as infinite, so that no difference of two values overflows.
  fileprivate static let limit = 1e300

  /// In 0 ... 1 inside of the panel; nil for a value that cannot be drawn: not finite, or not positive on a logarithmic axis.
  package func fraction(of value: Double) -> Double? {
    Self.coordinate(of: value, isLogarithmic: isLogarithmic).map { ($0 - lower) / (upper - lower) }
  }

  var isLogarithmic: Bool { Self.isLogarithmic(kind) }

  /// Nil for an axis of numbers.
  var names: [String]? { if case .categories(let names) = kind { names } else { nil } }

  static func isLogarithmic(_ kind: Axis.Scale) -> Bool { if case .log10 = kind { true } else { false } }

  static func coordinate(of value: Double, isLogarithmic: Bool) -> Double? {
    guard abs(value) <= limit else { return nil }
    return isLogarithmic ? (value > 0 ? logarithm10(value) : nil) : value
  }

  fileprivate static func isConstant(_ lower: Double, _ upper: Double) -> Bool {
    !(upper - lower > 1e-12 * max(abs(lower), abs(upper), 1e-280))
  }

  static func logarithm10(_ value: Double) -> Double {
    ElementaryFunctions.logarithm(value) / ElementaryFunctions.logarithm(10)
  }
}

extension AxisScale {
  /// - Parameters:
  ///   - values: that must have room; those that cannot be drawn are passed over.
  ///   - margin: free room at both ends, as a share of the range of the values.
  ///   - includesZero: whether the axis reaches to 0, where bars begin, without a margin behind it.
  package init(_ axis: Axis, values: some Sequence<Double>, margin: Double = 0.04, includesZero: Bool = false) {
    if case .categories(let names) = axis.scale {
      self.init(kind: axis.scale, lower: -0.5, upper: max(Double(names.count), 1) - 0.5)
      return
    }
    let isLogarithmic = Self.isLogarithmic(axis.scale)
    func coordinate(_ value: Double) -> Double? { Self.coordinate(of: value, isLogarithmic: isLogarithmic) }
    if let range = axis.range, let lower = coordinate(range.lowerBound), let upper = coordinate(range.upperBound),
      !Self.isConstant(lower, upper)
    {
      self.init(kind: axis.scale, lower: lower, upper: upper)
      return
    }
    var (least, greatest) = (Double.infinity, -Double.infinity)
    for value in values {
      guard let value = coordinate(value) else { continue }
      (least, greatest) = (min(least, value), max(greatest, value))
    }
    let isEmpty = least > greatest
    if isEmpty { (least, greatest) = (0, 1) }
    let hasZero = includesZero && !isLogarithmic
    if hasZero { (least, greatest) = (min(least, 0), max(greatest, 0)) }
    if Self.isConstant(least, greatest) {
      let room = isLogarithmic ? 0.5 : max(abs(least) * 0.1, abs(least) < 1e-280 ? 1 : 0)
      self.init(kind: axis.scale, lower: least - room, upper: greatest + room)
    } else {
      let room = isEmpty ? 0 : (greatest - least) * margin
      self.init(
        kind: axis.scale, lower: hasZero && least == 0 ? 0 : least - room,
        upper: hasZero && greatest == 0 ? 0 : greatest + room)
    }
  }
}

// MARK: - Ticks

/// A mark on an axis; without text, a short one.
package struct Tick: Equatable {
  /// In 0 ... 1.
  package var fraction: Double
  package var text: String
}

extension AxisScale {
  /// At multiples of 1, 2 or 5 times a power of ten, at powers of ten, or one for each name.
  ///
  /// - Parameter count: about how many to make of numbers, at least 2.
  package func ticks(about count: Int) -> [Tick] {
    switch kind {
    case .linear: linearTicks(count)
    case .log10: logarithmicTicks(count)
    case .categories(let names):
      names.enumerated().map { Tick(fraction: (Double($0) - lower) / (upper - lower), text: $1) }
    }
  }

  private func linearTicks(_ count: Int) -> [Tick] {
    let numbers = Self.roundNumbers(in: lower...upper, count)
    return numbers.map { Tick(fraction: ($0.value - lower) / (upper - lower), text: $0.text) }
  }

  private func logarithmicTicks(_ count: Int) -> [Tick] {
    let decades =
      Int(
        (lower - 1e-9).rounded(.up))...max(
        Int((lower - 1e-9).rounded(.up)), Int((upper + 1e-9).rounded(.down)))
    func ticks(of multiples: [Int]) -> [(multiple: Int, decade: Int, coordinate: Double)] {
      ((decades.lowerBound - 1)...decades.upperBound).flatMap { decade in
        multiples.map { ($0, decade, Double(decade) + Self.logarithm10(Double($0))) }
      }.filter { $0.coordinate >= lower - 1e-9 && $0.coordinate <= upper + 1e-9 }
    }
    let labelled = [[1], [1, 2, 5], Array(1...9)].lazy.map(ticks).first { $0.count >= min(count, 3) } ?? []
    guard labelled.count >= 2 else { return narrowTicks(count) }
    let isPlain = lower > -3.5 && upper < 4.5
    // Of many decades every second, third … has its number.
    let stride = (labelled.count + count - 1) / max(count, 1)
    let steps = stride > 1 || upper - lower > 8 || labelled.contains { $0.multiple != 1 } ? [] : ticks(of: Array(2...9))
    let named = labelled.enumerated().map { index, tick in
      Tick(
        fraction: (tick.coordinate - lower) / (upper - lower),
        text: index % stride == 0 ? Self.text(tick.multiple, tick.decade, isPlain: isPlain) : "")
    }
    return named + steps.map { Tick(fraction: ($0.coordinate - lower) / (upper - lower), text: "") }
  }

  /// Of a logarithmic axis that is too short for multiples of powers of ten.
  private func narrowTicks(_ count: Int) -> [Tick] {
    let ends = [lower, upper].map { ElementaryFunctions.exponential($0 * ElementaryFunctions.logarithm(10)) }
    guard ends[1].isFinite, ends[0] < ends[1] else { return [] }
    return Self.roundNumbers(in: ends[0]...ends[1], count).compactMap { number in
      fraction(of: number.value).map { Tick(fraction: $0, text: number.text) }
    }
  }

  /// "0.02", "2,000"; beyond four digits "2×10⁻⁵".
  private static func text(_ multiple: Int, _ decade: Int, isPlain: Bool) -> String {
    if isPlain {
      return decade < 0
        ? Display.decimal(Double(multiple) * power(of: decade), places: -decade)
        : grouped(multiple, zeros: decade)
    }
    return (multiple == 1 ? "" : "\(multiple)×") + "10" + superscript(decade)
  }

  /// The multiples of a round step in the range, with their text in a common form.
  package static func roundNumbers(in range: ClosedRange<Double>, _ count: Int) -> [(value: Double, text: String)] {
    let rough = (range.upperBound - range.lowerBound) / Double(max(count, 1))
    var exponent = Int(logarithm10(rough).rounded(.down))
    if power(of: exponent + 1) <= rough { exponent += 1 }
    var multiple = [1, 2, 5].first { Double($0) * power(of: exponent) >= rough * (1 - 1e-9) } ?? 10
    if multiple == 10 { (multiple, exponent) = (1, exponent + 1) }
    let step = Double(multiple) * power(of: exponent)
    guard step > 0, max(abs(range.lowerBound), abs(range.upperBound)) / step < 1e15 else { return [] }
    let first = Int((range.lowerBound / step - 1e-9).rounded(.up))
    let last = Int((range.upperBound / step + 1e-9).rounded(.down))
    guard first <= last, last - first <= 1_000 else { return [] }
    let digits = (first...last).map { $0 * multiple }
    let greatest = digits.map(\.magnitude).max() ?? 0
    return digits.map { (Double($0) * power(of: exponent), text(digits: $0, exponent, greatest: greatest)) }
  }

  /// - Parameters:
  ///   - digits: the number is digits · 10^exponent.
  ///   - greatest: of the digits of all numbers beside it, which decide how it is written.
  private static func text(digits: Int, _ exponent: Int, greatest: UInt) -> String {
    let sign = digits < 0 ? "−" : ""
    let leading = String(greatest).utf8.count - 1 + exponent
    if leading >= 6 || leading < -3 {
      guard digits != 0 else { return "0" }
      let places = max(0, leading - exponent)
      let mantissa = Display.decimal(Double(digits.magnitude) * power(of: exponent - leading), places: places)
      return sign + (mantissa == "1" ? "" : mantissa + "×") + "10" + superscript(leading)
    }
    if exponent >= 0 { return sign + grouped(Int(digits.magnitude), zeros: exponent) }
    return sign + Display.decimal(Double(digits.magnitude) * power(of: exponent), places: -exponent)
  }

  private static func grouped(_ number: Int, zeros: Int) -> String {
    Diagnostics.grouped(UInt64(number) * UInt64(power(of: zeros)))
  }

  /// The double nearest to it.
  private static func power(of exponent: Int) -> Double { Double("1e\(exponent)") ?? 0 }

  /// "⁻³".
  static func superscript(_ number: Int) -> String {
    let digits = Array("⁰¹²³⁴⁵⁶⁷⁸⁹")
    return (number < 0 ? "⁻" : "") + String("\(number.magnitude)".compactMap { $0.wholeNumberValue.map { digits[$0] } })
  }
}
