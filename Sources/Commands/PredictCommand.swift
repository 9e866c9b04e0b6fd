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

      Pictures of any size and shape: a JPEG is turned as its EXIF orientation says, the middle square is cut out and \
      scaled to 32×32. With softmax the numbers are probabilities; with svm they are scores, of which the order and \
      the margins count. --json adds the scores of all classes in label order.

      Pictures that cannot be read are errors on standard error, and the others are classified; the exit status is then \
      that of the first error: 65, or 66 if the file is missing.
      """)

  @Option(help: "A run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file.")
  var checkpoint: String
  @Argument(help: "PNG or JPEG files.") var images: [String]
  @Option(help: "How many classes to show, the best first.") var top = 3
  @Flag(help: "Print JSON.") var json = false

  private struct Prediction {
    let image: String
    let model: TrainedModel
    /// In label order.
    let scores: [Float]
    /// Nil of a hinge model, which was not trained to give any.
    let probabilities: [Float]?

    /// The labels with the largest scores, the best first; ties go to the smaller label, as in evaluation.
    func best(_ count: Int) -> ArraySlice<Int> {
      scores.indices.sorted { scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1 }.prefix(count)
    }

    func text(top count: Int) -> String {
      let shown = best(count).map { label in
        let number =
          probabilities.map { Display.percent(Double($0[label]), places: 2) }
          ?? Display.decimal(Double(scores[label]), places: 2)
        return "\(model.classNames[label]) \(number)"
      }
      return "\(image): " + shown.joined(separator: ", ") + "\n"
    }

    func json(top count: Int) -> JSONValue {
      let top = best(count).map { label -> JSONValue in
        [
          "name": .string(model.classNames[label]),
          "probability": .measurement(probabilities.map { Double($0[label]) }),
        ]
      }
      let scores = scores.map { JSONValue.measurement(Double($0)) }
      return ["image": .string(image), "top": .array(top), "scores": .array(scores)]
    }
  }

  func validate() throws {
    if images.isEmpty { throw ValidationError("Name at least one PNG or JPEG file") }
    if top < 1 { throw ValidationError("--top must be at least 1") }
  }

  func perform() throws {
    let model = try TrainedModel.loadForKernels(checkpoint)
    var answers: [JSONValue] = []
    var firstFailure: Failure?
    for path in images {
      do throws(Failure) {
        let prediction = try predict(path, with: model)
        if json { answers.append(prediction.json(top: top)) } else { print(prediction.text(top: top), terminator: "") }
      } catch {
        firstFailure = firstFailure ?? error
        answers.append(["image": .string(path), "error": .string(error.description)])
        report(error)
      }
    }
    if json { print(JSONValue.array(answers).indentedText, terminator: "") }
    if let firstFailure { throw ExitCode(firstFailure.status.rawValue) }
  }

  private func predict(_ path: String, with model: TrainedModel) throws(Failure) -> Prediction {
    let record = try ImageFile.load(path: path).cifarRecord
    let evaluator = try model.evaluator(ExampleTable(records: [], owner: record))
    return record.withUnsafeBufferPointer { record in
      model.parameters.withUnsafePointer { parameters in
        let record = record.baseAddress.unsafelyUnwrapped
        return Prediction(
          image: path, model: model, scores: evaluator.scores(parameters: parameters, record: record),
          probabilities: model.loss == .hinge
            ? nil : evaluator.probabilities(parameters: parameters, record: record))
      }
    }
  }
}
