/// The area of a panel between its axes.
struct Plot {
  var box: Box
  var x: AxisScale
  var y: AxisScale

  /// Inside or outside of the box; nil for a value that cannot be drawn.
  func position(x xValue: Double, y yValue: Double) -> Position? {
    guard let across = x.fraction(of: xValue), let up = y.fraction(of: yValue) else { return nil }
    return Position(x: box.left + limited(across) * box.width, y: height(of: up))
  }

  /// Names are listed from the top, numbers rise from the bottom.
  func height(of fraction: Double) -> Double {
    y.names == nil ? box.bottom - limited(fraction) * box.height : box.top + limited(fraction) * box.height
  }

  /// Far outside is as good as further outside, and its square does not overflow.
  private func limited(_ fraction: Double) -> Double { min(max(fraction, -1e6), 1e6) }

  /// The part of the line from `start` to `end` inside of the box (Liang and Barsky); nil where there is none.
  func clipped(_ start: Position, _ end: Position) -> (Position, Position)? {
    let (dx, dy) = (end.x - start.x, end.y - start.y)
    var (first, last) = (0.0, 1.0)
    let sides = [
      (-dx, start.x - box.left), (dx, box.right - start.x), (-dy, start.y - box.top), (dy, box.bottom - start.y),
    ]
    for (direction, distance) in sides {
      if direction == 0 {
        if distance < 0 { return nil }
      } else if direction < 0 {
        first = max(first, distance / direction)
      } else {
        last = min(last, distance / direction)
      }
    }
    guard first <= last else { return nil }
    func at(_ share: Double) -> Position { Position(x: start.x + share * dx, y: start.y + share * dy) }
    return (first == 0 ? start : at(first), last == 1 ? end : at(last))
  }
}

/// Sizes of text, in CSS pixels.
package enum TextSize {
  static let figureTitle = 17.0
  static let panelTitle = 13.5
  static let axisLabel = 12.0
  package static let tick = 11.0
  static let legend = 11.5
  static let caption = 12.0
  static let tileCaption = 10.5
}

/// Arranges axes around a plot, and draws them.
struct AxesLayout {
  var x: Axis
  var y: Axis
  var xScale: AxisScale
  var yScale: AxisScale
  /// Free room to the right of the plot.
  var rightRoom = 0.0
  /// Grid lines in the plot, or tick marks outside of it.
  var hasGrid = true
  /// Whether an axis without label, range and names is left out.
  var mayHide = false

  private static let gap = 6.0

  /// Adds both axes to a drawing as wide as the panel, from the height `top` on.
  ///
  /// - Parameter height: of the plot, for its width.
  /// - Returns: the plot, and the height below everything that was added.
  func add(to drawing: inout Drawing, top: Double, height: (Double) -> Double) -> (plot: Plot, bottom: Double) {
    let isYShown = isShown(y)
    let guess = height(drawing.width * 0.8)
    var yTicks = isYShown ? yScale.ticks(about: max(2, min(7, Int(guess / 42)))) : []
    let widest = min(yTicks.map { width($0.text) }.max() ?? 0, drawing.width * 0.3)
    for index in yTicks.indices {
      yTicks[index].text = Typesetting.shortened(yTicks[index].text, widest + 0.1, TextSize.tick)
    }
    let left = isYShown ? (y.label.isEmpty ? 2 : 20) + widest + Self.gap + 2 : 2
    let plotWidth = max(drawing.width - left - rightRoom - 10, 40)
    let box = Box(left: left, top: top, width: plotWidth.rounded(.down), height: height(plotWidth).rounded())
    let plot = Plot(box: box, x: xScale, y: yScale)
    addY(yTicks, plot, to: &drawing)
    var bottom = box.bottom + 4
    if isShown(x) { bottom = addX(plot, to: &drawing) }
    if isYShown, !y.label.isEmpty {
      let text = Typesetting.shortened(y.label, max(box.height + 24, 60), TextSize.axisLabel)
      let position = Position(x: TextSize.axisLabel, y: box.center.y)
      drawing.add(
        .text(Label(text: text, position: position, size: TextSize.axisLabel, anchor: .middle, quarterTurns: 1)))
    }
    return (plot, bottom)
  }

  private func isShown(_ axis: Axis) -> Bool {
    if case .categories = axis.scale { return true }
    return !mayHide || !axis.label.isEmpty || axis.range != nil
  }

  private func width(_ text: String) -> Double { StrokeFont.width(of: text, size: TextSize.tick) }

