import Checkpoints
import Diagnostics
import Messaging
import Optimization
import TestSupport
import Testing

/// Checkpoints of networks, and the files that PyTorch writes of them.
@Suite struct NetworkCheckpointTests {
  private let directory = TemporaryDirectory()

  private func checkpoint(_ shape: ModelShape, loss: Loss = .softmaxCrossEntropy, margin: Float = 1) -> Checkpoint {
    var checkpoint = smallCheckpoint(step: 7)
    (checkpoint.origin.shape, checkpoint.origin.loss, checkpoint.origin.margin) = (shape, loss, margin)
    checkpoint.origin.slotNames = Optimizer.Kind.momentum.slotNames
    let values = (0..<shape.parameterCount).map { Float($0) * 0.25 - 3 }
    checkpoint.run.snapshot.state = OptimizerState(
      parameters: ParameterVector(values), slots: [ParameterVector(values.map { -$0 })])
    return checkpoint
  }

  /// Two layers of a network of 3 pixels, 4 units and 2 classes, under names of PyTorch.
  private func write(
    _ names: [String] = ["0", "2"], shapes: [[Int]] = [[4, 3], [2, 4]], metadata: [KeyValue] = [],
    others: [SafetensorsFile.Tensor] = [("mean_image", [3], [1, 2, 3])]
  ) throws -> String {
    var tensors = others
    for (index, (name, shape)) in zip(names, shapes).enumerated() {
      let count = shape.reduce(1, *)
      tensors.append(("\(name).weight", shape, (0..<count).map { Float(100 * index + $0) }))
      tensors.append(("\(name).bias", [shape[0]], (0..<shape[0]).map { Float(100 * index + 50 + $0) }))
    }
    let path = directory.path + "/model.safetensors"
    try overwrite(path, SafetensorsFile(metadata: metadata, tensors: tensors).encoded)
    return path
  }

  private static let expected = (0..<12).map(Float.init) + [50, 51, 52, 53] + (100..<108).map(Float.init) + [150, 151]

  private func failure(_ path: String, _ activation: Activation? = nil) -> Failure? {
    do throws(Failure) {
      _ = try TrainedModel.load(path, activation: activation)
      return nil
    } catch { return error }
  }

  @Test(arguments: Activation.all + [.leakyReLU(slope: 0.1), .elu(alpha: 1.0 / 3)])
  func `a checkpoint of a network comes back with the same bits, and the model with its activation`(
    activation: Activation
  ) throws {
    let shape = ModelShape(classes: 2, pixels: 3, hidden: [4, 5], activation: activation)
    let saved = checkpoint(shape, loss: .squaredHinge, margin: 0.3)
    let path = try makeStore(directory).save(saved)
    let stored = try CheckpointStore.load(path).checkpoint
    #expect(stored.origin.shape == shape)
    #expect(stored.run == saved.run)
    #expect(stored.origin == saved.origin)
    for selector in [path, path + "/model.safetensors"] {
      let model = try TrainedModel.load(selector)
      #expect(model.shape == shape && model.margin == 0.3 && model.loss == .squaredHinge)
      #expect(model.parameters == saved.model.parameters)
    }
    let report = try CheckpointReport(of: path)
    #expect(report.text.contains("hidden") && report.json.contains("\"activation\": \"\(activation.settingName)\""))
    let names = report.tensors.filter { $0.file == "model.safetensors" }.map(\.name)
    #expect(names == ["0.bias", "0.weight", "2.bias", "2.weight", "4.bias", "4.weight", "mean_image"])
  }

  @Test(arguments: [
    ["0", "2"], ["1", "4"], ["fc1", "fc2"], ["layers.0", "layers.3"], ["2", "10"], ["module.net.9", "module.net.11"],
    ["encoder", "head"],
  ])
  func `a state_dict of PyTorch loads, whatever its layers are called, in the order of their numbers`(names: [String])
    throws
  {
    let path = try write(names, metadata: [.init("activation", "relu")])
    let model = try TrainedModel.load(path)
    #expect(model.shape == ModelShape(classes: 2, pixels: 3, hidden: [4]))
    #expect(model.parameters.values == Self.expected)
    #expect(model.meanImage == [1, 2, 3])
    #expect(!model.namesLoss)
  }

  @Test func `a file that names no activation is refused with the option that does, and read with it`() throws {
    let path = try write()
    let missing = try #require(failure(path))
    #expect(missing.status == .badData)
    #expect(missing.description.contains("does not say what the activation of its hidden layers is"))
    #expect(missing.remedy?.contains("--activation") == true)
    #expect(try TrainedModel.load(path, activation: .tanh).shape.activation == .tanh)
    // Looking at it needs no activation.
    #expect(try CheckpointReport(of: path).json.contains("\"activation\": null"))
    #expect(try VerificationReport(of: path).firstFailure == nil)
    let unknown = try #require(failure(write(metadata: [.init("activation", "swish")])))
    #expect(unknown.description.contains("swish") && unknown.description.contains("leaky-relu"))
    #expect(failure(try write(metadata: [.init("activation", "elu"), .init("activation_parameter", "wide")])) != nil)
    let slope = try TrainedModel.load(
      write(metadata: [.init("activation", "leaky-relu"), .init("activation_parameter", "0.01")]))
    #expect(slope.shape.activation == .leakyReLU(slope: 0.01))
  }

