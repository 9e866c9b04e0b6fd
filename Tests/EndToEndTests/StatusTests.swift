import Foundation
import TestSupport
import Testing

/// Why did it stop, which worker is slow, and what is running: answered by the files of a run and by `descent status`.
@Suite("Status", .serialized)
struct StatusTests {
  private func status(of run: URL, expecting status: Int32) throws -> [String: Any] {
    try Program.run("descent", ["status", "--run-dir", run.path, "--json"], expecting: status).object()
  }

  private func runFile(of run: URL) throws -> [String: Any] {
    let data = try Data(contentsOf: run.appendingPathComponent("run.json"))
    return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
  }

  @Test func `run.json has the command as typed, versions, typed settings and the reason of the end`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let training = Training(workers: 1, ["max-steps": "20"])
      try training.start(in: run).wait().expect(0)
      let file = try runFile(of: run)
      let starts = try #require(file["starts"] as? [[String: Any]])
      #expect(starts.count == 1)
      let command = try #require(starts[0]["command"] as? [String])
      #expect(command.first?.hasSuffix("descent") == true)
      #expect(Array(command.dropFirst()) == (try training.arguments(in: run)))
      #expect((file["settings"] as? [String: Any])?["batch-size"] as? Int == 64)
      #expect((file["settings"] as? [String: Any])?["keys"] is NSNull)
      #expect((file["origins"] as? [String: String])?["batch-size"] == "--batch-size")
      #expect((file["versions"] as? [String: Any])?["network_protocol"] as? Int == 7)
      #expect((file["ended"] as? [String: Any])?["reason"] as? String == "steps")
      let shown = try status(of: run, expecting: 3)
      #expect(shown["state"] as? String == "finished" && shown["step"] as? Int == 20)
      #expect(shown["validation_accuracy"] is Double && shown["images_per_second"] is NSNull)
      let list = try Program.run("descent", ["runs", directory.path])
      #expect(list.standardOutput.contains(/\nrun +softmax .*finished \(steps\)\n/), "\(list.standardOutput)")
    }
  }

  @Test func `status shows a live run at once, an interrupted one, and one that was killed`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      var training = Training(workers: 2, ["max-steps": "100000000"])
      let first = try training.start(in: run)
      _ = try RunStatus.reaching(step: 50, workers: 2, of: run)
      let live = try status(of: run, expecting: 0)
      let workers = try #require(live["workers"] as? [[String: Any]])
      #expect(Set(workers.compactMap { ($0["name"] as? String)?.prefix(9) }) == ["worker-1@", "worker-2@"])
      #expect(live["state"] as? String == "running" && live["started"] is String)
      kill(first.process.processIdentifier, SIGTERM)
      try first.wait().expect(75)
      let ended = try #require(try status(of: run, expecting: 75)["ended"] as? [String: Any])
      #expect(ended["reason"] as? String == "signal" && ended["signal"] as? String == "SIGTERM")

      training.settings["resume"] = "must"
      let second = try training.start(in: run)
      _ = try RunStatus.reaching(step: 1, workers: 2, of: run)
      let all = processes(of: run)
      kill(second.process.processIdentifier, SIGKILL)
      for process in all { kill(process, SIGKILL) }
      _ = try second.wait()
      let began = Date()
      let crashed = try status(of: run, expecting: 69)
      #expect(Date().timeIntervalSince(began) < 2)
      #expect(crashed["state"] as? String == "crashed" && crashed["last_written"] is String)
      #expect(
        try Program.run("descent", ["status", "--run-dir", directory.path], expecting: 66).standardOutput.isEmpty)

      try training.start(in: run).wait(seconds: 1, orInterrupt: SIGTERM).expect(75)
      let starts = try #require(try runFile(of: run)["starts"] as? [[String: Any]])
      #expect(starts.compactMap { $0["ended"] as? String } == ["signal", "killed", "signal"])
      #expect((starts[1]["resumed_from"] as? String)?.contains("/checkpoints/step-") == true)
    }
  }

  @Test func `a restart is in the log of descent train and in run.json, under the same name`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let training = try Training(workers: 2, ["max-steps": "100000000"]).start(in: run)
      let worker = try RunStatus.reaching(step: 50, workers: 2, of: run).workers[0]
      kill(worker, SIGKILL)
      try waitUntil("another one takes its place", seconds: 20) {
        guard let status = try RunStatus(of: run) else { return false }
        return status.workers.count == 2 && !status.workers.contains(worker)
      }
      kill(training.process.processIdentifier, SIGINT)
      try training.wait().expect(75)
      let log = try RunLog(of: run, role: "train")
      #expect(log.messages("process_started").count == 5)
      let restarted = try #require(log.messages("process_restarted").first)
      #expect(restarted.contains(/^worker-[12]@\S+ was killed by signal 9; restarting it$/))
      #expect(log.messages("signal_received").first?.hasPrefix("SIGINT from process ") == true)
      let restarts = try #require(try runFile(of: run)["restarts"] as? [[String: Any]])
      #expect(restarts.count == 1)
      #expect(restarts[0]["former_exit"] as? String == "was killed by signal 9")
      #expect(restarted.hasPrefix(restarts[0]["process"] as? String ?? "none"))
      let names = try FileManager.default.contentsOfDirectory(atPath: run.appendingPathComponent("logs").path)
      #expect(
        Set(names.map { $0.prefix { $0 != "@" } }) == ["coordinator", "server", "train", "worker-1", "worker-2"])
    }
  }
}

extension Program.Running {
  /// Sends a signal after that time.
  fileprivate func wait(seconds: Double, orInterrupt signal: Int32) throws -> Program.Output {
    Thread.sleep(forTimeInterval: seconds)
    kill(process.processIdentifier, signal)
    return try wait()
  }
}
