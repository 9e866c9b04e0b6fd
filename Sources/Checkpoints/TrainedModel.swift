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
  /// How the inputs are arranged; `shape.pixels` values.
  public var inputShape: InputShape
  /// In label order, `shape.classes` names.
  public var classNames: [String]
  public var loss: Loss
  /// Δ of the hinge losses.
  public var margin: Float = 1
  /// Whether the file says what the loss is; otherwise softmax is assumed.
  public var namesLoss = true

  /// Loads the model of what `CheckpointStore.locate` finds: a checkpoint, a run directory (its latest checkpoint), or a
  /// bare `.safetensors` file.
  ///
  /// A bare file holds Float32 tensors as a `state_dict` of PyTorch names them: `weight` [K, D] and `bias` [K] of a
  /// `torch.nn.Linear`, or those of an `nn.Sequential` or module of such layers, in the order of the numbers in their names
  /// (`0.weight` [H, D], `0.bias` [H], `2.weight` [K, H], `2.bias` [K]). With them stands `mean_image` [D], in pixel units;
  /// other tensors are ignored. Python writes one with `safetensors.numpy.save_file({...}, path)`. What its metadata does
  /// not say is taken to be the loss "softmax" and the pixel scale 127.5, and of a model with the 3,072 inputs or the 10
  /// classes of CIFAR-10, the width, height and channels or the class names of that.
  ///
  /// - Parameter activation: of the hidden units, whatever the metadata say; nil for what they say.
  /// - Throws: `missingInput` when nothing is there, `badData` when it is damaged, foreign, or a network that names no
  ///   activation.
  public static func load(_ path: String, activation: Activation? = nil) throws(Failure) -> TrainedModel {
    if case .file = try CheckpointPath(path) {
      return try TrainedModel(decoding: CheckpointStore.readModelFile(path), path: path, activation: activation)
    }
    var model = try CheckpointStore.load(path).checkpoint.model
    if let activation { model.shape = model.shape.with(activation) }
    return model
  }
}

extension TrainedModel {
  /// - Parameters:
  ///   - meanImageIfAbsent: nil where there must be one.
  ///   - activation: of the hidden units, whatever the metadata say; nil for what they say.
  package init(
    decoding file: SafetensorsFile, path: String, meanImageIfAbsent: [Float]? = nil, activation: Activation? = nil
  ) throws(Failure) {
    let layers = try Self.layers(of: file, path: path)
    let shape = try Self.shape(of: layers, in: file, path: path, activation: activation)
    var values: [Float] = []
    values.reserveCapacity(shape.parameterCount)
    for (prefix, layer) in zip(layers.map(\.prefix), shape.layers) {
      values += try Self.tensor("\(prefix)weight", shape: [layer.outputs, layer.inputs], of: file, path: path)
      values += try Self.tensor("\(prefix)bias", shape: [layer.outputs], of: file, path: path)
    }
    let isAbsent = !file.entries.contains { $0.name == "mean_image" }
    let meanImage =
      if isAbsent, let meanImageIfAbsent {
        meanImageIfAbsent
      } else {
        try Self.tensor("mean_image", shape: [shape.pixels], of: file, path: path)
      }
    self.init(
      shape: shape, parameters: ParameterVector(values), meanImage: meanImage,
      pixelScale: try Self.pixelScale(of: file, path: path),
      inputShape: try Self.inputShape(of: file, pixels: shape.pixels, path: path),
      classNames: try Self.classNames(of: file, count: shape.classes, path: path),
      loss: try Self.loss(of: file, path: path), margin: try Self.number("margin", of: file, path: path) ?? 1,
      namesLoss: file.text("loss") != nil)
  }

  /// A model that is looked at and not computed with: it need not name its activation.
  init(inspecting file: SafetensorsFile, path: String) throws(Failure) {
    try self.init(decoding: file, path: path, activation: file.text("activation") == nil ? .identity : nil)
  }

