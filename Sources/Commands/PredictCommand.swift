import ArgumentParser
import Checkpoints
import Datasets
import Diagnostics
import Files
import Glibc
import Optimization
import Reporting

struct PredictCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "predict", abstract: "Classify PNG or JPEG images.",
    discussion: """
      Examples:
        descent predict --checkpoint runs/latest cat.png
        descent predict --checkpoint model.safetensors --json photos/*.jpg

      Pictures of any size and shape: they are turned as their EXIF orientation says, what is transparent is laid over \
      white, the middle is cut out and scaled to the size that the model was trained on, 32×32 for CIFAR-10. A model of \
      grey pictures sees their luma (ITU-R BT.601). Colours are taken as they are stored: profiles and gamma \
      values change nothing. A file is told by its content, not by its name. With softmax the numbers are \
      probabilities; with other losses they are scores, of which the order and \
      the margins count. --json adds the scores of all classes in label order.

      Pictures that cannot be read are errors on standard error, and in JSON entries with "error"; the others are \
      classified. The exit status is then 65; for a single file that is missing, 66.
      """)

  @Option(
    help: "A run directory, RUN@best, RUN@latest, RUN@STEP, a checkpoint, or a .safetensors file.", completion: .file())
  var checkpoint: String
  @Option(help: ActivationOption.help) var activation: Activation?
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
      return "\(printable(image)): " + shown.joined(separator: ", ") + "\n"
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
    let model = try TrainedModel.loadForKernels(checkpoint, activation: activation)
    guard model.inputShape.isPicture else {
      throw Failure(
        .badData, "\(checkpoint) was not trained on pictures: an input is \(model.inputShape)",
        remedy: "Evaluate it on a data set: descent evaluate")
    }
    var answers: [JSONValue] = []
    var failures: [Failure] = []
    for operand in Operand.all(images) {
      let path = operand.name
      do throws(Failure) {
        let prediction = try predict(operand, with: model)
        if json { answers.append(prediction.json(top: top)) } else { print(prediction.text(top: top), terminator: "") }
      } catch {
        failures.append(error)  // defence: picture-list
        answers.append(["image": .string(path), "error": .string(error.description)])
        report(Failure(error.status, printable(error.message), remedy: error.remedy.map(printable)))
      }
    }
    if json { print(JSONValue.array(answers).indentedText, terminator: "") }
    guard let first = failures.first else { return }
    throw ExitCode((images.count == 1 ? first.status : .badData).rawValue)
  }

  /// A file that was named. Swift repairs arguments that are not UTF-8, and a repaired name is that of another file.
  private struct Operand {
    /// With escapes for bytes that are not UTF-8.
    let name: String
    /// As it was given; nil where `name` is that.
    var bytes: UnsafePointer<CChar>?

    /// Those of the command line, in its order: of equal repaired names the first is the first.
    static func all(_ names: [String]) -> [Operand] {
      var odd = (0..<Int(CommandLine.argc)).compactMap { CommandLine.unsafeArgv[$0] }.filter { escapedName($0) != nil }
      return names.map { name in
        // defence: picture-name fails
        guard let index = odd.firstIndex(where: { String(cString: $0) == name }) else { return Operand(name: name) }
        let bytes = odd.remove(at: index)
        return Operand(name: escapedName(bytes) ?? name, bytes: bytes)
      }
    }
  }

  private func predict(_ operand: Operand, with model: TrainedModel) throws(Failure) -> Prediction {
    guard let bytes = operand.bytes else { return try predict(operand.name, at: operand.name, with: model) }
    let number = open(bytes, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    guard number >= 0 else { throw .cannotRead(operand.name, .last) }
    let descriptor = Descriptor(number)
    let path = "/proc/self/fd/\(descriptor.number)"
    do throws(Failure) {
      return try predict(operand.name, at: path, with: model)
    } catch {
      throw Failure(error.status, error.message.replacing(path, with: operand.name), remedy: error.remedy)
    }
  }

  private func predict(_ name: String, at path: String, with model: TrainedModel) throws(Failure) -> Prediction {
    guard path != "-" else {
      throw Failure(.missingInput, "- names no file: pictures are read from files, not from standard input")
    }
    let image = try ImageFile.load(path: path) {
      StandardError.write("descent: warning: \(printable($0.replacing(path, with: name)))\n")
    }
    // Any label: only the pixels count.
    let record: [UInt8] = [0] + image.pixels(as: model.inputShape)
    let evaluator = try model.evaluator(ExampleTable(records: [], owner: record))
    return record.withUnsafeBufferPointer { record in
      model.parameters.withUnsafePointer { parameters in
        let record = record.baseAddress.unsafelyUnwrapped
        return Prediction(
          image: name, model: model, scores: evaluator.scores(parameters: parameters, record: record),
          probabilities: model.loss.predictsBySoftmax
            ? evaluator.probabilities(parameters: parameters, record: record) : nil)
      }
    }
  }
}
