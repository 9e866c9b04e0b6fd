/// One sample and its name.
struct LegendEntry {
  enum Sample {
    case line(isDashed: Bool)
    case lineAndPoints, points, box

    var hasLine: Bool {
      switch self {
      case .line, .lineAndPoints: true
      case .points, .box: false
      }
    }

    var hasPoints: Bool {
      switch self {
      case .lineAndPoints, .points: true
      case .line, .box: false
      }
    }
  }

  var name: String
  var sample: Sample
  var ink: Ink
  /// Around the marks of a series over colours.
  var casing: Ink?
  var index: Int

  init(_ series: Series, index: Int, ink: Ink? = nil, casing: Ink? = nil) {
    name = series.name ?? ""
    sample =
      switch series.marks {
      case .line: .line(isDashed: false)
      case .dashedLine: .line(isDashed: true)
      case .lineAndPoints: .lineAndPoints
      case .points: .points
      case .bars, .stackedBars: .box
      }
    (self.ink, self.casing, self.index) = (ink ?? .series(index), casing, index)
  }

  /// An area of a class.
  init(areaOf name: String, index: Int) {
    (self.name, sample, ink, self.index) = (name, .box, .area(index), index)
  }
}

extension Drawing {
  /// Adds samples with their names in as many rows as they need, and returns the height below them.
  mutating func addLegend(_ entries: [LegendEntry], top: Double) -> Double {
    let (sampleWidth, rowHeight, gap) = (22.0, 17.0, 14.0)
    var (x, y) = (0.0, top)
    for entry in entries {
      let name = Typesetting.shortened(entry.name, width - sampleWidth, TextSize.legend)
      let needed = sampleWidth + StrokeFont.width(of: name, size: TextSize.legend)
      if x > 0, x + needed > width { (x, y) = (0, y + rowHeight) }
      addSample(of: entry, at: Position(x: x, y: y + rowHeight / 2))
      let position = Position(x: x + sampleWidth, y: y + rowHeight / 2 + TextSize.legend * 0.35)
      add(.text(Label(text: name, position: position, size: TextSize.legend)))
      x += needed + gap
    }
    return entries.isEmpty ? top : y + rowHeight
  }

  private mutating func addSample(of entry: LegendEntry, at left: Position) {
    let (start, end) = (left + Position(x: 1, y: 0), left + Position(x: 16, y: 0))
    let middle = left + Position(x: 8.5, y: 0)
    if let casing = entry.casing {
      if entry.sample.hasLine { add(.line([start, end], casing, width: 3.8)) }
      if entry.sample.hasPoints { addMark(entry.index, at: middle, radius: 4.8, casing) }
    }
    switch entry.sample {
    case .line(let isDashed): add(.line([start, end], entry.ink, width: 2, isDashed: isDashed))
    case .points: addMark(entry.index, at: middle, radius: 3.8, entry.ink)
    case .lineAndPoints:
      add(.line([start, end], entry.ink, width: 2))
      addMark(entry.index, at: middle, radius: 3.8, entry.ink)
    case .box: add(.box(Box(left: left.x + 3, top: left.y - 5.5, width: 11, height: 11), entry.ink))
    }
  }
}
