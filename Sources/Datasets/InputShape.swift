/// What the bytes of an example are: `channels` planes of `height` rows of `width` values each, one plane after the
/// other as in CIFAR-10. Points, such as those of the two-dimensional sets, are 1 × 1 with a channel for each coordinate.
public struct InputShape: Sendable, Equatable, CustomStringConvertible {
  public static let cifar10 = InputShape(width: 32, height: 32, channels: 3)
  /// D of a data set.
  public static let allowedPixels = 2...1_048_576

  public let width: Int
  public let height: Int
  public let channels: Int

  /// - Precondition: at least 1 each.
  public init(width: Int, height: Int, channels: Int) {
    precondition(width > 0 && height > 0 && channels > 0)
    (self.width, self.height, self.channels) = (width, height, channels)
  }

  /// That of a model which does not say more than D: CIFAR-10's for 3,072, otherwise points.
  public init(pixels: Int) {
    self = pixels == Self.cifar10.pixels ? .cifar10 : InputShape(width: 1, height: 1, channels: pixels)
  }

  /// D, the values of one example; a product beyond `Int` counts as the largest one.
  public var pixels: Int {
    let (area, areaOverflows) = width.multipliedReportingOverflow(by: height)
    let (product, overflows) = area.multipliedReportingOverflow(by: channels)
    return areaOverflows || overflows ? .max : product
  }

  /// Whether a grey or coloured picture can be made into an example.
  public var isPicture: Bool { (channels == 1 || channels == 3) && (width > 1 || height > 1) }

  /// "28 × 28 pixels, grey", "32 × 32 pixels, colour", "2 values".
  public var description: String {
    if width == 1, height == 1 { return "\(channels) values" }
    let kind = channels == 1 ? "grey" : channels == 3 ? "colour" : "\(channels) channels"
    return "\(width) × \(height) pixels, \(kind)"
  }
}
