import Foundation
import TestSupport
import Testing

/// Runs that are resumed, prolonged, copied and started from weights, with as little typed as the messages say.
@Suite("Continue and change", .serialized)
struct ContinueTests {
  private func inventory(_ run: URL) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: run.path).sorted().map { file in
      let attributes = try FileManager.default.attributesOfItem(atPath: run.path + "/" + file)
      return "\(file) \(attributes[.size] ?? "") \(attributes[.modificationDate] ?? "")"
    }
  }

  private func train(_ arguments: [String], expecting status: Int32 = 0) throws -> Program.Output {
    try Program.run("descent", ["train", "--json"] + arguments, expecting: status)
  }

  @Test(arguments: [0, 2])
  func `after Ctrl-C the command that is printed ends with the bits of an undisturbed run`(workers: Int) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("a run")
      let training = try Training(workers: workers, FaultTests.long).start(in: run)
      try waitUntil("training") { FileManager.default.fileExists(atPath: run.path + "/checkpoints/latest") }
      kill(training.process.processIdentifier, SIGINT)
      let interrupted = try training.wait().expect(75)
      #expect(interrupted.standardError.contains("Resume with: descent train --run-dir '\(run.path)' --resume must"))
      let resumed = try TrainingResult(train(["--run-dir", run.path, "--resume", "must"]))
      #expect(resumed.steps == 6000)
      #expect(try resumed.hash == Training(workers: 0, FaultTests.long).result().hash)
    }
  }

  @Test
  func `a finished run prints its result again, says how to train further, and keeps every file`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let first = try Training(["schedule": "constant"]).result(in: run)
      let before = try inventory(run)
      let again = try train(["--run-dir", run.path, "--resume", "auto"])
      #expect(try TrainingResult(again).hash == first.hash)
      #expect(
        again.standardError == """
          descent: \(run.path) is finished: 300 of 300 steps. To train further: descent train --run-dir \(run.path) \
          --resume must --max-steps 0

          """)
      let coordinator = try Program.run("descent-coordinator", ["--run-dir", run.path, "--resume", "must"])
      #expect(coordinator.standardError.contains("is finished"))
      #expect(try inventory(run) == before)
      let further = try TrainingResult(train(["--run-dir", run.path, "--resume", "must", "--max-steps", "400"]))
      #expect(further.steps == 400)
    }
  }

  @Test
  func `config.yaml repeats a run, and init-from starts another one from its weights`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let first = try Training(workers: 2).result(in: run)
      let configuration = ["--config", run.path + "/config.yaml"]
      func result(_ name: String, _ more: [String]) throws -> TrainingResult {
        let place = ["--run-dir", directory.appendingPathComponent(name).path]
        return try TrainingResult(train(configuration + place + more))
      }
      #expect(try result("repeated", []).hash == first.hash)
      let differing = try train(
        ["--run-dir", run.path, "--resume", "must", "--learning-rate", "0.01"], expecting: 78)
      #expect(differing.standardError.contains("--config \(run.path)/config.yaml --init-from \(run.path)/checkpoints/"))
      let more = ["--init-from", run.path, "--learning-rate", "0.01", "--max-steps", "20"]
      let sequential = try result("sequential", more + ["--workers", "0"])
      #expect(sequential.steps == 20)
      #expect(sequential.hash != first.hash)
      #expect(try result("distributed", more + ["--workers", "3"]).hash == sequential.hash)
    }
  }

  @Test
  func `--dry-run refuses what the run refuses, with the same exit status, and creates nothing`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      _ = try Training(workers: 0, ["max-steps": "20"]).result(in: run)
      let data = ["--data", try SharedData.directory.get(), "--validation-examples", "500"]
      let missing = directory.appendingPathComponent("missing").path
      let cases: [(Int32, [String])] = [
        (73, data + ["--run-dir", run.path]),
        (66, data + ["--run-dir", missing, "--resume", "must"]),
        (78, ["--run-dir", run.path, "--resume", "must", "--l2", "0.5"]),
        (64, ["--run-dir", run.path, "--resume", "must", "--epochs", "2000000"]),
        (78, data + ["--run-dir", missing, "--transport", "tcp", "--bind", "0.0.0.0"]),
        (64, data + ["--run-dir", missing, "--transport", "tcp", "--port", "65536"]),
        (66, data + ["--run-dir", missing, "--init-from", missing]),
        (66, ["--run-dir", missing]),
      ]
      let before = try inventory(directory)
      for (status, arguments) in cases {
        let rehearsed = try train(arguments + ["--dry-run"], expecting: status)
        #expect(rehearsed.standardOutput.isEmpty)
        #expect(try train(arguments, expecting: status).standardError.contains(#"{"error":"#))
      }
      let plan = try train(["--run-dir", run.path, "--resume", "must", "--max-steps", "40", "--dry-run"]).object()
      #expect(plan["steps"] as? Int == 40)
      #expect((plan["start"] as? [String: Any])?["step"] as? Int == 20)
      #expect(((plan["settings"] as? [String: Any])?["seed"] as? [String: Any])?["value"] as? Int == 5)
      #expect(try inventory(directory) == before)
    }
  }
}
