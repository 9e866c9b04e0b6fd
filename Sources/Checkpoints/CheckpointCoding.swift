import Cluster
import Diagnostics
import Messaging
import Optimization

/// The files of a checkpoint directory, apart from the manifest.
package enum CheckpointFile: String, CaseIterable, Sendable, JSONReadable {
  case model = "model.safetensors"
  case optimizer = "optimizer.safetensors"
  case state = "state.json"

  /// The version of what the files mean. A reader refuses any other.
  package static let formatVersion = 1

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

  /// Names and bytes of all files, the manifest last.
  var files: [(name: String, bytes: [UInt8])] {
    let files = encoded()
    let manifest = CheckpointManifest(of: self, files: files)
    return files.map { ($0.file.rawValue, $0.bytes) } + [(CheckpointManifest.fileName, manifest.encoded)]
  }

  private var encodedModel: SafetensorsFile {
    let description: [KeyValue] = [
      .init("class_names", JSONValue.strings(origin.classNames).compactText),
      .init("pixel_scale", origin.pixelScale.description), .init("loss", origin.loss.settingName),
      .init("dataset_fingerprint", hexadecimal(origin.datasetFingerprint)),
    ]
    let choices = origin.settings.map { KeyValue("setting.\($0.key)", $0.value) }
    return SafetensorsFile(
      metadata: commonMetadata + description + choices,
      tensors: tensors(run.snapshot.state.parameters(of: origin.shape))
        + [("mean_image", [origin.shape.pixels], origin.meanImage)])
  }

  private var encodedOptimizer: SafetensorsFile {
    SafetensorsFile(
      metadata: commonMetadata, tensors: run.snapshot.state.velocity(of: origin.shape).map(tensors) ?? [])
  }

  /// "pt" is what loaders of the Hugging Face ecosystem expect of tensors named and shaped as PyTorch's.
  private var commonMetadata: [KeyValue] {
    [
      .init("format", "pt"), .init("producer", "descent"),
      .init("format_version", String(CheckpointFile.formatVersion)), .init("run", origin.runIdentifier),
      .init("step", String(step)),
    ]
  }

  private func tensors(_ vector: ParameterVector) -> [SafetensorsFile.Tensor] {
    origin.shape.blocks.map { ($0.name, $0.shape, Array(vector.values[$0.range])) }
  }

  private var encodedState: JSONValue {
    let (snapshot, monitor) = (run.snapshot, run.monitor)
    return [
      "format_version": .number(CheckpointFile.formatVersion),
      "run": .string(origin.runIdentifier),
      "step": .number(step),
      "membership_epoch": .number(run.membershipEpoch.value),
      "examples_processed": .number(snapshot.totals.examples),
      "seconds": .exact(seconds),
      "train_loss": .exact(run.train?.meanLoss),
      "train_accuracy": .exact(run.train?.accuracy),
      "validation": run.validation.map { ["loss": .exact($0.meanLoss), "accuracy": .exact($0.accuracy)] } ?? .null,
      "best": run.best.map {
        ["step": .number($0.step), "loss": .exact($0.score.meanLoss), "accuracy": .exact($0.score.accuracy)]
      } ?? .null,
      "convergence": [
        "best_validation_loss": .exact(monitor.bestValidationLoss),
        "evaluations_without_improvement": .number(monitor.evaluationsWithoutImprovement),
        "newest_accuracy": .exact(monitor.newestAccuracy),
        "newest_gradient_norm": .exact(monitor.newestGradientNorm),
      ],
      "shard_clocks": .numbers(snapshot.shardClocks),
      "staleness": .numbers(snapshot.totals.staleness),
      "late_shards": .number(snapshot.totals.lateShards),
      "dataset_fingerprint": .string(hexadecimal(origin.datasetFingerprint)),
      "started_from": origin.weights.map {
        [
          "run": $0.run.map(JSONValue.string) ?? .null, "step": $0.step.map { .number($0) } ?? .null,
          "weights_sha256": .string($0.weightsSHA256),
        ]
      } ?? .null,
      "settings": .object(origin.settings.map { JSONValue.Member($0.key, .string($0.value)) }),
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
    let state = try JSONFields(parsing: bytes, source: path)
    try state.requireVersion(CheckpointFile.formatVersion)
    let (convergence, settings) = (try state.object("convergence"), try state.object("settings"))
    let snapshot = TrainingSnapshot(
      step: try state["step"], shardClocks: try state["shard_clocks"], totals: try state.totals(),
      state: OptimizerState(parameters: model.parameters, velocity: velocity))
    run = RunState(
      snapshot: snapshot, membershipEpoch: MembershipEpoch(try state["membership_epoch"]),
      monitor: ConvergenceMonitor(
        bestValidationLoss: try convergence["best_validation_loss"],
        evaluationsWithoutImprovement: try convergence["evaluations_without_improvement"],
        newestAccuracy: try convergence["newest_accuracy"],
        newestGradientNorm: try convergence["newest_gradient_norm"]),
      validation: try state.objectIfPresent("validation")?.score(), train: try state.train(),
      best: try state.best())
    origin = Origin(
      runIdentifier: try state["run"], shape: model.shape, loss: model.loss, meanImage: model.meanImage,
      pixelScale: model.pixelScale, classNames: model.classNames,
      settings: try settings.members.map { (pair) throws(Failure) in KeyValue(pair.name, try settings[pair.name]) },
      datasetFingerprint: try state.hexadecimal("dataset_fingerprint"), weights: try state.weightsOrigin())
    seconds = try state["seconds"]
  }

  /// Each file says which run and step it belongs to: files of two checkpoints must not be mixed.
  private func requireSameOrigin(_ file: SafetensorsFile, path: String) throws(Failure) {
    for (key, expected) in [("run", origin.runIdentifier), ("step", String(step))] where file.text(key) != expected {
      throw Failure(
        .badData, "\(path) belongs to another checkpoint", found: "\(key) \(file.text(key) ?? "unknown")",
        expected: expected)
    }
  }
}

extension JSONFields {
  /// What is read here is the only version there is; a newer one may mean something else by the same keys.
  func requireVersion(_ expected: Int) throws(Failure) {
    let version: Int = try self["format_version"]
    guard version == expected else {
      throw Failure(
        .badData, "\(context): unknown format version", found: "\(version)", expected: "\(expected)",
        remedy: "Use the version of Descent that wrote it")
    }
  }

  /// The accuracy is not in a checkpoint of a version that did not measure it.
  fileprivate func train() throws(Failure) -> Evaluation.Score? {
    guard let loss: Double = try self["train_loss"] as Double? else { return nil }
    let accuracy: Double? = contains("train_accuracy") ? try self["train_accuracy"] : nil
    return Evaluation.Score(meanLoss: loss, accuracy: accuracy ?? .nan)
  }

  /// Nil before the first evaluation, and in a checkpoint of a version that did not record it.
  fileprivate func best() throws(Failure) -> RunState.Best? {
    guard contains("best"), let best = try objectIfPresent("best") else { return nil }
    return RunState.Best(step: try best["step"], score: try best.score())
  }

  func score() throws(Failure) -> Evaluation.Score {
    Evaluation.Score(meanLoss: try self["loss"], accuracy: try self["accuracy"])
  }

  fileprivate func weightsOrigin() throws(Failure) -> WeightsOrigin? {
    guard let origin = try objectIfRecorded("started_from") else { return nil }
    return WeightsOrigin(
      path: nil, run: try origin["run"], step: try origin["step"], weightsSHA256: try origin["weights_sha256"])
  }

  /// Any number of buckets may be recorded; those beyond `RunTotals.stalenessBuckets` are left out.
  fileprivate func totals() throws(Failure) -> RunTotals {
    var totals = RunTotals()
    totals.examples = try self["examples_processed"]
    totals.lateShards = try self["late_shards"]
    let staleness: [UInt64] = try self["staleness"]
    for (clocks, count) in staleness.prefix(RunTotals.stalenessBuckets).enumerated() {
      totals.staleness[clocks] = count
    }
    return totals
  }

  fileprivate func hexadecimal(_ name: String) throws(Failure) -> UInt64 {
    let text: String = try self[name]
    guard text.utf8.count == 16, let value = UInt64(text, radix: 16) else {
      throw Failure(.badData, "\(context): wrong value of \"\(name)\"", found: text, expected: "16 hexadecimal digits")
    }
    return value
  }
}
