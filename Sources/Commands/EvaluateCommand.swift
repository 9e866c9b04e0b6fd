import ArgumentParser
import Checkpoints
import Diagnostics
import Optimization
import Reporting

extension Split: ExpressibleByArgument {}

struct EvaluateCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Loss, accuracy and confusion matrix of a trained model.",
    discussion: """
      Examples:
        descent evaluate --checkpoint runs/latest@best --data data/cifar10
        descent evaluate --checkpoint model.safetensors --data data/cifar10 --split validation --json

      The loss is the data loss, mean per example, without the penalty.
      """)

  @Option(
    help: """
      A run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file with weight, bias and \
      mean_image.
      """)
  var checkpoint: String
  @Option(help: "Directory of the data set.") var data: String
  @Option(help: "train, validation or test.") var split = Split.test
  @Flag(help: "Print JSON.") var json = false

  func perform() throws {
    let model = try TrainedModel.loadForKernels(checkpoint)
    let (dataset, indices) = try split.examples(of: data, checkpoint: checkpoint)
    let evaluator = try model.evaluator(dataset.examples)
    let evaluation = model.parameters.withUnsafePointer { evaluator.evaluate(parameters: $0, indices: indices) }
    if !evaluation.statistics.isFinite {
      StandardError.write("descent: warning: some losses are not finite or above 16384, so no mean is given\n")
    }
    let classes = evaluation.classes
    let result = EvaluationResult(
      split: split, examples: evaluation.statistics.examples,
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
  /// Mean data loss per example, and accuracies as fractions; not a number where there are no examples.
  let loss: Double
  let accuracy: Double
  let classNames: [String]
  let classAccuracy: [Double]
  /// Rows are actual classes, columns are predicted ones.
  let confusion: [[Int]]

  /// One JSON object.
  var json: String { JSONValue(reflecting: self).indentedText }

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
