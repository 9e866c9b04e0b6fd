import Datasets
import Diagnostics
import Pictures
import Reporting

extension Neighbors {
  /// Settings, accuracies as fractions, the numbers of the examples shown, and the variants at equal distance.
  package var json: JSONValue {
    let curve = curve.map { accuracy -> JSONValue in
      [
        "k": .number(accuracy.k), "accuracy": .measurement(accuracy.mean),
        "standard_deviation": .measurement(accuracy.standardDeviation),
        "folds": .array(settings.folds == nil ? [] : accuracy.folds.map { .measurement($0) }),
      ]
    }
    let examples = shown.map { shown -> JSONValue in
      let neighbors = shown.neighbors.map { neighbor -> JSONValue in
        [
          "index": .number(neighbor.example.index), "class": .string(classNames[neighbor.example.label]),
          "distance": .measurement(neighbor.distance),
        ]
      }
      return [
        "index": .number(shown.example.index), "class": .string(classNames[shown.example.label]),
        "prediction": .string(classNames[shown.prediction]), "neighbors": .array(neighbors),
      ]
    }
    return [
      "distance": .string(settings.distance.rawValue),
      "seed": .number(settings.seed),
      "limit": settings.limit.map { .number($0) } ?? .null,
      "folds": settings.folds.map { .number($0) } ?? .null,
      "validation_examples": .number(searched.queries),
      "training_examples": .number(searched.examples),
      "curve": .array(curve),
      "k": .number(chosen),
      "test_accuracy": .measurement(testAccuracy),
      "test_examples": .number(tested.queries),
      "test_neighbors": .number(tested.examples),
      "examples": .array(examples),
      "equal_distance": equalDistance?.json ?? .null,
    ]
  }

  /// A line for each k, then the test.
  package var text: String {
    let count = { (number: Int) in grouped(UInt64(number)) }
    let name = settings.distance.rawValue.uppercased()
    let heads = ["k", "accuracy"] + (settings.folds == nil ? [] : ["standard deviation"])
    let rows = curve.map { accuracy in
      ["\(accuracy.k)", Display.percent(accuracy.mean, places: 2)]
        + (accuracy.standardDeviation.map { [Display.percent($0, places: 2)] } ?? [])
    }
    var lines = "\(name) distance, \(method): \(count(searched.queries)) against \(count(searched.examples)) examples\n"
    lines += table([heads] + rows)
    lines += "test, k = \(chosen): accuracy \(Display.percent(testAccuracy, places: 2)), "
    lines += "\(count(tested.queries)) against \(count(tested.examples)) examples\n"
    if let equalDistance {
      let variants = equalDistance.variants.map { "\($0.name) \(Display.decimal($0.distance, places: 1))" }
      lines += "L2 distance to test example \(equalDistance.index) itself: \(variants.joined(separator: ", "))\n"
    }
    return lines
  }

  private var method: String { settings.folds.map { "\($0)-fold cross-validation" } ?? "validation split" }

  /// The curve of k, test examples beside their neighbours, and the variants at equal distance.
  public var figure: Figure {
    var caption =
      "Test accuracy \(Display.percent(testAccuracy)) with k = \(chosen), chosen by \(method); the test set was read once."
    if isCIFAR10 {
      caption += " CS231n gives 38.6 % for L1 and 35.4 % for L2 with k = 1, and k ≈ 7 as the best."
    }
    let pictures = [neighborTiles, equalTiles].compactMap { $0 }.map(Panel.tiles)
    return Figure(
      "Nearest neighbours, \(settings.distance.rawValue.uppercased()) distance", caption: caption,
      panels: [.chart(chart)] + pictures)
  }

  private var chart: Chart {
    let mean = curve.map {
      Point(Double($0.k), 100 * $0.mean, error: $0.standardDeviation.map { 100 * $0 })
    }
    var series: [Series] = []
    if settings.folds != nil {
      let single = curve.flatMap { accuracy in accuracy.folds.map { Point(Double(accuracy.k), 100 * $0) } }
      series.append(Series("one fold", .points, points: single))
    }
    series.append(
      Series(settings.folds == nil ? "validation" : "mean ± standard deviation", .lineAndPoints, points: mean))
    series.append(Series("test", .points, points: [Point(Double(chosen), 100 * testAccuracy)]))
    return Chart("Choice of k", x: Axis("k, neighbours that vote"), y: Axis("accuracy (%)"), series: series)
  }

  /// A row for each example: itself, then its neighbours.
  private var neighborTiles: Tiles? {
    let rows = shown.map { shown -> [Tiles.Tile] in
      func tile(_ example: Example, isRight: Bool) -> Tiles.Tile? {
        example.image.map {
          Tiles.Tile($0, caption: classNames[example.label], frame: isRight ? .good : .bad)
        }
      }
      let label = shown.example.label
      return
        ([tile(shown.example, isRight: shown.prediction == label)]
        + shown.neighbors.map { tile($0.example, isRight: $0.example.label == label) }).compactMap { $0 }
    }
    guard let columns = rows.first?.count, columns > 0 else { return nil }
    return Tiles(
      "Test images (left; green if classified correctly) and their nearest training images (green: of the same class)",
      columns: columns, tiles: Array(rows.joined()))
  }

  private var equalTiles: Tiles? {
    guard let equalDistance else { return nil }
    let variants = equalDistance.variants.map {
      Tiles.Tile($0.image, caption: "\($0.name): \(Display.decimal($0.distance, places: 1))")
    }
    return Tiles(
      "As far from the original, going by the L2 distance", columns: variants.count + 1,
      tiles: [Tiles.Tile(equalDistance.original, caption: "original")] + variants)
  }
}
