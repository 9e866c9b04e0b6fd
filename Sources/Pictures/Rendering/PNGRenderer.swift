import Datasets

extension Figure {
  /// The picture as a PNG file at two pixels to a CSS pixel: the same pixels on every machine.
  public func png(theme: Theme = .light) -> [UInt8] {
    // 2 · 96 pixels an inch.
    PNGFile.bytes(of: image(theme: theme), pixelsPerMeter: 7_559)
  }

  /// The pixels of `png`.
  package func image(theme: Theme) -> RGBImage {
    let drawing = drawing
    var canvas = Canvas(
      width: Int(drawing.width) * 2, height: Int(drawing.height) * 2, background: Ink.background.color(theme))
    for element in drawing.elements { canvas.draw(element, theme) }
    return canvas.image
  }
}

extension Canvas {
  /// Pixels to a CSS pixel.
  static let scale = 2.0

  mutating func draw(_ element: Element, _ theme: Figure.Theme) {
    switch element {
    case .box(let box, let ink): fill(scaled(box), ink.color(theme))
    case .line(let positions, let ink, let width, let isDashed):
      let line = positions.map(scaled)
      let strokes = isDashed ? dashes(of: line, length: 6 * Self.scale, gap: 5 * Self.scale) : [line]
      stroke(strokes, width: width * Self.scale, ink.color(theme))
    case .shape(let corners, let ink): fill(corners.map(scaled), ink.color(theme))
    case .disc(let center, let radius, let ink):
      stroke([[scaled(center)]], width: 2 * radius * Self.scale, ink.color(theme))
    case .text(let label): draw(label, label.ink.color(theme))
    case .image(let box, let light, let dark): draw(theme == .light ? light : dark, in: scaled(box))
    }
  }

  private mutating func draw(_ label: Label, _ color: Color) {
    let size = label.size * Self.scale / 100
    let stretch = label.isBold ? StrokeFont.boldStretch : 1
    let width = StrokeFont.width(of: label.text, size: label.size, isBold: label.isBold) * Self.scale
    let shift =
      switch label.anchor {
      case .start: 0.0
      case .middle: width / 2
      case .end: width
      }
    let origin = scaled(label.position)
    // Of a turn against the clock: half a quarter turn, a whole one, or none.
    let (cosine, sine) =
      label.quarterTurns == 0 ? (1, 0) : label.quarterTurns == 1 ? (0, 1) : (0.5.squareRoot(), 0.5.squareRoot())
    var (advance, strokes) = (-shift, [[Position]]())
    for scalar in label.text.unicodeScalars {
      let glyph = StrokeFont.glyph(scalar)
      // The pen's lower edge is on the baseline.
      let rise = StrokeFont.penWidth(isBold: false) / 2
      strokes += glyph.strokes.map { stroke in
        stroke.map { point in
          let (along, up) = (advance + point.x * size * stretch, (point.y + rise) * size)
          return Position(x: origin.x + along * cosine - up * sine, y: origin.y - along * sine - up * cosine)
        }
      }
      advance += glyph.advance * size * stretch
    }
    stroke(strokes, width: StrokeFont.penWidth(isBold: label.isBold) * size, color)
  }

  private func scaled(_ position: Position) -> Position {
    Position(x: position.x * Self.scale, y: position.y * Self.scale)
  }

  private func scaled(_ box: Box) -> Box {
    Box(
      left: box.left * Self.scale, top: box.top * Self.scale, width: box.width * Self.scale,
      height: box.height * Self.scale)
  }

  /// The parts of a line that are drawn: `length` of it, then a gap, and so on.
  private func dashes(of line: [Position], length: Double, gap: Double) -> [[Position]] {
    var (dashes, dash, rest, isGap) = ([[Position]](), line.first.map { [$0] } ?? [], length, false)
    for (start, end) in zip(line, line.dropFirst()) {
      let (dx, dy) = (end.x - start.x, end.y - start.y)
      let distance = (dx * dx + dy * dy).squareRoot()
      guard distance > 0 else { continue }
      var done = 0.0
      while distance - done > rest {
        done += rest
        let point = Position(x: start.x + dx * done / distance, y: start.y + dy * done / distance)
        if !isGap { dashes.append(dash + [point]) }
        (dash, isGap) = ([point], !isGap)
        rest = isGap ? gap : length
      }
      rest -= distance - done
      if !isGap { dash.append(end) }
    }
    return isGap || dash.count < 2 ? dashes : dashes + [dash]
  }
}
