import Datasets

/// Pixels that are painted on. An edge covers a pixel in part: how far the edge is from the middle of the pixel decides how
/// much of the colour it takes. Only additions, multiplications, divisions and roots, so that every machine paints the same.
package struct Canvas {
  package let width: Int
  package let height: Int
  private var pixels: [UInt8]

  package init(width: Int, height: Int, background: Color) {
    (self.width, self.height) = (max(width, 1), max(height, 1))
    pixels = []
    pixels.reserveCapacity(self.width * self.height * 3)
    for _ in 0..<self.width * self.height { pixels += [background.red, background.green, background.blue] }
  }

  package var image: RGBImage { RGBImage(width: width, height: height, pixels: pixels) }

  /// - Parameter coverage: in 0 ... 1.
  private mutating func paint(_ x: Int, _ y: Int, _ color: Color, _ coverage: Double) {
    guard coverage > 0 else { return }
    let start = (y * width + x) * 3
    pixels.withUnsafeMutableBufferPointer { pixels in
      func mix(_ byte: Int, _ value: UInt8) {
        let old = Double(pixels[start + byte])
        pixels[start + byte] = UInt8((old + (Double(value) - old) * coverage).rounded())
      }
      mix(0, color.red)
      mix(1, color.green)
      mix(2, color.blue)
    }
  }

  /// The pixels from `lower` to `upper` along a side that has `count` of them.
  private func pixels(_ lower: Double, _ upper: Double, of count: Int) -> Range<Int> {
    let first = Int(min(max(lower.rounded(.down), 0), Double(count)))
    return first..<max(first, Int(min(max(upper.rounded(.up), 0), Double(count))))
  }

  /// A rectangle along the axes; of a pixel that it covers in part, its share.
  package mutating func fill(_ box: Box, _ color: Color) {
    for y in pixels(box.top, box.bottom, of: height) {
      let down = min(box.bottom, Double(y + 1)) - max(box.top, Double(y))
      for x in pixels(box.left, box.right, of: width) {
        let across = min(box.right, Double(x + 1)) - max(box.left, Double(x))
        paint(x, y, color, across * down)
      }
    }
  }

  /// A convex polygon, its corners in either direction.
  package mutating func fill(_ corners: [Position], _ color: Color) {
    guard corners.count > 2 else { return }
    let edges = corners.indices.map { (corners[$0], corners[($0 + 1) % corners.count]) }
    let area = edges.reduce(0) { $0 + $1.0.x * $1.1.y - $1.1.x * $1.0.y }
    let (xs, ys) = (corners.map(\.x), corners.map(\.y))
    guard area != 0, let left = xs.min(), let right = xs.max(), let top = ys.min(), let bottom = ys.max() else {
      return
    }
    for y in pixels(top - 1, bottom + 1, of: height) {
      for x in pixels(left - 1, right + 1, of: width) {
        let (px, py) = (Double(x) + 0.5, Double(y) + 0.5)
        var coverage = 1.0
        for (start, end) in edges {
          let (dx, dy) = (end.x - start.x, end.y - start.y)
          let inside = (dx * (py - start.y) - dy * (px - start.x)) / (dx * dx + dy * dy).squareRoot()
          coverage = min(coverage, (area > 0 ? inside : -inside) + 0.5)
        }
        paint(x, y, color, max(coverage, 0))
      }
    }
  }

  /// Lines with round ends and corners; a line of one point is a disc. Where lines cross, the colour lies once.
  package mutating func stroke(_ lines: [[Position]], width: Double, _ color: Color) {
    let points = lines.joined()
    let reach = width / 2 + 1
    guard let first = points.first else { return }
    var (least, greatest) = (first, first)
    for point in points {
      least = Position(x: min(least.x, point.x), y: min(least.y, point.y))
      greatest = Position(x: max(greatest.x, point.x), y: max(greatest.y, point.y))
    }
    let columns = pixels(least.x - reach, greatest.x + reach, of: self.width)
    let rows = pixels(least.y - reach, greatest.y + reach, of: height)
    guard !columns.isEmpty, !rows.isEmpty else { return }
    var mask = CoverageMask(columns: columns, rows: rows)
    for line in lines {
      if line.count == 1 { mask.cover(line[0], line[0], radius: width / 2) }
      for (start, end) in zip(line, line.dropFirst()) { mask.cover(start, end, radius: width / 2) }
    }
    for y in rows {
      for x in columns { paint(x, y, color, mask[x, y]) }
    }
  }

  /// Each pixel of the image as a rectangle of the box, whose edges are moved to whole pixels.
  package mutating func draw(_ image: RGBImage, in box: Box) {
    let (left, top) = (Int(box.left.rounded()), Int(box.top.rounded()))
    let (right, bottom) = (Int(box.right.rounded()), Int(box.bottom.rounded()))
    guard right > left, bottom > top else { return }
    for y in max(top, 0)..<max(min(bottom, height), max(top, 0)) {
      let row = (y - top) * image.height / (bottom - top)
      for x in max(left, 0)..<max(min(right, width), max(left, 0)) {
        let source = (row * image.width + (x - left) * image.width / (right - left)) * 3
        let target = (y * width + x) * 3
        for byte in 0..<3 { pixels[target + byte] = image.pixels[source + byte] }
      }
    }
  }
}

/// How much of each pixel of a rectangle lines cover.
private struct CoverageMask {
  let columns: Range<Int>
  let rows: Range<Int>
  private var shares: [Double]

  init(columns: Range<Int>, rows: Range<Int>) {
    (self.columns, self.rows) = (columns, rows)
    shares = [Double](repeating: 0, count: columns.count * rows.count)
  }

  subscript(_ x: Int, _ y: Int) -> Double {
    shares[(y - rows.lowerBound) * columns.count + x - columns.lowerBound]
  }

  /// Adds the points that are not farther from the line between two points than `radius`.
  mutating func cover(_ start: Position, _ end: Position, radius: Double) {
    let (dx, dy) = (end.x - start.x, end.y - start.y)
    let squaredLength = dx * dx + dy * dy
    let reach = radius + 1
    let top = max(Int((min(start.y, end.y) - reach).rounded(.down)), rows.lowerBound)
    let bottom = min(Int((max(start.y, end.y) + reach).rounded(.up)), rows.upperBound)
    guard top < bottom else { return }
    for y in top..<bottom {
      let py = Double(y) + 0.5
      // The part of the line that comes near this row, and so the columns that it can reach.
      var (first, last) = (0.0, 1.0)
      if abs(dy) > 1e-9 {
        let (one, other) = ((py - reach - start.y) / dy, (py + reach - start.y) / dy)
        (first, last) = (max(min(one, other), 0), min(max(one, other), 1))
        if first > last { continue }
      }
      let (one, other) = (start.x + first * dx, start.x + last * dx)
      let left = max(Int((min(one, other) - reach).rounded(.down)), columns.lowerBound)
      let right = min(Int((max(one, other) + reach).rounded(.up)), columns.upperBound)
      guard left < right else { continue }
      let offset = (y - rows.lowerBound) * columns.count - columns.lowerBound
      for x in left..<right {
        let px = Double(x) + 0.5
        let along =
          squaredLength > 0
          ? min(max(((px - start.x) * dx + (py - start.y) * dy) / squaredLength, 0), 1) : 0
        let (rx, ry) = (px - start.x - along * dx, py - start.y - along * dy)
        let share = min(max(radius + 0.5 - (rx * rx + ry * ry).squareRoot(), 0), 1)
        // Of a line thinner than a pixel, its width.
        shares[offset + x] = max(shares[offset + x], min(share, 2 * radius))
      }
    }
  }
}
