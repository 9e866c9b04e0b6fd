import Diagnostics
import JSONText
import Optimization

/// The files of a checkpoint directory, apart from the manifest.
package enum CheckpointFile: String, CaseIterable, Sendable {
  case model = "model.safetensors"
  case optimizer = "optimizer.safetensors"
  case state = "state.json"

  /// The version of what the files mean. A reader refuses any other.
  static let formatVersion = 1

  /// The most bytes a reader accepts.
  var sizeLimit: Int {
    switch self {
    case .model, .optimizer: SafetensorsFile.fileLimit
    case .state: 1 << 20
    }
  }
}

// MARK: - Encoding

extension Checkpoint {
  /// The bytes of every file; the same checkpoint gives the same bytes.
  package func encoded() -> [(file: CheckpointFile, bytes: [UInt8])] {
    CheckpointFile.allCases.map { file in
      switch file {
      case .model: (file, encodedModel.encoded)
      case .optimizer: (file, encodedOptimizer.encoded)
      case .state: (file, Array(encodedState.indentedText.utf8))
      }
    }
  }

  private var encodedModel: SafetensorsFile {
    let names = JSONValue.strings(classNames).compactText
    let description: [SafetensorsFile.Metadata] = [
      .init("class_names", names), .init("pixel_scale", pixelScale.description), .init("loss", loss.settingName),
      .init("dataset_fingerprint", hexadecimal(datasetFingerprint)),
    ]
    let choices = settings.map { SafetensorsFile.Metadata("setting.\($0.key)", $0.value) }
    let mean = SafetensorsFile.Tensor(name: "mean_image", shape: [shape.pixels], values: meanImage)
    return SafetensorsFile(
      metadata: commonMetadata + description + choices, tensors: tensors(parameters) + [mean])
  }

  private var encodedOptimizer: SafetensorsFile {
    SafetensorsFile(metadata: commonMetadata, tensors: velocity.map(tensors) ?? [])
  }

  /// "pt" is what loaders of the Hugging Face ecosystem expect of tensors named and shaped as PyTorch's.
  private var commonMetadata: [SafetensorsFile.Metadata] {
    [
      .init("format", "pt"), .init("producer", "descent"),
      .init("format_version", String(CheckpointFile.formatVersion)), .init("run", runIdentifier),
      .init("step", String(step)),
    ]
  }

  private func tensors(_ vector: ParameterVector) -> [SafetensorsFile.Tensor] {
    shape.blocks.map {
      SafetensorsFile.Tensor(name: $0.name, shape: $0.shape, values: Array(vector.values[$0.range]))
    }
  }

  private var encodedState: JSONValue {
    [
      "format_version": .number(CheckpointFile.formatVersion),
      "run": .string(runIdentifier),
      "step": .number(step),
      "membership_epoch": .number(membershipEpoch),
      "examples_processed": .number(examplesProcessed),
      "seconds": .exact(seconds),
      "train_loss": .exact(orNull: trainLoss),
      "validation": validation.map { ["loss": .exact($0.loss), "accuracy": .exact($0.accuracy)] } ?? .null,
      "convergence": [
        "best_validation_loss": .exact(convergence.bestValidationLoss),
        "evaluations_without_improvement": .number(convergence.evaluationsWithoutImprovement),
        "newest_accuracy": .exact(orNull: convergence.newestAccuracy),
        "newest_gradient_norm": .exact(orNull: convergence.newestGradientNorm),
      ],
      "shard_clocks": .numbers(shardClocks),
      "staleness": .numbers(staleness),
      "late_shards": .number(lateShards),
      "dataset_fingerprint": .string(hexadecimal(datasetFingerprint)),
      "settings": .object(settings.map { JSONValue.Member($0.key, .string($0.value)) }),
    ]
  }
}

// MARK: - Decoding

extension Checkpoint {
  /// Reads the files of one checkpoint, whose bytes the manifest has vouched for.
  ///
  /// - Parameter directory: where they are, for errors.
  package init(decoding files: [CheckpointFile: [UInt8]], directory: String) throws(Failure) {
    let modelPath = "\(directory)/\(CheckpointFile.model.rawValue)"
    let modelFile = try SafetensorsFile(decoding: files[.model] ?? [], path: modelPath)
    let model = try TrainedModel(decoding: modelFile, path: modelPath)
    let optimizerPath = "\(directory)/\(CheckpointFile.optimizer.rawValue)"
    let optimizerFile = try SafetensorsFile(decoding: files[.optimizer] ?? [], path: optimizerPath)
    let velocity = try Self.velocity(in: optimizerFile, shape: model.shape, path: optimizerPath)
    try self.init(
      state: files[.state] ?? [], path: "\(directory)/\(CheckpointFile.state.rawValue)", model: model,
      velocity: velocity)
    for (file, path) in [(modelFile, modelPath), (optimizerFile, optimizerPath)] {
      try requireSameOrigin(file, path: path)
    }
  }

