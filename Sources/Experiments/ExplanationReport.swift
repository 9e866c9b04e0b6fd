import Diagnostics
import Pictures
import Reporting

extension Explanation {
  /// "w × x", of a network "gradient × x": what the shares of the pixels are.
  private var method: String { isLinear ? "weight × input" : "gradient × input" }
  private var remainderName: String { isLinear ? "bias" : "remainder" }

  /// - Parameter top: the number of classes whose shares are listed.
  package func json(top: Int) -> JSONValue {
    let classes = classes.enumerated().map { place, result -> JSONValue in
      var members: [JSONValue.Member] = [
        .init("name", .string(result.name)), .init("score", .measurement(result.score)),
        .init("probability", .measurement(result.probability)), .init("pixels", .measurement(result.pixels)),
        .init(remainderName, .measurement(result.remainder)),
      ]
      if place < top { members.append(.init("shares", .array(result.shares.map { .measurement($0) }))) }
      return .object(members)
    }
    let neighbors = neighbors.map { neighbor -> JSONValue in
      [
        "example": .number(neighbor.index), "class": .string(neighbor.className),
        "distance": .measurement(neighbor.distance),
      ]
    }
    return [
      "shares": .string(method), "width": .number(picture.width), "height": .number(picture.height),
      "classes": .array(classes), "neighbors": .array(neighbors),
    ]
  }

  /// A line for each class, and one for each neighbour.
  public var text: String {
    let heads = ["class", "probability", "score", "pixels", remainderName]
    let rows = classes.map { result in
      [printable(result.name), Display.percent(result.probability, places: 2)]
        + [result.score, result.pixels, result.remainder].map { Display.decimal($0, places: 3) }
    }
    guard !neighbors.isEmpty else { return table([heads] + rows) }
    let nearest = neighbors.map {
      ["\($0.index)", printable($0.className), Display.decimal($0.distance, places: 1)]
    }
    return table([heads] + rows) + "\n" + table([["training image", "class", "L2 distance"]] + nearest)
  }

  /// The picture, the shares of the pixels in the scores of the best classes, all scores, and the nearest training images.
  ///
  /// - Parameter top: the number of classes with a map of their shares.
  public func figure(_ name: String, top: Int) -> Figure {
    let (width, height) = (picture.width, picture.height)
    let maps = classes.prefix(top).map { result -> Panel in
      // The first row of a heat map lies at the bottom.
      let rows = (0..<height).reversed().flatMap { result.shares[$0 * width..<($0 + 1) * width] }
      let sum =
        "\(signed(result.score, 2)) = \(signed(result.pixels, 2)) \(result.remainder < 0 ? "−" : "+") "
        + "\(signed(abs(result.remainder), 2))"
      return .heatMap(
        HeatMap(
          "\(result.name): \(sum)", x: Axis(""), y: Axis(""), columns: width, values: rows,
          valueLabel: "share in the score", colors: .diverging))
    }
    let hasProbabilities = classes.contains { $0.probability != nil }
    let shown = classes.prefix(12)
    let bars = Chart(
      "Classes", x: Axis(hasProbabilities ? "probability (%)" : "score", range: hasProbabilities ? 0...100 : nil),
      y: Axis("", scale: .categories(shown.map(\.name))),
      series: [
        Series(
          nil, .bars,
          points: shown.enumerated().map { Point($1.probability.map { $0 * 100 } ?? $1.score, Double($0)) })
      ])
    let image = Tiles("The image", columns: 1, tiles: [Tiles.Tile(picture, caption: "\(width) × \(height) pixels")])
    let nearest = neighbors.map {
      Tiles.Tile($0.image, caption: "\($0.className)\n\(Display.decimal($0.distance, places: 0))")
    }
    let nearestPanel = Panel.tiles(Tiles("Nearest training images (L2 distance)", columns: 5, tiles: nearest))
    let meaning =
      isLinear
      ? "A score is the sum of the shares of all pixels, weight × (pixel − mean) / 127.5 over the channels, and the bias."
      : "Shares are gradient × input; what they leave of the score, the biases and the bends of the activation, is "
        + "behind the plus sign."
    return Figure(
      "\(name): \(classes.first?.name ?? "")", caption: meaning + " Red speaks for the class, blue against it.",
      columns: 3,
      panels: [.tiles(image)] + maps + [.chart(bars)] + (neighbors.isEmpty ? [] : [nearestPanel]))
  }

  private func signed(_ number: Double, _ places: Int) -> String { Templates.signed(number, places: places) }
}
