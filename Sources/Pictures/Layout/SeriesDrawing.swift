extension Series {
  var isBars: Bool { marks == .bars || marks == .stackedBars }
  var hasLine: Bool { marks == .line || marks == .lineAndPoints || marks == .dashedLine }
  var hasPoints: Bool { marks == .points || marks == .lineAndPoints }
}

/// The lines and points of a series.
struct SeriesDrawing {
  let series: Series
  let ink: Ink
  /// Chooses the form of its marks.
  let index: Int
  /// For points with a value; nil where the chart has no colour bar.
  var colors: ColorRange?
  /// Drawn around lines and points, where they lie on colours.
  var casing: Ink?

  func add(to drawing: inout Drawing, _ plot: Plot) {
    guard !series.isBars else { return }
    let positions = series.points.map { plot.position(x: $0.x, y: $0.y) }
    if series.hasLine {
      let runs = runs(of: positions, plot)
      if let casing {
        for run in runs { drawing.add(.line(run, casing, width: 3.6)) }
      }
      for run in runs { drawing.add(.line(run, ink, width: 1.8, isDashed: series.marks == .dashedLine)) }
    }
    for (point, position) in zip(series.points, positions) {
      guard let position, let error = point.error, error.isFinite, error > 0 else { continue }
      guard let high = plot.position(x: point.x, y: point.y + error) else { continue }
      let low = plot.position(x: point.x, y: point.y - error) ?? Position(x: position.x, y: plot.box.bottom + 1)
      drawing.addErrorBar(from: low, to: high, ink: ink, plot)
    }
    guard series.hasPoints else { return }
    let radius = series.points.count < 200 ? 3.4 : series.points.count < 1_000 ? 2.6 : 1.8
    for (point, position) in zip(series.points, positions) {
      guard let position, plot.box.contains(position) else { continue }
      if let colors {
        drawing.add(.disc(position, radius: radius + 0.9, .axis))
        drawing.add(.disc(position, radius: radius + 0.2, colors.ink(point.value)))
      } else {
        if let casing { drawing.addMark(index, at: position, radius: radius + 1, casing) }
        drawing.addMark(index, at: position, radius: radius, ink)
      }
    }
  }

  /// The parts of the line inside of the plot. It breaks at points that cannot be drawn.
  private func runs(of positions: [Position?], _ plot: Plot) -> [[Position]] {
    var runs: [[Position]] = []
    var run: [Position] = []
    func finish() {
      if run.count > 1 { runs.append(run) }
      run = []
    }
    for (start, end) in zip(positions, positions.dropFirst()) {
      guard let start, let end, let part = plot.clipped(start, end) else {
        finish()
        continue
      }
      if run.last != part.0 {
        finish()
        run = [part.0]
      }
      run.append(part.1)
      if part.1 != end { finish() }
    }
    finish()
    return runs
  }
}

/// The numbers that a colour bar spans, and their colours.
struct ColorRange {
  let lower: Double
  let upper: Double
  /// Whether the neutral colour is 0.
  var isDiverging = false

  /// - Parameter values: finite ones.
  init(_ values: [Double], isDiverging: Bool = false) {
    self.isDiverging = isDiverging
    let values = values.filter { abs($0) <= 1e300 }
    if isDiverging {
      let greatest = values.map(abs).max() ?? 0
      (lower, upper) = greatest > 0 ? (-greatest, greatest) : (-1, 1)
    } else {
      let scale = AxisScale(Axis(""), values: values, margin: 0)
      (lower, upper) = (scale.lower, scale.upper)
    }
  }

  /// The ground's where there is no number.
  func ink(_ value: Double?) -> Ink {
    guard let value, abs(value) <= 1e300 else { return .background }
    let fraction = (value - lower) / (upper - lower)
    if isDiverging {
      return Ink(ColorMap.diverging(2 * fraction - 1, .light), ColorMap.diverging(2 * fraction - 1, .dark))
    }
    return Ink(ColorMap.sequential(fraction), ColorMap.sequential(fraction))
  }
}

extension Drawing {
  /// A disc, square, triangle or diamond: one series after the other.
  mutating func addMark(_ index: Int, at center: Position, radius: Double, _ ink: Ink) {
    func corner(_ x: Double, _ y: Double) -> Position { Position(x: center.x + x * radius, y: center.y + y * radius) }
    switch index % 4 {
    case 0: add(.disc(center, radius: radius, ink))
    case 1: add(.shape([corner(-0.9, -0.9), corner(0.9, -0.9), corner(0.9, 0.9), corner(-0.9, 0.9)], ink))
    case 2: add(.shape([corner(0, -1.2), corner(1.1, 0.8), corner(-1.1, 0.8)], ink))
    default: add(.shape([corner(0, -1.3), corner(1.3, 0), corner(0, 1.3), corner(-1.3, 0)], ink))
    }
  }

  /// A line with a cap at each end that lies inside of the plot.
  mutating func addErrorBar(from low: Position, to high: Position, ink: Ink, _ plot: Plot) {
    guard let (start, end) = plot.clipped(low, high) else { return }
    add(.line([start, end], ink, width: 1.2))
    let isUpright = abs(low.x - high.x) < abs(low.y - high.y)
    for (tip, whole) in [(start, low), (end, high)] where tip == whole {
      let (dx, dy) = isUpright ? (3.0, 0.0) : (0.0, 3.0)
      add(.line([tip + Position(x: -dx, y: -dy), tip + Position(x: dx, y: dy)], ink, width: 1.2))
    }
  }

  /// The two axis lines, above what is drawn in the plot.
  mutating func addFrame(_ plot: Plot) {
    let box = plot.box
    add(.box(Box(left: box.left - 0.5, top: box.top, width: 1, height: box.height + 0.5), .axis))
    add(.box(Box(left: box.left - 0.5, top: box.bottom - 0.5, width: box.width + 0.5, height: 1), .axis))
  }
}
