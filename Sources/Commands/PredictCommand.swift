import ArgumentParser
import Checkpoints
import Datasets
import Diagnostics
import Optimization
import Reporting

struct PredictCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "predict", abstract: "Classify PNG or JPEG images.",
    discussion: """
      Examples:
        descent predict --checkpoint runs/latest cat.png
        descent predict --checkpoint model.safetensors --json photos/*.jpg

      Images of any size are scaled to 32×32. Probabilities are the softmax of the scores; an SVM was not \
      trained to give any, so there they only show the order.
      """)

  @Option(help: "A run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file.")
  var checkpoint: String
  @Argument(help: "PNG or JPEG files.") var images: [String]
  @Flag(help: "Print JSON.") var json = false

  /// The classes with the three largest scores.
  static let shownClasses = 3

  struct Prediction {
    let image: String
    /// Most probable first.
    let top: [(name: String, probability: Float)]

    var text: String {
      let shown = top.map { "\($0.name) \(Display.percent(Double($0.probability), places: 2))" }
      return "\(image): " + shown.joined(separator: ", ") + "\n"
    }
  }

  func validate() throws {
    if images.isEmpty { throw ValidationError("Name at least one PNG or JPEG file.") }
  }

  func perform() throws {
    let model = try TrainedModel.loadForKernels(checkpoint)
    let predictions = try images.map { (path) throws(Failure) in try predict(path, with: model) }
    print(
      json ? JSONValue(reflecting: predictions).indentedText : predictions.map(\.text).joined(),
      terminator: "")
  }

  private func predict(_ path: String, with model: TrainedModel) throws(Failure) -> Prediction {
    let record = try ImageFile.load(path: path).cifarRecord
    let evaluator = try model.evaluator(ExampleTable(records: [], owner: record))
    let probabilities = record.withUnsafeBufferPointer { record in
      model.parameters.withUnsafePointer { parameters in
        evaluator.probabilities(parameters: parameters, record: record.baseAddress.unsafelyUnwrapped)
      }
    }
    // Ties go to the smaller label, as in evaluation.
    let order = probabilities.indices.sorted {
      probabilities[$0] != probabilities[$1] ? probabilities[$0] > probabilities[$1] : $0 < $1
    }
    let top = order.prefix(Self.shownClasses).map { (model.classNames[$0], probabilities[$0]) }
    return Prediction(image: path, top: top)
  }
}
