extension Panel {
  func drawing(width: Double) -> Drawing {
    switch self {
    case .chart(let chart): chart.drawing(width: width)
    case .heatMap(let map): map.drawing(width: width)
    case .tiles(let tiles): tiles.drawing(width: width)
    }
  }
}

extension Figure {
  private static let (margin, gap) = (20.0, 28.0)

  /// The whole picture: the title, the panels in a grid whose columns are as wide as their widest panel, and the caption.
  var drawing: Drawing {
    let columns = min(max(columns, 1), max(panels.count, 1))
    let panelWidth = columns == 1 ? 660.0 : columns == 2 ? 450 : 330
    let drawings = panels.map { $0.drawing(width: panelWidth) }
    let widths = (0..<columns).map { column in
      drawings.enumerated().filter { $0.offset % columns == column }.map(\.element.width).max() ?? 0
    }
    let inner = max(widths.reduce(Self.gap * Double(columns - 1), +), 320)
    var figure = Drawing(width: inner + 2 * Self.margin, height: 0)
    let titleLines = Typesetting.lines(title, width: inner, size: TextSize.figureTitle, isBold: true)
    var top = figure.addLines(
      titleLines, left: Self.margin, top: Self.margin, size: TextSize.figureTitle, isBold: true)
    if !titleLines.isEmpty { top += 12 }
    for start in stride(from: 0, to: drawings.count, by: columns) {
      var left = Self.margin
      var bottom = top
      for (column, drawing) in drawings[start..<min(start + columns, drawings.count)].enumerated() {
        figure.add(drawing, at: Position(x: left, y: top))
        left += widths[column] + Self.gap
        bottom = max(bottom, top + drawing.height)
      }
      top = bottom + Self.gap * 0.75
    }
    if !caption.isEmpty {
      let lines = Typesetting.lines(caption, width: inner, size: TextSize.caption)
      top = figure.addLines(lines, left: Self.margin, top: top, size: TextSize.caption, ink: .muted) + 8
    }
    figure.width.round(.up)
    figure.height = (top - (caption.isEmpty ? 16 : 8) + Self.margin * 0.8).rounded(.up)
    return figure
  }

  /// What the picture shows, in words.
  var summary: String {
    let words = panels.map { panel in
      switch panel {
      case .chart(let chart):
        let names = chart.series.compactMap(\.name).joined(separator: ", ")
        return [chart.title, "\(chart.y.label) against \(chart.x.label)", names].filter { !$0.isEmpty }
          .joined(separator: ": ")
      case .heatMap(let map):
        return [map.title, "\(map.valueLabel) over \(map.x.label) and \(map.y.label)"].filter { !$0.isEmpty }
          .joined(separator: ": ")
      case .tiles(let tiles):
        return [tiles.title, "\(tiles.tiles.count) images"].filter { !$0.isEmpty }
          .joined(separator: ": ")
      }
    }
    return ((caption.isEmpty ? [] : [caption]) + words.map { "\($0)." }).joined(separator: " ")
  }
}
