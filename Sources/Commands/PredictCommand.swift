import ArgumentParser
import Datasets
import Diagnostics
import JSONText
import Optimization
import Reporting

struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict", abstract: "Classify PNG or JPEG images.",
    discussion: """
      Examples:
        descent predict --checkpoint runs/latest cat.png
        descent predict --checkpoint model.safetensors --json photos/*.jpg

      Images of any size are scaled to 32×32. Probabilities are the softmax of the scores; an SVM was not \
      trained to give any, so there they only show the order.
      """)

  @Option(help: "A checkpoint, a run directory, or a .safetensors file.") var checkpoint: String
  @Argument(help: "PNG or JPEG files.") var images: [String]
  @Flag(help: "Print JSON.") var json = false

  /// The classes with the three largest scores.
  static let shownClasses = 3

  struct Prediction {
    struct Candidate {
      let name: String
      let probability: Float
    }

    let image: String
    /// Most probable first.
    let top: [Candidate]

    var text: String {
      let shown = top.map { "\($0.name) \(Display.percent(Double($0.probability), places: 2))" }
      return "\(image): " + shown.joined(separator: ", ") + "\n"
    }

    var document: JSONValue {
      let candidates: [JSONValue] = top.map {
        ["name": .string($0.name), "probability": .measurement(Double($0.probability))]
      }
      return ["image": .string(image), "top": .array(candidates)]
    }
  }

  func validate() throws {
    if images.isEmpty { throw ValidationError("Name at least one PNG or JPEG file.") }
  }

  func run() throws {
    try reportingFailures {
      let model = try UsableModel(checkpoint)
      let predictions = try images.map { (path) throws(Failure) in try predict(path, with: model) }
      print(
        json ? JSONValue.array(predictions.map(\.document)).indentedText : predictions.map(\.text).joined(),
        terminator: "")
    }
  }

  private func predict(_ path: String, with model: UsableModel) throws(Failure) -> Prediction {
    let record = try ImageFile.load(path: path).cifarRecord
    let evaluator = Evaluator(
      shape: model.model.shape, loss: model.model.loss, examples: ExampleTable(records: [], owner: PredictOwner()),
      meanImage: model.model.meanImage, kernel: try selectedKernel())
    let probabilities = record.withUnsafeBufferPointer { record in
      model.parameters.withUnsafePointer { parameters in
        evaluator.probabilities(parameters: parameters, record: record.baseAddress.unsafelyUnwrapped)
      }
    }
    // Ties go to the smaller label, as in evaluation.
    let order = probabilities.indices.sorted {
      probabilities[$0] != probabilities[$1] ? probabilities[$0] > probabilities[$1] : $0 < $1
    }
    let top = order.prefix(Self.shownClasses).map {
      Prediction.Candidate(name: model.model.classNames[$0], probability: probabilities[$0])
    }
    return Prediction(image: path, top: top)
  }
}

/// The record lives on the caller's stack: an empty table has no owner.
private final class PredictOwner: Sendable {}
