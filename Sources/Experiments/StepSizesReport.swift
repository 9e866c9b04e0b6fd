import Diagnostics
import Optimization
import Pictures
import Reporting

extension StepSizes {
  /// The loss at W and after each step.
  package var json: JSONValue {
    [
      "loss_function": .string(loss.settingName), "examples": .number(exampleCount),
      "scale": .measurement(standardDeviation), "seed": .number(seed),
      "original": ["loss": .measurement(original.meanLoss), "accuracy": .measurement(original.accuracy)],
      "gradient_norm": .measurement(gradientNorm),
      "steps": .array(
        steps.map { step in
          [
            "step_size": .measurement(step.size), "loss": .measurement(step.score.meanLoss),
            "accuracy": .measurement(step.score.accuracy), "verdict": .string(step.verdict.rawValue),
          ]
        }),
    ]
  }

  /// As the lecture prints them, with the accuracy and what is to be said of the step size.
  public var text: String {
    let rows = steps.map { step in
      [
        "for step size \(Display.scientific(step.size)) new loss: "
          + (step.score.meanLoss.isNaN ? "too large" : Display.decimal(step.score.meanLoss, places: 6)),
        "accuracy \(Display.percent(step.score.accuracy))", step.verdict.rawValue,
      ]
    }
    return "original loss: \(Display.decimal(original.meanLoss, places: 6))  (\(loss.settingName), "
      + "\(grouped(UInt64(exampleCount))) examples, gradient norm \(Display.decimal(gradientNorm, places: 4)))\n"
      + table(rows)
      + "right: at least half of the largest decrease. A step size of the lecture, whose inputs are bytes, has the effect "
      + "of 16,256 times it here.\n"
  }

  /// The loss after each step, on logarithmic axes.
  public var figure: Figure {
    func points(_ verdict: Verdict) -> [Point] {
      finite.filter { $0.verdict == verdict }.map { Point($0.size, $0.score.meanLoss) }
    }
    let (smallest, largest) = (steps.first?.size ?? 1, steps.last?.size ?? 1)
    return Figure(
      "The effect of the step size",
      caption: """
        \(loss.settingName) loss over \(grouped(UInt64(exampleCount))) training examples after one step of each size from \
        the same random W along the same gradient. Right: at least half of the largest decrease.
        """,
      panels: [
        .chart(
          Chart(
            x: Axis("step size", scale: .log10), y: Axis("mean data loss after the step", scale: .log10),
            series: [
              Series("before the step", .line, points: [smallest, largest].map { Point($0, original.meanLoss) }),
              Series(nil, .line, points: finite.map { Point($0.size, $0.score.meanLoss) }),
              Series(Verdict.tooLow.rawValue, .points, points: points(.tooLow)),
              Series(Verdict.right.rawValue, .points, points: points(.right)),
              Series(Verdict.tooHigh.rawValue, .points, points: points(.tooHigh)),
            ]))
      ])
  }

  /// A logarithmic axis has no zero.
  private var finite: [Step] { steps.filter { $0.score.meanLoss.isFinite && $0.score.meanLoss > 0 } }
}
