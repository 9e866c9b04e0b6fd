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
      A run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file with weight, bias and \
      mean_image.
      """)
  var checkpoint: String
  @Option(help: "Directory of the data set; DESCENT_DATA if it is omitted.") var data: String?
  @Option(help: "train, validation or test.") var split = Split.test
  @Option(help: "The loss to compute instead of the model's own.") var loss: Loss?
  @Flag(help: "Print JSON.") var json = false

  func perform() throws {
    var model = try TrainedModel.loadForKernels(checkpoint)
    if let loss {
      model.loss = loss
    } else if !model.namesLoss {
      StandardError.write(
        "descent: warning: \(checkpoint) names no loss: \(model.loss.settingName) is assumed. Choose one with --loss\n")
    }
    let (dataset, indices) = try split.examples(of: dataDirectory(data), checkpoint: checkpoint)
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

/// What `descent evaluate` prints.
struct EvaluationResult {
  let split: Split
  let examples: Int
  /// "softmax" or "svm".
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

  /// Fits 100 columns with ten classes and counts below a million.
  var text: String {
    let longestName = classNames.map(\.count).max() ?? 0
    let (nameWidth, columnWidth) = (min(longestName, 16), max(7, "\(confusion.joined().max() ?? 0)".count + 1))
    func short(_ name: String, _ width: Int) -> String { name.count > width ? "\(name.prefix(width - 1))." : name }
    let heads = classNames.map { short($0, columnWidth - 1).rightAligned(to: columnWidth) }.joined()
    var lines = [
      "\(split): \(examples) examples, \(lossFunction) loss \(Display.decimal(loss, places: 4)), "
        + "accuracy \(Display.percent(accuracy, places: 2))", "",
      "actual".padded(to: nameWidth) + "accuracy".rightAligned(to: 10) + "  predicted",
      "".padded(to: nameWidth + 10) + heads,
    ]
    for (label, row) in confusion.enumerated() {
      let accuracy = Display.percent(classAccuracy[label], places: 2)
      lines.append(
        short(classNames[label], nameWidth).padded(to: nameWidth) + accuracy.rightAligned(to: 10)
          + row.map { "\($0)".rightAligned(to: columnWidth) }.joined())
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
