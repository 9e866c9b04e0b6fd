import Datasets

/// A picture for a report: panels in a grid below a title, the same as SVG and as PNG.
public struct Figure: Sendable {
  public var title: String
  /// A sentence or two below the panels: what was measured, and the number the lecture gives for it.
  public var caption: String
  /// Panels beside each other; the rest go into further rows.
  public var columns: Int
  public var panels: [Panel]

  public init(_ title: String, caption: String = "", columns: Int = 1, panels: [Panel]) {
    self.title = title
    self.caption = caption
    self.columns = columns
    self.panels = panels
  }
}

/// One part of a figure.
public enum Panel: Sendable {
  case chart(Chart)
  case heatMap(HeatMap)
  case tiles(Tiles)
}

/// Lines, points and bars over two axes, with a legend where more than one series has a name.
public struct Chart: Sendable {
  public var title: String
  public var x: Axis
  public var y: Axis
  /// Drawn in order, the later above the earlier.
  public var series: [Series]
  /// The meaning of `Point.value`; the chart has a colour bar where it is set.
  public var valueLabel: String?

  public init(_ title: String = "", x: Axis, y: Axis, series: [Series], valueLabel: String? = nil) {
    self.title = title
    self.x = x
    self.y = y
    self.series = series
    self.valueLabel = valueLabel
  }
}

/// A quantity, and how it is laid out along one side of a panel.
public struct Axis: Sendable {
  public enum Scale: Sendable {
    case linear
    /// Positive values, ticks at powers of ten.
    case log10
    /// Value i is the i-th name, from 0.
    case categories([String])
  }

  /// With the unit, where there is one: "accuracy (%)".
  public var label: String
  public var scale: Scale
  /// Nil: what the data need.
  public var range: ClosedRange<Double>?

  public init(_ label: String, scale: Scale = .linear, range: ClosedRange<Double>? = nil) {
    self.label = label
    self.scale = scale
    self.range = range
  }
}

public struct Series: Sendable {
  public enum Marks: Sendable {
    case line, dashedLine, lineAndPoints, points, bars
    /// Bars on top of those of the earlier stacked series at the same x.
    case stackedBars
  }

  public var name: String?
  public var marks: Marks
  public var points: [Point]

  public init(_ name: String? = nil, _ marks: Marks = .line, points: [Point]) {
    self.name = name
    self.marks = marks
    self.points = points
  }
}

public struct Point: Sendable, Equatable {
  public var x: Double
  public var y: Double
  /// Half the length of the error bar, in units of y.
  public var error: Double?
  /// Coloured by this number, where the chart has a `valueLabel`.
  public var value: Double?

  public init(_ x: Double, _ y: Double, error: Double? = nil, value: Double? = nil) {
    self.x = x
    self.y = y
    self.error = error
    self.value = value
  }
}

/// A matrix of numbers as colours, with a colour bar.
public struct HeatMap: Sendable {
  public enum Colors: Sendable {
    /// From the smallest to the largest.
    case sequential
    /// The neutral colour is 0, and both signs reach equally far.
    case diverging
    /// Value i is the i-th of these classes, with a legend instead of a colour bar.
    case classes([String])
  }

  public var title: String
  public var x: Axis
  public var y: Axis
  public var columns: Int
  /// Row by row, the first row at the smallest y for numeric axes and at the top for categories; NaN leaves a cell empty. The
  /// range of a numeric axis goes from the middle of the first cell to that of the last one; an axis without a range and
  /// without a label is not drawn.
  public var values: [Double]
  public var valueLabel: String
  public var colors: Colors
  /// Whether the value is written into each cell, with this many decimal places.
  public var places: Int?
  /// Drawn above the cells: marked points and contour lines.
  public var overlay: [Series]

  public init(
    _ title: String = "", x: Axis, y: Axis, columns: Int, values: [Double], valueLabel: String,
    colors: Colors = .sequential, places: Int? = nil, overlay: [Series] = []
  ) {
    self.title = title
    self.x = x
    self.y = y
    self.columns = columns
    self.values = values
    self.valueLabel = valueLabel
    self.colors = colors
    self.places = places
    self.overlay = overlay
  }
}

/// Small images in a grid, each with a line below it.
public struct Tiles: Sendable {
  public enum Frame: Sendable { case none, good, bad }

  public struct Tile: Sendable {
    public var image: RGBImage
    public var caption: String
    public var frame: Frame

    public init(_ image: RGBImage, caption: String = "", frame: Frame = .none) {
      self.image = image
      self.caption = caption
      self.frame = frame
    }
  }

  public var title: String
  public var columns: Int
  public var tiles: [Tile]

  public init(_ title: String = "", columns: Int, tiles: [Tile]) {
    self.title = title
    self.columns = columns
    self.tiles = tiles
  }
}