  private static func velocity(
    in file: SafetensorsFile, shape: ModelShape, path: String
  ) throws(Failure) -> ParameterVector? {
    if file.entries.isEmpty { return nil }
    let (found, velocity) = try TrainedModel.parameters(of: file, path: path)
    guard found == shape else {
      throw Failure(
        .badData, "\(path): the velocity has another shape than the model",
        found: "[\(found.classes), \(found.pixels)]", expected: "[\(shape.classes), \(shape.pixels)]")
    }
    return velocity
  }

  private init(state bytes: [UInt8], path: String, model: TrainedModel, velocity: ParameterVector?) throws(Failure) {
    let state = try JSONFields(JSONReader.parse(bytes[...], source: path), context: path)
    try state.requireVersion(CheckpointFile.formatVersion)
    let convergence = try state.object("convergence")
    let validation = try state.objectIfPresent("validation")
    self.init(
      step: try state.integer("step", as: UInt64.self),
      runIdentifier: try state.string("run"),
      membershipEpoch: try state.integer("membership_epoch", as: UInt64.self),
      shape: model.shape,
      parameters: model.parameters,
      velocity: velocity,
      shardClocks: try state.integers("shard_clocks", as: UInt64.self),
      meanImage: model.meanImage,
      classNames: model.classNames,
      pixelScale: model.pixelScale,
      loss: model.loss,
      settings: try state.settings(),
      datasetFingerprint: try state.hexadecimal("dataset_fingerprint"),
      convergence: Convergence(
        bestValidationLoss: try convergence.double("best_validation_loss"),
        evaluationsWithoutImprovement: try convergence.integer("evaluations_without_improvement", as: Int.self),
        newestAccuracy: try convergence.doubleIfPresent("newest_accuracy"),
        newestGradientNorm: try convergence.doubleIfPresent("newest_gradient_norm")),
      validation: try validation?.validation(),
      trainLoss: try state.doubleIfPresent("train_loss"),
      examplesProcessed: try state.integer("examples_processed", as: UInt64.self),
      seconds: try state.double("seconds"),
      staleness: try state.integers("staleness", as: UInt64.self),
      lateShards: try state.integer("late_shards", as: UInt64.self))
  }

  static func validation(state bytes: [UInt8], path: String) throws(Failure) -> Validation? {
    let state = try JSONFields(JSONReader.parse(bytes[...], source: path), context: path)
    try state.requireVersion(CheckpointFile.formatVersion)
    return try state.objectIfPresent("validation")?.validation()
  }

  /// Each file says which run and step it belongs to: files of two checkpoints must not be mixed.
  private func requireSameOrigin(_ file: SafetensorsFile, path: String) throws(Failure) {
    for (key, expected) in [("run", runIdentifier), ("step", String(step))] where file.text(key) != expected {
      throw Failure(
        .badData, "\(path) belongs to another checkpoint", found: "\(key) \(file.text(key) ?? "unknown")",
        expected: expected)
    }
  }
}

extension JSONFields {
  /// What is read here is the only version there is; a newer one may mean something else by the same keys.
  func requireVersion(_ expected: Int) throws(Failure) {
    let version = try integer("format_version", as: Int.self)
    guard version == expected else {
      throw Failure(
        .badData, "\(context): unknown format version", found: "\(version)", expected: "\(expected)",
        remedy: "Use the version of Descent that wrote it")
    }
  }

  fileprivate func settings() throws(Failure) -> [Checkpoint.Setting] {
    let fields = try object("settings")
    var settings: [Checkpoint.Setting] = []
    for member in fields.members { settings.append(.init(member.name, try fields.string(member.name))) }
    return settings
  }

  fileprivate func validation() throws(Failure) -> Checkpoint.Validation {
    Checkpoint.Validation(loss: try double("loss"), accuracy: try double("accuracy"))
  }

  fileprivate func hexadecimal(_ name: String) throws(Failure) -> UInt64 {
    let text = try string(name)
    guard text.utf8.count == 16, let value = UInt64(text, radix: 16) else {
      throw Failure(.badData, "\(context): wrong value of \"\(name)\"", found: text, expected: "16 hexadecimal digits")
    }
    return value
  }
}
