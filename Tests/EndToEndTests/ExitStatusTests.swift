import Foundation
import TestSupport
import Testing

/// Each exit status that scripts, systemd and batch systems decide by, from a real process; and nothing left behind.
@Suite("Exit status", .serialized)
struct ExitStatusTests {
  /// Long enough to be disturbed.
  private static let endless = [
    "max-steps": "10000000", "epochs": "1000000", "evaluate-every": "1000", "checkpoint-every": "1000",
  ]

  /// - Parameter text: what standard error must tell.
  private func expect(
    _ status: Int32, _ text: String, _ output: Program.Output, _ variant: String = "", since began: Date? = nil,
    of run: URL? = nil, function: String = #function, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let seconds = began.map { [Date().timeIntervalSince($0)] } ?? []
    output.expect(status, sourceLocation: sourceLocation)
    #expect(output.standardError.contains(text), "\(output.standardError)", sourceLocation: sourceLocation)
    if let run { try Leftovers.expectNone(of: run) }
    let line = output.standardError.split(separator: "\n").last { $0.contains(text) } ?? ""
    try Evidence.add(
      .processes, variant,
      observed: "\(output.status): \(line.prefix(160))", recovery: seconds, function: function)
  }

  private func withRun(_ body: (URL) throws -> Void) throws {
    try TemporaryDirectory.with { try body($0.appendingPathComponent("run")) }
  }

  /// A run that is under way, until `body` has ended it.
  private func withLiveRun(
    workers: Int = 2, _ settings: [String: String] = [:], _ body: (URL, Program.Running) throws -> Void
  ) throws {
    try withRun { run in
      let training = try Training(workers: workers, Self.endless.merging(settings) { $1 }).start(in: run)
      _ = try RunStatus.reaching(step: 1, workers: workers, of: run)
      try body(run, training)
    }
  }

  private func stop(_ training: Program.Running, _ run: URL) throws {
    kill(training.process.processIdentifier, SIGTERM)
    try training.wait(seconds: 30).expect(75)
    try Leftovers.expectNone(of: run)
  }

  @Test func `a run comes to its end: exit status 0`() throws {
    try withRun { run in
      try expect(0, "all 300 steps done", Training(isVerbose: true).start(in: run).wait(), of: run)
    }
  }

  @Test func `an unknown flag: exit status 64`() throws {
    try expect(
      64, "no-such-flag", Program.run("descent", ["train", "--no-such-flag"], expecting: nil))
  }

  @Test func `a bit of a checkpoint is flipped: exit status 65`() throws {
    try withRun { run in
      let checkpoint = try #require(try Training(workers: 0).result(in: run).checkpoint)
      let file = URL(fileURLWithPath: checkpoint + "/model.safetensors")
      var bytes = try Data(contentsOf: file)
      bytes[bytes.count / 2] ^= 1
      try bytes.write(to: file)
      let output = try Program.run("descent", ["verify", checkpoint], expecting: nil)
      try expect(65, "model.safetensors", output)
    }
  }

  @Test func `the directory of data is missing: exit status 66`() throws {
    try withRun { run in
      let output = try Training(["data": run.path + "-none"]).start(in: run).wait()
      try expect(66, run.path + "-none", output, of: run)
    }
  }

  @Test(arguments: ["server", "worker"])
  func `the coordinator never comes: exit status 69`(role: String) throws {
    try withRun { run in
      let data = role == "worker" ? ["--data", try SharedData.directory.get()] : []
      let began = Date()
      let output = try Program.run(
        "descent-\(role)", ["--run-dir", run.path, "--rendezvous-seconds", "1"] + data, expecting: nil)
      try expect(
        69, "no coordinator after 1", output, role, since: began, of: run)
    }
  }

  @Test func `the training diverges: exit status 70`() throws {
    try withRun { run in
      let output = try Training([
        "learning-rate": "1000", "schedule": "step", "step-every": "1", "step-factor": "1", "loss": "svm",
        "l2": "1000", "evaluate-every": "1", "max-steps": "100000",
      ]).start(in: run).wait()
      try expect(70, "diverged", output, of: run)
    }
  }

  @Test func `a second run in a directory in use: exit status 73, and the first one continues`() throws {
    try withLiveRun { run, training in
      let output = try Training(Self.endless).start(in: run).wait()
      #expect(training.process.isRunning)
      try expect(73, run.path, output)
      try stop(training, run)
    }
  }

  @Test func `the last checkpoint cannot be saved: exit status 74`() throws {
    try withRun { run in
      let training = try Training(["max-steps": "6000", "checkpoint-every": "1000"]).start(in: run)
      let checkpoints = run.appendingPathComponent("checkpoints")
      try waitUntil("a checkpoint") {
        FileManager.default.fileExists(atPath: checkpoints.appendingPathComponent("latest").path)
      }
      try FileManager.default.moveItem(at: checkpoints, to: run.appendingPathComponent("elsewhere"))
      let output = try training.wait()
      try expect(74, "all 6,000 steps done", output, of: run)
      #expect(output.standardError.contains("was not saved"))
    }
  }

  @Test func `SIGTERM to descent train: exit status 75 and a checkpoint`() throws {
    try withLiveRun { run, training in
      let began = Date()
      kill(training.process.processIdentifier, SIGTERM)
      try expect(75, "--resume must", training.wait(seconds: 30), since: began, of: run)
      try Program.run("descent", ["verify", run.path])
    }
  }

  @Test func `a second server: exit status 77, and the run continues`() throws {
    try withLiveRun { run, training in
      let began = Date()
      let output = try Program.run("descent-server", ["--run-dir", run.path], expecting: nil)
      try expect(77, "already has a server", output, since: began)
      try stop(training, run)
    }
  }

  @Test func `a misspelt setting in the environment: exit status 78`() throws {
    try withRun { run in
      var training = Training()
      training.environment = ["DESCENT_LEARNIG_RATE": "0.1"]
      let output = try training.start(in: run).wait()
      try expect(78, "DESCENT_LEARNIG_RATE", output, of: run)
    }
  }

  @Test func `a worker is stopped for longer than its lease: exit status 79, and it changes nothing`() throws {
    let lease = ["lease-seconds": "1", "heartbeat-seconds": "0.2"]
    try withLiveRun(lease) { run, training in
      let data = try SharedData.directory.get()
      let worker = try Program.start("descent-worker", ["--run-dir", run.path, "--data", data])
      _ = try RunStatus.reaching(step: 1, workers: 3, of: run)
      kill(worker.process.processIdentifier, SIGSTOP)
      _ = try RunStatus.reaching(step: 1, workers: 2, of: run)
      kill(worker.process.processIdentifier, SIGCONT)
      let began = Date()
      try expect(
        79, "descent: error:", worker.wait(seconds: 20), since: began)
      try stop(training, run)
    }
  }

  @Test(arguments: [SIGINT, SIGTERM])
  func `a second signal: everything ends at once with 128 + signal`(signal: Int32) throws {
    try withLiveRun { run, training in
      let server = try #require(try RunStatus(of: run)?.server)
      // With the server stopped the first signal cannot be answered by a checkpoint at once.
      kill(server, SIGSTOP)
      let began = Date()
      // Those of the first second are copies of the first one.
      try waitUntil("it ends", seconds: 10) {
        kill(training.process.processIdentifier, signal)
        return !training.process.isRunning
      }
      #expect(Date().timeIntervalSince(began) >= 1)
      try expect(128 + signal, "30,730 parameters", training.wait(seconds: 10), "\(signal)", since: began, of: run)
    }
  }
}
