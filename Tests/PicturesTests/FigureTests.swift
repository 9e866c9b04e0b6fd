import Diagnostics
import Foundation
import Pictures
import TestSupport
import Testing

@Suite struct FigureTests {
  @Test(arguments: Gallery.all.indices)
  func `SVG is XML with a title and a description, and nothing leaves the picture or lies on other text`(
    index: Int
  ) throws {
    let figure = Gallery.all[index]
    let svg = try ReadSVG(figure)
    let root = svg.elements[0]
    #expect(root.attributes["role"] == "img")
    #expect(svg.all("title").map(\.text) == [figure.title])
    #expect(svg.all("desc")[0].text.hasPrefix(figure.caption))
    let size = (width: root.number("width"), height: root.number("height"))
    var upright: [(box: Box, text: String)] = []
    for label in svg.all("text") {
      let corners = corners(of: label)
      #expect(
        corners.allSatisfy { $0.x > -2 && $0.x < size.width + 2 && $0.y > -2 && $0.y < size.height + 2 }, "\(label)")
      guard label.attributes["transform"] == nil else { continue }
      let box = Box(
        left: corners[0].x, top: corners[2].y, width: corners[1].x - corners[0].x, height: corners[0].y - corners[2].y)
      for other in upright where other.box.left < box.right && box.left < other.box.right {
        #expect(other.box.top >= box.bottom || box.top >= other.box.bottom, "\(label.text) lies on \(other.text)")
      }
      upright.append((box, label.text))
    }
  }

  /// On the baseline and at the height of capitals.
  private func corners(of label: ReadSVG.Element) -> [Position] {
    let size = label.number("font-size")
    let width = StrokeFont.width(of: label.text, size: size, isBold: label.attributes["font-weight"] != nil)
    let anchor = label.attributes["text-anchor"]
    let start = anchor == "middle" ? -width / 2 : anchor == "end" ? -width : 0
    let rotation = label.attributes["transform"]?.split { "( ".contains($0) }.dropFirst().first
    let angle = -(rotation.flatMap { Double($0) } ?? 0) * .pi / 180
    return [(start, 0), (start + width, 0), (start, size * 0.7), (start + width, size * 0.7)].map { along, up in
      Position(
        x: label.number("x") + along * cos(angle) - up * sin(angle),
        y: label.number("y") - along * sin(angle) - up * cos(angle))
    }
  }

  @Test(arguments: Gallery.all.indices)
  func `a picture has the same bytes each time, and another ground in the dark`(index: Int) throws {
    let figure = Gallery.all[index]
    #expect(figure.svg() == figure.svg())
    let png = figure.png()
    #expect(png == figure.png())
    let (light, dark) = (try decoded(png), try decoded(figure.png(theme: .dark)))
    #expect(light.color(0, 0) == Ink.background.light && dark.color(0, 0) == Ink.background.dark)
    #expect(light.pixels == figure.image(theme: .light).pixels)
  }

  /// A browser without Helvetica takes a font that can be a fifth wider: the picture says how wide each text is.
  @Test(arguments: Gallery.all.indices)
  func `no text reaches beyond the picture, whichever font there is`(_ index: Int) throws {
    let svg = try ReadSVG(Gallery.all[index])
    let width = try #require(svg.all("svg").first).number("width")
    for text in svg.all("text") where text.attributes["transform"] == nil && !text.text.isEmpty {
      let (x, length) = (text.number("x"), text.number("textLength"))
      let left =
        switch text.attributes["text-anchor"] {
        case "middle": x - length / 2
        case "end": x - length
        default: x
        }
      #expect(text.attributes["lengthAdjust"] == "spacingAndGlyphs")
      #expect(left >= 0 && left + length <= width, "\(text.text): \(left) to \(left + length) of \(width)")
    }
  }

  @Test func `a picture without a theme has the colours of both`() throws {
    let svg = Gallery.surface.svg()
    _ = try ReadSVG(svg)
    #expect(svg.contains("@media (prefers-color-scheme: dark)"))
    #expect(svg.contains("class=\"light\"") && svg.contains("class=\"dark\""))
    #expect(svg.contains("#1b1f24") && svg.contains("#e8ebee"))
    let dark = Gallery.surface.svg(theme: .dark)
    #expect(!dark.contains("@media") && !dark.contains("#1b1f24"))
  }

  @Test func `text that means something in XML is only text`() throws {
    let text = "<b>&amp; \"x\" 'y' \u{1} \u{ffff}"
    let figure = Figure(
      text, caption: text,
      panels: [.chart(Chart(text, x: Axis(text), y: Axis(text), series: [Series(points: [Point(0, 0)])]))])
    let svg = try ReadSVG(figure)
    #expect(svg.all("title").map(\.text) == ["<b>&amp; \"x\" 'y' \u{fffd} \u{fffd}"])
  }

  @Test func `figures and panels without content are pictures too`() throws {
    let axis = Axis("x")
    let panels: [Panel] = [
      .tiles(Tiles(columns: 0, tiles: [])), .tiles(Tiles("", columns: 3, tiles: [])),
      .chart(Chart(x: axis, y: axis, series: [])),
      .heatMap(HeatMap(x: axis, y: axis, columns: 0, values: [1], valueLabel: "")),
      .heatMap(HeatMap(x: axis, y: axis, columns: 3, values: [], valueLabel: "")),
      .heatMap(HeatMap(x: axis, y: axis, columns: 3, values: [1, .infinity, .nan, 2], valueLabel: "", places: 400)),
      .heatMap(HeatMap(x: axis, y: axis, columns: 1, values: [7], valueLabel: "", colors: .classes([]))),
      .chart(Chart(x: Axis("", scale: .categories([])), y: axis, series: [Series(nil, .bars, points: [Point(0, 1)])])),
    ]
    for figure in panels.map({ Figure("", columns: 0, panels: [$0]) }) + [
      Figure("", panels: []), Figure("x", panels: panels),
    ] {
      _ = try ReadSVG(figure)
      _ = try decoded(figure.png())
    }
  }

  @Test func `an unusable path is refused before any work, and a usable one is written`() throws {
    let directory = TemporaryDirectory()
    func status(_ path: String) -> Diagnostics.ExitStatus? {
      do throws(Failure) {
        try Figure.checkPath(path)
        return nil
      } catch { return error.status }
    }
    #expect(status("a.pdf") == .usage && status("svg") == .usage && status("\(directory.path)/x") == .usage)
    #expect(status("\(directory.path)/none/a.svg") == .cannotCreate)
    try directory.write([], to: "file")
    #expect(status("\(directory.path)/file/a.svg") == .cannotCreate)
    try FileManager.default.createDirectory(atPath: directory.path + "/d.svg", withIntermediateDirectories: false)
    #expect(status("\(directory.path)/d.svg") == .cannotCreate)
    for name in ["a.svg", "b.PNG"] {
      let path = "\(directory.path)/\(name)"
      #expect(status(path) == nil && !FileManager.default.fileExists(atPath: path))
      try Gallery.confusion.write(to: path)
      let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
      #expect(bytes == (name == "a.svg" ? Array(Gallery.confusion.svg().utf8) : Gallery.confusion.png()))
    }
  }
}

