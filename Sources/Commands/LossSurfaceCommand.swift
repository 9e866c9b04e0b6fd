import ArgumentParser
import Checkpoints
import Datasets
import Diagnostics
import Experiments
import Files
import Optimization
import Reporting

extension LossSurface.Direction: ExpressibleByArgument {}

struct LossSurfaceCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "loss-surface", abstract: "Slices through the loss as a function of the weights.",
    discussion: """
      Examples:
        descent loss-surface --data data/cifar10 --picture surface.svg
        descent loss-surface --data data/cifar10 --along gradient --examples 1,100
        descent loss-surface --data data/cifar10 --checkpoint runs/latest --range 5 --picture surface.png

      CS231n, "Optimization", "Visualizing the loss function": the loss at W + a W1 as a line and at W + a W1 + b W2 as a \
      heat map, over the first 1, the first 100 and all training examples, without the penalty and with it. W is that of \
      a checkpoint, or random as in the lecture, where W multiplies bytes. W1 and W2 are perpendicular and of length 1, so \
      a and b are distances. Of one example the svm loss of a linear model is piecewise linear; its kinks are computed. \
      All processors compute; the result does not depend on their number.
      """)

  @Option(help: "Directory of the data set; DESCENT_DATA if it is omitted.", completion: .directory) var data: String?
  @Option(
    help: "W: a run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file. Default: random.",
    completion: .file())
  var checkpoint: String?
  @Option(help: ActivationOption.help) var activation: Activation?
  @Option(help: "The loss. Default: that of the checkpoint; svm for random weights.") var loss: Loss?
  @Option(help: "W1: random, or gradient for the negative gradient over all training examples.")
  var along = LossSurface.Direction.random
  @Option(help: ArgumentHelp("Numbers of examples, of a slice each.", valueName: "n,…"))
  var examples = ExampleCounts([1, 100, nil])
  @Option(help: "The largest a and b. Default: 25 along random directions, 0.5 along the gradient.") var range: Double?
  @Option(help: "Points of the plane along either axis, odd; the line has four times as many.") var points = 41
  @Option(help: "Strength of the L2 penalty.") var l2: Float = 0.001
  @Option(help: "Standard deviation of random weights W. Default: 0.0001.") var scale: Double?
  @Option(help: "Of the random weights and directions.") var seed: UInt64 = 1
  @OptionGroup var result: ResultOptions

  func validate() throws {
    if let range, !(range > 0 && range <= 1e6) {
      throw ValidationError("--range must be above 0, at most 1000000, but is \(range)")
    }
    if !(3...1001).contains(points) || points.isMultiple(of: 2) {
      throw ValidationError("--points must be odd, 3 to 1001, but is \(points)")
    }
    if !(l2 >= 0 && l2 <= 1000) { throw ValidationError("--l2 must be 0 to 1000, but is \(l2)") }
    if let scale, !(scale >= 0 && scale <= 1000) {
      throw ValidationError("--scale must be 0 to 1000, but is \(scale)")
    }
    if checkpoint != nil, scale != nil {
      throw ValidationError("--scale is for random weights: omit --checkpoint or it")
    }
    if checkpoint == nil, activation != nil { throw ValidationError("--activation is for a --checkpoint") }
  }

  func perform() throws {
    try result.requirePlace()
    let dataset = try Dataset(directory: dataDirectory(data), part: .training)
    let counts = try examples.resolved(examples: dataset.count, option: "--examples")
    let (center, function) = try problem(dataset)
    let progress = WorkProgress("points", of: counts.count * LossSurface.pointsOfSlice(points))
    let surface = try LossSurface(
      around: center, of: function, counts: counts, along: along, l2: l2, range: range ?? (along == .random ? 25 : 0.5),
      points: points, seed: seed, threads: Processors.count, completed: progress.completed)
    progress.finish()
    try dataset.verify()
    try result.show(json: surface.json, text: surface.text, figure: surface.figure)
  }

  /// W, and the loss over all examples.
  private func problem(_ dataset: Dataset) throws -> (ParameterVector, LossOverExamples) {
    let all = try dataset.first(nil)
    guard let checkpoint else {
      let function = try dataset.linearLoss(
        loss ?? .hinge, over: all, meanImage: dataset.mean(.meanImage, over: all))
      let weights = RandomWeights(shape: function.shape, standardDeviation: scale ?? 0.0001, seed: seed)
      return (weights.draw(0), function)
    }
    let model = try TrainedModel.loadForKernels(checkpoint, activation: activation)
    try model.requireFits(dataset, checkpoint: checkpoint)
    let function = LossOverExamples(
      shape: model.shape, loss: loss ?? model.loss, margin: model.margin, examples: dataset.examples, indices: all,
      meanImage: model.meanImage, kernel: try selectedKernel())
    return (model.parameters, function)
  }
}
