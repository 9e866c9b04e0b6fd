import Datasets
import Reporting

extension HeatMap {
  private static let greatestHeight = 460.0

  private var rows: Int { columns > 0 ? (values.count + columns - 1) / columns : 0 }

  /// The map as a drawing of at most this width.
  func drawing(width: Double) -> Drawing {
    let aspect = min(max(Double(rows) / Double(max(columns, 1)), 0.08), 1.15)
    var drawing = Drawing(width: min(width, max(250, Self.greatestHeight / aspect + 150)), height: 0)
    let titleLines = Typesetting.lines(title, width: drawing.width, size: TextSize.panelTitle, isBold: true, limit: 3)
    var top = drawing.addLines(titleLines, left: 0, top: 0, size: TextSize.panelTitle, isBold: true)
    let entries = legendEntries
    if !entries.isEmpty { top = drawing.addLegend(entries, top: top + 3) }
    let range = colorRange
    let bar = range.map { ColorBar($0, label: valueLabel) }
    let axes = AxesLayout(
      x: x, y: y, xScale: cellScale(x, columns), yScale: cellScale(y, rows), rightRoom: bar?.room ?? 0, hasGrid: false,
      mayHide: true)
    var (plot, bottom) = axes.add(to: &drawing, top: top + 8) { min(max($0 * aspect, 24), Self.greatestHeight) }
    let inks = inks(range)
    addCells(inks, to: &drawing, plot)
    if let places { addNumbers(places, inks, to: &drawing, plot) }
    for (index, series) in overlay.enumerated() {
      let (ink, casing) = overlayInks(index)
      SeriesDrawing(series: series, ink: ink, index: index, casing: casing).add(to: &drawing, plot)
    }
    drawing.addFrame(plot)
    bar?.add(to: &drawing, beside: plot.box)
    let infinite = values.count { $0.isInfinite }
    if infinite > 0 {
      let note = "\(infinite) of \(values.count) cells not shown: infinite."
      bottom = drawing.addLines([note], left: 0, top: bottom + 4, size: TextSize.tick, ink: .muted)
    }
    drawing.height = bottom
    return drawing
  }

  private var classNames: [String]? { if case .classes(let names) = colors { names } else { nil } }

  /// Nil for classes.
  private var colorRange: ColorRange? {
    switch colors {
    case .sequential: ColorRange(values)
    case .diverging: ColorRange(values, isDiverging: true)
    case .classes: nil
    }
  }

  private var legendEntries: [LegendEntry] {
    let names = classNames ?? []
    let areas = names.enumerated().map { LegendEntry(areaOf: $1, index: $0) }
    // Points of a class have its colour, which the area explains.
    let others = overlay.indices.filter { index in overlay[index].name.map { !names.contains($0) } ?? false }
    return areas
      + others.map { index in
        let (ink, casing) = overlayInks(index)
        return LegendEntry(overlay[index], index: index, ink: ink, casing: casing)
      }
  }

  /// Points over classes have the colours of these. Over numbers the first series is white with a dark edge, which shows on
  /// every colour.
  private func overlayInks(_ index: Int) -> (ink: Ink, casing: Ink) {
    let (black, white) = (Color(0x16191d), Color(0xffffff))
    if let classNames {
      let label = overlay[index].name.flatMap { classNames.firstIndex(of: $0) } ?? index
      return (.series(label), .background)
    }
    return index == 0 ? (Ink(white, white), Ink(black, black)) : (.series(index), Ink(white, black))
  }

  /// An axis whose range goes from the middle of the first cell to that of the last one; without a range they are numbered.
  private func cellScale(_ axis: Axis, _ count: Int) -> AxisScale {
    if case .categories(let names) = axis.scale {
      return AxisScale(kind: axis.scale, lower: -0.5, upper: Double(max(count, names.count, 1)) - 0.5)
    }
    guard axis.range != nil else { return AxisScale(kind: .linear, lower: -0.5, upper: Double(max(count, 1)) - 0.5) }
    let middles = AxisScale(axis, values: [])
    let half = count > 1 ? (middles.upper - middles.lower) / Double(count - 1) / 2 : 0
    return AxisScale(kind: axis.scale, lower: middles.lower - half, upper: middles.upper + half)
  }

  private func inks(_ range: ColorRange?) -> [Ink] {
    values.map { value in
      if let range { return range.ink(value) }
      guard let label = Int(exactly: value.rounded()), label >= 0 else { return .background }
      return .area(label)
    }
  }

  private func addCells(_ inks: [Ink], to drawing: inout Drawing, _ plot: Plot) {
    guard rows > 0 else { return }
    var inks = inks + [Ink](repeating: .background, count: rows * columns - inks.count)
    if y.scaleNames == 0 {
      inks = (0..<rows).reversed().flatMap { inks[$0 * columns..<($0 + 1) * columns] }
    }
    drawing.add(
      .image(
        cellArea(plot), light: RGBImage(width: columns, height: rows, colors: inks.map(\.light)),
        dark: RGBImage(width: columns, height: rows, colors: inks.map(\.dark))))
  }

  /// Less than the plot where an axis has more names than there are cells.
  private func cellArea(_ plot: Plot) -> Box {
    let across = Double(columns) / Double(max(columns, x.scaleNames))
    let down = Double(rows) / Double(max(rows, y.scaleNames))
    return Box(
      left: plot.box.left, top: plot.box.top, width: plot.box.width * across, height: plot.box.height * down)
  }

  private func addNumbers(_ places: Int, _ inks: [Ink], to drawing: inout Drawing, _ plot: Plot) {
    guard rows > 0 else { return }
    let area = cellArea(plot)
    let cell = (width: area.width / Double(columns), height: area.height / Double(rows))
    let texts = values.map { value -> String in
      guard value.isFinite else { return "" }
      return Display.decimal(value, places: max(places, 0)).replacing("-", with: "−")
    }
    let widest = texts.map { StrokeFont.width(of: $0, size: 1) }.max() ?? 0
    let size = min(12, cell.height * 0.7, (cell.width - 3) / max(widest, 0.1))
    // Smaller numbers cannot be read.
    guard size >= 6 else { return }
    for (index, text) in texts.enumerated() where !text.isEmpty {
      let row = y.scaleNames == 0 ? rows - 1 - index / columns : index / columns
      let center = Position(
        x: area.left + (Double(index % columns) + 0.5) * cell.width, y: area.top + (Double(row) + 0.5) * cell.height)
      let position = center + Position(x: 0, y: size * 0.35)
      drawing.add(
        .text(Label(text: text, position: position, size: size, ink: inks[index].contrasting, anchor: .middle)))
    }
  }
}
