import Foundation
import TestSupport
import Testing

/// SIGUSR1, and the signal by which a scheduler warns.
@Suite("Signals that save", .serialized)
struct SaveSignalTests {
  /// Nothing else saves.
  private static let endless = [
    "max-steps": "10000000", "epochs": "1000000", "evaluate-every": "0", "checkpoint-every": "0",
  ]

  private func with(
    workers: Int = 2, _ settings: [String: String] = [:], _ body: (URL, Program.Running, [pid_t]) throws -> Void
  ) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let training = try Training(workers: workers, Self.endless.merging(settings) { $1 }).start(in: run)
      if workers > 0 {
        _ = try RunStatus.reaching(step: 100, workers: workers, of: run)
      } else {
        try waitUntil("the run begins") { FileManager.default.fileExists(atPath: run.path + "/metrics.jsonl") }
      }
      let path = "/proc/\(training.process.processIdentifier)/task/\(training.process.processIdentifier)/children"
      let children = try String(contentsOfFile: path, encoding: .utf8).split(separator: " ").compactMap { pid_t($0) }
      try body(run, training, children)
    }
  }

  private func checkpoints(of run: URL) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: run.path + "/checkpoints")) ?? []
    return names.filter { $0.hasPrefix("step-") }.sorted()
  }

  /// The run goes on after it, and is stopped.
  private func expectOneMore(_ run: URL, _ training: Program.Running, _ signal: () -> Void) throws {
    let before = checkpoints(of: run)
    signal()
    try waitUntil("a checkpoint is saved", seconds: 20) { checkpoints(of: run) != before }
    #expect(training.process.isRunning)
    kill(training.process.processIdentifier, SIGTERM)
    let steps = try TrainingResult(training.wait(seconds: 20).expect(75)).steps
    #expect(steps > 0)
    let saved = try #require(checkpoints(of: run).first { !before.contains($0) })
    #expect(try #require(Int(saved.dropFirst("step-".count))) < steps, "\(saved), ended at \(steps)")
    try Leftovers.expectNone(of: run)
  }

  @Test(arguments: ["command", "coordinator", "server", "worker"])
  func `SIGUSR1 to any process: a checkpoint at once, and the training goes on`(target: String) throws {
    try with { run, training, children in
      let process = ["coordinator": children[0], "server": children[1], "worker": children[2]][target]
      try expectOneMore(run, training) { kill(process ?? training.process.processIdentifier, SIGUSR1) }
      let name = process == nil ? "train" : target
      if name != "train" { #expect(try !RunLog(of: run, role: name).messages("save_requested").isEmpty) }
    }
  }

  @Test func `SIGUSR1 to all processes at once: one checkpoint`() throws {
    try with { run, training, children in
      try expectOneMore(run, training) {
        for process in [training.process.processIdentifier] + children { kill(process, SIGUSR1) }
      }
      #expect(checkpoints(of: run).count == 2, "\(checkpoints(of: run))")
    }
  }

  @Test func `SIGUSR1 without workers: a checkpoint at once, and the training goes on`() throws {
    try with(workers: 0) { run, training, _ in
      try expectOneMore(run, training) { kill(training.process.processIdentifier, SIGUSR1) }
    }
  }

  @Test(arguments: [0, 2], ["USR1", "SIGUSR1"])
  func `with --warning-signal USR1 it stops the run: 75, and every step is saved`(
    workers: Int, name: String
  ) throws {
    try with(workers: workers, ["warning-signal": name]) { run, training, children in
      for process in [training.process.processIdentifier] + children { kill(process, SIGUSR1) }
      let steps = try TrainingResult(training.wait(seconds: 20).expect(75)).steps
      #expect(checkpoints(of: run).last?.hasSuffix("0\(steps)") == true)
      try Leftovers.expectNone(of: run)
    }
  }

  @Test func `a server that has found no coordinator ignores it, and says nothing else`() throws {
    try TemporaryDirectory.with { directory in
      let server = try Program.start(
        "descent-server", ["--run-dir", directory.path, "--rendezvous-seconds", "1.5"])
      try waitUntil("it handles signals") {
        let status = try? String(contentsOfFile: "/proc/\(server.process.processIdentifier)/status", encoding: .utf8)
        return status?.contains(/SigBlk:\s+[0-9a-f]*[2367abef][0-9a-f]{2}\n/) == true
      }
      kill(server.process.processIdentifier, SIGUSR1)
      try server.wait(seconds: 20).expect(69)
    }
  }

  @Test func `fewer workers than --min-workers: 69, and how many were there`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let settings = [
        "min-workers": "3", "rendezvous-seconds": "2", "lease-seconds": "0.5", "heartbeat-seconds": "0.1",
      ]
      let output = try Training(workers: 2, settings).start(in: run).wait(seconds: 30).expect(69)
      #expect(
        output.standardError.contains("too few workers (2 of at least 3 workers connected)"), "\(output.standardError)")
      try Leftovers.expectNone(of: run)
    }
  }
}
