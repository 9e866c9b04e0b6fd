import Datasets

/// The colours of numbers, beside a plot.
struct ColorBar {
  let range: ColorRange
  let label: String
  private let ticks: [Tick]

  private static let (gap, thickness) = (14.0, 12.0)

  init(_ range: ColorRange, label: String) {
    (self.range, self.label) = (range, label)
    ticks = AxisScale(kind: .linear, lower: range.lower, upper: range.upper).ticks(about: 5)
  }

  private var widestTick: Double { ticks.map { StrokeFont.width(of: $0.text, size: TextSize.tick) }.max() ?? 0 }

  /// Width that it takes beside the plot.
  var room: Double { Self.gap + Self.thickness + 6 + widestTick + (label.isEmpty ? 0 : 20) }

  func add(to drawing: inout Drawing, beside box: Box) {
    let bar = Box(left: box.right + Self.gap, top: box.top, width: Self.thickness, height: box.height)
    let inks = (0..<256).reversed().map { index in
      range.ink(range.lower + (range.upper - range.lower) * Double(index) / 255)
    }
    drawing.add(
      .image(
        bar, light: RGBImage(width: 1, height: 256, colors: inks.map(\.light)),
        dark: RGBImage(width: 1, height: 256, colors: inks.map(\.dark))))
    for tick in ticks {
      let y = bar.bottom - tick.fraction * bar.height
      drawing.add(.box(Box(left: bar.right, top: y - 0.5, width: 3, height: 1), .axis))
      let position = Position(x: bar.right + 6, y: y + TextSize.tick * 0.35)
      drawing.add(.text(Label(text: tick.text, position: position, size: TextSize.tick, ink: .muted)))
    }
    guard !label.isEmpty else { return }
    let text = Typesetting.shortened(label, max(box.height + 24, 60), TextSize.axisLabel)
    let position = Position(x: bar.right + 6 + widestTick + 16, y: bar.center.y)
    drawing.add(
      .text(Label(text: text, position: position, size: TextSize.axisLabel, anchor: .middle, quarterTurns: 1)))
  }
}
