import Datasets
import Foundation
import Pictures
import Testing

@Suite struct ChartTests {
  @Test func `points lie where the ticks of the axes say`() throws {
    let points = [Point(0, 0), Point(5, 20), Point(7.25, 31), Point(10, 40)]
    let svg = try ReadSVG(
      Chart(
        x: Axis("x", range: 0...10), y: Axis("y", range: 0...40), series: [Series(nil, .points, points: points)]))
    let (left, right) = (try svg.tick("2").x, try svg.tick("8").x)
    let (low, high) = (try svg.tick("10").y, try svg.tick("30").y)
    let marks = svg.all("circle", .series(0))
    try #require(marks.count == 4)
    for (point, mark) in zip(points, marks) {
      #expect(abs(mark.number("cx") - (left + (point.x - 2) / 6 * (right - left))) < 0.02)
      // Grid lines and their text are moved to whole pixels.
      #expect(abs(mark.number("cy") - (low + (point.y - 10) / 20 * (high - low))) < 1)
    }
  }

  @Test func `a power of ten is as far from the next on a logarithmic axis`() throws {
    let svg = try ReadSVG(
      Chart(
        x: Axis("η", scale: .log10, range: 1e-7...1e-1), y: Axis("y", range: 0...1),
        series: [
          Series(nil, .points, points: [Point(1e-6, 0.5), Point(1e-4, 0.5), Point(2e-4, 0.5), Point(1e-2, 0.5)])
        ]))
    let x = svg.all("circle").map { $0.number("cx") }
    #expect(abs((x[1] - x[0]) - (x[3] - x[1])) < 0.03)
    #expect(abs((x[2] - x[1]) / (x[1] - x[0]) - 0.150515) < 0.001)
    #expect(abs(try svg.tick("10⁻⁴").x - x[1]) < 0.02)
  }

  @Test func `bars begin at zero, are as high as their values, and stand beside each other`() throws {
    let svg = try ReadSVG(
      Chart(
        x: Axis("", scale: .categories(["a", "b"])), y: Axis("y", range: -10...10),
        series: [
          Series("first", .bars, points: [Point(0, 10), Point(1, -5)]), Series("second", .bars, points: [Point(0, 2)]),
        ]))
    // The first box of the colour is the sample in the legend.
    let (first, second) = (svg.all("rect", .series(0)).dropFirst(), svg.all("rect", .series(1)).dropFirst())
    try #require(first.count == 2 && second.count == 1)
    let (zero, five) = (try svg.tick("0").y, try svg.tick("5").y)
    let bars = Array(first) + Array(second)
    #expect(abs(bars[0].number("height") - 2 * (zero - five)) < 1.5)
    #expect(abs(bars[0].number("y") + bars[0].number("height") - zero) < 1)
    #expect(abs(bars[1].number("y") - zero) < 1)
    #expect(abs(bars[1].number("height") - (zero - five)) < 1)
    #expect(abs(bars[2].number("x") - (bars[0].number("x") + bars[0].number("width"))) < 0.02)
    let name = try svg.tick("a").x
    #expect(abs(bars[2].number("x") - name) < 0.02, "the two meet in the middle above the name")
  }

