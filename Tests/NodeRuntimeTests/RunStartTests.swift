import Checkpoints
import Diagnostics
import FoundationEssentials
import NodeRuntime
import RunConfiguration
import TestSupport
import Testing

@Suite struct RunStartTests {
  private let directory = TemporaryDirectory()
  private var path: String { directory.path + "/run" }

  private func open(_ changes: [String: String]) throws -> RunStart {
    try RunStart(
      job: TrainingJob(settings: settings(path, changes)), paths: RunPaths(directory: path), newIdentifier: "new")
  }

  /// A run of 13 steps, in the directory.
  private func train(_ changes: [String: String] = [:]) throws -> RunEnding {
    let settings = try settings(path, changes.merging(["max-steps": "13", "workers": "0"]) { $1 })
    return try runSequentially(quiet(settings))
  }

  private func failure(_ changes: [String: String]) throws -> Failure {
    do {
      _ = try open(changes)
    } catch let failure as Failure {
      return failure
    }
    throw Failure(.internalError, "the run was opened")
  }

  @Test(arguments: ["never", "auto"])
  func `an empty directory begins`(policy: String) throws {
    let start = try open(["resume": policy])
    #expect(start.state.step == 0)
    #expect(start.runIdentifier == "new")
    #expect(!start.isResumed)
  }

  @Test func `never refuses a run that is there, and says what to do`() throws {
    _ = try train()
    let failure = try failure(["resume": "never"])
    #expect(failure.status == .cannotCreate)
    #expect(failure.message.contains(path))
    #expect(failure.remedy?.contains("--resume") == true)
  }

  @Test func `must refuses a directory without a checkpoint`() throws {
    #expect(try failure(["resume": "must"]).status == .missingInput)
  }

  @Test(arguments: ["must", "auto"])
  func `the newest checkpoint is where the run resumes`(policy: String) throws {
    let first = try train()
    let start = try open(["resume": policy])
    #expect(start.state.step == 13)
    #expect(start.runIdentifier == first.result.run)
    #expect(start.isResumed)
    #expect(start.seconds > 0)
  }

  @Test func `a named checkpoint of another run begins a new one there`() throws {
    let first = try train()
    let other = directory.path + "/other"
    let settings = try settings(other, ["resume": #require(first.result.checkpoint)])
    let start = try RunStart(
      job: TrainingJob(settings: settings), paths: RunPaths(directory: other), newIdentifier: "new")
    #expect(start.state.step == 13)
    #expect(start.runIdentifier == "new")
    #expect(!start.isResumed)
  }

  @Test func `a run and its fork start with the best model, also where that is an older one`() throws {
    // So high that the loss rises.
    let changes = [
      "learning-rate": "2", "schedule": "constant", "epochs": "10", "max-steps": "20", "checkpoint-every": "20",
      "workers": "0",
    ]
    let first = try runSequentially(quiet(settings(path, changes))).result
    let best = try #require(first.bestStep)
    try #require(best < first.steps)
    #expect(try open(changes.merging(["resume": "must"]) { $1 }).best?.step == best)
    let other = directory.path + "/other"
    let further = changes.merging(["resume": path, "max-steps": "23"]) { $1 }
    let fork = try runSequentially(quiet(settings(other, further))).result
    #expect(fork.bestStep == best && fork.steps == 23)
    #expect(try CheckpointStore.load(other + "@best").checkpoint.step == best)
  }

  @Test func `every setting that would leave the trajectory is named`() throws {
    _ = try train()
    let failure = try failure(["resume": "must", "seed": "2", "l2": "0.5"])
    #expect(failure.status == .badConfiguration)
    #expect(failure.message.contains("seed differs: 2 (from --seed)"))
    #expect(failure.message.contains("l2 differs: 0.5 (from --l2)"))
  }

  @Test func `other training files are refused`() throws {
    _ = try train()
    let data = directory.path + "/data"
    try SyntheticFiles.write(to: data)
    let failure = try failure(["resume": "must", "data": data])
    #expect(failure.status == .badConfiguration)
    #expect(failure.message.contains("training files"))
  }

  @Test func `a damaged checkpoint is passed over and reported`() throws {
    _ = try train()
    let model = path + "/checkpoints/step-000000000013/model.safetensors"
    try Data([1, 2, 3]).write(to: URL(filePath: model))
    let start = try open(["resume": "must"])
    #expect(start.state.step == 10)
    #expect(start.warnings.count == 1)
    #expect(start.warnings.first?.contains("step-000000000013") == true)
  }

  @Test func `metrics after the resumed step are written again`() throws {
    _ = try train()
    let settings = try settings(
      path, ["workers": "0", "resume": path + "/checkpoints/step-000000000010", "max-steps": "25"])
    _ = try runSequentially(quiet(settings))
    let lines = try String(contentsOfFile: path + "/metrics.jsonl", encoding: .utf8).split(separator: "\n")
    #expect(lines.map { $0.prefix { $0 != "," } } == ["{\"step\":0", "{\"step\":10", "{\"step\":20", "{\"step\":25"])
  }

  @Test func `a second owner of the directory is refused`() throws {
    let paths = RunPaths(directory: directory.path)
    let lock = try paths.lockDirectory()
    #expect { _ = try paths.lockDirectory() } throws: { ($0 as? Failure)?.status == .cannotCreate }
    withExtendedLifetime(lock) {}
  }
}
