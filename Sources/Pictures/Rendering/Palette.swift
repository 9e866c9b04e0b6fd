import Datasets

/// 8 bits for each of red, green and blue.
package struct Color: Equatable, Hashable {
  package var red: UInt8
  package var green: UInt8
  package var blue: UInt8

  /// - Parameter hex: 0xRRGGBB.
  package init(_ hex: UInt32) {
    (red, green, blue) = (UInt8(hex >> 16 & 0xff), UInt8(hex >> 8 & 0xff), UInt8(hex & 0xff))
  }

  /// `share` of `other`, in 0 ... 1, and the rest of this one.
  func mixed(with other: Color, _ share: Double) -> Color {
    func mix(_ own: UInt8, _ other: UInt8) -> UInt8 {
      UInt8((Double(own) + (Double(other) - Double(own)) * share).rounded())
    }
    var color = self
    (color.red, color.green, color.blue) = (mix(red, other.red), mix(green, other.green), mix(blue, other.blue))
    return color
  }

  /// Perceived lightness in 0 ... 255: the luma of ITU-R BT.601.
  var luma: Double { 0.299 * Double(red) + 0.587 * Double(green) + 0.114 * Double(blue) }
}

/// A colour on a light ground, and its counterpart on a dark one.
package struct Ink: Equatable, Hashable {
  package var light: Color
  package var dark: Color

  package init(_ light: Color, _ dark: Color) { (self.light, self.dark) = (light, dark) }

  /// - Parameters: 0xRRGGBB.
  private init(_ light: UInt32, _ dark: UInt32) { self.init(Color(light), Color(dark)) }

  package static let background = Ink(0xffffff, 0x16191d)
  package static let text = Ink(0x1b1f24, 0xe8ebee)
  package static let muted = Ink(0x59616b, 0xa9b1bb)
  static let grid = Ink(0xe4e7eb, 0x2c3238)
  static let axis = Ink(0x8d959f, 0x727b86)
  package static let good = Ink(0x009e73, 0x2fc89b)
  package static let bad = Ink(0xd55e00, 0xff8a4c)

  /// Of the i-th series or class, from 0; after the last colour they begin again.
  package static func series(_ index: Int) -> Ink { seriesInks[index % seriesInks.count] }

  /// The colours of Okabe and Ito ("Color Universal Design", 2008), which people with any kind of colour vision tell apart;
  /// yellow and black, which vanish on one of the grounds, are replaced, and on a dark ground all are lighter.
  private static let seriesInks = [
    Ink(0x0072b2, 0x4da9e8), Ink(0xd55e00, 0xff8a4c), Ink(0x009e73, 0x2fc89b), Ink(0xcc79a7, 0xe79cc8),
    Ink(0xe69f00, 0xf6bb45), Ink(0x56b4e9, 0x9bd8ff), Ink(0x5b4fb3, 0xa79bf5), Ink(0x8c5a2b, 0xc99566),
    Ink(0x4d545c, 0xc3c9d0), Ink(0x9aa800, 0xd5e04a),
  ]

  /// The same colour, pale: an area behind points of that class.
  package static func area(_ index: Int) -> Ink {
    let (ground, ink) = (background, series(index))
    return Ink(ground.light.mixed(with: ink.light, 0.4), ground.dark.mixed(with: ink.dark, 0.45))
  }

  /// Black or white, whichever is easier to read on this.
  package var contrasting: Ink {
    func contrast(_ color: Color) -> Color { Color(color.luma > 118 ? 0x16191d : 0xffffff) }
    return Ink(contrast(light), contrast(dark))
  }

  package func color(_ theme: Figure.Theme) -> Color { theme == .light ? light : dark }
}

/// Numbers as colours.
package enum ColorMap {
  /// From 0, dark violet, to 1, yellow, in equal steps of lightness: designed in OKLab, so that equal differences of the
  /// number look equal. The same on both grounds.
  package static func sequential(_ fraction: Double) -> Color {
    interpolated(
      [
        0x291459, 0x1c2f74, 0x024b7e, 0x046383, 0x077b8a, 0x0c9390, 0x09ac8f, 0x37c57f, 0x82d66c, 0xc0e358, 0xfaee4a,
      ], fraction)
  }

  /// From −1, blue, through 0, the neutral colour of the theme's ground, to 1, red.
  package static func diverging(_ fraction: Double, _ theme: Figure.Theme) -> Color {
    let isNegative = fraction < 0
    let colors: [UInt32] =
      switch theme {
      case .light:
        isNegative
          ? [0xf5f5f5, 0xb9cce5, 0x82a4d0, 0x4c7cb9, 0x0c54a0] : [0xf5f5f5, 0xeac1ba, 0xd88f83, 0xc05d4e, 0xa52014]
      case .dark:
        isNegative
          ? [0x1f1f1f, 0x2f4154, 0x3f658b, 0x518bc5, 0x68b3fe] : [0x1f1f1f, 0x55362e, 0x8c4f40, 0xc66952, 0xff8769]
      }
    return interpolated(colors, abs(fraction))
  }

  private static func interpolated(_ colors: [UInt32], _ fraction: Double) -> Color {
    let position = min(max(fraction, 0), 1) * Double(colors.count - 1)
    let index = min(Int(position), colors.count - 2)
    return Color(colors[index]).mixed(with: Color(colors[index + 1]), position - Double(index))
  }
}

extension RGBImage {
  /// - Parameter colors: row by row, `width` · `height` of them.
  init(width: Int, height: Int, colors: [Color]) {
    self.init(width: width, height: height, pixels: colors.flatMap { [$0.red, $0.green, $0.blue] })
  }
}
