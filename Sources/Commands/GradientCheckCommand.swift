import ArgumentParser
import Datasets
import Diagnostics
import Optimization
import Reporting
import RunConfiguration

struct GradientCheckCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "gradient-check",
    abstract: "Compare the analytic gradient with central differences on real minibatches.",
    discussion: """
      Examples:
        descent gradient-check --data data/cifar10
        descent gradient-check --data data/cifar10 --loss svm --coordinates 50 --json
        descent gradient-check --data data/cifar10 --hidden 100 --activation tanh
        descent gradient-check --data data/cifar10 --table 5
        descent gradient-check --all

      The analytic gradient is the one training applies (single precision, fixed point); the numeric one is \
      computed in double precision. All losses are checked unless --loss names one, with the model of --hidden and \
      --activation, at the initial weights and after some steps. --all checks every combination of model, loss, \
      activation and penalty on a small problem, without a data set, and the reference trainer against a \
      computational graph as well. Where a margin or a hidden unit is at its kink there is no derivative: such \
      coordinates are skipped and counted. --table prints one line for each of some coordinates, for the loss of --loss \
      after the steps of --steps: w, the objective L at w + h and w - h with h = 1e-5, their difference quotient and the \
      analytic derivative. Exit status 70 if a relative error exceeds the bound.
      """)

  @OptionGroup var settings: SettingsOptions
  @Flag(help: "Every combination of model, loss, activation and penalty on a small problem.") var all = false
  @Option(help: "Coordinates compared per parameter block. Default: 20; with --all every one is.")
  var coordinates: Int?
  @Option(help: "Print so many coordinates of each parameter block one by one.") var table: Int?
  @Option(help: "Steps of training before the second check, or before the table.") var steps: UInt64 = 20
  @Flag(help: "Print JSON.") var json = false

  struct Row {
    let model: String
    let loss: String
    let l2: Double
    let l1: Double
    let dropout: Double
    let step: UInt64
    let block: String
    let checked: Int
    let skippedAtKinks: Int
    let largestRelativeError: Double
    let bound: Double
    /// Of the reference trainer against gates; nil where that is not compared.
    let largestErrorOfReference: Double?

    init(_ plan: TrainingPlan, _ check: BlockGradientCheck, step: UInt64, errorOfReference: Double? = nil) {
      (model, loss) = (plan.shape.description, plan.loss.settingName)
      (l2, l1, dropout) = (Double(plan.l2), Double(plan.l1), Double(plan.dropout))
      (self.step, block) = (step, check.block.name)
      (checked, skippedAtKinks) = (check.checked, check.skippedAtKinks)
      (largestRelativeError, bound) = (check.largestRelativeError, GradientCheck.recommendedBound)
      largestErrorOfReference = errorOfReference
    }

    var isRight: Bool {
      largestRelativeError <= bound && checked > 0
        && largestErrorOfReference ?? 0 <= GradientCheckProblem.recommendedBoundOfReference
    }

    private var penalty: String {
      let terms = [("l2", l2), ("l1", l1)].filter { $0.1 > 0 }.map { "\($0.0) \(Float($0.1))" }
      return terms.isEmpty ? "no penalty" : terms.joined(separator: " ")
    }

    var cells: [String] {
      let reference = largestErrorOfReference.map { ", of the reference \(Display.scientific($0))" } ?? ""
      return [
        isRight ? "ok" : "FAILED", model, loss, penalty, "step \(step)", block,
        "relative error \(Display.scientific(largestRelativeError)), bound \(Display.scientific(bound))" + reference,
        "\(checked) coordinates" + (skippedAtKinks > 0 ? ", \(skippedAtKinks) skipped at kinks" : ""),
      ]
    }
  }

  func validate() throws {
    if let coordinates, coordinates < 1 { throw ValidationError("--coordinates must be at least 1") }
    if let table, table < 1 { throw ValidationError("--table must be at least 1") }
    if all || coordinates != nil, table != nil {
      throw ValidationError("--table chooses its own coordinates: omit \(all ? "--all" : "--coordinates")")
    }
    let given = settings.flags.map { "--\($0.name)" } + (settings.config == nil ? [] : ["--config"])
    if all, let first = given.first ?? (coordinates == nil ? nil : "--coordinates") {
      throw ValidationError("\(first) has no meaning with --all, which checks a problem of its own: omit one of them")
    }
  }

  func perform() throws {
    if let table { return try printTable(coordinatesPerBlock: table) }
    let rows = try all ? checkAll() : checkData()
    print(json ? JSONValue(reflecting: rows).indentedText : Diagnostics.table(rows.map(\.cells)), terminator: "")
    if let wrong = rows.first(where: { !$0.isRight }) {
      throw Failure(
        .internalError,
        "the gradient of \(wrong.model), \(wrong.loss) at step \(wrong.step) is wrong in \(wrong.block): the relative "
          + "error must be at most \(Display.scientific(wrong.bound)), but is "
          + "\(Display.scientific(wrong.largestRelativeError)) over \(wrong.checked) coordinates")
    }
  }

  private func checkAll() throws -> [Row] {
    let (problem, kernel) = (GradientCheckProblem(), try selectedKernel())
    return problem.plans.flatMap { plan in
      [0, steps].flatMap { step in
        problem.check(plan, afterSteps: step, kernel: kernel).map {
          Row(plan, $0.check, step: step, errorOfReference: $0.largestErrorOfReference)
        }
      }
    }
  }

  private func checkData() throws -> [Row] {
    let resolved = try settings.resolve()
    let dataset = try Dataset(directory: try resolved.dataDirectory, part: .training)
    let losses = resolved.origin(of: \.loss) == .defaultValue ? Loss.allCases : [resolved.loss]
    let rows = try losses.flatMap { (loss) throws in try check(loss: loss, dataset) }
    try dataset.verify()
    return rows
  }

  /// What is checked: the plan and its trainer, before the first step.
  private func problem(
    _ settings: ResolvedSettings, _ dataset: Dataset
  ) throws -> (plan: TrainingPlan, meanImage: [Float], trainer: SequentialTrainer) {
    let plan = try settings.fitting(exampleCount: dataset.count).trainingPlan(
      exampleCount: dataset.count, classes: dataset.description.classes, pixels: dataset.description.pixels)
    let meanImage = dataset.mean(plan.preprocessing, over: DataSplit(plan: plan).training)
    let trainer = SequentialTrainer(
      plan: plan, examples: dataset.examples, meanImage: meanImage, state: TrainingState(plan: plan),
      kernel: try selectedKernel())
    return (plan, meanImage, trainer)
  }

  private func check(loss: Loss, _ dataset: Dataset) throws -> [Row] {
    var (plan, meanImage, trainer) = try problem(
      settings.resolve(overriding: [("loss", loss.settingName)]), dataset)
    let kernel = try selectedKernel()
    var rows: [Row] = []
    for step in [0, steps] {
      while trainer.state.step < step { _ = trainer.step() }
      let checks = GradientCheck.checkGradient(
        plan: plan, examples: dataset.examples, meanImage: meanImage, parameters: trainer.state.parameters,
        step: step, coordinatesPerBlock: coordinates ?? 20, kernel: kernel)
      rows += checks.map { Row(plan, $0, step: step) }
    }
    return rows
  }

  private func printTable(coordinatesPerBlock: Int) throws {
    let resolved = try settings.resolve()
    let dataset = try Dataset(directory: try resolved.dataDirectory, part: .training)
    var (plan, meanImage, trainer) = try problem(resolved, dataset)
    while trainer.state.step < steps { _ = trainer.step() }
    let rows = GradientCheck.table(
      plan: plan, examples: dataset.examples, meanImage: meanImage, parameters: trainer.state.parameters, step: steps,
      coordinatesPerBlock: coordinatesPerBlock, kernel: try selectedKernel())
    try dataset.verify()
    let table = GradientTable(plan: plan, step: steps, rows: rows)
    print(json ? table.json.indentedText : table.text, terminator: "")
  }
}

