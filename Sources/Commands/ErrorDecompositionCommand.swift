import ArgumentParser
import Checkpoints
import Datasets
import Diagnostics
import Experiments
import Files
import FoundationEssentials
import Optimization
import Reporting

struct ErrorDecompositionCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "error-decomposition",
    abstract: "Split the validation error of a run into optimization, estimation and modelling error.",
    discussion: """
      Examples:
        descent error-decomposition --checkpoint runs/latest --data data/cifar10
        descent error-decomposition --checkpoint runs/mine@best --data data/cifar10 --epochs 200 --larger 512 \
      --picture errors.svg

      Trains two more models in this process, on the training examples of the run and with its settings: the same model for \
      more epochs, and a larger one for as many. With T the share of wrong predictions on the training examples and V that \
      on the validation examples, the parts of V(run) are

        optimization error  T(run) - T(longer)     what more steps would still remove
        estimation error    V(run) - T(run)        what is lost since the training examples are a sample
        modelling error     T(longer) - T(larger)  what this class of models cannot express and the larger one can
        remainder           T(larger)              what the larger model leaves as well

      All processors compute; the result does not depend on their number. The test examples are not read.
      """)

  @Option(help: "A run directory, RUN@best, RUN@latest, RUN@STEP or a checkpoint.", completion: .file()) var checkpoint:
    String
  @Option(help: "Directory of the data set; DESCENT_DATA if it is omitted.", completion: .directory) var data: String?
  @Option(help: "Epochs of both trainings. Default: \(ErrorExperiments.epochFactor) times those of the run.")
  var epochs: UInt64?
  @Option(
    help: ArgumentHelp(
      "Units of the larger model's hidden layers. Default: twice those of the run, or 100 for a linear one.",
      valueName: "n,…"))
  var larger: HiddenLayers?
  @OptionGroup var result: ResultOptions

  func validate() throws {
    if let epochs, !(1...1_000_000).contains(epochs) {
      throw ValidationError("--epochs must be from 1 to 1000000, but is \(epochs)")
    }
  }

  func perform() throws {
    try result.requirePlace()
    let stored = try CheckpointStore.load(checkpoint)
    let dataset = try Dataset(directory: dataDirectory(data), part: .training)
    let run = stored.checkpoint
    let experiments = try ErrorExperiments(
      of: stored.path, origin: run.origin, parameters: run.model.parameters, steps: run.step, dataset: dataset,
      epochs: epochs, hidden: larger?.units)
    let kernel = try selectedKernel()
    let environment = ProcessInfo.processInfo.environment
    let style = ProgressStyle(isQuiet: false, isTerminal: StandardError.isTerminal, environment: environment)
    let displays = [experiments.longer, experiments.larger].map { training in
      ProgressDisplay(
        style: style, on: TerminalFeatures(environment: environment), isVerbose: false,
        MetricsRecord(step: 0, examples: 0), totalSteps: training.plan.totalSteps,
        totalEpochs: Double(training.epochs))
    }
    let measured = try experiments.measure(kernel: kernel, threads: Processors.count) { training, step, statistics in
      let (plan, display) = (training.plan, displays[training.plan.shape == experiments.longer.plan.shape ? 0 : 1])
      if step == 1 { display.logged(.notice, "descent: training \(plan.shape) for \(training.epochs) epochs") }
      guard step % 16 == 0 || step == plan.totalSteps else { return }
      var record = MetricsRecord(step: step, examples: step * UInt64(plan.batchSize))
      record.epoch = Double(step) / Double(plan.stepsPerEpoch)
      record.trainDataLoss = statistics.meanLoss
      display.progressed(record)
      if step == plan.totalSteps {
        let loss = Display.decimal(statistics.meanLoss, places: 3)
        display.logged(.notice, "descent: \(plan.shape): data loss \(loss) in the last step")
      }
    }
    try dataset.verify()
    try result.show(json: measured.json, text: measured.text, figure: measured.figure)
  }
}
