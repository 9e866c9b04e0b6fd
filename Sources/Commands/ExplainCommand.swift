import ArgumentParser
import Checkpoints
import Datasets
import Diagnostics
import Experiments
import Optimization
import Reporting

struct ExplainCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "explain", abstract: "Which pixels of a PNG or JPEG image speak for which class.",
    discussion: """
      Examples:
        descent explain cat.png --checkpoint runs/latest --picture cat.svg
        descent explain cat.png --checkpoint runs/latest --data data/cifar10 --json

      The score of a linear classifier is a sum over the pixels: the share of a pixel is weight × (pixel − mean) / 127.5, \
      added over its channels, and all shares and the bias add up to the score. Of a network the shares are \
      gradient × input, and the remainder is what they leave of the score. With --data the five training \
      images with the smallest L2 distance over the pixel bytes are found as well. The image is read as by descent predict.
      """)

  @Argument(help: "A PNG or JPEG file.", completion: .file()) var image: String
  @Option(
    help: "A run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file.", completion: .file())
  var checkpoint: String
  @Option(
    help: "Directory of the data set whose training images are searched; none is if it is omitted.",
    completion: .directory)
  var data: String?
  @Option(help: ActivationOption.help) var activation: Activation?
  @Option(help: "How many classes to draw, and to list the shares of in JSON, the best first.") var top = 3
  @OptionGroup var result: ResultOptions

  private static let neighbors = 5

  func validate() throws {
    if top < 1 { throw ValidationError("--top must be at least 1") }
  }

  func perform() throws {
    try result.requirePlace()
    let model = try TrainedModel.loadForKernels(checkpoint, activation: activation)
    guard model.inputShape.isPicture else {
      throw Failure(.badData, "\(checkpoint) was not trained on pictures: an input is \(model.inputShape)")
    }
    let dataset = try data.map { (directory) throws(Failure) in
      let dataset = try Dataset(directory: directory, part: .training)
      try model.requireFits(dataset, checkpoint: checkpoint)
      return dataset
    }
    let planes = try ImageFile.load(path: image) {
      StandardError.write("descent: warning: \(printable($0))\n")
    }.pixels(as: model.inputShape)
    let evaluator = try model.evaluator(ExampleTable(records: [], owner: planes))
    var explanation = try Explanation(of: planes, model: model, evaluator: evaluator)
    if let dataset {
      explanation.findNeighbors(Self.neighbors, of: planes, in: dataset, kernel: try selectedKernel())
      try dataset.verify()
    }
    try result.show(
      json: explanation.json(top: top), text: explanation.text,
      figure: explanation.figure(printable(image), top: top))
  }
}
