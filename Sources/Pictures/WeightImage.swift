import Datasets

extension RGBImage {
  /// Weights as an image: each is mapped linearly so that −m is 0, 0 is the middle of 0 ... 255, and m is 255, with m the
  /// largest |w| of all channels.
  ///
  /// - Parameters:
  ///   - weights: [D], plane after plane.
  ///   - shape: Of inputs with one or three channels the image has the same size; otherwise the planes are grey and stand
  ///     beside each other.
  public init(weights: ArraySlice<Float>, as shape: InputShape) {
    let largest = Double(weights.lazy.map(abs).max() ?? 0)
    let bytes = weights.map { weight -> UInt8 in
      largest > 0 ? UInt8((127.5 + 127.5 * Double(weight) / largest).rounded()) : 128
    }
    if let image = RGBImage(planes: bytes, shape) {
      self = image
      return
    }
    let pixels = (0..<shape.height).flatMap { row in
      (0..<shape.channels).flatMap { channel in
        (0..<shape.width).flatMap { column in
          repeatElement(bytes[(channel * shape.height + row) * shape.width + column], count: 3)
        }
      }
    }
    self.init(width: shape.width * shape.channels, height: shape.height, pixels: pixels)
  }

  /// The bytes of a PNG file.
  public var png: [UInt8] { PNGFile.bytes(of: self) }
}