  @Test func `what is no stack of fully connected layers is refused, and the tensor named`() throws {
    for (shapes, found) in [
      ([[4, 3], [2, 5]], "[2, 5]"), ([[4, 3, 3, 3], [2, 4]], "[4, 3, 3, 3]"), ([[4, 3], [4]], "[4]"),
    ] {
      let text = try #require(failure(write(shapes: shapes), .relu)).description
      #expect(text.contains(found) && text.contains("fully connected"), "\(text)")
    }
    let path = directory.path + "/model.safetensors"
    let tensors: [SafetensorsFile.Tensor] = [
      ("0.weight", [4, 3], .init(repeating: 0, count: 12)), ("0.bias", [4], [0, 0, 0, 0]),
      ("2.weight", [2, 4], .init(repeating: 0, count: 8)), ("mean_image", [3], [0, 0, 0]),
    ]
    try overwrite(path, SafetensorsFile(metadata: [], tensors: tensors).encoded)
    #expect(try #require(failure(path, .relu)).description.contains("no tensor \"2.bias\""))
    let withoutMean = try #require(failure(write(others: []), .relu))
    #expect(withoutMean.description.contains("no tensor \"mean_image\""))
    let deep = try write((0..<9).map { "\(2 * $0)" }, shapes: [[3, 3]] + .init(repeating: [3, 3], count: 8))
    #expect(try #require(failure(deep, .relu)).description.contains("too many layers"))
  }

  // MARK: - Initial weights

  private func initial(_ path: String, _ shape: ModelShape, mean: [Float] = [1, 2, 3]) throws(Failure) -> InitialWeights
  {
    try InitialWeights(loading: path, for: shape, meanImage: mean, classNames: ["a", "b"])
  }

  @Test func `a new run begins with the weights of a network, and its scores stay under another mean image`() throws {
    let shape = ModelShape(classes: 2, pixels: 3, hidden: [4], activation: .tanh)
    #expect(try initial(write(), shape).parameters.values == Self.expected)
    var plan = TrainingPlan(exampleCount: 10, batchSize: 2, shardCount: 1, totalSteps: 1)
    plan.shape = shape
    let small = Self.expected.map { $0 / 256 }
    let tensors: [SafetensorsFile.Tensor] = [
      ("0.weight", [4, 3], Array(small[..<12])), ("0.bias", [4], Array(small[12..<16])),
      ("2.weight", [2, 4], Array(small[16..<24])), ("2.bias", [2], Array(small[24...])),
      ("mean_image", [3], [9, 7, 200]),
    ]
    let path = directory.path + "/model.safetensors"
    try overwrite(path, SafetensorsFile(metadata: [.init("pixel_scale", "64")], tensors: tensors).encoded)
    let mean: [Float] = [100, 3, 50]
    let moved = try initial(path, shape, mean: mean)
    let trainer = ReferenceTrainer(plan: plan)
    for pixels in [[0.0, 0, 0], [255, 3, 128], [17, 255, 255]] {
      let before = trainer.scores(of: zip(pixels, [9.0, 7, 200]).map { ($0 - $1) / 64 }, at: small.map(Double.init))
      let after = trainer.scores(
        of: zip(pixels, mean).map { ($0 - Double($1)) / 127.5 }, at: moved.parameters.values.map(Double.init))
      #expect(zip(before, after).allSatisfy { abs($0 - $1) < 1e-5 })
    }
  }

  @Test func `weights of another shape or activation are refused, with the setting that fits`() throws {
    let path = try write(metadata: [.init("activation", "tanh")])
    let linear = #expect(throws: Failure.self) { try initial(path, ModelShape(classes: 2, pixels: 3)) }
    #expect(
      linear?.message == "\(path) has weights [4, 3], [2, 4], but the model of the new run has [2, 3]")
    #expect(linear?.remedy?.hasSuffix("--hidden 4") == true)
    let wider = #expect(throws: Failure.self) { try initial(path, ModelShape(classes: 2, pixels: 3, hidden: [5])) }
    #expect(wider?.message.contains("[5, 3], [2, 5]") == true)
    let relu = #expect(throws: Failure.self) { try initial(path, ModelShape(classes: 2, pixels: 3, hidden: [4])) }
    #expect(relu?.message == "\(path) has the activation tanh, but the new run has relu")
    let pixels = #expect(throws: Failure.self) { try initial(path, ModelShape(classes: 2, pixels: 5, hidden: [4])) }
    #expect(pixels?.remedy == nil)
  }
}
