import Datasets
import Diagnostics
import Pictures
import Reporting

extension Mistakes {
  package var json: JSONValue {
    let pairs = pairs.map { pair -> JSONValue in
      [
        "actual": .string(classNames[pair.actual]), "predicted": .string(classNames[pair.predicted]),
        "count": .number(pair.count), "share": .measurement(share(of: pair)),
        "most_confident": .array(
          pair.examples.prefix(5).map {
            ["example": .number($0.index), confidenceKey: .measurement($0.confidence)]
          }),
      ]
    }
    return [
      "examples": .number(examples), "mistakes": .number(count), "accuracy": .measurement(accuracy),
      "pairs": .array(pairs), "calibration": calibration?.json ?? .null,
    ]
  }

  private var confidenceKey: String { calibration == nil ? "margin" : "confidence" }

  /// The confusion pairs, then the table of calibration.
  /// - Parameter limit: the most pairs.
  public func text(limit: Int) -> String {
    let summary =
      "\(grouped(UInt64(count))) of \(grouped(UInt64(examples))) examples are taken for another class "
      + "(accuracy \(Display.percent(accuracy, places: 2)))\n\n"
    let heads = ["actual", "predicted", "count", "share of the class", "most confident: example"]
    let rows = pairs.prefix(limit).map { pair in
      let first = pair.examples.prefix(3).map { "\($0.index) (\(confidence($0)))" }.joined(separator: ", ")
      return [
        printable(classNames[pair.actual]), printable(classNames[pair.predicted]), "\(pair.count)",
        Display.percent(share(of: pair)), first,
      ]
    }
    let rest = pairs.count > limit ? "and \(pairs.count - limit) more pairs\n" : ""
    let calibration =
      calibration?.text
      ?? "no calibration: the loss was not trained to give probabilities; the numbers are margins of scores\n"
    return summary + table([heads] + rows) + rest + "\n" + calibration
  }

  private func confidence(_ example: Example) -> String {
    calibration == nil ? Display.decimal(example.confidence, places: 2) : Display.percent(example.confidence, places: 0)
  }

  /// The reliability diagram, and for each of the first pairs its most confident mistakes.
  ///
  /// - Parameters:
  ///   - limit: the most pairs.
  ///   - dataset: the one that the examples are from.
  public func figure(_ name: String, limit: Int, dataset: Dataset) -> Figure {
    let tiles = pairs.prefix(limit).map { pair -> Panel in
      let images = pair.examples.prefix(6).compactMap { example in
        dataset.picture(at: example.index).map { Tiles.Tile($0, caption: confidence(example), frame: .none) }
      }
      let title = "\(classNames[pair.actual]) → \(classNames[pair.predicted])"
      return .tiles(
        Tiles("\(title): \(pair.count) (\(Display.percent(share(of: pair))))", columns: 6, tiles: images))
    }
    let shown = tiles.isEmpty || !dataset.description.shape.isPicture
    let numbers = calibration == nil ? "the margin of the scores" : "the probability of the predicted class"
    return Figure(
      "Mistakes: \(name)",
      caption: "\(grouped(UInt64(count))) of \(grouped(UInt64(examples))) examples are taken for another class. "
        + (shown
          ? ""
          : "Of the most frequent confusions, actual → predicted with its share of the class, the most confident examples; "
            + "below each, \(numbers). ") + (calibration?.caption ?? ""),
      columns: 2, panels: (calibration.map(\.panels) ?? []) + (shown ? [] : tiles))
  }
}

extension Calibration {
  package var json: JSONValue {
    let bins = bins.map { bin -> JSONValue in
      [
        "lower": .measurement(bin.lower), "upper": .measurement(bin.upper), "count": .number(bin.count),
        "mean_confidence": .measurement(bin.meanConfidence), "accuracy": .measurement(bin.accuracy),
      ]
    }
    return ["expected_calibration_error": .measurement(expectedError), "bins": .array(bins)]
  }

  public var text: String {
    let rows = bins.map { bin in
      [
        "\(Display.decimal(bin.lower, places: 1))-\(Display.decimal(bin.upper, places: 1))", "\(bin.count)",
        Display.percent(bin.meanConfidence), Display.percent(bin.accuracy),
      ]
    }
    return table([["confidence", "count", "mean confidence", "accuracy"]] + rows)
      + "expected calibration error \(Display.percent(expectedError, places: 2))\n"
  }

  fileprivate var caption: String {
    "A calibrated model is right as often as its confidence says: on the diagonal. Expected calibration error "
      + "\(Display.percent(expectedError))."
  }

  /// Accuracy against confidence, and how many predictions each bin has.
  fileprivate var panels: [Panel] {
    let middles = bins.map { ($0.lower + $0.upper) / 2 }
    let accuracy = zip(middles, bins).compactMap { middle, bin in bin.accuracy.map { Point(middle, $0) } }
    let confidence = bins.compactMap { bin in
      bin.meanConfidence.flatMap { mean in bin.accuracy.map { Point(mean, $0) } }
    }
    let reliability = Chart(
      "Reliability", x: Axis("confidence", range: 0...1), y: Axis("accuracy", range: 0...1),
      series: [
        Series("accuracy of the bin", .bars, points: accuracy),
        Series("at its mean confidence", .points, points: confidence),
        Series("calibrated", .dashedLine, points: [Point(0, 0), Point(1, 1)]),
      ])
    let counts = Chart(
      "Confidence", x: Axis("confidence", range: 0...1), y: Axis("predictions"),
      series: [Series(nil, .bars, points: zip(middles, bins).map { Point($0, Double($1.count)) })])
    return [.chart(reliability), .chart(counts)]
  }
}
