import Foundation
import TestSupport
import Testing

/// `descent sweep`: what it finds does not depend on what happens to its processes, and it opens the test files once.
@Suite("Sweeps", .serialized)
struct SweepTests {
  private static let settings = [
    "--batch-size", "64", "--validation-examples", "500", "--epochs", "81", "--seed", "5", "--checkpoint-every", "40",
  ]
  private static let space = ["--over", "learning-rate=log:1e-3..1,l2=log:1e-5..1e-1", "--tries", "9"]

  /// - Parameter data: nil for the shared set.
  private func arguments(_ sweep: URL, _ more: [String] = space, data: String? = nil) throws -> [String] {
    let place = ["--data", try data ?? SharedData.directory.get(), "--sweep-dir", sweep.path]
    return ["sweep", "--json"] + place + Self.settings + more
  }

  /// Complete, in one go and one trial after the other: what every other way must find as well.
  private static let undisturbed: Result<String, any Error> = Result {
    let sweep = TemporaryDirectory.untilExit().url.appendingPathComponent("sweep")
    let test = SweepTests()
    return try Program.run("descent", test.arguments(sweep) + ["--parallel", "1"]).standardOutput
  }

  private func results(_ sweep: URL) -> Int {
    let text = (try? String(contentsOf: sweep.appendingPathComponent("sweep.json"), encoding: .utf8)) ?? ""
    return text.components(separatedBy: "\"diverged\": ").count - 1
  }