  /// What stands before `weight` and `bias` in the names of each layer's tensors ("", "0.", "fc1."), and the shape of its
  /// weights, that of the pixels first.
  private static func layers(
    of file: SafetensorsFile, path: String
  ) throws(Failure) -> [(prefix: String, shape: [Int])] {
    // Numbers in names by their size: "10.weight" after "2.weight".
    func order(_ name: String) -> String {
      name.replacing(/[0-9]+/) { String(repeating: "0", count: max(0, 20 - $0.output.count)) + $0.output }
    }
    let weights = file.entries.filter { $0.name == "weight" || $0.name.hasSuffix(".weight") }
      .sorted { order($0.name) < order($1.name) }
    if weights.isEmpty { _ = try file.finiteTensor(named: "weight", path: path) }
    for (index, weight) in weights.enumerated() {
      let inputs = index == 0 ? nil : weights[index - 1].shape[0]
      guard weight.shape.count == 2, weight.shape.allSatisfy({ $0 > 0 }), weight.shape[1] == inputs ?? weight.shape[1]
      else {
        throw Failure(
          .badData, "\(path): tensor \"\(weight.name)\" is not the weight of a fully connected layer",
          found: "\(weight.shape)",
          expected: inputs.map { "[outputs, \($0)], behind \"\(weights[index - 1].name)\"" } ?? "[outputs, pixels]")
      }
    }
    guard weights.count <= ModelShape.maximumHiddenLayers + 1 else {
      throw Failure(
        .badData, "\(path) has too many layers", found: "\(weights.count)",
        expected: "at most \(ModelShape.maximumHiddenLayers + 1)")
    }
    return weights.map { (String($0.name.dropLast("weight".count)), $0.shape) }
  }

  private static func shape(
    of layers: [(prefix: String, shape: [Int])], in file: SafetensorsFile, path: String, activation: Activation?
  ) throws(Failure) -> ModelShape {
    let outputs = layers.map { $0.shape[0] }
    let found =
      if let activation { activation } else if layers.count == 1 { Activation.identity } else {
        try Self.activation(of: file, path: path)
      }
    return ModelShape(
      classes: outputs[outputs.count - 1], pixels: layers[0].shape[1], hidden: outputs.dropLast(), activation: found)
  }

  private static func activation(of file: SafetensorsFile, path: String) throws(Failure) -> Activation {
    let names = Activation.all.map(\.settingName).joined(separator: ", ")
    guard let name = file.text("activation") else {
      throw Failure(
        .badData, "\(path) does not say what the activation of its hidden layers is",
        expected: "`activation` in its metadata: one of \(names)", remedy: "Name it with --activation")
    }
    let parameter = try number("activation_parameter", of: file, path: path)
    guard let activation = Activation(settingName: name, parameter: parameter) else {
      throw Failure(.badData, "\(path): unknown activation", found: name, expected: names)
    }
    return activation
  }

  /// A number of the metadata; nil where there is none.
  private static func number(_ key: String, of file: SafetensorsFile, path: String) throws(Failure) -> Float? {
    guard let text = file.text(key) else { return nil }
    guard let number = Float(text), number.isFinite, number >= 0 else {
      throw Failure(.badData, "\(path): wrong \(key)", found: text, expected: "a number that is not negative")
    }
    return number
  }

  static func tensor(
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

  private static func inputShape(of file: SafetensorsFile, pixels: Int, path: String) throws(Failure) -> InputShape {
    let texts = ["width", "height", "channels"].map { file.text($0) }
    if texts.allSatisfy({ $0 == nil }) { return InputShape(pixels: pixels) }
    let sides = texts.compactMap { $0.flatMap { Int($0) } }.filter { $0 > 0 && $0 <= pixels }
    if sides.count == 3 {
      let shape = InputShape(width: sides[0], height: sides[1], channels: sides[2])
      if shape.pixels == pixels { return shape }
    }
    throw Failure(
      .badData, "\(path): wrong width, height or channels",
      found: texts.map { $0 ?? "none" }.joined(separator: " × "), expected: "three numbers with the product \(pixels)")
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

extension ModelShape {
  /// "[100, 3072], [10, 100]".
  var weights: String { layers.map { "[\($0.outputs), \($0.inputs)]" }.joined(separator: ", ") }

  func with(_ activation: Activation) -> ModelShape {
    ModelShape(classes: classes, pixels: pixels, hidden: hidden, activation: activation)
  }
}

/// SHA-256 of the little-endian Float32 bytes of the parameters in the order in which the flat vector holds them, of each
/// layer `weight`, then `bias`: 64 lower-case hexadecimal digits. Equal digests mean equal bits.
public func weightsSHA256(_ parameters: ParameterVector) -> String {
  parameters.values.withUnsafeBytes { SHA256.hexDigest(of: $0) }
}

extension [UInt8] {
  /// 64 lower-case hexadecimal digits.
  var sha256: String { withUnsafeBytes { SHA256.hexDigest(of: $0) } }
}
