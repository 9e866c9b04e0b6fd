import ArgumentParser
import Datasets
import Diagnostics
import Experiments
import Files
import Optimization
import Reporting

struct FollowSlopeCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "follow-slope",
    abstract: "Gradient descent with minibatches of 1 to all examples, side by side.",
    discussion: """
      Examples:
        descent follow-slope --data data/cifar10
        descent follow-slope --data data/cifar10 --loss svm --batch-sizes 1,32,all --epochs 20 --picture slope.svg

      CS231n, "Optimization": plain gradient descent of a linear classifier from zero, with the gradient of all training \
      examples or of minibatches. All descents see the examples in the same order. Their learning rate is constant and \
      follows one rule, min(--learning-rate, --rate-per-example × batch size): a small batch has a noisy gradient and takes \
      small steps, a large one takes the largest steps that are stable. Loss and validation accuracy are measured after \
      equal numbers of examples. As many descents run side by side as there are processors.
      """)

  @Option(help: "Directory of the data set; DESCENT_DATA if it is omitted.", completion: .directory) var data: String?
  @Option(help: "The loss. Default: softmax.") var loss: Loss?
  @Option(help: ArgumentHelp("Batch sizes; all is that of the training examples.", valueName: "n,…"))
  var batchSizes = ExampleCounts([1, 16, 256, 4096, nil])
  @Option(name: [.long, .customLong("lr")], help: "The largest learning rate. Default: that of the loss.")
  var learningRate: Double?
  @Option(help: "Learning rate of a small batch, over its size.") var ratePerExample = 0.0005
  @Option(help: "Strength of the L2 penalty.") var l2: Float = 0
  @Option(help: "Passes over the training examples.") var epochs: UInt64 = 10
  @Option(help: ArgumentHelp("Use the first n training examples only.", valueName: "n")) var limit: Int?
  @Option(help: "Training examples held out for validation. Default: 5000, at most a tenth.")
  var validationExamples: Int?
  @Option(help: "Of the split and the order of the examples.") var seed: UInt64 = 1
  @OptionGroup var result: ResultOptions

  func validate() throws {
    for (name, rate) in [("--learning-rate", learningRate), ("--rate-per-example", ratePerExample)] {
      if let rate, !(rate > 0 && rate <= 1000) {
        throw ValidationError("\(name) must be above 0, at most 1000, but is \(rate)")
      }
    }
    if !(l2 >= 0 && l2 <= 1000) { throw ValidationError("--l2 must be 0 to 1000, but is \(l2)") }
    if !(1...10_000).contains(epochs) { throw ValidationError("--epochs must be 1 to 10000, but is \(epochs)") }
    if let limit, limit < 2 { throw ValidationError("--limit must be at least 2, but is \(limit)") }
    if let validationExamples, validationExamples < 1 {
      throw ValidationError("--validation-examples must be at least 1, but is \(validationExamples)")
    }
  }

  func perform() throws {
    let loss = loss ?? .softmaxCrossEntropy
    try result.requirePlace()
    let dataset = try Dataset(directory: dataDirectory(data), part: .training)
    let indices = try dataset.first(limit)
    let count = indices.count
    let held = validationExamples ?? max(1, min(5000, count / 10))
    guard held < count else {
      throw Failure(.usage, "--validation-examples must be 1 to \(count - 1), less than the examples, but is \(held)")
    }
    let sizes = try batchSizes.resolved(examples: count - held, option: "--batch-sizes")
    let plan = TrainingPlan(exampleCount: count, batchSize: 1, shardCount: 1, totalSteps: 1) {
      $0.shape = ModelShape(classes: dataset.description.classes, pixels: dataset.description.pixels)
      ($0.loss, $0.l2, $0.seed, $0.validationCount) = (loss, l2, seed, held)
    }
    let progress = WorkProgress("examples", of: sizes.count * Int(epochs) * (count - held))
    let slope = try FollowSlope(
      plan: plan, examples: dataset.examples.selecting(indices),
      meanImage: dataset.mean(plan.preprocessing, over: DataSplit(plan: plan).training), kernel: selectedKernel(),
      batchSizes: sizes, learningRate: learningRate ?? loss.defaultLearningRate,
      ratePerExample: ratePerExample, epochs: epochs, threads: Processors.count, completed: progress.completed)
    progress.finish()
    try dataset.verify()
    try result.show(json: slope.json, text: slope.text, figure: slope.figure)
  }
}
