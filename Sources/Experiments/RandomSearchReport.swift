import Diagnostics
import Optimization
import Pictures
import Reporting

extension RandomSearch {
  /// The settings, the losses of all tries, those that were the best so far, and the test accuracy beside the lecture's.
  package var json: JSONValue {
    func score(_ attempt: Int) -> JSONValue {
      [
        "attempt": .number(attempt), "loss": .measurement(attempts[attempt].meanLoss),
        "accuracy": .measurement(attempts[attempt].accuracy),
      ]
    }
    return [
      "loss_function": .string(loss.settingName), "tries": .number(attempts.count),
      "examples": .number(exampleCount), "scale": .measurement(standardDeviation), "seed": .number(seed),
      "improvements": .array(improvements.map(score)), "best": best.map(score) ?? .null,
      "test": [
        "examples": .number(testExampleCount), "loss": .measurement(test?.meanLoss),
        "accuracy": .measurement(test?.accuracy),
      ],
      "lecture": ["test_accuracy": .measurement(Self.lectureTestAccuracy)],
      "losses": .array(attempts.map { .measurement($0.meanLoss) }),
    ]
  }

  /// A line for each improvement, as the slides print them, and the accuracies of the best weights.
  public var text: String {
    let lines = improvements.map { attempt in
      let loss = Display.decimal(attempts[attempt].meanLoss, places: 6)
      return "in attempt \(attempt) the loss was \(loss), best \(loss)\n"
    }
    guard let best, let test else {
      return "no try has a loss that the kernels can represent: choose a smaller --scale\n"
    }
    let rows = [
      [
        "training", Display.percent(attempts[best].accuracy, places: 2),
        "\(grouped(UInt64(exampleCount))) examples, \(loss.settingName) loss "
          + Display.decimal(attempts[best].meanLoss, places: 4),
      ],
      [
        "test", Display.percent(test.accuracy, places: 2),
        "\(grouped(UInt64(testExampleCount))) examples, \(loss.settingName) loss "
          + Display.decimal(test.meanLoss, places: 4),
      ],
      ["guessing", Display.percent(1 / Double(classes), places: 2), "\(classes) classes"],
      ["lecture", Display.percent(Self.lectureTestAccuracy, places: 2), "CIFAR-10, test, 1,000 tries"],
    ]
    return lines.joined() + "\nThe best of \(grouped(UInt64(attempts.count))) random W, attempt \(best):\n"
      + table(rows)
  }

  /// The loss of each try and the lowest so far, and the accuracy of the best weights so far.
  public var figure: Figure {
    let all = attempts.enumerated().filter { !$0.element.meanLoss.isNaN }
    /// Steps: the value of each improvement until the next.
    func soFar(_ value: (Evaluation.Score) -> Double) -> [Point] {
      let starts = improvements
      return zip(starts, starts.dropFirst() + [attempts.count - 1]).flatMap { start, end in
        [start, end].map { Point(Double($0 + 1), value(attempts[start])) }
      }
    }
    let tries = Axis("tries", scale: .log10, range: 1...Double(max(2, attempts.count)))
    let last = Double(max(2, attempts.count))
    return Figure(
      "Random search",
      caption: """
        \(grouped(UInt64(attempts.count))) random W of standard deviation \(standardDeviation) for pixel bytes, \
        \(loss.settingName) loss over \(grouped(UInt64(exampleCount))) training examples. Test accuracy of the best W \
        \(Display.percent(test?.accuracy)); the lecture's \(Display.percent(Self.lectureTestAccuracy)); guessing \
        \(Display.percent(1 / Double(classes))).
        """, columns: 2,
      panels: [
        .chart(
          Chart(
            "Loss", x: tries, y: Axis("mean data loss"),
            series: [
              Series("of each try", .points, points: all.map { Point(Double($0.offset + 1), $0.element.meanLoss) }),
              Series("best so far", .line, points: soFar(\.meanLoss)),
            ])),
        .chart(
          Chart(
            "Accuracy of the best W so far", x: tries, y: Axis("accuracy (%)"),
            series: [
              Series("training", .line, points: soFar { 100 * $0.accuracy }),
              Series("test, of the last", .points, points: test.map { [Point(last, 100 * $0.accuracy)] } ?? []),
              Series("lecture, test", .points, points: [Point(last, 100 * Self.lectureTestAccuracy)]),
            ])),
      ])
  }
}
