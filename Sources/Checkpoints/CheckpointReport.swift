import Diagnostics
import Files
import Optimization

/// What `descent inspect` shows of a checkpoint, a run's latest checkpoint, or a bare model file.
public struct CheckpointReport: Sendable, Equatable {
  /// One tensor and the spread of its values.
  public struct TensorSummary: Sendable, Equatable {
    /// The file it is in, without directories.
    public var file: String
    public var name: String
    public var dtype: String
    public var shape: [Int]
    /// Square root of the sum of squares; nil, as are the others, when the elements are not Float32.
    public var norm: Double?
    public var smallest: Float?
    public var largest: Float?
  }

  public var path: String
  public var tensors: [TensorSummary]
  public var model: TrainedModel
  /// Nil for a bare model file.
  public var checkpoint: Checkpoint?
  /// The model file's metadata, settings included.
  public var metadata: [KeyValue]

  /// - Parameter path: what `TrainedModel.load` takes.
  /// - Throws: `missingInput`, or `badData` when something is damaged or foreign.
  public init(of path: String) throws(Failure) {
    let files: [SafetensorsFile]
    if case .file = try CheckpointPath(path) {
      self.path = path
      files = [try CheckpointStore.readModelFile(path)]
      model = try TrainedModel(inspecting: files[0], path: path)
      tensors = Self.summaries(of: files[0], named: FileSystem.split(path).name)
    } else {
      let stored = try CheckpointStore.load(path)
      (self.path, checkpoint, model) = (stored.path, stored.checkpoint, stored.checkpoint.model)
      let names = [CheckpointFile.model, .optimizer].map(\.rawValue)
      files = try names.map { (name) throws(Failure) in try CheckpointStore.readModelFile("\(stored.path)/\(name)") }
      tensors = zip(files, names).flatMap(Self.summaries)
    }
    metadata = files[0].metadata
  }

  private static func summaries(of file: SafetensorsFile, named fileName: String) -> [TensorSummary] {
    file.entries.map { entry in
      var summary = TensorSummary(
        file: fileName, name: entry.name, dtype: entry.elementType, shape: entry.shape)
      if entry.elementType == "F32" {
        let values = [Float](littleEndian: file.buffer[entry.bytes])
        summary.norm = values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        summary.smallest = values.min()
        summary.largest = values.max()
      }
      return summary
    }
  }

  // MARK: Rendering

  /// One JSON object.
  public var json: String {
    let lists: [JSONValue.Member] = [
      .init("tensors", JSONValue(reflecting: tensors)),
      .init("metadata", .object(metadata.map { .init($0.key, .string($0.value)) })),
    ]
    return JSONValue.object(facts + lists).indentedText
  }

  /// Lines for people: what the checkpoint is, its tensors, the model's metadata.
  public var text: String {
    let factRows = facts.map { [$0.name, $0.value.plainText] }
    let tensorRows = [["file", "tensor", "type", "shape", "norm", "smallest", "largest"]] + tensors.map(\.row)
    let metadataRows = metadata.map { [$0.key, $0.value] }
    return [factRows, tensorRows, metadataRows].filter { !$0.isEmpty }.map(table).joined(separator: "\n")
  }

  private var facts: [JSONValue.Member] {
    var facts: [JSONValue.Member] = [.init("path", .string(path))]
    if let checkpoint {
      let run = checkpoint.run
      facts += [
        .init("run", .string(checkpoint.origin.runIdentifier)),
        .init("step", .number(run.step)),
        .init("membership_epoch", .number(run.membershipEpoch.value)),
        .init("examples", .number(run.snapshot.totals.examples)),
        .init("seconds", .measurement(checkpoint.seconds)),
        .init("train_data_loss", .measurement(run.train?.meanLoss)),
        .init("train_accuracy", .measurement(run.train?.accuracy)),
        .init("validation_data_loss", .measurement(run.validation?.meanLoss)),
        .init("validation_accuracy", .measurement(run.validation?.accuracy)),
        .init("best_step", run.best.map { .number($0.step) } ?? .null),
        .init("best_validation_data_loss", .measurement(run.best?.score.meanLoss)),
        .init("best_validation_accuracy", .measurement(run.best?.score.accuracy)),
      ]
    }
    let activation = metadata.first { $0.key == "activation" }?.value
    return facts + [
      .init("hidden", .numbers(model.shape.hidden)), .init("activation", activation.map(JSONValue.string) ?? .null),
      .init("loss", .string(model.loss.settingName)),
      .init("pixel_scale", .measurement(Double(model.pixelScale))),
      .init("class_names", .strings(model.classNames)),
      .init("weights_sha256", .string(weightsSHA256(model.parameters))),
    ]
  }
}

extension CheckpointReport.TensorSummary {
  fileprivate var row: [String] {
    let statistics = [norm.map(Float.init), smallest, largest].map { $0?.description ?? "-" }
    return [file, name, dtype, shape.description] + statistics
  }
}

extension JSONValue {
  /// For people: a string without quotes, a list of them with commas.
  fileprivate var plainText: String {
    switch self {
    case .string(let text): text
    case .array(let values): values.map(\.plainText).joined(separator: ", ")
    case .null: "-"
    default: compactText
    }
  }
}
