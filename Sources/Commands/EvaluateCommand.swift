import ArgumentParser
import Checkpoints
import Diagnostics
import Optimization
import Reporting

extension Split: ExpressibleByArgument {}

extension Loss: ExpressibleByArgument {
  public init?(argument: String) {
    guard let loss = Loss.allCases.first(where: { $0.settingName == argument }) else { return nil }
    self = loss
  }

  public var defaultValueDescription: String { settingName }
  public static var allValueStrings: [String] { allCases.map(\.settingName) }
  /// The names say it; the raw values, which would be described, are not spelt.
  public static var allValueDescriptions: [String: String] { [:] }
}

extension Activation: ExpressibleByArgument {
  /// The name of the setting, with a colon and its parameter or without: "leaky-relu:0.01".
  public init?(argument: String) {
    let parts = argument.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let parameter = parts.count == 2 ? Float(parts[1]).flatMap { $0.isFinite && $0 >= 0 ? $0 : nil } : nil
    self.init(settingName: String(parts[0]), parameter: parameter)
    if parts.count == 2, parameter == nil || self.parameter == nil { return nil }
  }

  public static var allValueStrings: [String] { all.map(\.settingName) }
}

struct EvaluateCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Loss, accuracy and confusion matrix of a trained model.",
    discussion: """
      Examples:
        descent evaluate --checkpoint runs/latest@best --data data/cifar10
        descent evaluate --checkpoint model.safetensors --data data/cifar10 --split validation --json

      The loss is the data loss, mean per example, without the penalty: that of the training, or the one that --loss \
      names. A .safetensors file without metadata does not say what it was trained with; softmax is assumed then.
      """)

  @Option(
    help: """
      A run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file with the weights and \
      biases of a PyTorch module of linear layers and mean_image.
      """)
  var checkpoint: String
  @Option(help: "Directory of the data set; DESCENT_DATA if it is omitted.", completion: .directory) var data: String?
  @Option(help: "train, validation or test.") var split = Split.test
  @Option(help: ActivationOption.help) var activation: Activation?
  @Option(help: "The loss to compute instead of the model's own.") var loss: Loss?
  @Flag(help: "Print JSON.") var json = false

  func perform() throws {
    var model = try TrainedModel.loadForKernels(checkpoint, activation: activation)
    if let loss {
      model.loss = loss
    } else if !model.namesLoss {
      StandardError.write(
        "descent: warning: \(checkpoint) names no loss: \(model.loss.settingName) is assumed. Choose one with --loss\n")
    }
    let (dataset, indices) = try split.examples(of: dataDirectory(data), checkpoint: checkpoint)
    try model.requireFits(dataset, checkpoint: checkpoint)
    let evaluator = try model.evaluator(dataset.examples)
    let evaluation = model.parameters.withUnsafePointer { evaluator.evaluate(parameters: $0, indices: indices) }
    try dataset.verify()
    if !evaluation.statistics.isFinite {
      StandardError.write("descent: warning: some losses are not finite or above 16384, so no mean is given\n")
    }
    let classes = evaluation.classes
    let result = EvaluationResult(
      split: split, examples: evaluation.statistics.examples, lossFunction: model.loss.settingName,
      // A loss beyond the kernel's fixed point is counted at its limit: a mean of such is none.
      loss: evaluation.statistics.isFinite ? evaluation.score.meanLoss : .nan, accuracy: evaluation.score.accuracy,
      classNames: model.classNames, classAccuracy: evaluation.classAccuracy,
      confusion: (0..<classes).map { Array(evaluation.confusion[$0 * classes..<($0 + 1) * classes]) })
    print(json ? result.json : result.text, terminator: "")
  }
}

enum ActivationOption {
  static let help: ArgumentHelp = """
    Activation of the hidden units, for a .safetensors file that does not name it; leaky-relu and elu take their \
    parameter behind a colon, as in leaky-relu:0.01.
    """
}

/// What `descent evaluate` prints.
struct EvaluationResult {
  let split: Split
  let examples: Int
  /// As in the setting `loss`.
  let lossFunction: String
  /// Mean data loss per example, and accuracies as fractions; not a number where there are no examples.
  let loss: Double
  let accuracy: Double
  let classNames: [String]
  let classAccuracy: [Double]
  /// Rows are actual classes, columns are predicted ones.
  let confusion: [[Int]]

  /// One JSON object.
  var json: String { JSONValue(reflecting: self).indentedText }

  /// The most classes whose confusion is shown as a matrix.
  private static let largestMatrix = 20

  /// Fits 100 columns with ten classes and counts below a million. Of many classes each has the three that it is most often
  /// taken for.
  var text: String {
    let names = classNames.map(printable)
    let longestName = names.map(\.count).max() ?? 0
    let isMatrix = names.count <= Self.largestMatrix
    let nameWidth = min(longestName, isMatrix ? 16 : 32)
    let columnWidth = max(7, "\(confusion.joined().max() ?? 0)".count + 1)
    func short(_ name: String, _ width: Int) -> String { name.count > width ? "\(name.prefix(width - 1))." : name }
    let heads = names.map { short($0, columnWidth - 1).rightAligned(to: columnWidth) }.joined()
    var lines = [
      "\(split): \(examples) examples, \(lossFunction) loss \(Display.decimal(loss, places: 4)), "
        + "accuracy \(Display.percent(accuracy, places: 2))", "",
      "actual".padded(to: nameWidth) + "accuracy".rightAligned(to: 10) + (isMatrix ? "  predicted" : "  mistaken for"),
    ]
    if isMatrix { lines.append("".padded(to: nameWidth + 10) + heads) }
    for (label, row) in confusion.enumerated() {
      let accuracy = Display.percent(classAccuracy[label], places: 2)
      let predicted =
        isMatrix
        ? row.map { "\($0)".rightAligned(to: columnWidth) }.joined()
        : "  "
          + row.indices.filter { $0 != label && row[$0] > 0 }.sorted { (row[$1], $0) < (row[$0], $1) }.prefix(3)
          .map { "\(names[$0]) \(row[$0])" }.joined(separator: ", ")
      lines.append(short(names[label], nameWidth).padded(to: nameWidth) + accuracy.rightAligned(to: 10) + predicted)
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
