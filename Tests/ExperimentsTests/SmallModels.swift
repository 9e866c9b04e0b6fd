import Checkpoints
import Datasets
import Diagnostics
import Optimization
import TestSupport

/// Models of a few weights.
enum SmallModel {
  /// - Parameters:
  ///   - layers: rows of W, and b.
  ///   - inputs: their shape.
  ///   - mean: the mean image; nil for zeros.
  static func make(
    _ layers: [(weights: [[Float]], bias: [Float])], inputs: InputShape, loss: Loss = .softmaxCrossEntropy,
    activation: Activation = .relu, mean: [Float]? = nil, classNames: [String]? = nil
  ) throws -> TrainedModel {
    var tensors: [SafetensorsFile.Tensor] = [
      ("mean_image", [inputs.pixels], mean ?? [Float](repeating: 0, count: inputs.pixels))
    ]
    for (index, layer) in layers.enumerated() {
      let prefix = layers.count == 1 ? "" : "\(2 * index)."
      let weights = Array(layer.weights.joined())
      tensors.append((prefix + "weight", [layer.weights.count, layer.weights[0].count], weights))
      tensors.append((prefix + "bias", [layer.bias.count], layer.bias))
    }
    var metadata = [
      KeyValue("width", "\(inputs.width)"), KeyValue("height", "\(inputs.height)"),
      KeyValue("channels", "\(inputs.channels)"), KeyValue("loss", loss.settingName),
      KeyValue("activation", activation.settingName),
    ]
    if let classNames {
      metadata.append(KeyValue("class_names", JSONValue.strings(classNames).compactText))
    }
    return try TrainedModel(decoding: SafetensorsFile(metadata: metadata, tensors: tensors), path: "small")
  }

  /// A network of 2 × 2 pixels, five hidden units and three classes, with weights that all differ.
  static func network(_ activation: Activation) throws -> TrainedModel {
    func rows(_ outputs: Int, _ inputs: Int, _ seed: Int) -> [[Float]] {
      (0..<outputs).map { row in (0..<inputs).map { Float(($0 * 37 + row * 53 + seed * 29) % 41 - 20) / 25 } }
    }
    return try make(
      [(rows(5, 12, 1), [0.1, -0.2, 0.3, 0.05, -0.4]), (rows(3, 5, 2), [0.3, -0.1, 0.2])],
      inputs: InputShape(width: 2, height: 2, channels: 3), activation: activation,
      mean: Array(repeating: 100, count: 12))
  }
}

extension TrainedModel {
  func evaluator(over records: [UnsafePointer<UInt8>] = [], owner: any Sendable = 0) -> Evaluator {
    Evaluator(
      shape: shape, loss: loss, examples: ExampleTable(records: records, classes: shape.classes, owner: owner),
      meanImage: meanImage, kernel: .portable)
  }
}
