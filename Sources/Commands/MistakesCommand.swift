import ArgumentParser
import Checkpoints
import Datasets
import Diagnostics
import Experiments
import Optimization
import RunConfiguration

struct MistakesCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "mistakes", abstract: "What a model takes for what, and how far its confidence can be trusted.",
    discussion: """
      Examples:
        descent mistakes --checkpoint runs/latest@best --data data/cifar10 --picture mistakes.png
        descent mistakes --checkpoint runs/latest --split validation --json

      Pairs of classes that are taken for each other, the most frequent first, with the examples that the model was surest \
      of. With softmax the confidence of a prediction is its probability, and the table of calibration compares it with how \
      often the predictions are right, in ten bins (Guo et al. 2017); other losses give no probabilities, and the numbers \
      are margins of scores. descent evaluate prints the confusion matrix.
      """)

  @Option(
    help: "A run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file.", completion: .file())
  var checkpoint: String
  @Option(help: "Directory of the data set; DESCENT_DATA if it is omitted.", completion: .directory) var data: String?
  @Option(help: "train, validation or test.") var split = Split.test
  @Option(help: ActivationOption.help) var activation: Activation?
  @Option(help: "The most pairs of classes in the table and the picture; JSON has all.") var limit = 10
  @OptionGroup var result: ResultOptions

  func validate() throws {
    if limit < 1 { throw ValidationError("--limit must be at least 1") }
  }

  func perform() throws {
    try result.requirePlace()
    let model = try TrainedModel.loadForKernels(checkpoint, activation: activation)
    let (dataset, indices) = try split.examples(of: dataDirectory(data), checkpoint: checkpoint)
    try model.requireFits(dataset, checkpoint: checkpoint)
    let evaluator = try model.evaluator(dataset.examples)
    let mistakes = Mistakes(of: model, evaluator: evaluator, examples: dataset.examples, indices: indices)
    let name = "\(printable(checkpoint)), \(split) examples of \(dataset.description.name)"
    let figure = mistakes.figure(name, limit: limit, dataset: dataset)
    try dataset.verify()
    try result.show(json: mistakes.json, text: mistakes.text(limit: limit), figure: figure)
  }
}
