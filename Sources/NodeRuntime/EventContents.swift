import Datasets
import Diagnostics
import Messaging
import Optimization
import Pictures
import Reporting

/// What the event files of a run say.
struct EventContents: Sendable {
  let job: TrainingJob
  let kernel: KernelVariant

  // MARK: A start

  /// Tags that each start has values of.
  static let tagsOfStart: Set<String> = ["run", "settings"]
  /// The metrics that the HPARAMS page compares runs by.
  private static let comparedMetrics = [
    "loss/validation", "accuracy/validation", "loss/train", "accuracy/train", "loss/test", "accuracy/test",
  ]

  /// - Parameters:
  ///   - command: the command line as typed.
  ///   - step: where the start begins or resumes.
  func start(_ command: [String], at time: UTCTime, step: UInt64) -> [Event] {
    let settings = job.settings.entries.filter { $0.setting.shapesTrajectory || $0.setting.name == "workers" }
    let experiment = Hyperparameters.experiment(
      settings: settings.map { ($0.setting.name, $0.setting.isNumeric) }, metrics: Self.comparedMetrics)
    let values = settings.compactMap { entry -> (name: String, value: Hyperparameters.Value)? in
      switch entry.setting.json(entry.text) {
      case .number(let digits): Double(digits).map { (entry.setting.name, .number($0)) }
      case .string(let text) where !entry.setting.isNumeric: (entry.setting.name, .text(text))
      default: nil
      }
    }
    return [
      Event(at: time, step: 0, .summary([experiment.value, Hyperparameters.start(values, at: time).value])),
      Event(at: time, step: step, .summary([SummaryValue("run", .text(text(command)))])),
      Event(at: time, step: step, .summary([SummaryValue("settings", .text(settingsTable))])),
    ]
  }

  private func text(_ command: [String]) -> String {
    "    \(shellCommand(command))\n\n\(escaped(job.dataDescription))\n\n\(escaped(job.planDescription))\n"
  }

  private var settingsTable: String {
    let rows = job.settings.entries.map { entry in
      "| \(entry.setting.name) | \(escaped(entry.text ?? "")) | \(escaped(entry.origin.description)) |\n"
    }
    return "| setting | value | origin |\n|---|---|---|\n" + rows.joined()
  }

  // MARK: An evaluation

  func scalars(_ record: MetricsRecord) -> [SummaryValue] {
    let values: KeyValuePairs<String, Double?> = [
      "loss/train": record.trainDataLoss, "loss/validation": record.validationDataLoss,
      "objective/train": record.trainObjective, "objective/validation": record.validationObjective,
      "penalty": record.penalty, "accuracy/train": record.trainAccuracy,
      "accuracy/validation": record.validationAccuracy, "learning_rate": record.learningRate,
      "gradient_norm": record.gradientNorm, "throughput/images_per_second": record.imagesPerSecond,
      "workers": Double(record.workers), "epoch": record.epoch,
    ]
    // Not a number is what was not measured.
    return values.compactMap { tag, value in
      value.flatMap { $0.isFinite ? SummaryValue(tag, .scalar($0)) : nil }
    }
  }

  /// Begins the tags of `pictures` that every model has.
  static let tagOfWeights = "weights/"

  /// Weights and gradients as histograms, weights and confusion as images.
  func pictures(_ state: OptimizerState, _ validation: Evaluation) -> [SummaryValue] {
    let weights = state.parameters(of: job.plan.shape).values
    let gradient = job.sampleGradient(state, kernel)
    let histograms = job.plan.shape.blocks.flatMap { block in
      [(Self.tagOfWeights, weights), ("gradients/", gradient ?? [])].compactMap { group, values in
        values.isEmpty
          ? nil
          : Histogram(of: values[block.range]).map { SummaryValue(group + block.name, .histogram($0)) }
      }
    }
    return histograms + templates(weights) + confusion(validation)
  }

  private static let mostUnits = 64

  /// The rows of the first layer: of a linear model each under the name of its class, of a network the first units side by
  /// side.
  private func templates(_ weights: [Float]) -> [SummaryValue] {
    let shape = job.training.description.shape
    guard shape.width > 1 || shape.height > 1 else { return [] }
    let layer = job.plan.shape.layers[0]
    let count = job.plan.shape.isLinear ? layer.outputs : min(layer.outputs, Self.mostUnits)
    let images = (0..<count).map { row in
      let start = layer.weight.lowerBound + row * layer.inputs
      return RGBImage(weights: weights[start..<start + layer.inputs], as: shape)
    }
    guard job.plan.shape.isLinear else { return [value("templates/first_layer", RGBImage(tiles: images, columns: 8))] }
    return zip(distinctClassNames, images).map { value("templates/\($0)", $1) }
  }

