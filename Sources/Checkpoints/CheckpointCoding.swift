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
      .init("pixel_scale", origin.pixelScale.description), .init("width", String(origin.inputShape.width)),
      .init("height", String(origin.inputShape.height)), .init("channels", String(origin.inputShape.channels)),
      .init("loss", origin.loss.settingName),
      .init("dataset_fingerprint", hexadecimal(origin.datasetFingerprint)),
    ]
    let activation: [KeyValue] =
      origin.shape.isLinear
      ? []
      : [.init("activation", origin.shape.activation.settingName)]
        + (origin.shape.activation.parameter.map { [.init("activation_parameter", $0.description)] } ?? [])
    let margin: [KeyValue] = origin.loss.hasMargin ? [.init("margin", origin.margin.description)] : []
    let choices = origin.settings.map { KeyValue("setting.\($0.key)", $0.value) }
    return SafetensorsFile(
      metadata: commonMetadata + description + activation + margin + choices,
      tensors: tensors(run.snapshot.state.parameters(of: origin.shape))
        + [("mean_image", [origin.shape.pixels], origin.meanImage)])
  }

  private var encodedOptimizer: SafetensorsFile {
    let slots = zip(origin.slotNames, run.snapshot.state.slots(of: origin.shape))
    return SafetensorsFile(
      metadata: commonMetadata,
      tensors: slots.flatMap { name, vector in
        tensors(vector).map { ("\(name).\($0.name)", $0.shape, $0.values) }
      })
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
    let state: JSONValue = [
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
      "taken_over_shards": .number(snapshot.totals.takenOverShards),
      "dataset_fingerprint": .string(hexadecimal(origin.datasetFingerprint)),
      "started_from": origin.weights.map {
        [
          "run": $0.run.map(JSONValue.string) ?? .null, "step": $0.step.map { .number($0) } ?? .null,
          "weights_sha256": .string($0.weightsSHA256),
        ]
      } ?? .null,
      "settings": .object(origin.settings.map { JSONValue.Member($0.key, .string($0.value)) }),
    ]
    guard case .object(let members) = state, let scale = snapshot.scale else { return state }
    // Where the scale of gradient sums is no constant.
    let exponents = JSONValue.numbers((0..<origin.shape.blockCount).map { scale.exponents[$0] })
    return .object(members + [JSONValue.Member("fixed_point_exponents", exponents)])
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
    let slots = try Self.slots(in: optimizerFile, shape: model.shape, path: optimizerPath)
    try self.init(
      state: files[.state] ?? [], path: "\(directory)/\(CheckpointFile.state.rawValue)", model: model, slots: slots)
    for (file, path) in [(modelFile, modelPath), (optimizerFile, optimizerPath)] {
      try requireSameOrigin(file, path: path)
    }
  }

  private typealias Slots = (names: [String], vectors: [ParameterVector])

  /// The vectors of the optimizer's state. They are those of one of the optimizers, each with one tensor for each block of the
  /// model.
  private static func slots(in file: SafetensorsFile, shape: ModelShape, path: String) throws(Failure) -> Slots {
    let blocks = shape.blocks
    let found = Set(file.entries.map(\.name))
    // Earlier versions wrote the velocity under the names of the model's tensors.
    let isOld = found == Set(blocks.map(\.name))
    func tensorName(_ slot: String, _ block: ParameterBlock) -> String { isOld ? block.name : "\(slot).\(block.name)" }
    let names = Optimizer.Kind.allCases.map(\.slotNames).first { names in
      found == Set(names.flatMap { name in blocks.map { tensorName(name, $0) } })
    }
    guard let names else {
      throw Failure(
        .badData, "\(path): the tensors are not those of an optimizer",
        found: file.entries.map(\.name).joined(separator: ", "),
        expected: "for example velocity.\(blocks.map(\.name).joined(separator: ", velocity."))")
    }
    let vectors = try names.map { (name) throws(Failure) in
      var values: [Float] = []
      values.reserveCapacity(shape.parameterCount)
      for block in blocks {
        values += try TrainedModel.tensor(tensorName(name, block), shape: block.shape, of: file, path: path)
      }
      return ParameterVector(values)
    }
    return (names, vectors)
  }

  private init(state bytes: [UInt8], path: String, model: TrainedModel, slots: Slots) throws(Failure) {
    let state = try JSONFields(parsing: bytes, source: path)
    try state.requireVersion(CheckpointFile.formatVersion)
    let (convergence, settings) = (try state.object("convergence"), try state.object("settings"))
    let snapshot = TrainingSnapshot(
      step: try state["step"], shardClocks: try state["shard_clocks"], totals: try state.totals(),
      state: OptimizerState(parameters: model.parameters, slots: slots.vectors), scale: try state.scale())
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
      runIdentifier: try state["run"], shape: model.shape, loss: model.loss, margin: model.margin,
      meanImage: model.meanImage, pixelScale: model.pixelScale, inputShape: model.inputShape,
      classNames: model.classNames, slotNames: slots.names,
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

  /// Of a plan whose scale is a constant nothing is recorded.
  fileprivate func scale() throws(Failure) -> FixedPointScale? {
    let name = "fixed_point_exponents"
    guard contains(name) else { return nil }
    let exponents: [Int] = try self[name]
    var scale = FixedPointScale()
    for (block, exponent) in exponents.enumerated() {
      guard block < FixedPointScale.maximumBlocks, let exponent = Int8(exactly: exponent) else {
        throw Failure(.badData, "\(context): wrong value of \"\(name)\"")
      }
      scale.exponents[block] = exponent
    }
    return scale
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
    // Not in a checkpoint of a version whose workers took nothing over.
    if contains("taken_over_shards") { totals.takenOverShards = try self["taken_over_shards"] }
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