  /// Processes that name the directory: the runs of a sweep have it in their settings.
  private func processes(of sweep: URL) -> [pid_t] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.compactMap(pid_t.init).filter { pid in
      let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline").map {
        String(decoding: $0, as: UTF8.self)
      }
      return line?.contains(sweep.path) ?? false
    }
  }

  @Test(arguments: [(SIGKILL, 1), (SIGKILL, 8), (SIGTERM, 2), (SIGINT, 4)])
  func `a sweep that is killed or stopped leaves no process, and continues to the same bytes`(
    signal: Int32, results count: Int
  ) throws {
    try TemporaryDirectory.with { directory in
      let sweep = directory.appendingPathComponent("sweep")
      let first = try Program.start("descent", arguments(sweep) + ["--parallel", "3"])
      try waitUntil("\(count) results") { results(sweep) >= count }
      kill(first.process.processIdentifier, signal)
      let output = try first.wait(seconds: 20)
      if signal == SIGKILL {
        #expect(output.status == 128 + SIGKILL)
      } else {
        #expect(output.status == 75)
        #expect(output.standardError.contains("Continue with: descent sweep --json --data"))
        #expect(processes(of: sweep).isEmpty)
      }
      // As if it had been killed while it replaced the file, which a signal seldom hits.
      try Data().write(to: sweep.appendingPathComponent(".tmp-sweep.json-0123456789abcdef"))
      // At once: what is left of the first one saves and ends.
      let second = try Program.run("descent", arguments(sweep) + ["--parallel", "2"])
      #expect(try second.standardOutput == Self.undisturbed.get())
      #expect(second.standardError.contains("continuing a sweep of 9 trials after "))
      try waitUntil("no process is left") { processes(of: sweep).isEmpty }
      let names = try FileManager.default.contentsOfDirectory(atPath: sweep.path)
      #expect(!names.contains { $0.hasPrefix(".") }, "\(names)")
    }
  }

  @Test func `trials that are killed continue from their checkpoints, to the same bytes`() throws {
    try TemporaryDirectory.with { directory in
      let sweep = directory.appendingPathComponent("sweep")
      let running = try Program.start("descent", arguments(sweep) + ["--parallel", "2"])
      var killed: Set<pid_t> = []
      while running.process.isRunning, killed.count < 3 {
        for process in processes(of: sweep) where process != running.process.processIdentifier {
          if killed.count < 3, killed.insert(process).inserted { kill(process, SIGKILL) }
        }
        usleep(20_000)
      }
      let output = try running.wait()
      #expect(killed.count == 3)
      #expect(try output.standardOutput == Self.undisturbed.get())
      #expect(output.standardError.contains("was killed by signal 9; restarting it"))
    }
  }

  @Test func `the winner has the bits of a run that was never stopped, and so has the model that is tested`() throws {
    try TemporaryDirectory.with { directory in
      let sweep = directory.appendingPathComponent("sweep")
      let result = try Program.run("descent", arguments(sweep)).object()
      let best = try #require(result["best"] as? String)
      let trials = try #require(result["trials"] as? [[String: Any]])
      let trial = try #require(trials.first { $0["state"] as? String == "finished" })
      let rungs = try #require(trial["rungs"] as? [[String: Any]])
      #expect(rungs.map { $0["epochs"] as? Int } == [9, 27, 81])
      let runs = try #require(rungs[2]["runs"] as? [[String: Any]])
      let straight = try TrainingResult(
        Program.run(
          "descent",
          ["train", "--json", "--config", "\(sweep.path)/\(best)/config.yaml"]
            + ["--run-dir", directory.appendingPathComponent("straight").path]))
      #expect(straight.hash == runs[0]["weights_sha256"] as? String)
      #expect(straight.object["validation_accuracy"] as? Double == trial["validation_accuracy"] as? Double)

      let values = try #require(trial["values"] as? [String: String])
      let settings = values.flatMap { ["--\($0.key)", $0.value] } + Self.settings
      let final = try #require(result["final"] as? [String: Any])
      let tested = try TrainingResult(
        Program.run(
          "descent",
          ["train", "--json", "--data", SharedData.directory.get(), "--workers", "2"] + settings
            + ["--run-dir", directory.appendingPathComponent("tested").path, "--validation-examples", "0"]))
      #expect(tested.hash == final["weights_sha256"] as? String)
      #expect(tested.testAccuracy == final["test_accuracy"] as? Double)

      let listing = try Program.run("descent", ["runs", sweep.path]).standardOutput
      #expect(listing.split(separator: "\n").count == 1 + 9 + 1)
    }
  }

  @Test func `the test files are opened by the last run alone: without them all trials end, and only it fails`() throws
  {
    try TemporaryDirectory.with { directory in
      let data = directory.appendingPathComponent("data")
      try FileManager.default.copyItem(atPath: SharedData.directory.get(), toPath: data.path)
      let test = data.appendingPathComponent("test_batch.bin")
      let bytes = try Data(contentsOf: test)
      try FileManager.default.removeItem(at: test)
      let sweep = directory.appendingPathComponent("sweep")
      let failed = try Program.run("descent", arguments(sweep, data: data.path), expecting: 66)
      #expect(failed.standardError.contains("final: "))
      #expect(failed.standardError.contains("test_batch.bin"))
      #expect(results(sweep) == 9 + 3 + 1)
      let untested = try Program.run("descent", arguments(sweep, data: data.path) + ["--no-final"]).object()
      #expect(untested["best"] is String)
      #expect(untested["final"] is NSNull)
      try bytes.write(to: test)
      let completed = try Program.run("descent", arguments(sweep, data: data.path))
      #expect(try completed.standardOutput == Self.undisturbed.get())
      // Complete, it needs them no more.
      try FileManager.default.removeItem(at: test)
      let again = try Program.run("descent", arguments(sweep, data: data.path))
      #expect(try again.standardOutput == Self.undisturbed.get())
    }
  }

  @Test func `folds: each run holds out its part, and records it for those that evaluate the model`() throws {
    try TemporaryDirectory.with { directory in
      let sweep = directory.appendingPathComponent("sweep")
      let more = ["--over", "learning-rate=0.01|0.1", "--search", "grid", "--validate", "folds:3", "--halving", "none"]
      let result = try Program.run("descent", arguments(sweep, more) + ["--epochs", "2"]).object()
      let trials = try #require(result["trials"] as? [[String: Any]])
      for (number, trial) in trials.enumerated() {
        let rungs = try #require(trial["rungs"] as? [[String: Any]])
        let runs = try #require(rungs[0]["runs"] as? [[String: Any]])
        var examples = 0
        for (fold, run) in runs.enumerated() {
          let evaluated = try Program.run(
            "descent",
            ["evaluate", "--json", "--split", "validation", "--data", SharedData.directory.get(), "--checkpoint"]
              + ["\(sweep.path)/trial-00\(number + 1)-fold-\(fold + 1)"]
          ).object()
          #expect(evaluated["accuracy"] as? Double == run["validation_accuracy"] as? Double)
          examples += evaluated["examples"] as? Int ?? 0
        }
        #expect(examples == 2500)
      }
      // With processes, which are sent the plan, the fold is the same.
      let last = "\(sweep.path)/trial-002-fold-3/config.yaml"
      let distributed = try TrainingResult(
        Program.run(
          "descent",
          ["train", "--json", "--config", last, "--workers", "2"]
            + ["--run-dir", directory.appendingPathComponent("distributed").path]))
      let rungs = try #require(trials[1]["rungs"] as? [[String: Any]])
      #expect(distributed.hash == (rungs[0]["runs"] as? [[String: Any]])?[2]["weights_sha256"] as? String)
    }
  }

  @Test func `trials that diverge are results, and if all do the status is 70`() throws {
    try TemporaryDirectory.with { directory in
      let sweep = directory.appendingPathComponent("sweep")
      let grid = ["--search", "grid", "--loss", "squared-error", "--epochs", "9"]
      let result = try Program.run("descent", arguments(sweep, ["--over", "lr=0.001|900|1000"] + grid)).object()
      let states = (result["trials"] as? [[String: Any]])?.map { $0["state"] as? String }
      #expect(states == ["finished", "diverged", "diverged"])
      #expect(result["best"] as? String == "trial-001")
      let other = directory.appendingPathComponent("other")
      let diverged = try Program.run("descent", arguments(other, ["--over", "lr=900|1000"] + grid), expecting: 70)
      #expect(try diverged.object()["best"] is NSNull)
      #expect(diverged.standardError.contains("diverged"))
    }
  }

  @Test func `what cannot be searched is refused before anything is created`() throws {
    try TemporaryDirectory.with { directory in
      let sweep = directory.appendingPathComponent("sweep")
      let cases: [(Int32, [String], String)] = [
        (64, ["--over", "lambda=1|2"], "Did you mean `l2`"), (64, ["--over", "l2=1..2", "--search", "grid"], ":5"),
        (64, Self.space + ["--run-dir", "x"], "--run-dir has no meaning"),
        (64, Self.space + ["--l2", "1"], "varies it"),
        (64, Self.space + ["--validate", "folds:1"], "folds:N"), (64, Self.space + ["--halving", "1"], "--halving"),
        (64, Self.space + ["--validation-examples", "0"], "no validation examples"),
        (64, ["--over", "shards=16|7", "--search", "grid"], "trial 2 (shards 7)"), (64, ["--tries", "3"], "--over"),
        (64, Self.space + ["--picture", "x.gif"], ".svg or .png"),
        (64, Self.space + ["--parallel", "0"], "--parallel"),
      ]
      for (status, more, reason) in cases {
        let refused = try Program.run("descent", arguments(sweep, more), expecting: status)
        #expect(refused.standardError.contains(reason), "\(more): \(refused.standardError)")
        #expect(!FileManager.default.fileExists(atPath: sweep.path), "\(more)")
      }
    }
  }

  @Test func `a directory has one sweep, and one process of it`() throws {
    try TemporaryDirectory.with { directory in
      let sweep = directory.appendingPathComponent("sweep")
      let running = try Program.start("descent", arguments(sweep) + ["--parallel", "1", "--epochs", "1000"])
      try waitUntil("a trial begins") { FileManager.default.fileExists(atPath: sweep.path + "/trial-001/run.json") }
      let second = try Program.run("descent", arguments(sweep) + ["--epochs", "1000"], expecting: 73)
      #expect(second.standardError.contains("another sweep runs there"))
      kill(running.process.processIdentifier, SIGTERM)
      #expect(try running.wait().status == 75)
      let other = try Program.run("descent", arguments(sweep), expecting: 78)
      #expect(other.standardError.contains("epochs is 81, but was 1000"))
      let run = try Program.run("descent", arguments(sweep.appendingPathComponent("trial-001")), expecting: 73)
      #expect(run.standardError.contains("contains run.json, but no sweep.json"))
    }
  }
}