  /// A slash would make a group.
  private var distinctClassNames: [String] {
    let names = job.training.classNames.map { $0.replacing("/", with: "_") }
    return Set(names).count == names.count ? names : names.indices.map { "class \($0)" }
  }

  private func value(_ tag: String, _ image: RGBImage) -> SummaryValue {
    SummaryValue(tag, .image(width: image.width, height: image.height, png: image.png))
  }

  private func confusion(_ validation: Evaluation) -> [SummaryValue] {
    guard validation.statistics.examples > 0 else { return [] }
    let picture = value("confusion/validation", RGBImage(confusion: validation.confusion, classes: validation.classes))
    // Wider than a table that is read.
    guard validation.classes <= 32 else { return [picture] }
    return [picture, SummaryValue("confusion/counts", .text(confusionTable(validation)))]
  }

  private func confusionTable(_ validation: Evaluation) -> String {
    let names = job.training.classNames.map(escaped)
    let rows = names.enumerated().map { actual, name in
      let start = actual * names.count
      let counts = validation.confusion[start..<start + names.count].map(String.init)
      return "| **\(name)** | \(counts.joined(separator: " | ")) |\n"
    }
    return "| actual \\ predicted | \(names.joined(separator: " | ")) |\n"
      + String(repeating: "|---", count: names.count + 1) + "|\n" + rows.joined()
  }

  // MARK: The end

  /// Tags that only the last start has values of.
  static let tagsOfEnd: Set<String> = ["loss/test", "accuracy/test"]

  func end(_ result: RunResult, _ ending: ExitReason, at time: UTCTime) -> [Event] {
    let values = [("loss/test", result.testDataLoss), ("accuracy/test", result.testAccuracy)]
    let scalars = values.compactMap { tag, value in
      value.flatMap { $0.isFinite ? SummaryValue(tag, .scalar($0)) : nil }
    }
    let end = Hyperparameters.end(isSuccess: ending.status == .success, at: time)
    return (scalars.isEmpty ? [] : [Event(at: time, step: result.testStep ?? result.steps, .summary(scalars))])
      + [Event(at: time, step: 0, .summary([end.value]))]
  }

  /// For Markdown, in the cell of a table.
  private func escaped(_ text: String) -> String {
    text.map { "\\|*_`<>[]".contains($0) ? "\\\($0)" : $0.isNewline ? " " : String($0) }.joined()
  }
}

extension RGBImage {
  /// Images of one size in rows, a dark pixel between them.
  fileprivate init(tiles: [RGBImage], columns: Int) {
    let (width, height) = (tiles[0].width + 1, tiles[0].height + 1)
    let rows = (tiles.count + columns - 1) / columns
    let total = (width: min(columns, tiles.count) * width - 1, height: rows * height - 1)
    var pixels = [UInt8](repeating: 0, count: total.width * total.height * 3)
    for (index, tile) in tiles.enumerated() {
      let (row, column) = index.quotientAndRemainder(dividingBy: columns)
      for line in 0..<tile.height {
        let start = ((row * height + line) * total.width + column * width) * 3
        let source = line * tile.width * 3
        pixels.replaceSubrange(
          start..<start + tile.width * 3, with: tile.pixels[source..<source + tile.width * 3])
      }
    }
    self.init(width: total.width, height: total.height, pixels: pixels)
  }

  /// A square for each pair of classes, a row for each actual one: white for none of its examples, dark blue for all.
  fileprivate init(confusion: [Int], classes: Int) {
    let side = max(1, min(24, 480 / classes))
    let (none, all) = ([255.0, 255, 255], [8.0, 48, 107])
    var pixels: [UInt8] = []
    pixels.reserveCapacity(classes * classes * side * side * 3)
    for actual in 0..<classes {
      let row = confusion[actual * classes..<(actual + 1) * classes]
      let total = Double(max(1, row.reduce(0, +)))
      let line = row.flatMap { count in
        let color = zip(none, all).map { UInt8(($0 + ($1 - $0) * Double(count) / total).rounded()) }
        return repeatElement(color, count: side).joined()
      }
      for _ in 0..<side { pixels += line }
    }
    self.init(width: classes * side, height: classes * side, pixels: pixels)
  }
}
