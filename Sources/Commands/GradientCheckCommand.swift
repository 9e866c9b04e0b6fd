import ArgumentParser
import Datasets
import Diagnostics
import Optimization
import Reporting

struct GradientCheckCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "gradient-check",
    abstract: "Compare the analytic gradient with central differences on real minibatches.",
    discussion: """
      Examples:
        descent gradient-check --data data/cifar10
        descent gradient-check --data data/cifar10 --loss svm --coordinates 50 --json

      The analytic gradient is the one training applies (single precision, fixed point); the numeric one is \
      computed in double precision. Both losses are checked unless --loss names one, at the initial weights \
      and after some steps. Exit status 70 if a relative error exceeds the bound.
      """)

  @OptionGroup var settings: SettingsOptions
  @Option(help: "Coordinates compared per parameter block.") var coordinates = 20
  @Option(help: "Steps of training before the second check.") var steps: UInt64 = 20
  @Flag(help: "Print JSON.") var json = false

  struct Row {
    let loss: String
    let step: UInt64
    let block: String
    let checked: Int
    let skippedAtKinks: Int
    let largestRelativeError: Double
    let bound: Double

    var isRight: Bool { largestRelativeError <= bound && checked > 0 }

    var cells: [String] {
      [
        isRight ? "ok" : "FAILED", loss, "step \(step)", block,
        "relative error \(Display.scientific(largestRelativeError)), bound \(Display.scientific(bound))",
        "\(checked) coordinates" + (skippedAtKinks > 0 ? ", \(skippedAtKinks) skipped at kinks" : ""),
      ]
    }
  }

  func validate() throws {
    if coordinates < 1 { throw ValidationError("--coordinates must be at least 1") }
  }

  func perform() throws {
    let resolved = try settings.resolve()
    let dataset = try CIFAR10Dataset(directory: try resolved.dataDirectory, part: .training)
    let losses = resolved.origin(of: \.loss) == .defaultValue ? Loss.allCases : [resolved.loss]
    let rows = try losses.flatMap { (loss) throws in try check(loss: loss, dataset) }
    try dataset.verify()
    print(json ? JSONValue(reflecting: rows).indentedText : table(rows.map(\.cells)), terminator: "")
    if let wrong = rows.first(where: { !$0.isRight }) {
      throw Failure(
        .internalError,
        "the gradient of \(wrong.loss) at step \(wrong.step) is wrong in \(wrong.block): the relative error must be at "
          + "most \(Display.scientific(wrong.bound)), but is \(Display.scientific(wrong.largestRelativeError)) over "
          + "\(wrong.checked) coordinates")
    }
  }

  private func check(loss: Loss, _ dataset: CIFAR10Dataset) throws -> [Row] {
    let resolved = try settings.resolve(overriding: [("loss", loss.settingName)])
    let plan = try resolved.trainingPlan(exampleCount: dataset.count)
    let meanImage = dataset.meanImage(over: DataSplit(plan: plan).training)
    let kernel = try selectedKernel()
    var trainer = SequentialTrainer(
      plan: plan, examples: dataset.examples, meanImage: meanImage, state: TrainingState(plan: plan), kernel: kernel)
    var rows: [Row] = []
    for step in [0, steps] {
      while trainer.state.step < step { _ = trainer.step() }
      let checks = GradientCheck.checkGradient(
        plan: plan, examples: dataset.examples, meanImage: meanImage, parameters: trainer.state.parameters,
        step: step, coordinatesPerBlock: coordinates, kernel: kernel)
      rows += checks.map {
        Row(
          loss: loss.settingName, step: step, block: $0.block.name, checked: $0.checked,
          skippedAtKinks: $0.skippedAtKinks,
          largestRelativeError: $0.largestRelativeError, bound: GradientCheck.recommendedBound)
      }
    }
    return rows
  }
}