@Suite struct PaletteTests {
  /// Relative luminance of WCAG 2.1.
  private func luminance(_ color: Color) -> Double {
    let linear = [color.red, color.green, color.blue].map { byte in
      let value = Double(byte) / 255
      return value <= 0.04045 ? value / 12.92 : pow((value + 0.055) / 1.055, 2.4)
    }
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
  }

  private func contrast(_ one: Color, _ other: Color) -> Double {
    let (a, b) = (luminance(one) + 0.05, luminance(other) + 0.05)
    return max(a, b) / min(a, b)
  }

  @Test(arguments: Figure.Theme.allCases)
  func `text and series stand out from the ground`(theme: Figure.Theme) {
    let ground = Ink.background.color(theme)
    #expect(contrast(Ink.text.color(theme), ground) > 12)
    #expect(contrast(Ink.muted.color(theme), ground) > 5)
    for index in 0..<8 { #expect(contrast(Ink.series(index).color(theme), ground) > 2, "series \(index)") }
    for value in stride(from: -1.0, through: 1, by: 0.05) {
      let cell = ColorMap.diverging(value, theme)
      let ink = Ink(cell, cell).contrasting.color(theme)
      #expect(contrast(ink, cell) > 4, "number on \(value)")
    }
  }

  /// Of CIELAB.
  private func lightness(_ color: Color) -> Double { 116 * cbrt(luminance(color)) - 16 }

  @Test func `the sequential colours rise in lightness in steps that are nearly equal`() {
    let steps = (0..<20).map { step in
      lightness(ColorMap.sequential(Double(step + 1) / 20)) - lightness(ColorMap.sequential(Double(step) / 20))
    }
    #expect(steps.allSatisfy { $0 > 2 && $0 < 6.5 }, "\(steps)")
    #expect(ColorMap.sequential(-1) == ColorMap.sequential(0) && ColorMap.sequential(7) == ColorMap.sequential(1))
  }

  @Test func `the diverging colours are neutral at zero and equally far from it on both sides`() {
    for theme in Figure.Theme.allCases {
      let zero = ColorMap.diverging(0, theme)
      #expect(zero.red == zero.green && zero.green == zero.blue)
      for value in stride(from: 0.1, through: 1, by: 0.1) {
        let (low, high) = (lightness(ColorMap.diverging(-value, theme)), lightness(ColorMap.diverging(value, theme)))
        #expect(abs(low - high) < 6, "\(theme) \(value)")
      }
    }
  }
}
