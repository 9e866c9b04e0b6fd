import Datasets
import Diagnostics
import Foundation
import FoundationXML
import Pictures
import TestSupport
import Testing

/// An SVG picture, read back by an XML parser.
final class ReadSVG: NSObject, XMLParserDelegate {
  struct Element {
    let name: String
    let attributes: [String: String]
    var text = ""

    func number(_ attribute: String) -> Double { attributes[attribute].flatMap(Double.init) ?? .nan }

    /// Of a polyline or polygon.
    var points: [Position] {
      (attributes["points"] ?? "").split(separator: " ").map { pair in
        let numbers = pair.split(separator: ",").compactMap { Double($0) }
        return Position(x: numbers[0], y: numbers[1])
      }
    }
  }

  private(set) var elements: [Element] = []
  private var open: [Int] = []

  init(_ svg: String) throws {
    super.init()
    let parser = XMLParser(data: Data(svg.utf8))
    parser.delegate = self
    try #require(parser.parse(), "not XML: \(String(describing: parser.parserError))")
  }

  convenience init(_ figure: Figure) throws { try self.init(figure.svg(theme: .light)) }

  convenience init(_ chart: Chart) throws { try self.init(Figure("", panels: [.chart(chart)])) }

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
    attributes: [String: String]
  ) {
    open.append(elements.count)
    elements.append(Element(name: name, attributes: attributes))
  }

  func parser(_ parser: XMLParser, foundCharacters text: String) {
    if let last = open.last { elements[last].text += text }
  }

  func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
    open.removeLast()
  }

  func all(_ name: String) -> [Element] { elements.filter { $0.name == name } }

  var texts: [String] { all("text").map(\.text) }

  /// Boxes, lines and marks of this colour.
  func all(_ name: String, _ ink: Ink, _ property: String = "fill") -> [Element] {
    let color = ink.light
    let hex = "#" + [color.red, color.green, color.blue].map { hexadecimal($0) }.joined()
    return all(name).filter { $0.attributes[property] == hex }
  }

  /// The position of the tick with this text.
  func tick(_ text: String, size: Double = TextSize.tick) throws -> Position {
    let tick = try #require(all("text").first { $0.text == text && $0.number("font-size") == size }, "no tick \(text)")
    return Position(x: tick.number("x"), y: tick.number("y") - 0.35 * TextSize.tick)
  }

  /// The embedded images, decoded.
  func images() throws -> [RGBImage] {
    try all("image").map { image in
      let reference = try #require(image.attributes["href"])
      let encoded = try #require(reference.split(separator: ",").last)
      return try decoded(Array(#require(Data(base64Encoded: String(encoded)))))
    }
  }
}

/// A PNG file, decoded by libpng.
func decoded(_ png: [UInt8]) throws -> RGBImage {
  let directory = TemporaryDirectory()
  return try ImageFile.load(path: directory.write(png, to: "picture.png"))
}

extension RGBImage {
  func color(_ x: Int, _ y: Int) -> Color {
    let start = (y * width + x) * 3
    return Color(UInt32(pixels[start]) << 16 | UInt32(pixels[start + 1]) << 8 | UInt32(pixels[start + 2]))
  }
}
