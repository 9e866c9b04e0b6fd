import Datasets
import Diagnostics

extension Figure {
  /// The picture as an SVG document of its own, which also stands inside of an HTML page. Text stays text, images are
  /// embedded, and what the picture shows is said in words for screen readers.
  ///
  /// - Parameter theme: nil for the reader's preference, light where there is none.
  public func svg(theme: Theme? = nil) -> String {
    let drawing = drawing
    var renderer = SVGRenderer(theme: theme)
    renderer.draw(.box(Box(left: 0, top: 0, width: drawing.width, height: drawing.height), .background))
    for element in drawing.elements { renderer.draw(element) }
    return renderer.document(width: drawing.width, height: drawing.height, title: title, description: summary)
  }
}

private struct SVGRenderer {
  /// Nil for both.
  let theme: Figure.Theme?
  private var body = ""
  /// Those that differ in the dark; their classes are `f0`, `f1` … for areas and text and `s0` … for lines.
  private var inks: [Ink] = []
  private var inkNumbers: [Ink: Int] = [:]

  init(theme: Figure.Theme?) { self.theme = theme }

  mutating func draw(_ element: Element) {
    switch element {
    case .box(let box, let ink):
      body += "<rect \(attributes(of: box)) \(paint("fill", ink))/>\n"
    case .line(let positions, let ink, let width, let isDashed):
      let dashes = isDashed ? " stroke-dasharray=\"6 5\"" : ""
      body += "<polyline points=\"\(points(positions))\" fill=\"none\" \(paint("stroke", ink)) "
      body += "stroke-width=\"\(number(width))\" stroke-linecap=\"round\" stroke-linejoin=\"round\"\(dashes)/>\n"
    case .shape(let corners, let ink): body += "<polygon points=\"\(points(corners))\" \(paint("fill", ink))/>\n"
    case .disc(let center, let radius, let ink):
      body += "<circle cx=\"\(number(center.x))\" cy=\"\(number(center.y))\" r=\"\(number(radius))\" "
      body += "\(paint("fill", ink))/>\n"
    case .text(let label): draw(label)
    case .image(let box, let light, let dark): draw(box, light, dark)
    }
  }

  private mutating func draw(_ label: Label) {
    let (x, y) = (number(label.position.x), number(label.position.y))
    body += "<text x=\"\(x)\" y=\"\(y)\" font-size=\"\(number(label.size))\" \(paint("fill", label.ink))"
    if label.anchor != .start { body += " text-anchor=\"\(label.anchor.rawValue)\"" }
    if label.isBold { body += " font-weight=\"600\"" }
    // As wide as the layout assumes, whichever font there is: those that stand in for Helvetica can be a fifth wider.
    let width = StrokeFont.width(of: label.text, size: label.size, isBold: label.isBold)
    body += " textLength=\"\(number(width))\" lengthAdjust=\"spacingAndGlyphs\""
    if label.quarterTurns != 0 { body += " transform=\"rotate(\(number(-90 * label.quarterTurns)) \(x) \(y))\"" }
    body += ">\(Self.escaped(label.text))</text>\n"
  }

  private mutating func draw(_ box: Box, _ light: RGBImage, _ dark: RGBImage) {
    func image(_ image: RGBImage, _ name: String) -> String {
      let data = Base64.text(of: PNGFile.bytes(of: image))
      return "<image \(attributes(of: box)) preserveAspectRatio=\"none\" style=\"image-rendering:pixelated\"\(name) "
        + "href=\"data:image/png;base64,\(data)\"/>\n"
    }
    switch theme {
    case _ where light == dark: body += image(light, "")
    case .light: body += image(light, "")
    case .dark: body += image(dark, "")
    // The light one lies above the dark one, for programs that show both.
    case nil: body += image(dark, " class=\"dark\" display=\"none\"") + image(light, " class=\"light\"")
    }
  }

  /// The light colour as an attribute, which every program understands; a rule replaces it in the dark.
  ///
  /// - Parameter property: "fill" or "stroke".
  private mutating func paint(_ property: String, _ ink: Ink) -> String {
    let attribute = "\(property)=\"\(hex(ink.color(theme ?? .light)))\""
    guard theme == nil, ink.light != ink.dark else { return attribute }
    let number = inkNumbers[ink] ?? inks.count
    if number == inks.count {
      inks.append(ink)
      inkNumbers[ink] = number
    }
    return "\(attribute) class=\"\(property.prefix(1))\(number)\""
  }

  /// - Parameters:
  ///   - title: and `description`: for those that do not see the picture.
  func document(width: Double, height: Double, title: String, description: String) -> String {
    // Several pictures in one page: each has names of its own.
    let name = "d" + hexadecimal(fnv1a((title + body).utf8)).prefix(8)
    let rules = inks.enumerated().map { index, ink in
      "#\(name) .f\(index){fill:\(hex(ink.dark))} #\(name) .s\(index){stroke:\(hex(ink.dark))}"
    }
    let style =
      theme == nil
      ? """
      <style>
      @media (prefers-color-scheme: dark) {
      \(rules.joined(separator: "\n"))
      #\(name) .light{display:none} #\(name) .dark{display:inline}
      }
      </style>

      """ : ""
    let size = "width=\"\(number(width))\" height=\"\(number(height))\""
    return """
      <svg xmlns="http://www.w3.org/2000/svg" id="\(name)" \(size) viewBox="0 0 \(number(width)) \(number(height))" \
      role="img" aria-labelledby="\(name)-title \(name)-description" \
      font-family="'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif" style="max-width:100%">
      <title id="\(name)-title">\(Self.escaped(title))</title>
      <desc id="\(name)-description">\(Self.escaped(description))</desc>
      \(style)\(body)</svg>

      """
  }

  private func attributes(of box: Box) -> String {
    "x=\"\(number(box.left))\" y=\"\(number(box.top))\" width=\"\(number(box.width))\" height=\"\(number(box.height))\""
  }

  private func points(_ positions: [Position]) -> String {
    positions.map { "\(number($0.x)),\(number($0.y))" }.joined(separator: " ")
  }

  /// "12.5": at most two digits after the point.
  private func number(_ value: Double) -> String {
    let hundredths = Int((min(max(value, -1e9), 1e9) * 100).rounded())
    let (whole, rest) = hundredths.magnitude.quotientAndRemainder(dividingBy: 100)
    let sign = hundredths < 0 ? "-" : ""
    if rest == 0 { return "\(sign)\(whole)" }
    return "\(sign)\(whole).\(rest % 10 == 0 ? "\(rest / 10)" : rest < 10 ? "0\(rest)" : "\(rest)")"
  }

  private func hex(_ color: Color) -> String {
    "#" + hexadecimal(color.red) + hexadecimal(color.green) + hexadecimal(color.blue)
  }

  /// Without the controls, which XML cannot say.
  private static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "\n", "\t": result += " "
      case _ where scalar.value < 0x20 || scalar.value == 0xfffe || scalar.value == 0xffff: result += "\u{fffd}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

/// RFC 4648.
private enum Base64 {
  private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  static func text(of bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    text.reserveCapacity((bytes.count + 2) / 3 * 4)
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let group = bytes[start..<min(start + 3, bytes.count)]
      let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
      for place in 0..<4 {
        text.append(place <= group.count ? digits[bits >> (18 - 6 * place) & 63] : UInt8(ascii: "="))
      }
    }
    return String(decoding: text, as: UTF8.self)
  }
}
