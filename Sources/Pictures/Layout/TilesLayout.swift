import Datasets

extension Tiles {
  /// In CSS pixels.
  private static let (gap, least, greatest) = (8.0, 40.0, 150.0)
  private static let captionLines = 4

  /// The tiles as a drawing of this width, or as wide as they need at the smallest size.
  func drawing(width: Double) -> Drawing {
    let columns = Double(max(columns, 1))
    var drawing = Drawing(width: max(width, columns * (Self.least + Self.gap) - Self.gap), height: 0)
    let titleLines = Typesetting.lines(title, width: drawing.width, size: TextSize.panelTitle, isBold: true, limit: 3)
    var top = drawing.addLines(titleLines, left: 0, top: 0, size: TextSize.panelTitle, isBold: true)
    if !titleLines.isEmpty { top += 6 }
    let side = min(((drawing.width + Self.gap) / columns - Self.gap).rounded(.down), Self.greatest)
    for start in stride(from: 0, to: tiles.count, by: max(self.columns, 1)) {
      let row = tiles[start..<min(start + max(self.columns, 1), tiles.count)]
      top = Self.add(Array(row), side: side, top: top, to: &drawing) + Self.gap
    }
    drawing.height = max(top - Self.gap, 0)
    return drawing
  }

  /// Returns the height below the tiles and their captions.
  private static func add(_ row: [Tile], side: Double, top: Double, to drawing: inout Drawing) -> Double {
    let images = row.map { $0.image.shown(side: side) }
    let height = images.map(\.height).max() ?? 0
    var bottom = top + height
    for (index, (tile, image)) in zip(row, images).enumerated() {
      let left = Double(index) * (side + gap)
      let box = Box(
        left: left + ((side - image.width) / 2).rounded(.down), top: top + ((height - image.height) / 2).rounded(.down),
        width: image.width, height: image.height)
      if tile.frame != .none {
        let edge = 2.5
        let frame = Box(
          left: box.left - edge, top: box.top - edge, width: box.width + 2 * edge, height: box.height + 2 * edge)
        drawing.add(.box(frame, tile.frame == .good ? .good : .bad))
      }
      drawing.add(.image(box, light: image.image, dark: image.image))
      let lines = Typesetting.lines(
        tile.caption, width: side + gap / 2, size: TextSize.tileCaption, limit: captionLines)
      bottom = max(
        bottom,
        drawing.addLines(
          lines, left: left + side / 2, top: top + height + 4, size: TextSize.tileCaption, ink: .muted,
          anchor: .middle))
    }
    return bottom
  }
}

extension RGBImage {
  /// The image, and the width and height at which it is shown in a square: a whole number of device pixels for each of its
  /// own, at two to a CSS pixel. A larger image is scaled down.
  fileprivate func shown(side: Double) -> (image: RGBImage, width: Double, height: Double) {
    let available = Int(side * 2)
    let factor = available / max(width, height)
    if factor > 0 { return (self, Double(width * factor) / 2, Double(height * factor) / 2) }
    let scale = Double(available) / Double(max(width, height))
    let small = resized(
      width: max(1, Int((Double(width) * scale).rounded())), height: max(1, Int((Double(height) * scale).rounded())))
    return (small, Double(small.width) / 2, Double(small.height) / 2)
  }
}
