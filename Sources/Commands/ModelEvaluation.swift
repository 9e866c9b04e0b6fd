import Checkpoints
import Datasets
import Diagnostics
import Optimization
import Reporting
import RunConfiguration

extension TrainedModel {
  /// Loads a model for the kernels: where its inputs are scaled otherwise than theirs, its weights make up for it.
  /// - Parameter activation: of the hidden units; nil for the one that the model names.
  static func loadForKernels(_ path: String, activation: Activation? = nil) throws(Failure) -> TrainedModel {
    var model = try load(path, activation: activation)
    let scale = model.pixelScale
    if scale == ExampleTable.pixelScale { return model }
    // w · (p − m)/scale = (w · 127.5/scale) · (p − m)/127.5
    for index in model.shape.blocks[0].range { model.parameters.values[index] *= ExampleTable.pixelScale / scale }
    model.pixelScale = ExampleTable.pixelScale
    guard model.parameters.values.allSatisfy(\.isFinite) else {
      throw Failure(
        .badData,
        "\(path): the weights overflow: pixel_scale must be near \(ExampleTable.pixelScale), but is \(scale)")
    }
    return model
  }

  /// Returns if the examples are of the model's kind. Says so where they may be of other classes.
  func requireFits(_ dataset: Dataset, checkpoint: String) throws(Failure) {
    let description = dataset.description
    guard shape.pixels == description.pixels, shape.classes == description.classes,
      !inputShape.isPicture || inputShape == description.shape
    else {
      throw Failure(
        .badData,
        "\(checkpoint) was trained on \(inputShape) and \(shape.classes) classes, but \(dataset.directory) holds "
          + "\(description.shape) and \(description.classes) classes")
    }
    guard classNames != description.classNames,
      let label = classNames.indices.first(where: { classNames[$0] != description.classNames[$0] })
    else { return }
    StandardError.write(
      "descent: warning: class \(label) of the model is \(printable(classNames[label])), but that of the data set is "
        + "\(printable(description.classNames[label]))\n")
  }

  func evaluator(_ examples: ExampleTable) throws(Failure) -> Evaluator {
    Evaluator(shape: shape, loss: loss, examples: examples, meanImage: meanImage, kernel: try selectedKernel())
  }
}

/// Which examples of a data set to evaluate on.
enum Split: String, CaseIterable {
  case train, validation, test

  /// The part of the data set, and the examples of it. The validation split is that of the run: the seed and
  /// the number of validation examples of the checkpoint, or its fold, decide it, or the defaults for a bare model file.
  func examples(of directory: String, checkpoint: String) throws(Failure) -> (Dataset, [UInt32]) {
    if self == .test {
      let dataset = try Dataset(directory: directory, part: .test)
      return (dataset, Array(0..<UInt32(dataset.count)))
    }
    let dataset = try Dataset(directory: directory, part: .training)
    let recorded = try Self.settings(of: checkpoint, data: dataset)
    // defence: recorded-settings
    let settings = ResolvedSettings(recorded: recorded)
    let split = DataSplit(
      exampleCount: dataset.count, validation: try settings.validationPositions(among: dataset.count),
      shardCount: settings.shards, seed: settings.seed)
    return (dataset, self == .validation ? split.validation : split.training.sorted())
  }

  /// Says so where the split cannot be that of the run: for another data set, and for a model without its settings.
  private static func settings(of checkpoint: String, data: Dataset) throws(Failure) -> [KeyValue] {
    let report = try CheckpointReport(of: checkpoint)
    if let recorded = report.checkpoint {
      if recorded.origin.datasetFingerprint != data.fingerprint {
        StandardError.write(
          "descent: warning: these are not the training files of the run, so its split cannot be reproduced\n")
      }
    } else {
      StandardError.write(
        "descent: warning: \(checkpoint) names no run: the split is that of the default settings\n")
    }
    return report.checkpoint?.origin.settings ?? []
  }
}