  @Test func `a stacked bar begins where the one below it ends`() throws {
    let svg = try ReadSVG(
      Chart(
        x: Axis("", scale: .categories(["a"])), y: Axis("y"),
        series: [
          Series("low", .stackedBars, points: [Point(0, 3)]), Series("high", .stackedBars, points: [Point(0, 1)]),
          Series("below", .stackedBars, points: [Point(0, -2)]),
        ]))
    let bars = try (0..<3).map { try #require(svg.all("rect", .series($0)).last) }
    #expect(abs(bars[1].number("y") + bars[1].number("height") - bars[0].number("y")) < 0.02)
    #expect(abs(bars[0].number("height") / bars[1].number("height") - 3) < 0.01)
    #expect(abs(bars[2].number("y") - (bars[0].number("y") + bars[0].number("height"))) < 0.02)
    #expect(bars[0].number("x") == bars[1].number("x"))
  }

  @Test func `bars lie down where the vertical axis has the names`() throws {
    let svg = try ReadSVG(
      Chart(
        x: Axis("x", range: 0...1), y: Axis("", scale: .categories(["a", "b"])),
        series: [Series(nil, .bars, points: [Point(0.5, 0), Point(1, 1)])]))
    let bars = svg.all("rect", .series(0))
    try #require(bars.count == 2)
    #expect(abs(bars[1].number("width") - 2 * bars[0].number("width")) < 0.02)
    #expect(abs(bars[0].number("y") + bars[0].number("height") / 2 - (try svg.tick("a").y)) < 1)
  }

  @Test func `error bars reach as far as the errors`() throws {
    let svg = try ReadSVG(
      Chart(
        x: Axis("x", range: 0...2), y: Axis("y", range: 0...4),
        series: [Series(nil, .points, points: [Point(1, 2, error: 1), Point(2, 2, error: .nan)])]))
    let (one, three) = (try svg.tick("1").y, try svg.tick("3").y)
    let upright = svg.all("polyline").map(\.points).filter { $0[0].x == $0[1].x }
    try #require(upright.count == 1)
    #expect(abs(upright[0][0].y - one) < 1 && abs(upright[0][1].y - three) < 1)
  }

  @Test func `a line breaks at a point that cannot be drawn and ends at the edge of the plot`() throws {
    let points = [Point(0, 0), Point(1, 1), Point(2, .nan), Point(3, 1), Point(5, 3)]
    let svg = try ReadSVG(
      Chart(x: Axis("x", range: 0...4), y: Axis("y", range: 0...4), series: [Series(points: points)]))
    let lines = svg.all("polyline", .series(0), "stroke").map(\.points)
    try #require(lines.map(\.count) == [2, 2])
    #expect(abs(lines[1][1].x - (try svg.tick("4.0").x)) < 0.02)
    #expect(abs(lines[1][1].y - (try svg.tick("2").y)) < 1)
    #expect(svg.texts.contains("1 of 5 points not shown: not finite."))
  }

  @Test func `a legend names the series where more than one has a name`() throws {
    func texts(_ names: [String?]) throws -> [String] {
      try ReadSVG(Chart(x: Axis("x"), y: Axis("y"), series: names.map { Series($0, points: [Point(0, 0)]) })).texts
    }
    #expect(try !texts(["only", nil]).contains("only"))
    #expect(Set(["one", "other"]).isSubset(of: try texts(["one", nil, "other"])))
  }

  @Test func `points with a value take the colours of the colour bar`() throws {
    let svg = try ReadSVG(
      Chart(
        x: Axis("x"), y: Axis("y"),
        series: [
          Series(nil, .points, points: [Point(0, 0, value: 10), Point(1, 1, value: 30), Point(2, 2, value: .nan)])
        ],
        valueLabel: "accuracy (%)"))
    let low = Ink(ColorMap.sequential(0), ColorMap.sequential(0))
    let high = Ink(ColorMap.sequential(1), ColorMap.sequential(1))
    #expect(svg.all("circle", low).count == 1 && svg.all("circle", high).count == 1)
    #expect(Set(["accuracy (%)", "10", "20", "30"]).isSubset(of: svg.texts))
    let bar = try #require(svg.images().first)
    #expect(bar.color(0, 0) == ColorMap.sequential(1) && bar.color(0, 255) == ColorMap.sequential(0))
  }

  @Test(arguments: [0, 1, 2])
  func `data that cannot be drawn give a picture and a note, not a trap`(kind: Int) throws {
    let values: [Double] = [
      .nan, .infinity, -.infinity, 0, -0.0, 5, 5, -3, 1e308, -1e308, 1e300, .leastNonzeroMagnitude, 1e-300,
      .greatestFiniteMagnitude,
    ]
    let groups: [[Double]] = [
      [], [0], [5, 5], [-3], [.nan], [1e308, -1e308], [1e300, -1e300], [.leastNonzeroMagnitude],
      [.leastNonzeroMagnitude, 0], values,
    ]
    let scale = [Axis.Scale.linear, .log10, .categories(["a", "b"])][kind]
    for group in groups {
      for marks in [Series.Marks.line, .dashedLine, .lineAndPoints, .points, .bars, .stackedBars] {
        let points = group.flatMap { x in group.map { Point(x, $0, error: x, value: $0) } }
        for range in [
          nil, 1...1, -Double.infinity...Double.infinity, .leastNonzeroMagnitude...(.leastNonzeroMagnitude * 64),
        ] as [ClosedRange<Double>?] {
          let chart = Chart(
            x: Axis("x", scale: scale, range: range),
            y: Axis("y", scale: scale == .log10 ? .log10 : .linear, range: range),
            series: [Series("a", marks, points: points), Series("b", marks, points: points)], valueLabel: "value")
          let svg = try ReadSVG(chart)
          #expect(svg.texts.contains("x"))
          if range == nil, group.count > 10 { _ = Figure("", panels: [.chart(chart)]).image(theme: .dark) }
          if range == nil, group.contains(where: \.isNaN) {
            #expect(svg.texts.contains { $0.contains("points not shown: not finite") })
          }
        }
      }
    }
  }
}

extension Axis.Scale {
  fileprivate static func == (left: Axis.Scale, right: Axis.Scale) -> Bool {
    if case .log10 = left, case .log10 = right { true } else { false }
  }
}
