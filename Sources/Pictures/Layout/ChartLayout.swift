extension Chart {
  /// The chart as a drawing of this width.
  func drawing(width: Double) -> Drawing {
    var drawing = Drawing(width: width, height: 0)
    let titleLines = Typesetting.lines(title, width: width, size: TextSize.panelTitle, isBold: true, limit: 3)
    var top = drawing.addLines(titleLines, left: 0, top: 0, size: TextSize.panelTitle, isBold: true)
    let named = series.indices.filter { series[$0].name != nil }
    if named.count > 1 {
      let entries = named.map { LegendEntry(series[$0], index: $0) }
      top = drawing.addLegend(entries, top: top + 3)
    }
    let bars = BarLayout(self)
    let bar = valueLabel.map { ColorBar(ColorRange(series.flatMap(\.points).compactMap(\.value)), label: $0) }
    let axes = AxesLayout(
      x: x, y: y, xScale: bars.isHorizontal ? bars.valueScale(x) : positionScale(bars),
      yScale: bars.isHorizontal ? AxisScale(y, values: []) : bars.valueScale(y),
      rightRoom: bar?.room ?? 0)
    let barRows = bars.isHorizontal ? Double(max(y.scaleNames, 1)) * (bars.groupCount > 1 ? 30 : 20) : 0
    var (plot, bottom) = axes.add(to: &drawing, top: top + 8) { width in
      bars.isHorizontal ? min(max(barRows, 80), 900) : min(max(width * 0.6, 170), 340)
    }
    bars.add(to: &drawing, plot)
    for (index, series) in series.enumerated() {
      SeriesDrawing(series: series, ink: .series(index), index: index, colors: bar?.range)
        .add(to: &drawing, plot)
    }
    drawing.addFrame(plot)
    bar?.add(to: &drawing, beside: plot.box)
    if let note = omissionNote(plot) {
      let lines = Typesetting.lines(note, width: width, size: TextSize.tick)
      bottom = drawing.addLines(lines, left: 0, top: bottom + 4, size: TextSize.tick, ink: .muted)
    }
    drawing.height = bottom
    return drawing
  }

  private func positionScale(_ bars: BarLayout) -> AxisScale {
    let positions = series.flatMap(\.points).filter { y.isDrawable($0.y) }.map(\.x)
    return AxisScale(x, values: bars.roomAround(positions, x), margin: bars.isEmpty ? 0.03 : 0)
  }

  /// "3 of 40 points are not shown: not finite".
  private func omissionNote(_ plot: Plot) -> String? {
    let points = series.flatMap(\.points)
    let count = points.count { !x.isDrawable($0.x) || !y.isDrawable($0.y) }
    guard count > 0 else { return nil }
    let reason = plot.x.isLogarithmic || plot.y.isLogarithmic ? "not finite, or not above 0" : "not finite"
    return "\(count) of \(points.count) \(points.count == 1 ? "point" : "points") not shown: \(reason)."
  }
}

extension Axis {
  /// Whether a value has a place on an axis of this kind.
  func isDrawable(_ value: Double) -> Bool {
    AxisScale.coordinate(of: value, isLogarithmic: AxisScale.isLogarithmic(scale)) != nil
  }

  /// Number of names; 0 for numbers.
  var scaleNames: Int { if case .categories(let names) = scale { names.count } else { 0 } }
}

/// Bars: those of one position stand beside each other, stacked ones on each other. They lie where the vertical axis has
/// names and the horizontal one numbers.
struct BarLayout {
  let isHorizontal: Bool
  private let series: [(index: Int, series: Series)]
  private let all: [Series]

  init(_ chart: Chart) {
    all = chart.series
    series = chart.series.enumerated().filter { $1.isBars }.map { ($0, $1) }
    isHorizontal = !series.isEmpty && chart.y.scaleNames > 0 && chart.x.scaleNames == 0
  }

  var isEmpty: Bool { series.isEmpty }

  /// Bars beside each other at one position.
  var groupCount: Int {
    series.count { $0.series.marks == .bars } + (series.contains { $0.series.marks == .stackedBars } ? 1 : 0)
  }

  private func value(_ point: Point) -> Double { isHorizontal ? point.x : point.y }
  private func place(_ point: Point) -> Double { isHorizontal ? point.y : point.x }

  /// The scale of the axis along the bars, with room for stacks and error bars.
  func valueScale(_ axis: Axis) -> AxisScale {
    let stacks = segments().flatMap { [$0.start, $0.end] }
    let others = all.flatMap { series in
      series.points.flatMap { point -> [Double] in
        guard series.marks != .stackedBars, axis.isDrawable(value(point)) else { return [] }
        guard let error = point.error, error.isFinite, error > 0 else { return [value(point)] }
        return [value(point) - error, value(point) + error]
      }
    }
    return AxisScale(axis, values: stacks + others, margin: 0.05, includesZero: !isEmpty)
  }

