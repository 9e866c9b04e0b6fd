import ArgumentParser
import Datasets
import Diagnostics
import Experiments
import Files
import Optimization
import Reporting

struct RandomSearchCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "random-search", abstract: "Strategy 1 of the lecture: try random weights and keep the best.",
    discussion: """
      Examples:
        descent random-search --data data/cifar10
        descent random-search --data data/cifar10 --tries 10000 --limit 5000 --picture search.svg

      CS231n, "Optimization": each try draws a linear classifier, W = np.random.randn(10, 3073) * 0.0001, and computes its \
      loss over the training examples; the test accuracy is that of the best W, computed once at the end. The lecture's \
      W multiplies bytes, 0 to 255, and so does that of --scale; the mean image is subtracted before. All training \
      examples count, those that `descent train` holds out among them. All processors compute; the result does not depend \
      on their number.
      """)

  @Option(help: "Directory of the data set; DESCENT_DATA if it is omitted.", completion: .directory) var data: String?
  @Option(help: "How many weights to try.") var tries = 1000
  @Option(help: "The loss that chooses. Default: svm.") var loss: Loss?
  @Option(help: "Standard deviation of the weights.") var scale = 0.0001
  @Option(help: ArgumentHelp("Compute the loss over the first n training examples only.", valueName: "n"))
  var limit: Int?
  @Option(help: "Of the random weights.") var seed: UInt64 = 1
  @OptionGroup var result: ResultOptions

  func validate() throws {
    if !(1...10_000_000).contains(tries) { throw ValidationError("--tries must be 1 to 10000000, but is \(tries)") }
    if !(scale > 0 && scale <= 1000) { throw ValidationError("--scale must be above 0, at most 1000, but is \(scale)") }
    if let limit, limit < 1 { throw ValidationError("--limit must be at least 1, but is \(limit)") }
  }

  func perform() throws {
    try result.requirePlace()
    let directory = try dataDirectory(data)
    let training = try Dataset(directory: directory, part: .training)
    let test = try Dataset(directory: directory, part: .test)
    let indices = try training.first(limit)
    let meanImage = training.mean(.meanImage, over: indices)
    let progress = WorkProgress("tries", of: tries)
    let search = try RandomSearch(
      training: training.linearLoss(loss ?? .hinge, over: indices, meanImage: meanImage),
      test: test.linearLoss(loss ?? .hinge, over: test.first(nil), meanImage: meanImage), tries: tries,
      standardDeviation: scale, seed: seed, threads: Processors.count, completed: progress.completed)
    progress.finish()
    for dataset in [training, test] { try dataset.verify() }
    try result.show(json: search.json, text: search.text, figure: search.figure)
  }
}
