import Diagnostics
import Files
import Optimization

/// The weights of a trained model, for a new run to begin with.
public struct InitialWeights: Sendable {
  /// They score images as the model does, with the inputs of the new run.
  public var parameters: ParameterVector
  public var origin: WeightsOrigin
  /// False where the file has no mean image, so that it is taken to have been trained with that of the new run.
  public var hasMeanImage: Bool

  /// - Parameters:
  ///   - path: what `CheckpointStore.locate` takes, or a `.safetensors` file with at least the weights and biases. One that
  ///     names no activation is taken to have that of `shape`.
  ///   - meanImage: that of the new run, in pixel units.
  ///   - classNames: those of its data set.
  /// - Throws: `missingInput` when nothing is there; `badData` when it is damaged, of another shape, or names other
  ///   classes, also in another order.
  public init(
    loading path: String, for shape: ModelShape, meanImage: [Float], classNames: [String]
  ) throws(Failure) {
    let kind = FileSystem().kind(of: FileSystem().followingPointer(path), followingLinks: true)
    let isFile = kind.map { $0 != .directory } ?? false
    // A checkpoint is verified first; then both are the same file.
    let modelPath =
      isFile ? path : try CheckpointStore.load(CheckpointStore.locate(path)).path + "/" + CheckpointFile.model.rawValue
    let file = try CheckpointStore.readModelFile(modelPath)
    let model = try TrainedModel(
      decoding: file, path: modelPath, meanImageIfAbsent: meanImage,
      activation: file.text("activation") == nil ? shape.activation : nil)
    guard model.shape.with(shape.activation) == shape else {
      let hidden = model.shape.isLinear ? "0" : model.shape.hidden.map(String.init).joined(separator: ",")
      let fitsData = (model.shape.classes, model.shape.pixels) == (shape.classes, shape.pixels)
      throw Failure(
        .badData, "\(path) has weights \(model.shape.weights), but the model of the new run has \(shape.weights)",
        remedy: fitsData ? "Give the new run the same layers: --hidden \(hidden)" : nil)
    }
    guard model.shape == shape else {
      throw Failure(
        .badData,
        "\(path) has the activation \(model.shape.activation), but the new run has \(shape.activation)",
        remedy: "Give the new run the same with --activation")
    }
    guard file.text("class_names") == nil || model.classNames == classNames else {
      throw Failure(
        .badData,
        "\(path) was trained for the classes \(model.classNames.joined(separator: ", ")), but those of the data set "
          + "are \(classNames.joined(separator: ", "))")
    }
    parameters = model.parameters(withMeanImage: meanImage)
    guard parameters.values.allSatisfy(\.isFinite) else {
      throw Failure(.badData, "\(path): the weights overflow at its pixel_scale \(model.pixelScale)")
    }
    hasMeanImage = file.entries.contains { $0.name == "mean_image" }
    origin = WeightsOrigin(
      path: path, run: file.text("run"), step: file.text("step").flatMap { UInt64($0) },
      weightsSHA256: weightsSHA256(model.parameters))
  }
}

extension TrainedModel {
  /// The parameters that give the same scores when the input is `(pixel − mean) / ExampleTable.pixelScale` with this
  /// `mean`.
  ///
  /// With W, b of the first layer, m, s of the model and m', s' of the input, W(p − m)/s + b = W'(p − m')/s' + b' for
  /// W' = W s'/s and b' = b + W(m' − m)/s. Computed in double precision and rounded once; with the same mean image and
  /// scale no bit changes.
  func parameters(withMeanImage mean: [Float]) -> ParameterVector {
    var result = parameters
    let first = shape.layers[0]
    let ratio = Double(ExampleTable.pixelScale) / Double(pixelScale)
    for row in 0..<first.outputs {
      var shift = 0.0
      for pixel in 0..<shape.pixels {
        let index = first.weight.lowerBound + row * shape.pixels + pixel
        let value = Double(parameters.values[index])
        shift += value * (Double(mean[pixel]) - Double(meanImage[pixel]))
        result.values[index] = Float(value * ratio)
      }
      let index = first.bias.lowerBound + row
      result.values[index] = Float(Double(parameters.values[index]) + shift / Double(pixelScale))
    }
    return result
  }
}
