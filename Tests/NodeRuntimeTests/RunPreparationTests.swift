import Checkpoints
import Diagnostics
import FoundationEssentials
import NodeRuntime
import Optimization
import Reporting
import RunConfiguration
import TestSupport
import Testing

@Suite struct RunPreparationTests {
  private let directory = TemporaryDirectory()

  private func path(_ name: String) -> String { "\(directory.path)/\(name)" }

  private func train(_ name: String, _ changes: [String: String] = [:], workers: Int = 0) throws -> RunEnding {
    let settings = try settings(path(name), changes.merging(["workers": "\(workers)"]) { $1 })
    let ending = workers == 0 ? try runSequentially(quiet(settings)) : try trainWithWorkers(settings)
    #expect(ending.status == .success, "\(ending.reason)")
    return ending
  }

  private func checkpoint(_ name: String, _ step: Int) throws -> Checkpoint {
    let digits = String(step)
    let name = path(name) + "/checkpoints/step-" + String(repeating: "0", count: 12 - digits.count) + digits
    return try CheckpointStore.load(name).checkpoint
  }

  /// Paths, sizes and times of all files.
  private func inventory(_ name: String) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: path(name)).sorted().map { file in
      let attributes = try FileManager.default.attributesOfItem(atPath: path(name) + "/" + file)
      return "\(file) \(attributes[.size] ?? "") \(attributes[.modificationDate] ?? "")"
    }
  }

  private func failure(_ changes: [String: String], _ name: String = "a", insecure: Bool = false) throws -> Failure? {
    var options = quiet(try settings(path(name), changes))
    options.allowsPlaintextBeyondThisHost = insecure
    do throws(Failure) {
      _ = try Rehearsal(options)
      return nil
    } catch {
      return error
    }
  }

  // MARK: - Weights

  @Test func `init-from starts at step 0 with the weights, and any number of workers gives the same bits`() throws {
    let first = try train("a", ["max-steps": "13"])
    let changes = ["init-from": path("a"), "seed": "2", "learning-rate": "0.01", "momentum": "0.9", "max-steps": "13"]
    let second = try train("b", changes)
    #expect(second.result.steps == 13)
    #expect(try train("c", changes, workers: 2).result.weightsSHA256 == second.result.weightsSHA256)
    let drawn = try train("d", changes.filter { $0.key != "init-from" })
    #expect(drawn.result.weightsSHA256 != second.result.weightsSHA256)
    let beginning = try checkpoint("b", 0)
    let origin = try #require(beginning.origin.weights)
    #expect(origin.run == first.result.run)
    #expect(origin.step == 13)
    #expect(origin.weightsSHA256 == first.result.weightsSHA256)
    #expect(beginning.run.snapshot.state.slots(of: .cifar10).map { $0.values.allSatisfy { $0 == 0 } } == [true])
    #expect(try RunFile(readingFrom: path("b") + "/run.json").startedFrom?.path == path("a"))
    // Another seed holds out other examples: the mean image differs, and so the bias.
    let before = try checkpoint("a", 13)
    #expect(before.origin.meanImage != beginning.origin.meanImage)
    #expect(before.model.parameters.values[..<30_720] == beginning.model.parameters.values[..<30_720])
    #expect(before.model.parameters.values[30_720...] != beginning.model.parameters.values[30_720...])
  }

  @Test func `a run that is killed before its first step keeps the weights it was given`() throws {
    _ = try train("a", ["max-steps": "13"])
    let uninterrupted = try train("b", ["init-from": path("a")])
    _ = try train("c", ["init-from": path("a"), "max-steps": "1", "checkpoint-every": "0"])
    try FileManager.default.removeItem(atPath: path("c") + "/checkpoints/step-000000000001")
    try FileManager.default.removeItem(atPath: path("a"))
    #expect(try train("c", ["resume": "must"]).result.weightsSHA256 == uninterrupted.result.weightsSHA256)
    #expect(try checkpoint("c", 30).origin.weights == checkpoint("b", 30).origin.weights)
  }

  @Test func `a copy of a run has its own checkpoint from the start, and the bits of the run`() throws {
    let first = try train("a", ["max-steps": "13", "keep-last": "9"])
    for workers in [0, 2] {
      let name = "copy-\(workers)"
      let copy = try train(name, ["resume": path("a") + "@10", "keep-last": "9"], workers: workers)
      #expect(try checkpoint(name, 10).origin.weights?.run == first.result.run)
      #expect(try copy.result.weightsSHA256 == train("whole-\(workers)").result.weightsSHA256)
    }
    let finished = try train("copy-of-finished", ["resume": path("a"), "max-steps": "13"])
    #expect(finished.result.checkpoint?.hasPrefix(path("copy-of-finished")) == true)
    #expect(finished.result.weightsSHA256 == first.result.weightsSHA256)
  }

  // MARK: - Settings of the run

  @Test func `config.yaml is written again only if something changed, and repeats the run`() throws {
    let first = try train("a", ["max-steps": "13"])
    let configuration = path("a") + "/config.yaml"
    let text = try String(contentsOfFile: configuration, encoding: .utf8)
    let before = try inventory("a").first { $0.hasPrefix("config.yaml") }
    try FileManager.default.removeItem(atPath: path("a") + "/result.json")
    _ = try train("a", ["resume": "must", "max-steps": "13"])
    #expect(try inventory("a").first { $0.hasPrefix("config.yaml") } == before)
    _ = try train("a", ["resume": "must", "max-steps": "20"])
    let changed = try String(contentsOfFile: configuration, encoding: .utf8)
    #expect(changed == text.replacing("max-steps: 13", with: "max-steps: 20"))
    let file = try ConfigurationFile(text: text, path: "config.yaml")
    let repeated = try ResolvedSettings.resolve(file: file, flags: [("run-dir", path("b"))])
    #expect(try runSequentially(quiet(repeated)).result.weightsSHA256 == first.result.weightsSHA256)
  }

  @Test func `config.yaml of a run that began with weights begins with them, also when the run was resumed`() throws {
    _ = try train("a", ["max-steps": "13"])
    let first = try train("b", ["init-from": path("a") + "@latest", "max-steps": "20", "seed": "6"])
    let file = try ConfigurationFile(readingFrom: path("b") + "/config.yaml")
    let repeated = try ResolvedSettings.resolve(file: file, flags: [("run-dir", path("c"))])
    #expect(try runSequentially(quiet(repeated)).result.weightsSHA256 == first.result.weightsSHA256)
    let resumed = try ResolvedSettings.resolve(
      flags: [("run-dir", path("b")), ("resume", "must"), ("max-steps", "26")], run: settingsOfRun)
    #expect(try runSequentially(quiet(resumed)).result.steps == 26)
    #expect(try ConfigurationFile(readingFrom: path("b") + "/config.yaml").lines.contains { $0.name == "init-from" })
  }

  @Test func `config.yaml tells of the schedule that a run had before`() throws {
    _ = try train("a", ["epochs": "2"])
    func comments() throws -> [Substring] {
      try String(contentsOfFile: path("a") + "/config.yaml", encoding: .utf8)
        .split(separator: "\n").filter { $0.hasPrefix("# Until") }
    }
    #expect(try comments().isEmpty)
    let steps = try RunResult(
      json: String(contentsOfFile: path("a") + "/result.json", encoding: .utf8), source: "result.json"
    ).steps
    _ = try train("a", ["resume": "must", "epochs": "3", "schedule-epochs": "3"])
    #expect(try comments() == ["# Until step \(steps) the schedule was one of 2 epochs."])
    _ = try train("a", ["resume": "must", "epochs": "4", "schedule-epochs": "4"])
    #expect(try comments().count == 2)
  }

  @Test func `the settings of a run are those of its config.yaml, else those of its checkpoint`() throws {
    _ = try train("a", ["max-steps": "13", "l2": "0.5"])
    let configuration = path("a") + "/config.yaml"
    for policy in [ResumePolicy.auto, .must, .checkpoint(path: path("a") + "@10")] {
      let line = try settingsOfRun(policy, path("a")).first { $0.name == "l2" }
      #expect(line?.text == "0.5")
      #expect(line?.origin.description.hasPrefix(configuration + ":") == true)
    }
    #expect(try settingsOfRun(.never, path("a")).isEmpty)
    #expect(try settingsOfRun(.auto, path("none")).isEmpty)
    try FileManager.default.removeItem(atPath: configuration)
    let line = try settingsOfRun(.must, path("a")).first { $0.name == "l2" }
    #expect(line?.text == "0.5")
    #expect(line?.origin.description.contains("step-000000000013/state.json") == true)
  }

  // MARK: - Finished runs

  @Test func `a finished run says so, and how to train further`() throws {
    #expect(try finishedRun(settings(path("a"), ["resume": "auto"])) == nil)
    let first = try train("a")
    let before = try inventory("a")
    let finished = try #require(try finishedRun(settings(path("a"), ["resume": "must"])))
    #expect(finished.status == .success)
    #expect(finished.result == first.result)
    #expect(
      finished.reason == """
        \(path("a")) is finished: 4 of 4 epochs (36 steps). To train further: descent train --run-dir \(path("a")) \
        --resume must --epochs 8 --schedule-epochs 8
        """)
    #expect(try inventory("a") == before)
    let further = ["resume": "must", "epochs": "8", "schedule-epochs": "8"]
    #expect(try finishedRun(settings(path("a"), further)) == nil)
    #expect(try train("a", further).result.steps == 72)
  }

  @Test func `a run that was stopped early is finished until the criterion changes`() throws {
    _ = try train("a", ["max-steps": "13", "target-accuracy": "0.01"])
    let reached = try finishedRun(settings(path("a"), ["resume": "must", "target-accuracy": "0.01"]))
    #expect(reached?.reason.hasSuffix("--resume must --target-accuracy 0") == true)
    #expect(try finishedRun(settings(path("a"), ["resume": "must"])) == nil)
    let steps = try finishedRun(settings(path("a"), ["resume": "must", "max-steps": "10"]))
    #expect(steps?.reason.contains("10 of 10 steps") == true)
    #expect(steps?.reason.hasSuffix("--resume must --max-steps 0") == true)
  }

  // MARK: - Rehearsals

  @Test func `a rehearsal refuses what the run would refuse, and creates nothing`() throws {
    #expect(try failure([:]) == nil)
    #expect(!FileManager.default.fileExists(atPath: path("a")))
    #expect(try failure(["resume": "must"])?.status == .missingInput)
    #expect(try failure(["transport": "tcp", "bind": "0.0.0.0"])?.status == .badConfiguration)
    #expect(try failure(["transport": "tcp"]) == nil)
    #expect(try failure(["transport": "tcp", "bind": "no-such-interface0"], insecure: true) != nil)
    #expect(try failure(["transport": "tcp", "bind": "0.0.0.0", "workers": "0"]) == nil)
    #expect(try failure(["transport": "tcp", "bind": "192.0.2.1"], insecure: true) != nil)
    #expect(try failure(["init-from": path("none")])?.status == .missingInput)
    try Data().write(to: URL(filePath: path("file")))
    #expect(try failure([:], "file/run")?.status == .cannotCreate)
    _ = try train("a", ["max-steps": "13"])
    let before = try inventory("a")
    #expect(try failure([:])?.status == .cannotCreate)
    #expect(try failure(["resume": "must", "l2": "0.5"])?.status == .badConfiguration)
    #expect(try failure(["resume": "must"]) == nil)
    #expect(try inventory("a") == before)
    let lock = try RunPaths(directory: path("a")).lockDirectory()
    let locked = try inventory("a")
    #expect(try failure(["resume": "must"])?.status == .cannotCreate)
    #expect(try inventory("a") == locked)
    withExtendedLifetime(lock) {}
  }

  // MARK: - The newest run

  @Test func `latest beside the run directory points to the newest run, whatever its name`() throws {
    for name in ["runs/a", "runs/b"] {
      _ = try train(name, ["max-steps": "1"])
      let target = try FileManager.default.destinationOfSymbolicLink(atPath: path("runs/latest"))
      #expect("runs/" + target == name)
    }
    _ = try train("runs/latest", ["max-steps": "2", "resume": "must"])
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: path("runs/latest")) == "b")
    _ = try train("elsewhere/c", ["max-steps": "1"])
    #expect(!FileManager.default.fileExists(atPath: path("elsewhere/latest")))
  }
}
