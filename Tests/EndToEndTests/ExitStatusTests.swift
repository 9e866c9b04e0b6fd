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
    _ status: Int32, _ text: String, _ output: Program.Output, _ done: String, since began: Date? = nil,
    of run: URL? = nil, function: String = #function, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let seconds = began.map { [Date().timeIntervalSince($0)] } ?? []
    output.expect(status, sourceLocation: sourceLocation)
    #expect(output.standardError.contains(text), "\(output.standardError)", sourceLocation: sourceLocation)
    if let run { try Leftovers.expectNone(of: run) }
    let line = output.standardError.split(separator: "\n").last { $0.contains(text) } ?? ""
    try Evidence.add(
      .processes, done, expected: "exit status \(status), nothing left behind",
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

  @Test("0: the run has come to its end")
  func success() throws {
    try withRun { run in
      try expect(0, "all 300 steps done", Training().start(in: run).wait(), "a run is left alone", of: run)
    }
  }

  @Test("64: wrong usage")
  func usage() throws {
    try expect(
      64, "no-such-flag", Program.run("descent", ["train", "--no-such-flag"], expecting: nil), "an unknown flag")
  }

  @Test("65: a checkpoint is damaged")
  func badData() throws {
    try withRun { run in
      let checkpoint = try #require(try Training(workers: 0).result(in: run).checkpoint)
      let file = URL(fileURLWithPath: checkpoint + "/model.safetensors")
      var bytes = try Data(contentsOf: file)
      bytes[bytes.count / 2] ^= 1
      try bytes.write(to: file)
      let output = try Program.run("descent", ["verify", checkpoint], expecting: nil)
      try expect(65, "model.safetensors", output, "a flipped bit in a checkpoint that is verified")
    }
  }

  @Test("66: the data are not there")
  func missingInput() throws {
    try withRun { run in
      let output = try Training(["data": run.path + "-none"]).start(in: run).wait()
      try expect(66, run.path + "-none", output, "a directory of data that is not there", of: run)
    }
  }

  @Test("69: a coordinator never comes", arguments: ["server", "worker"])
  func unavailable(role: String) throws {
    try withRun { run in
      let data = role == "worker" ? ["--data", try SharedData.directory.get()] : []
      let began = Date()
      let output = try Program.run(
        "descent-\(role)", ["--run-dir", run.path, "--rendezvous-seconds", "1"] + data, expecting: nil)
      try expect(
        69, "no coordinator after 1", output, "a \(role) whose coordinator never comes", since: began, of: run)
    }
  }

  @Test("70: the training has diverged")
  func diverged() throws {
    try withRun { run in
      let output = try Training([
        "learning-rate": "1000", "schedule": "step", "step-every": "1", "step-factor": "1", "loss": "svm",
        "l2": "1000", "evaluate-every": "1", "max-steps": "100000",
      ]).start(in: run).wait()
      try expect(70, "diverged", output, "a learning rate of 1000", of: run)
    }
  }

  @Test("73: the directory is in use by another run, which goes on")
  func cannotCreate() throws {
    try withLiveRun { run, training in
      let output = try Training(Self.endless).start(in: run).wait()
      #expect(training.process.isRunning)
      try expect(73, run.path, output, "a second run in the directory of one that is under way")
      try stop(training, run)
    }
  }

  @Test("74: the last checkpoint cannot be saved")
  func inputOutput() throws {
    try withRun { run in
      let training = try Training(["max-steps": "6000", "checkpoint-every": "1000"]).start(in: run)
      let checkpoints = run.appendingPathComponent("checkpoints")
      try waitUntil("a checkpoint") {
        FileManager.default.fileExists(atPath: checkpoints.appendingPathComponent("latest").path)
      }
      try FileManager.default.moveItem(at: checkpoints, to: run.appendingPathComponent("elsewhere"))
      let output = try training.wait()
      try expect(74, "all 6,000 steps done", output, "the directory of checkpoints is moved away", of: run)
      #expect(output.standardError.contains("was not saved"))
    }
  }

  @Test("75: stopped by a signal, with a checkpoint")
  func stopped() throws {
    try withLiveRun { run, training in
      let began = Date()
      kill(training.process.processIdentifier, SIGTERM)
      try expect(75, "--resume must", training.wait(seconds: 30), "SIGTERM", since: began, of: run)
      try Program.run("descent", ["verify", run.path])
    }
  }

  @Test("77: a second server is refused, and the run goes on")
  func refused() throws {
    try withLiveRun { run, training in
      let began = Date()
      let output = try Program.run("descent-server", ["--run-dir", run.path], expecting: nil)
      try expect(77, "has a server already", output, "a second server", since: began)
      try stop(training, run)
    }
  }

  @Test("78: the configuration is wrong")
  func badConfiguration() throws {
    try withRun { run in
      var training = Training()
      training.environment = ["DESCENT_LEARNIG_RATE": "0.1"]
      let output = try training.start(in: run).wait()
      try expect(78, "DESCENT_LEARNIG_RATE", output, "a misspelt setting in the environment", of: run)
    }
  }

  @Test("79: a worker that was stopped for longer than its lease is told so when it goes on, and changes nothing")
  func fenced() throws {
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
        79, "descent: error:", worker.wait(seconds: 20), "SIGSTOP of a worker, SIGCONT after its lease", since: began)
      try stop(training, run)
    }
  }

  @Test("130 and 143: a second signal ends everything at once", arguments: [SIGINT, SIGTERM])
  func secondSignal(signal: Int32) throws {
    try withLiveRun { run, training in
      let server = try #require(try RunStatus(of: run)?.server)
      // With the server stopped the first signal cannot be answered by a checkpoint at once.
      kill(server, SIGSTOP)
      let began = Date()
      for _ in 0..<2 {
        kill(training.process.processIdentifier, signal)
        // Two signals of one kind that are pending at once are one.
        usleep(100_000)
      }
      try expect(128 + signal, "run", training.wait(seconds: 10), "signal \(signal) twice", since: began, of: run)
    }
  }
}
