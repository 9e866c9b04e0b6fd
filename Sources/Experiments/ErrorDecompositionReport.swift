import Diagnostics
import Pictures
import Reporting

extension ErrorDecomposition {
  /// What each part is, as the difference of two measured errors.
  private static let definitions = [
    ("optimization", "T(run) - T(longer)", "what more steps would still remove"),
    ("estimation", "V(run) - T(run)", "what is lost since the training examples are a sample"),
    ("modelling", "T(longer) - T(larger)", "what this class of models cannot express and the larger one can"),
    ("remainder", "T(larger)", "what the larger model leaves as well"),
  ]

  private var rows: [(name: String, outcome: Outcome, parts: Parts)] {
    let parts = parts
    return [("run", run, parts.run), ("longer", longer, parts.longer), ("larger", larger, parts.larger)]
  }

  /// The definitions, then of each training its budget, its errors and their parts, all as fractions.
  package var json: JSONValue {
    let experiments = rows.map { row -> JSONValue in
      [
        "training": .string(row.name), "model": .string(row.outcome.model),
        "parameters": .number(row.outcome.parameterCount), "steps": .number(row.outcome.steps),
        "epochs": .measurement(row.outcome.epochs), "training_error": .measurement(row.outcome.trainingError),
        "training_data_loss": .measurement(row.outcome.training.meanLoss),
        "validation_error": .measurement(row.outcome.validationError),
        "validation_data_loss": .measurement(row.outcome.validation.meanLoss),
        "optimization": .measurement(row.parts.optimization), "estimation": .measurement(row.parts.estimation),
        "modelling": .measurement(row.parts.modelling), "remainder": .measurement(row.parts.remainder),
      ]
    }
    return [
      "training_examples": .number(trainingExamples), "validation_examples": .number(validationExamples),
      "definitions": .object(
        Self.definitions.map { JSONValue.Member($0.0, .string("\($0.1): \($0.2)")) }),
      "experiments": .array(experiments),
    ]
  }

  /// The trainings, then the parts of the run's validation error.
  public var text: String {
    func percent(_ fraction: Double) -> String { Display.percent(fraction, places: 2) }
    let trainings = rows.map { row in
      [
        row.name, row.outcome.model, Display.decimal(row.outcome.epochs, places: 1),
        percent(row.outcome.trainingError), percent(row.outcome.validationError),
      ]
    }
    let values = [parts.run.optimization, parts.run.estimation, parts.run.modelling, parts.run.remainder]
    let parts = zip(Self.definitions, values).map { definition, value in
      [
        definition.0 == "remainder" ? definition.0 : definition.0 + " error", percent(value), definition.1,
        definition.2,
      ]
    }
    return table([["training", "model", "epochs", "training error T", "validation error V"]] + trainings) + "\n"
      + table(parts + [["validation error", percent(run.validationError), "V(run)", "the sum"]])
        + """

        T on \(grouped(UInt64(trainingExamples))) training examples, V on \(grouped(UInt64(validationExamples))) validation \
        examples.
        longer: the settings of the run with more epochs. larger: the same, with \(larger.model).
        What a still longer training would remove counts as modelling error or remainder.

        """
  }

  /// A bar of stacked parts for each training, whose height is its validation error.
  public var figure: Figure {
    func percent(_ fraction: Double) -> String { Display.percent(fraction) }
    let series: [(String, KeyPath<Parts, Double>)] = [
      ("remainder", \.remainder), ("modelling error", \.modelling), ("optimization error", \.optimization),
      ("estimation error", \.estimation),
    ]
    let bars = series.map { name, part in
      Series(
        "\(name): \(percent(parts.run[keyPath: part])) of the run", .stackedBars,
        points: rows.enumerated().map { Point(Double($0.offset), 100 * $0.element.parts[keyPath: part]) })
    }
    let names = rows.map { "\($0.name): \(percent($0.outcome.validationError))" }
    return Figure(
      "Error decomposition of \(run.model)",
      caption: """
        Each bar is a validation error. \
        longer: \(longer.model), \(Display.decimal(longer.epochs, places: 0)) epochs instead of \
        \(Display.decimal(run.epochs, places: 1)); larger: \(larger.model), as many. Optimization error: training error of \
        the run less that of the longer training; modelling error: that of the longer training less that of the larger \
        model, which leaves the remainder; estimation error: validation error less training error.
        """,
      panels: [
        .chart(
          Chart(x: Axis("", scale: .categories(names)), y: Axis("wrong predictions (%)"), series: bars))
      ])
  }
}
