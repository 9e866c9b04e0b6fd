import Checkpoints
import Diagnostics
import FoundationEssentials
import NodeRuntime
import Reporting
import Testing

@Suite struct TrainingTests {
  /// Sequentially and with workers, from an empty directory.
  private func weights(_ workers: Int, _ changes: [String: String] = [:]) throws -> String {
    let directory = TemporaryDirectory()
    let settings = try settings(directory.path + "/run", changes.merging(["workers": "\(workers)"]) { $1 })
    let ending =
      workers == 0
      ? try runSequentially(settings: settings, options: quiet, in: NodeProcess()) : try trainWithWorkers(settings)
    #expect(ending.status == .success, "\(ending.reason)")
    return try #require(ending.result).weightsSHA256
  }

  @Test(arguments: [
    ["loss": "softmax"], ["loss": "svm", "momentum": "0.9"],
    ["loss": "softmax", "momentum": "0.9", "momentum-kind": "nesterov", "transport": "tcp"],
  ])
  func anyNumberOfWorkersEndsWithTheBitsOfTheSequentialTrainer(changes: [String: String]) throws {
    let sequential = try weights(0, changes)
    #expect(try weights(1, changes) == sequential)
    #expect(try weights(2, changes) == sequential)
    #expect(try weights(3, changes) == sequential)
  }

  @Test(arguments: [(0, 2), (2, 0), (1, 3)])
  func aRunThatWasInterruptedEndsWithTheBitsOfOneThatWasNot(before: Int, after: Int) throws {
    let directory = TemporaryDirectory()
    let path = directory.path + "/run"
    func train(_ workers: Int, _ changes: [String: String]) throws -> RunEnding {
      let settings = try settings(path, changes.merging(["workers": "\(workers)"]) { $1 })
      return workers == 0
        ? try runSequentially(settings: settings, options: quiet, in: NodeProcess())
        : try trainWithWorkers(settings)
    }
    let first = try train(before, ["max-steps": "13", "momentum": "0.9"])
    let resumed = try train(after, ["resume": "must", "momentum": "0.9"])
    let result = try #require(resumed.result)
    #expect(try result.weightsSHA256 == weights(0, ["momentum": "0.9"]))
    #expect(result.run == first.result?.run)
    #expect(result.examples == 64 * result.steps)
  }

  @Test(arguments: [0, 2])
  func theRunDirectoryHoldsWhatTheResultSays(workers: Int) throws {
    let directory = TemporaryDirectory()
    let path = directory.path + "/run"
    let settings = try settings(path, ["workers": "\(workers)"])
    let ending =
      workers == 0
      ? try runSequentially(settings: settings, options: quiet, in: NodeProcess()) : try trainWithWorkers(settings)
    let result = try #require(ending.result)
    let stored = try CheckpointStore.load(path)
    #expect(stored.path == result.checkpoint)
    #expect(stored.checkpoint.step == result.steps)
    #expect(stored.checkpoint.validation?.accuracy == result.validationAccuracy)
    let data = try Data(contentsOf: URL(filePath: path + "/result.json"))
    #expect(try JSONDecoder().decode(RunResult.self, from: data) == result)
    let metrics = try String(contentsOfFile: path + "/metrics.jsonl", encoding: .utf8).split(separator: "\n")
    #expect(metrics.count == Int((result.steps + 9) / 10))
    #expect(try RunFile(readingFrom: path + "/run.json").status == .finished)
    let names = try FileManager.default.contentsOfDirectory(atPath: path)
    #expect(!names.contains("coordinator.endpoint"))
    #expect(try !FileManager.default.contentsOfDirectory(atPath: "/tmp").contains("descent-\(result.run)"))
  }

  @Test(arguments: [0, 2])
  func aStoppingCriterionEndsEverybody(workers: Int) throws {
    let directory = TemporaryDirectory()
    let settings = try settings(
      directory.path + "/run", ["workers": "\(workers)", "target-accuracy": "0.01", "epochs": "1000"])
    let ending =
      workers == 0
      ? try runSequentially(settings: settings, options: quiet, in: NodeProcess()) : try trainWithWorkers(settings)
    #expect(ending.status == .success)
    #expect(ending.result?.stopReason == "target-accuracy")
    #expect(ending.result?.steps == 10)
  }
}
