import Datasets
import Diagnostics
import Pictures
import Testing

@Suite struct PixelTests {
  @Test(arguments: Figure.Theme.allCases)
  func `a bar has its colour in the PNG where SVG has the rectangle`(theme: Figure.Theme) throws {
    let chart = Chart(
      x: Axis("", scale: .categories(["a", "b"])), y: Axis("y"),
      series: [Series(nil, .bars, points: [Point(0, 3), Point(1, 7)])])
    let figure = Figure("Bars", panels: [.chart(chart)])
    let image = try decoded(figure.png(theme: theme))
    let svg = try ReadSVG(figure)
    #expect(image.width == Int(svg.elements[0].number("width")) * 2)
    let bars = svg.all("rect", .series(0))
    try #require(bars.count == 2)
    for bar in bars {
      let x = Int(2 * (bar.number("x") + bar.number("width") / 2))
      let top = 2 * bar.number("y")
      #expect(image.color(x, Int(top) + 2) == Ink.series(0).color(theme))
      #expect(image.color(x, Int(top) - 2) != Ink.series(0).color(theme))
      #expect(image.color(x, Int(top + 2 * bar.number("height")) - 3) == Ink.series(0).color(theme))
    }
    #expect(image.color(0, 0) == Ink.background.color(theme))
  }

  @Test func `tiles show the pixels of their images, each as a square`() throws {
    let tiles = (0..<3).map { Tiles.Tile(Gallery.texture($0, 32), caption: "tile", frame: $0 == 1 ? .bad : .none) }
    let figure = Figure("", panels: [.tiles(Tiles(columns: 3, tiles: tiles))])
    let svg = try ReadSVG(figure)
    #expect(try svg.images() == tiles.map(\.image))
    let image = try decoded(figure.png())
    for (tile, element) in zip(tiles, svg.all("image")) {
      let (left, top) = (Int(2 * element.number("x")), Int(2 * element.number("y")))
      let side = Int(2 * element.number("width")) / 32
      #expect(side >= 4)
      for index in 0..<(32 * 32) {
        let (x, y) = (index % 32, index / 32)
        let expected = tile.image.color(x, y)
        for corner in [(0, 0), (side - 1, side - 1)] {
          #expect(image.color(left + x * side + corner.0, top + y * side + corner.1) == expected)
        }
      }
      let edge = image.color(left - 2, top + 20)
      #expect(edge == (tile.frame == .bad ? Ink.bad.light : Ink.background.light))
    }
  }

  @Test func `cells of a heat map have the colours of their values, rows rising with numbers and falling with names`()
    throws
  {
    let values = [0.0, 1, 2, 3, 4, .nan]
    func cells(_ y: Axis, _ colors: HeatMap.Colors = .sequential) throws -> RGBImage {
      let map = HeatMap(x: Axis("x", range: 0...2), y: y, columns: 3, values: values, valueLabel: "v", colors: colors)
      let svg = try ReadSVG(Figure("", panels: [.heatMap(map)]))
      return try #require(svg.images().first { $0.width == 3 })
    }
    let numbers = try cells(Axis("y", range: 0...1))
    #expect(numbers.color(0, 1) == ColorMap.sequential(0) && numbers.color(1, 0) == ColorMap.sequential(1))
    #expect(numbers.color(2, 1) == ColorMap.sequential(0.5) && numbers.color(2, 0) == Ink.background.light)
    let names = try cells(Axis("y", scale: .categories(["a", "b"])))
    #expect(names.color(0, 0) == ColorMap.sequential(0) && names.color(1, 1) == ColorMap.sequential(1))
    let diverging = try cells(Axis("y", range: 0...1), .diverging)
    #expect(diverging.color(0, 1) == ColorMap.diverging(0, .light))
    #expect(diverging.color(1, 0) == ColorMap.diverging(1, .light))
    let classes = try cells(Axis("y", range: 0...1), .classes(["a", "b"]))
    #expect(classes.color(1, 1) == Ink.area(1).light)
  }

  @Test func `a numeric axis of a heat map goes from the middle of the first cell to that of the last`() throws {
    let map = HeatMap(
      x: Axis("x", range: 0...2), y: Axis("y", range: 0...2), columns: 3, values: Array(repeating: 1, count: 9),
      valueLabel: "v", overlay: [Series(nil, .points, points: [Point(0, 0), Point(2, 2)])])
    let svg = try ReadSVG(Figure("", panels: [.heatMap(map)]))
    let area = try #require(svg.all("image").first)
    let marks = svg.all("circle").filter { $0.number("r") > 4 }
    try #require(marks.count == 2)
    #expect(abs(marks[0].number("cx") - (area.number("x") + area.number("width") / 6)) < 0.02)
    #expect(abs(marks[1].number("cy") - (area.number("y") + area.number("height") / 6)) < 0.02)
  }

  @Test func `numbers in cells are written in black or white, whichever can be read`() throws {
    let map = HeatMap(
      x: Axis("", scale: .categories(["a", "b"])), y: Axis("", scale: .categories(["c"])), columns: 2,
      values: [0, -12.345], valueLabel: "v", places: 1)
    let svg = try ReadSVG(Figure("", panels: [.heatMap(map)]))
    let fills = ["0.0", "−12.3"].map { text in svg.all("text").last { $0.text == text }?.attributes["fill"] }
    #expect(fills == ["#16191d", "#ffffff"])
  }

  @Test func `edges are smoothed, and half a pixel takes half of the colour`() {
    var canvas = Canvas(width: 8, height: 4, background: Color(0xffffff))
    canvas.fill(Box(left: 1, top: 1, width: 2.5, height: 1), Color(0x000000))
    #expect([0, 1, 2, 3, 4].map { canvas.image.color($0, 1).red } == [255, 0, 0, 128, 255])
    canvas = Canvas(width: 9, height: 9, background: Color(0xffffff))
    canvas.stroke([[Position(x: 4.5, y: 4.5)]], width: 6, Color(0x000000))
    let image = canvas.image
    #expect(image.color(4, 4).red == 0 && image.color(0, 0).red == 255)
    #expect((0..<81).allSatisfy { image.color($0 % 9, $0 / 9) == image.color($0 / 9, $0 % 9) }, "a disc is symmetric")
    // The area of the disc, 28.27 pixels, within two per cent.
    let area = (0..<81).reduce(0.0) { $0 + Double(255 - image.color($1 % 9, $1 / 9).red) / 255 }
    #expect(abs(area - 28.27) < 0.6)
    canvas = Canvas(width: 9, height: 9, background: Color(0xffffff))
    canvas.fill([Position(x: 1, y: 1), Position(x: 8, y: 1), Position(x: 1, y: 8)], Color(0x000000))
    #expect(canvas.image.color(2, 2).red == 0 && canvas.image.color(6, 6).red == 255)
  }

  @Test func `drawing beyond the edges paints what lies inside`() {
    var canvas = Canvas(width: 4, height: 4, background: Color(0xffffff))
    canvas.stroke([[Position(x: -1e7, y: 2), Position(x: 1e7, y: 2)]], width: 2, Color(0x000000))
    canvas.fill(Box(left: -1e9, top: -1e9, width: 2e9, height: 1e9 + 1), Color(0x0000ff))
    canvas.draw(Gallery.texture(1, 2), in: Box(left: 3, top: 3, width: 9, height: 9))
    #expect(canvas.image.color(0, 1) == Color(0x000000) && canvas.image.color(0, 0) == Color(0x0000ff))
    #expect(canvas.image.color(3, 3) == Gallery.texture(1, 2).color(0, 0))
  }
}
