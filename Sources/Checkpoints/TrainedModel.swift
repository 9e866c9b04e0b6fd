import Datasets
import Diagnostics
import Files
import Optimization

/// A model ready to classify: what evaluation and prediction need, and nothing of the training.
public struct TrainedModel: Sendable, Equatable {
  public var shape: ModelShape
  /// `shape.parameterCount` finite values, laid out as `shape.blocks`.
  public var parameters: ParameterVector
  /// In pixel units 0 ... 255, `shape.pixels` values.
  public var meanImage: [Float]
  /// The input is `(pixel − mean) / pixelScale`.
  public var pixelScale: Float
  /// In label order, `shape.classes` names.
  public var classNames: [String]
  public var loss: Loss
  /// Whether the file says what the loss is; otherwise softmax is assumed.
  public var namesLoss = true

  /// Loads the model of what `CheckpointStore.locate` finds: a checkpoint, a run directory (its latest checkpoint), or a
  /// bare `.safetensors` file.
  ///
  /// A bare file holds Float32 tensors `weight` [K, D], `bias` [K] and `mean_image` [D], the last in pixel units;
  /// other tensors are ignored. Python writes one with `safetensors.numpy.save_file({...}, path)`. What its
  /// metadata does not say is taken to be the loss "softmax", the pixel scale 127.5, and CIFAR-10's class names.
  ///
  /// - Parameter shape: what the caller can use; nil takes any.
  /// - Throws: `missingInput` when nothing is there, `badData` when it is damaged, foreign, or of another shape.
  public static func load(_ path: String, expecting shape: ModelShape? = .cifar10) throws(Failure) -> TrainedModel {
    let model: TrainedModel
    if case .file = try CheckpointPath(path) {
      model = try TrainedModel(decoding: CheckpointStore.readModelFile(path), path: path)
    } else {
      model = try CheckpointStore.load(path).checkpoint.model
    }
    if let shape, model.shape != shape {
      throw Failure(
        .badData, "\(path): the model has the wrong shape",
        found: "weight [\(model.shape.classes), \(model.shape.pixels)]",
        expected: "[\(shape.classes), \(shape.pixels)]")
    }
    return model
  }
}

extension TrainedModel {
  /// - Parameter meanImageIfAbsent: nil where there must be one.
  package init(decoding file: SafetensorsFile, path: String, meanImageIfAbsent: [Float]? = nil) throws(Failure) {
    let (shape, parameters) = try Self.parameters(of: file, path: path)
    let isAbsent = !file.entries.contains { $0.name == "mean_image" }
    let meanImage =
      if isAbsent, let meanImageIfAbsent {
        meanImageIfAbsent
      } else {
        try Self.tensor("mean_image", shape: [shape.pixels], of: file, path: path)
      }
    self.init(
      shape: shape, parameters: parameters, meanImage: meanImage,
      pixelScale: try Self.pixelScale(of: file, path: path),
      classNames: try Self.classNames(of: file, count: shape.classes, path: path),
      loss: try Self.loss(of: file, path: path), namesLoss: file.text("loss") != nil)
  }

  /// The flat vector from its named blocks, and the shape that `weight` shows.
  static func parameters(
    of file: SafetensorsFile, path: String
  ) throws(Failure) -> (ModelShape, ParameterVector) {
    let weight = try file.finiteTensor(named: "weight", path: path)
    guard weight.shape.count == 2, weight.shape.allSatisfy({ $0 > 0 }) else {
      throw Failure(
        .badData, "\(path): tensor \"weight\" has the wrong shape", found: "\(weight.shape)",
        expected: "[classes, pixels]")
    }
    let shape = ModelShape(classes: weight.shape[0], pixels: weight.shape[1])
    var values: [Float] = []
    values.reserveCapacity(shape.parameterCount)
    for block in shape.blocks {
      values += try tensor(block.name, shape: block.shape, of: file, path: path)
    }
    return (shape, ParameterVector(values))
  }

  private static func tensor(
    _ name: String, shape: [Int], of file: SafetensorsFile, path: String
  ) throws(Failure) -> [Float] {
    let tensor = try file.finiteTensor(named: name, path: path)
    guard tensor.shape == shape else {
      throw Failure(
        .badData, "\(path): tensor \"\(name)\" has the wrong shape", found: "\(tensor.shape)", expected: "\(shape)")
    }
    return tensor.values
  }

  private static func pixelScale(of file: SafetensorsFile, path: String) throws(Failure) -> Float {
    guard let text = file.text("pixel_scale") else { return ExampleTable.pixelScale }
    guard let scale = Float(text), scale.isFinite, scale > 0 else {
      throw Failure(.badData, "\(path): wrong pixel_scale", found: text, expected: "a positive number")
    }
    return scale
  }

  private static func loss(of file: SafetensorsFile, path: String) throws(Failure) -> Loss {
    guard let name = file.text("loss") else { return .softmaxCrossEntropy }
    guard let loss = Loss.allCases.first(where: { $0.settingName == name }) else {
      let names = Loss.allCases.map(\.settingName).joined(separator: " or ")
      throw Failure(.badData, "\(path): unknown loss", found: name, expected: names)
    }
    return loss
  }

  private static func classNames(of file: SafetensorsFile, count: Int, path: String) throws(Failure) -> [String] {
    guard let text = file.text("class_names") else {
      return count == CIFAR10Format.classCount ? CIFAR10Format.classNames : (0..<count).map { "class \($0)" }
    }
    let json = try JSONReader.parse(Array(text.utf8)[...], source: "\(path), class_names")
    guard let names = [String](json: json), names.count == count else {
      throw Failure(.badData, "\(path): wrong class_names", found: text, expected: "an array of \(count) strings")
    }
    return names
  }
}

/// SHA-256 of the little-endian Float32 bytes of `weight` followed by those of `bias`, the order in which the flat
/// vector holds them: 64 lower-case hexadecimal digits. Equal digests mean equal bits.
public func weightsSHA256(_ parameters: ParameterVector) -> String {
  parameters.values.withUnsafeBytes { SHA256.hexDigest(of: $0) }
}

extension [UInt8] {
  /// 64 lower-case hexadecimal digits.
  var sha256: String { withUnsafeBytes { SHA256.hexDigest(of: $0) } }
}