  /// The values, and half a bar's slot before the first and behind the last.
  func roomAround(_ positions: [Double], _ axis: Axis) -> [Double] {
    guard !isEmpty else { return positions }
    let places = places(axis)
    guard let first = places.first, let last = places.last else { return positions }
    if case .log10 = axis.scale {
      let ratio = zip(places, places.dropFirst()).map { $1 / $0 }.min().map { $0.squareRoot() } ?? 2
      return positions + [first / ratio, last * ratio]
    }
    let half = (zip(places, places.dropFirst()).map { $1 - $0 }.min() ?? 1) / 2
    return positions + [first - half, last + half]
  }

  /// Where bars stand, rising, each once.
  private func places(_ axis: Axis) -> [Double] {
    let all = series.flatMap { $0.series.points }.map(place).filter(axis.isDrawable).sorted()
    return all.indices.filter { $0 == 0 || all[$0] > all[$0 - 1] }.map { all[$0] }
  }

  private struct Segment {
    let index: Int
    let point: Point
    /// Of the bars at its position, from 0.
    let slot: Int
    let start: Double
    let end: Double
  }

  private func segments() -> [Segment] {
    var segments: [Segment] = []
    var sums: [Double: (below: Double, above: Double)] = [:]
    var (slot, stackSlot) = (0, Int?.none)
    for (index, series) in series {
      let isStacked = series.marks == .stackedBars
      let own = isStacked ? stackSlot ?? slot : slot
      if !isStacked || stackSlot == nil { slot += 1 }
      if isStacked { stackSlot = own }
      for point in series.points where value(point).isFinite && place(point).isFinite {
        let value = value(point)
        var sum = (isStacked ? sums[place(point)] : nil) ?? (below: 0, above: 0)
        let start = value < 0 ? sum.below : sum.above
        if value < 0 { sum.below += value } else { sum.above += value }
        if isStacked { sums[place(point)] = sum }
        segments.append(Segment(index: index, point: point, slot: own, start: start, end: start + value))
      }
    }
    return segments
  }

  func add(to drawing: inout Drawing, _ plot: Plot) {
    let scale = isHorizontal ? plot.y : plot.x
    let fractions = places(Axis("", scale: scale.kind)).compactMap(scale.fraction)
    let names = scale.names.map { 1 / Double(max($0.count, 1)) }
    let slot = names ?? zip(fractions, fractions.dropFirst()).map { $1 - $0 }.min() ?? 0.4
    let width = slot * 0.76 / Double(max(groupCount, 1))
    for segment in segments() {
      guard let place = scale.fraction(of: place(segment.point)) else { continue }
      let offset = (Double(segment.slot) - Double(groupCount - 1) / 2) * width
      guard let box = box(place + offset, width, segment.start, segment.end, plot) else { continue }
      drawing.add(.box(box, .series(segment.index)))
      addError(of: segment.point, end: segment.end, across: place + offset, plot, to: &drawing)
    }
  }

  /// - Parameters:
  ///   - place: of the middle, and `width`, as shares of the side.
  ///   - start: and `end`: values along the bar; the lower end may be outside of what a logarithmic axis can show.
  private func box(_ place: Double, _ width: Double, _ start: Double, _ end: Double, _ plot: Plot) -> Box? {
    let scale = isHorizontal ? plot.x : plot.y
    guard let to = scale.fraction(of: end) else { return nil }
    let from = scale.fraction(of: start) ?? 0
    let (low, high) = (max(min(from, to), 0), min(max(from, to), 1))
    guard low <= high else { return nil }
    let area = plot.box
    let box =
      isHorizontal
      ? Box(
        left: area.left + low * area.width, top: plot.height(of: place) - width * area.height / 2,
        width: (high - low) * area.width, height: width * area.height)
      : Box(
        left: area.left + (place - width / 2) * area.width, top: area.bottom - high * area.height,
        width: width * area.width, height: (high - low) * area.height)
    return box.clipped(to: area)
  }

  private func addError(of point: Point, end: Double, across place: Double, _ plot: Plot, to drawing: inout Drawing) {
    guard let error = point.error, error.isFinite, error > 0 else { return }
    let scale = isHorizontal ? plot.x : plot.y
    guard let high = scale.fraction(of: end + error) else { return }
    let low = scale.fraction(of: end - error) ?? 0
    let area = plot.box
    func position(_ fraction: Double) -> Position {
      isHorizontal
        ? Position(x: area.left + fraction * area.width, y: plot.height(of: place))
        : Position(x: area.left + place * area.width, y: area.bottom - fraction * area.height)
    }
    drawing.addErrorBar(from: position(low), to: position(high), ink: .text, plot)
  }
}
