import ArgumentParser
import Checkpoints
import Datasets
import Diagnostics
import Experiments
import Optimization

struct PlaneCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "plane", abstract: "Show what a model predicts in the plane through three images.",
    discussion: """
      Examples:
        descent plane --checkpoint runs/latest --data data/cifar10 --picture plane.svg
        descent plane --checkpoint runs/mine@best --data data/cifar10 --images 17,4,2203 --json

      An image is a point in a space with a dimension for each pixel value, and three images span a plane (CS231n, \
      "Linear Classification"). The picture shows which class the model predicts at each point of that plane and, of a \
      linear classifier, the line on which each class has the score 0. Coordinates are orthonormal: the first image is at \
      (0, 0), the second on the x axis, and distances are L2 distances in pixel units, 0 to 255 per value.

      --images takes the numbers of three training or validation examples, from 0 in the order of the training files. If it \
      is omitted, they are the first validation examples of three different classes that the model classifies correctly.
      """)

  @Option(
    help: "A run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file.", completion: .file())
  var checkpoint: String
  @Option(help: "Directory of the data set; DESCENT_DATA if it is omitted.", completion: .directory) var data: String?
  @Option(help: ArgumentHelp("Numbers of three different examples in the training files.", valueName: "i,j,k"))
  var images: ExampleNumbers?
  @Option(help: ActivationOption.help) var activation: Activation?
  @OptionGroup var result: ResultOptions

  func validate() throws {
    guard let images else { return }
    if images.values.count != 3 || Set(images.values).count != 3 {
      throw ValidationError("--images must be the numbers of three different examples, such as 17,4,2203")
    }
  }

  func perform() throws {
    try result.requirePlace()
    let model = try TrainedModel.loadForKernels(checkpoint, activation: activation)
    let directory = try dataDirectory(data)
    let dataset: Dataset
    let examples: [Int]
    if let images {
      dataset = try Dataset(directory: directory, part: .training)
      try model.requireFits(dataset, checkpoint: checkpoint)
      if let number = images.values.first(where: { $0 >= dataset.count }) {
        throw Failure(
          .usage,
          "--images names example \(number), but the training files of \(dataset.directory) end with "
            + "\(dataset.count - 1)")
      }
      examples = images.values
    } else {
      let split = try Split.validation.examples(of: directory, checkpoint: checkpoint)
      dataset = split.0
      try model.requireFits(dataset, checkpoint: checkpoint)
      examples = try ImagePlane.examples(
        among: split.1.sorted(), of: dataset, model: model, kernel: try selectedKernel())
    }
    let plane = try ImagePlane(model: model, dataset: dataset, examples: examples)
    try dataset.verify()
    try result.show(json: plane.json, text: plane.text, figure: plane.figure)
  }
}

/// Numbers of examples, from 0, separated by commas.
struct ExampleNumbers: ExpressibleByArgument {
  let values: [Int]

  init?(argument: String) {
    let numbers = argument.split(separator: ",", omittingEmptySubsequences: false).map { UInt32($0) }
    guard numbers.allSatisfy({ $0 != nil }) else { return nil }
    values = numbers.compactMap { $0.map(Int.init) }
  }
}
