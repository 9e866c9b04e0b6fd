import Checkpoints
import Diagnostics
import Optimization
import TestSupport
import Testing

@Suite struct InitialWeightsTests {
  private let directory = TemporaryDirectory()
  private let shape = ModelShape(classes: 2, pixels: 3)
  private let names = ["cat", "a \"dog\"\n é😀"]

  private func load(
    _ path: String, mean: [Float] = [125.25, 0, 255], names: [String]? = nil, shape: ModelShape? = nil
  ) throws(Failure) -> InitialWeights {
    try InitialWeights(
      loading: path, for: shape ?? self.shape, meanImage: mean, classNames: names ?? self.names)
  }

  private func write(_ tensors: [SafetensorsFile.Tensor], _ metadata: [KeyValue] = []) throws -> String {
    let path = directory.path + "/model.safetensors"
    try overwrite(path, SafetensorsFile(metadata: metadata, tensors: tensors).encoded)
    return path
  }

  /// Scores of an image, in double precision.
  private func scores(_ weights: [Float], mean: [Float], scale: Double, _ pixels: [Double]) -> [Double] {
    (0..<2).map { row in
      (0..<3).reduce(Double(weights[6 + row])) {
        $0 + Double(weights[3 * row + $1]) * (pixels[$1] - Double(mean[$1])) / scale
      }
    }
  }

  @Test func `with the same mean image no bit changes, and the origin is recorded`() throws {
    let checkpoint = smallCheckpoint(step: 12)
    let path = try makeStore(directory).save(checkpoint)
    for selector in [path, directory.path, directory.path + "@12", path + "/model.safetensors"] {
      let initial = try load(selector)
      #expect(initial.parameters == checkpoint.model.parameters)
      #expect(initial.hasMeanImage)
      #expect(
        initial.origin
          == WeightsOrigin(
            path: selector, run: checkpoint.origin.runIdentifier, step: 12,
            weightsSHA256: weightsSHA256(checkpoint.model.parameters)))
    }
  }

  @Test func `with another mean image or scale the scores stay`() throws {
    let (weights, mean): ([Float], [Float]) = ([0.5, -1.25, 3, 0.25, 2, -0.75, 0.1, -0.2], [10, 20, 30])
    let path = try write(
      [("weight", [2, 3], Array(weights[..<6])), ("bias", [2], Array(weights[6...])), ("mean_image", [3], mean)],
      [.init("pixel_scale", "64")])
    let new: [Float] = [100, 7.5, 201]
    let initial = try load(path, mean: new)
    for pixels in [[0.0, 0, 0], [255, 3, 128], [17, 255, 255]] {
      let before = scores(weights, mean: mean, scale: 64, pixels)
      let after = scores(initial.parameters.values, mean: new, scale: 127.5, pixels)
      for (first, second) in zip(before, after) { #expect(abs(first - second) < 1e-5) }
    }
    #expect(initial.origin.run == nil)
    #expect(initial.origin.step == nil)
  }

  @Test func `weight and bias are enough: the mean image is that of the run`() throws {
    let values: [Float] = [1, 2, 3, 4, 5, 6]
    let path = try write([("weight", [2, 3], values), ("bias", [2], [7, 8])])
    let initial = try load(path, mean: [1, 2, 3])
    #expect(initial.parameters.values == values + [7, 8])
    #expect(!initial.hasMeanImage)
    #expect(status { () throws(Failure) in _ = try TrainedModel.load(path) } == .badData)
  }

  @Test func `another shape and other classes are refused`() throws {
    let path = try makeStore(directory).save(smallCheckpoint(step: 12))
    let mean = [Float](repeating: 0, count: 3072)
    let shape = #expect(throws: Failure.self) { try load(path, mean: mean, shape: .cifar10) }
    #expect(shape?.status == .badData)
    #expect(shape?.message.contains("has weights [2, 3]") == true)
    let classes = #expect(throws: Failure.self) { try load(path, names: names.reversed()) }
    #expect(classes?.status == .badData)
    #expect(classes?.message.contains("was trained for the classes cat") == true)
    #expect(status { () throws(Failure) in _ = try load(directory.path + "/none") } == .missingInput)
    #expect(status { () throws(Failure) in _ = try load(directory.path + "@13") } == .missingInput)
  }

  @Test func `a checkpoint records where its first weights are from, without the path`() throws {
    var checkpoint = smallCheckpoint(step: 12)
    let store = try makeStore(directory)
    for (run, step) in [("r", 7), (nil, nil)] as [(String?, UInt64?)] {
      checkpoint.run.snapshot.step += 1
      checkpoint.origin.weights = WeightsOrigin(path: "/home/me", run: run, step: step, weightsSHA256: "00ff")
      let read = try CheckpointStore.load(store.save(checkpoint)).checkpoint
      #expect(read.origin.weights == WeightsOrigin(path: nil, run: run, step: step, weightsSHA256: "00ff"))
    }
  }
}