  private func addY(_ ticks: [Tick], _ plot: Plot, to drawing: inout Drawing) {
    let box = plot.box
    // Of many names only so many as there is room for.
    let stride = max(1, Int((Double(ticks.count) * 12 / max(box.height, 1)).rounded(.up)))
    for (index, tick) in ticks.enumerated() where tick.fraction > -1e-6 && tick.fraction < 1 + 1e-6 {
      let height = plot.height(of: tick.fraction).rounded()
      let isMinor = tick.text.isEmpty
      if hasGrid, !isMinor, yScale.names == nil {
        line(from: Position(x: box.left, y: height), to: Position(x: box.right, y: height), .grid, in: &drawing)
      } else if yScale.names == nil {
        let start = Position(x: box.left - (isMinor ? 2 : 4), y: height)
        line(from: start, to: Position(x: box.left, y: height), .axis, in: &drawing)
      }
      guard !isMinor, yScale.names == nil || index % stride == 0 else { continue }
      let position = Position(x: box.left - Self.gap, y: height + TextSize.tick * 0.35)
      drawing.add(
        .text(Label(text: tick.text, position: position, size: TextSize.tick, ink: .muted, anchor: .end)))
    }
  }

  /// Returns the height below the axis and its label.
  private func addX(_ plot: Plot, to drawing: inout Drawing) -> Double {
    let box = plot.box
    let ticks = xScale.names == nil ? roomyTicks(box.width) : xScale.ticks(about: 2)
    for tick in ticks where xScale.names == nil && tick.fraction > -1e-6 && tick.fraction < 1 + 1e-6 {
      let x = (box.left + tick.fraction * box.width).rounded()
      let isMinor = tick.text.isEmpty
      if hasGrid, !isMinor {
        line(from: Position(x: x, y: box.top), to: Position(x: x, y: box.bottom), .grid, in: &drawing)
      } else {
        let end = Position(x: x, y: box.bottom + (isMinor ? 2 : 4))
        line(from: Position(x: x, y: box.bottom), to: end, .axis, in: &drawing)
      }
    }
    var bottom = addTickText(ticks, box, to: &drawing)
    if !x.label.isEmpty {
      let lines = Typesetting.lines(x.label, width: drawing.width - box.left, size: TextSize.axisLabel, limit: 2)
      bottom = drawing.addLines(
        lines, left: box.center.x, top: bottom + 3, size: TextSize.axisLabel, anchor: .middle)
    }
    return bottom
  }

  private func addTickText(_ ticks: [Tick], _ box: Box, to drawing: inout Drawing) -> Double {
    let ticks = ticks.filter { !$0.text.isEmpty && $0.fraction > -1e-6 && $0.fraction < 1 + 1e-6 }
    let slot = box.width / Double(max(ticks.count, 1))
    let isSlanted = xScale.names != nil && ticks.contains { width($0.text) > slot - 4 }
    let stride = isSlanted ? max(1, Int((13 / slot).rounded(.up))) : 1
    var bottom = box.bottom + Self.gap + TextSize.tick
    for (index, tick) in ticks.enumerated() where index % stride == 0 {
      let x = box.left + tick.fraction * box.width
      // A slanted name must not begin left of the panel.
      let text = isSlanted ? Typesetting.shortened(tick.text, min(120, x * 1.4 + 8), TextSize.tick) : tick.text
      var label = Label(text: text, position: Position(x: x, y: bottom), size: TextSize.tick, ink: .muted)
      label.anchor = isSlanted ? .end : .middle
      label.quarterTurns = isSlanted ? 0.5 : 0
      if isSlanted { label.position = Position(x: x + 4, y: box.bottom + Self.gap + 6) }
      drawing.add(.text(label))
    }
    let widest = ticks.map { min(width($0.text), 120) }.max() ?? 0
    bottom = isSlanted ? box.bottom + Self.gap + widest * 0.71 + 8 : bottom + 3
    return bottom
  }

  /// As many ticks as do not touch.
  private func roomyTicks(_ width: Double) -> [Tick] {
    var count = max(2, min(9, Int(width / 48)))
    while true {
      let ticks = xScale.ticks(about: count)
      let named = ticks.filter { !$0.text.isEmpty }
      let isRoomy = zip(named, named.dropFirst()).allSatisfy { left, right in
        (right.fraction - left.fraction) * width >= (self.width(left.text) + self.width(right.text)) / 2 + 8
      }
      if isRoomy || count <= 2 { return ticks }
      count -= 1
    }
  }

  private func line(from start: Position, to end: Position, _ ink: Ink, in drawing: inout Drawing) {
    // A line one pixel wide that covers whole pixels.
    let isUpright = start.x == end.x
    drawing.add(
      .box(
        Box(
          left: isUpright ? start.x - 0.5 : start.x, top: isUpright ? start.y : start.y - 0.5,
          width: isUpright ? 1 : end.x - start.x, height: isUpright ? end.y - start.y : 1), ink))
  }
}
