import Diagnostics
import Optimization
import Pictures
import Reporting

extension FollowSlope {
  /// The settings, and of each batch size what was measured after which number of examples.
  package var json: JSONValue {
    func score(_ score: Evaluation.Score) -> JSONValue {
      ["loss": .measurement(score.meanLoss), "accuracy": .measurement(score.accuracy)]
    }
    return [
      "loss_function": .string(loss.settingName), "l2": .number("\(l2)"), "seed": .number(seed),
      "training_examples": .number(trainingExamples), "validation_examples": .number(validationExamples),
      "learning_rate": .measurement(learningRate), "rate_per_example": .measurement(ratePerExample),
      "epochs": .number(epochs),
      "batch_sizes": .array(
        curves.map { curve in
          [
            "batch_size": .number(curve.batchSize), "learning_rate": .measurement(curve.learningRate),
            "measurements": .array(
              curve.measurements.map { measurement in
                [
                  "steps": .number(measurement.steps), "examples": .number(measurement.examples),
                  "training": score(measurement.training), "validation": score(measurement.validation),
                ]
              }),
          ]
        }),
    ]
  }

  /// Loss and validation accuracy of every batch size after equal numbers of examples.
  public var text: String {
    let heads = curves.map { "batch \(name($0))" }
    let rates = curves.map { "rate \(Display.scientific($0.learningRate))" }
    let rows = rowMarks.map { mark in
      [grouped(mark)]
        + curves.map { curve in
          guard let measurement = curve.measurement(after: mark) else { return "-" }
          return Display.decimal(measurement.training.meanLoss, places: 3) + "  "
            + Display.percent(measurement.validation.accuracy)
        }
    }
    return "training loss (\(loss.settingName), without the penalty) and validation accuracy\n"
      + table([["examples"] + heads, [""] + rates] + rows)
      + "\(rule) An epoch has \(grouped(UInt64(trainingExamples))) examples.\n"
  }

  private var rule: String {
    "learning rate = min(\(Display.scientific(learningRate)), "
      + "\(Display.scientific(ratePerExample)) x batch size), constant."
  }

  private func name(_ curve: Curve) -> String {
    curve.batchSize == trainingExamples ? "all" : grouped(UInt64(curve.batchSize))
  }

  /// Powers of eight up to an epoch, and epochs 1, 2, 5, 10, 20 … and the last.
  private var rowMarks: [UInt64] {
    let epoch = UInt64(trainingExamples)
    let powers: [UInt64] = [1, 8, 64, 512, 4_096, 32_768].filter { $0 < epoch }
    let decades = sequence(first: UInt64(1)) { $0 * 10 }.prefix { $0 <= epochs }
    let passes: [UInt64] = decades.flatMap { [$0, 2 * $0, 5 * $0] }.filter { $0 < epochs } + [epochs]
    return powers + passes.map { $0 * epoch }
  }

  /// Training loss and validation accuracy against the number of examples seen.
  public var figure: Figure {
    func series(_ value: (Measurement) -> Double) -> [Series] {
      curves.map { curve in
        Series(
          "batch \(name(curve)), rate \(Display.scientific(curve.learningRate))", .line,
          points: curve.measurements.filter { $0.examples > 0 && value($0).isFinite }.map {
            Point(Double($0.examples), value($0))
          })
      }
    }
    let examples = Axis("examples seen", scale: .log10)
    return Figure(
      "Gradient descent with batches of 1 to all",
      caption: """
        \(loss.settingName) from the same weights, the examples in the same order. Loss over all \
        \(grouped(UInt64(trainingExamples))) training examples, accuracy on \
        \(grouped(UInt64(validationExamples))) validation examples; \(rule)
        """, columns: 2,
      panels: [
        .chart(
          Chart("Loss", x: examples, y: Axis("mean data loss", scale: .log10), series: series(\.training.meanLoss))),
        .chart(
          Chart(
            "Accuracy", x: examples, y: Axis("validation accuracy (%)"), series: series { 100 * $0.validation.accuracy }
          )),
      ])
  }
}
