import Datasets

/// What a picture consists of: elements that are drawn one above the other. The layout makes it once, and SVG and PNG are
/// two renderings of it.
struct Drawing {
  var width: Double
  var height: Double
  var elements: [Element] = []

  mutating func add(_ element: Element) { elements.append(element) }

  /// Adds the elements of another drawing, moved so that its top left corner comes to lie at `origin`.
  mutating func add(_ drawing: Drawing, at origin: Position) {
    elements += drawing.elements.map { $0.moved(by: origin) }
  }
}

/// A point in CSS pixels from the top left corner, y downwards.
package struct Position: Equatable {
  package var x: Double
  package var y: Double

  package init(x: Double, y: Double) { (self.x, self.y) = (x, y) }

  package static func + (left: Position, right: Position) -> Position {
    Position(x: left.x + right.x, y: left.y + right.y)
  }
}

/// A rectangle along the axes, in CSS pixels.
package struct Box: Equatable {
  package var left: Double
  package var top: Double
  package var width: Double
  package var height: Double

  package init(left: Double, top: Double, width: Double, height: Double) {
    (self.left, self.top, self.width, self.height) = (left, top, width, height)
  }

  package var right: Double { left + width }
  package var bottom: Double { top + height }
  var center: Position { Position(x: left + width / 2, y: top + height / 2) }

  func contains(_ position: Position) -> Bool {
    position.x >= left && position.x <= right && position.y >= top && position.y <= bottom
  }

  /// The part inside of `other`; nil where there is none.
  func clipped(to other: Box) -> Box? {
    let (left, top) = (max(left, other.left), max(top, other.top))
    let (right, bottom) = (min(right, other.right), min(bottom, other.bottom))
    guard right >= left, bottom >= top else { return nil }
    return Box(left: left, top: top, width: right - left, height: bottom - top)
  }
}

enum Element {
  case box(Box, Ink)
  /// With round ends and corners.
  case line([Position], Ink, width: Double, isDashed: Bool = false)
  /// A convex polygon, its corners in either direction.
  case shape([Position], Ink)
  case disc(Position, radius: Double, Ink)
  case text(Label)
  /// Each pixel of the image is a rectangle of the box. The two differ where colours depend on the theme.
  case image(Box, light: RGBImage, dark: RGBImage)

  func moved(by offset: Position) -> Element {
    func moved(_ box: Box) -> Box {
      Box(left: box.left + offset.x, top: box.top + offset.y, width: box.width, height: box.height)
    }
    switch self {
    case .box(let box, let ink): return .box(moved(box), ink)
    case .line(let positions, let ink, let width, let isDashed):
      return .line(positions.map { $0 + offset }, ink, width: width, isDashed: isDashed)
    case .shape(let corners, let ink): return .shape(corners.map { $0 + offset }, ink)
    case .disc(let center, let radius, let ink): return .disc(center + offset, radius: radius, ink)
    case .text(var label):
      label.position = label.position + offset
      return .text(label)
    case .image(let box, let light, let dark): return .image(moved(box), light: light, dark: dark)
    }
  }
}

/// One line of text.
struct Label {
  enum Anchor: String { case start, middle, end }

  var text: String
  /// Of the anchor, on the baseline.
  var position: Position
  /// Height of an em.
  var size: Double
  var ink = Ink.text
  var anchor = Anchor.start
  var isBold = false
  /// In quarter turns against the clock, about `position`.
  var quarterTurns = 0.0
}