/// What `descent gradient-check --table` prints.
private struct GradientTable {
  let plan: TrainingPlan
  let step: UInt64
  let rows: [CoordinateGradientCheck]

  var text: String {
    func digits(_ number: Double, _ places: Int) -> String { Display.decimal(number, places: places) }
    let cells = rows.map { row in
      [
        row.parameter, digits(row.value, 8), digits(row.difference.above, 12), digits(row.difference.below, 12),
        digits(row.difference.derivative, 8), digits(row.analytic, 8),
        Display.scientific(row.relativeError) + (row.difference.isAtKink ? ", at a kink" : ""),
      ]
    }
    return "\(plan.loss.settingName), \(plan.shape), step \(step), \(plan.batchSize) examples, h = "
      + "\(Display.scientific(GradientCheck.stepSize))\n"
      + Diagnostics.table(
        [["parameter", "w", "L(w + h)", "L(w - h)", "numeric dL/dw", "analytic dL/dw", "relative error"]] + cells)
  }

  var json: JSONValue {
    let rows = rows.map { row -> JSONValue in
      [
        "parameter": .string(row.parameter), "value": .measurement(row.value),
        "loss_above": .measurement(row.difference.above), "loss_below": .measurement(row.difference.below),
        "numeric": .measurement(row.difference.derivative), "analytic": .measurement(row.analytic),
        "relative_error": .measurement(row.relativeError), "at_kink": .boolean(row.difference.isAtKink),
      ]
    }
    return [
      "loss_function": .string(plan.loss.settingName), "model": .string(plan.shape.description),
      "step": .number(step), "examples": .number(plan.batchSize), "h": .measurement(GradientCheck.stepSize),
      "coordinates": .array(rows),
    ]
  }
}
