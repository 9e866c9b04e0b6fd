import ArgumentParser
import Datasets
import Diagnostics
import Experiments
import Files
import Optimization
import Reporting

struct StepSizesCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "step-sizes", abstract: "The loss after one step of each size along the same gradient.",
    discussion: """
      Examples:
        descent step-sizes --data data/cifar10
        descent step-sizes --data data/cifar10 --from 1e-4 --to 10 --per-decade 8 --picture steps.svg

      CS231n, "Optimization": from random weights W one gradient g over all examples, and then the loss at W - h g for \
      step sizes h from 1e-10 to 10. Steps that are too low change little, those that are too high make it worse. A step \
      size here is a --learning-rate of `descent train`: for inputs (pixel - mean) / 127.5. The lecture's table is for \
      bytes; its step sizes have the effect of 127.5² = 16,256 times them here.
      """)

  @Option(help: "Directory of the data set; DESCENT_DATA if it is omitted.", completion: .directory) var data: String?
  @Option(help: "The loss. Default: softmax.") var loss: Loss?
  @Option(help: "The smallest step size, a power of ten.") var from = PowerOfTen(exponent: -10)
  @Option(help: "The largest step size, a power of ten.") var to = PowerOfTen(exponent: 1)
  @Option(help: "Step sizes from one power of ten to the next.") var perDecade = 1
  @Option(help: "Standard deviation of the weights, which multiply bytes as the lecture's do.") var scale = 0.0001
  @Option(help: ArgumentHelp("Use the first n training examples only.", valueName: "n")) var limit: Int?
  @Option(help: "Of the random weights.") var seed: UInt64 = 1
  @OptionGroup var result: ResultOptions

  func validate() throws {
    if from.exponent >= to.exponent { throw ValidationError("--from must be less than --to") }
    if !(1...100).contains(perDecade) {
      throw ValidationError("--per-decade must be 1 to 100, but is \(perDecade)")
    }
    if !(scale >= 0 && scale <= 1000) { throw ValidationError("--scale must be 0 to 1000, but is \(scale)") }
    if let limit, limit < 1 { throw ValidationError("--limit must be at least 1, but is \(limit)") }
  }

  func perform() throws {
    try result.requirePlace()
    let dataset = try Dataset(directory: dataDirectory(data), part: .training)
    let indices = try dataset.first(limit)
    let sizes = StepSizes.sizes(from: from.exponent, to: to.exponent, perDecade: perDecade)
    let progress = WorkProgress("step sizes", of: sizes.count)
    let steps = try StepSizes(
      loss: dataset.linearLoss(
        loss ?? .softmaxCrossEntropy, over: indices, meanImage: dataset.mean(.meanImage, over: indices)),
      standardDeviation: scale, seed: seed, sizes: sizes, threads: Processors.count, completed: progress.completed)
    progress.finish()
    try dataset.verify()
    try result.show(json: steps.json, text: steps.text, figure: steps.figure)
  }
}

/// "1e-10", "0.001" or "10": 1e-30 to 1e10.
struct PowerOfTen: ExpressibleByArgument {
  let exponent: Int

  init(exponent: Int) { self.exponent = exponent }

  init?(argument: String) {
    guard let number = Double(argument), let exponent = (-30...10).first(where: { Double("1e\($0)") == number }) else {
      return nil
    }
    self.exponent = exponent
  }

  var defaultValueDescription: String { "1e\(exponent)" }
}
