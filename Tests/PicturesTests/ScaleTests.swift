import Pictures
import Testing

@Suite struct ScaleTests {
  @Test(arguments: [
    (0.0...10, 5, ["0", "2", "4", "6", "8", "10"]), (0...1, 4, ["0.0", "0.5", "1.0"]),
    (-1...1, 5, ["−1.0", "−0.5", "0.0", "0.5", "1.0"]), (0...45_000, 5, ["0", "10,000", "20,000", "30,000", "40,000"]),
    (0...3e-6, 4, ["0", "10⁻⁶", "2×10⁻⁶", "3×10⁻⁶"]),
    (0...2.5e7, 5, ["0", "0.5×10⁷", "1.0×10⁷", "1.5×10⁷", "2.0×10⁷", "2.5×10⁷"]),
    (39.8...41.3, 3, ["40.0", "40.5", "41.0"]), (-1e300...1e300, 2, ["−10³⁰⁰", "0", "10³⁰⁰"]),
  ])
  func `ticks are multiples of 1, 2 or 5 times a power of ten, all written alike`(
    range: ClosedRange<Double>, count: Int, texts: [String]
  ) {
    #expect(AxisScale.roundNumbers(in: range, count).map(\.text) == texts)
  }

  @Test(arguments: [
    (1e-4...1, ["10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "10⁰"]), (0.01...1_000, ["0.01", "0.1", "1", "10", "100", "1,000"]),
    (1...10, ["1", "2", "5", "10"]), (2.0...4, ["2", "3", "4"]), (1e-12...1e12, []),
  ])
  func `a logarithmic axis has ticks at powers of ten, and closer ones where it is short`(
    range: ClosedRange<Double>, texts: [String]
  ) {
    let scale = AxisScale(Axis("", scale: .log10, range: range), values: [])
    let ticks = scale.ticks(about: 6)
    let named = ticks.filter { !$0.text.isEmpty }
    if texts.isEmpty { #expect((4...7).contains(named.count)) } else { #expect(named.map(\.text) == texts) }
    #expect(ticks.allSatisfy { $0.fraction > -1e-6 && $0.fraction < 1 + 1e-6 })
  }

  @Test func `an axis has room for its data, and just its range where one is given`() throws {
    let free = AxisScale(Axis(""), values: [2, 4, .nan, .infinity])
    #expect(free.lower < 2 && free.upper > 4 && free.lower > 1.8 && free.upper < 4.2)
    let zero = AxisScale(Axis(""), values: [2, 4], includesZero: true)
    #expect(zero.lower == 0 && zero.upper > 4)
    let given = AxisScale(Axis("", range: 0...8), values: [2, 40])
    #expect(given.fraction(of: 2) == 0.25 && given.fraction(of: 16) == 2)
    let log = AxisScale(Axis("", scale: .log10), values: [-1, 0, 1, 100], margin: 0)
    #expect(abs(try #require(log.fraction(of: 10)) - 0.5) < 1e-12)
    #expect(log.fraction(of: 0) == nil && log.fraction(of: -1) == nil && log.fraction(of: .nan) == nil)
  }
}
