import ArgumentParser
import Datasets
import Diagnostics
import JSONText
import Optimization
import Reporting

extension Split: ExpressibleByArgument {}

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Loss, accuracy and confusion matrix of a trained model.",
    discussion: """
      Examples:
        descent evaluate --checkpoint runs/latest --data data/cifar10
        descent evaluate --checkpoint model.safetensors --data data/cifar10 --split validation --json

      The loss is the data loss, mean per example, without the penalty.
      """)

  @Option(help: "A checkpoint, a run directory, or a .safetensors file with weight, bias and mean_image.")
  var checkpoint: String
  @Option(help: "Directory of the data set.") var data: String
  @Option(help: "train, validation or test.") var split = Split.test
  @Flag(help: "Print JSON.") var json = false

  func run() throws {
    try reportingFailures {
      let model = try UsableModel(checkpoint)
      let (dataset, indices) = try split.examples(of: data, checkpoint: checkpoint)
      let evaluation = try model.evaluate(dataset, at: indices)
      if !evaluation.isFinite {
        StandardError.write("descent: warning: some losses are not finite or above 16384, so no mean is given\n")
      }
      let result = EvaluationResult(evaluation, classNames: model.model.classNames, split: split.rawValue)
      print(json ? result.json : result.text, terminator: "")
    }
  }
}

/// What `descent evaluate` prints.
struct EvaluationResult {
  let split: String
  let examples: Int
  /// Mean data loss per example, and accuracies as fractions; not a number where there are no examples.
  let loss: Double
  let accuracy: Double
  let classNames: [String]
  let classAccuracy: [Double]
  /// Rows are actual classes, columns are predicted ones.
  let confusion: [[Int]]

  init(_ evaluation: Evaluation, classNames: [String], split: String) {
    self.split = split
    self.classNames = classNames
    examples = evaluation.examples
    // A loss beyond the kernel's fixed point is counted at its limit: a mean of such is none.
    loss = evaluation.isFinite ? evaluation.meanLoss : .nan
    accuracy = evaluation.accuracy
    classAccuracy = evaluation.classAccuracy
    let classes = evaluation.classes
    confusion = (0..<classes).map { Array(evaluation.confusion[$0 * classes..<($0 + 1) * classes]) }
  }

  /// One JSON object.
  var json: String {
    let document: JSONValue = [
      "split": .string(split), "examples": .number(examples), "loss": .measurement(loss),
      "accuracy": .measurement(accuracy), "class_names": .strings(classNames),
      "class_accuracy": .array(classAccuracy.map { .measurement($0) }),
      "confusion": .array(confusion.map { .numbers($0) }),
    ]
    return document.indentedText
  }

  var text: String {
    let width = max(10, (classNames.map(\.count).max() ?? 0) + 2)
    var lines = [
      "\(split): \(examples) examples, loss \(Display.decimal(loss, places: 4)), "
        + "accuracy \(Display.percent(accuracy, places: 2))", "",
      "".padded(to: width) + "accuracy".rightAligned(to: 10) + "   confusion: rows actual, columns predicted",
    ]
    for (label, row) in confusion.enumerated() {
      let accuracy = Display.percent(classAccuracy[label], places: 2)
      lines.append(
        classNames[label].rightAligned(to: width) + accuracy.rightAligned(to: 10) + "  "
          + row.map { "\($0)".rightAligned(to: 6) }.joined())
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
