extension Dataset {
  /// An example as a picture: its planes as red, green and blue, or its only one as all three. Nil for data that are no
  /// pictures.
  public func picture(at index: Int) -> RGBImage? {
    RGBImage(
      planes: UnsafeBufferPointer(start: examples.record(at: index) + 1, count: description.pixels), description.shape)
  }
}

extension RGBImage {
  /// The picture of an example's pixel bytes [D]: its planes as red, green and blue, or its only one as all three. Nil for
  /// data that are no pictures.
  public init?(planes bytes: some Collection<UInt8>, _ shape: InputShape) {
    guard shape.isPicture else { return nil }
    let (bytes, area) = (Array(bytes), shape.width * shape.height)
    let pixels = (0..<area).flatMap { pixel in
      (0..<3).map { channel in bytes[min(channel, shape.channels - 1) * area + pixel] }
    }
    self.init(width: shape.width, height: shape.height, pixels: pixels)
  }
}
