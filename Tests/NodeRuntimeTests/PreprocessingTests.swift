import Checkpoints
import Datasets
import Diagnostics
import FoundationEssentials
import NodeRuntime
import Optimization
import RunConfiguration
import TestSupport
import Testing

@Suite struct PreprocessingTests {
  private let directory = TemporaryDirectory()

  @Test func `the mean of the inputs is that of every pixel, of every channel, or zero`() throws {
    let means = try Preprocessing.allCases.map { preprocessing in
      try TrainingJob(settings: settings(directory.path, ["preprocessing": preprocessing.settingName])).meanImage
    }
    #expect(Set(means[0]).count > 100)
    let planes = stride(from: 0, to: 3072, by: 1024).map { means[1][$0..<$0 + 1024] }
    for (plane, pixels) in zip(planes, stride(from: 0, to: 3072, by: 1024).map { means[0][$0..<$0 + 1024] }) {
      #expect(Set(plane).count == 1)
      // Of the same images, in double precision.
      let mean = pixels.reduce(0) { $0 + Double($1) } / 1024
      #expect(abs(Double(plane.first ?? 0) - mean) < 1e-4)
    }
    #expect(means[2].allSatisfy { $0 == 0 })
  }

  @Test(arguments: Preprocessing.allCases)
  func `whatever is subtracted, any number of workers gives the same bits, and the checkpoint has it`(
    preprocessing: Preprocessing
  ) throws {
    let changes = ["preprocessing": preprocessing.settingName, "max-steps": "5"]
    let sequential = try settings(directory.path + "/a", changes.merging(["workers": "0"]) { $1 })
    let first = try runSequentially(quiet(sequential)).result
    let second = try trainWithWorkers(settings(directory.path + "/b", changes.merging(["workers": "2"]) { $1 })).result
    #expect(first.weightsSHA256 == second.weightsSHA256)
    let model = try TrainedModel.load(directory.path + "/b")
    #expect(model.meanImage == (try TrainingJob(settings: sequential).meanImage))
    #expect(model.inputShape == .cifar10)
    #expect(
      try CheckpointReport(of: directory.path + "/b").checkpoint?.origin.settings.contains(
        KeyValue("preprocessing", preprocessing.settingName)) == true)
  }

  @Test func `another preprocessing is another trajectory, and none recorded is the mean image`() throws {
    let pairs = try settings(directory.path).checkpointPairs
    let other = try settings(directory.path, ["preprocessing": "none"])
    #expect(
      other.differences(from: pairs) == [
        "preprocessing differs: none (from --preprocessing), but the checkpoint was trained with mean-image"
      ])
    let old = pairs.filter { $0.key != "preprocessing" }
    #expect(try settings(directory.path).differences(from: old).isEmpty)
    #expect(other.differences(from: old).count == 1)
  }
}
