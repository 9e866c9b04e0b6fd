import Datasets
import Diagnostics

/// A picture, shifted, tinted and covered by boxes, so that each variant is at the same Euclidean distance from the original:
/// CS231n, "Image Classification", on why a distance of pixels is not one of contents.
package struct EqualDistance: Sendable {
  package struct Variant: Sendable {
    package let name: String
    /// Σ (a − b)² to the original. Those of the tint and the boxes are as near to that of the shift as bytes allow.
    package let squaredDistance: Int
    package let image: RGBImage

    var distance: Double { Double(squaredDistance).squareRoot() }
  }

  /// The number of the example in its data set.
  let index: Int
  package let original: RGBImage
  package let variants: [Variant]

  /// Nil for an example that is no picture, or that a shift does not change.
  package init?(of index: Int, in dataset: Dataset) {
    let record = dataset.examples.record(at: index)
    let bytes = Array(UnsafeBufferPointer(start: record + 1, count: dataset.description.pixels))
    let picture = Planes(shape: dataset.description.shape, bytes: bytes)
    guard let original = picture.image else { return nil }
    let shifted = picture.shifted
    let aim = picture.squaredDistance(to: shifted)
    guard aim > 0 else { return nil }
    self.index = index
    self.original = original
    variants = [("shifted", shifted), ("tinted", picture.tinted(to: aim)), ("boxed", picture.boxed(to: aim))].compactMap
    {
      name, variant in
      variant.image.map {
        Variant(name: name, squaredDistance: picture.squaredDistance(to: variant), image: $0)
      }
    }
  }

  var json: JSONValue {
    [
      "index": .number(index),
      "variants": .array(
        variants.map {
          [
            "name": .string($0.name), "squared_distance": .number($0.squaredDistance),
            "distance": .measurement($0.distance),
          ]
        }),
    ]
  }
}

/// The pixel bytes of a picture, plane after plane.
private struct Planes {
  let shape: InputShape
  let bytes: [UInt8]

  private var area: Int { shape.width * shape.height }

  var image: RGBImage? { RGBImage(planes: bytes, shape) }

  func squaredDistance(to other: Planes) -> Int {
    zip(bytes, other.bytes).reduce(0) { sum, pair in
      let difference = Int(pair.0) - Int(pair.1)
      return sum + difference * difference
    }
  }

  /// Each byte as a function of itself, its column, its row and its channel.
  private func mapped(_ transform: (_ byte: UInt8, _ x: Int, _ y: Int, _ channel: Int) -> UInt8) -> Planes {
    let transformed = bytes.indices.map { index in
      let place = index % area
      return transform(bytes[index], place % shape.width, place / shape.width, index / area)
    }
    return Planes(shape: shape, bytes: transformed)
  }

  /// To the right by a sixteenth of the width, at least a pixel; a single column down. The edge is repeated.
  var shifted: Planes {
    let (right, down) = shape.width > 1 ? (max(1, shape.width / 16), 0) : (0, max(1, shape.height / 16))
    return mapped { _, x, y, channel in
      bytes[channel * area + max(0, y - down) * shape.width + max(0, x - right)]
    }
  }

  /// One part of so many in `mix`.
  private static let whole = 1 << 16

  /// The byte with `share` of `whole` replaced.
  private static func mix(_ byte: UInt8, _ other: UInt8, _ share: Int) -> UInt8 {
    UInt8((Int(byte) * (whole - share) + Int(other) * share + whole / 2) / whole)
  }

  /// Mixed with blue; what is grey, with white.
  func tinted(to aim: Int) -> Planes {
    nearest(to: aim, strengths: 0...Self.whole) { strength in
      mapped { byte, _, _, channel in Self.mix(byte, channel == shape.channels - 1 ? 255 : 0, strength) }
    }
  }

  /// Under three boxes, for two eyes and a mouth, that grow from their middles. They are black or white, whichever is farther
  /// from the picture; their outermost pixels are transparent.
  func boxed(to aim: Int) -> Planes {
    let (width, height) = (shape.width, shape.height)
    let middles: [(x: Int, y: Int)] = [
      (width / 4, height / 3), (width * 3 / 4, height / 3), (width / 2, height * 3 / 4),
    ]
    let brightness = bytes.reduce(0) { $0 + Int($1) } / bytes.count
    let color: UInt8 = brightness < 128 ? 255 : 0
    return nearest(to: aim, strengths: 0...(max(width, height) + 1) * Self.whole) { strength in
      mapped { byte, x, y, _ in
        let radius = middles.map { max(abs(x - $0.x), abs(y - $0.y)) }.min() ?? 0
        return Self.mix(byte, color, min(max(0, strength - radius * Self.whole), Self.whole))
      }
    }
  }

  /// The variant whose squared distance is nearest to `aim`, by bisection: it rises with the strength.
  private func nearest(to aim: Int, strengths: ClosedRange<Int>, _ variant: (Int) -> Planes) -> Planes {
    var (low, high) = (strengths.lowerBound, strengths.upperBound)
    while high - low > 1 {
      let middle = (low + high) / 2
      if squaredDistance(to: variant(middle)) < aim { low = middle } else { high = middle }
    }
    let (below, above) = (variant(low), variant(high))
    return aim - squaredDistance(to: below) <= squaredDistance(to: above) - aim ? below : above
  }
}
