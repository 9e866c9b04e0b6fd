import Foundation
import TestSupport
import Testing

/// Promises 2 and 3: what happens when processes die, stop and come.
@Suite("Faults", .serialized)
struct FaultTests {
  /// Long enough that there is a middle to do things in.
  static let long = ["max-steps": "6000", "evaluate-every": "500", "checkpoint-every": "500"]

  /// The weights of the undisturbed run.
  static let undisturbed = Result { try Training(workers: 0, long).result().hash }

  /// One worker does not wait for another that is killed or stopped. It must not be done before that one is replaced.
  static let longer = ["max-steps": "40000", "evaluate-every": "2000", "checkpoint-every": "2000"]
  static let undisturbedLonger = Result { try Training(workers: 0, longer).result().hash }

  @Test(arguments: ["worker", "server", "coordinator"])
  func `SIGKILL of a role midway: it is restarted within 4 s, no bit changes, nothing is left`(role: String) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let sockets = directory.appendingPathComponent("runtime")
      try FileManager.default.createDirectory(at: sockets, withIntermediateDirectories: true)
      var training = Training(workers: 2, Self.longer)
      training.environment = ["XDG_RUNTIME_DIR": sockets.path]
      let running = try training.start(in: run)
      _ = try RunStatus.reaching(step: 600, workers: 2, of: run)
      let before = processes(of: run)
      let victim = try #require(before.first { name(of: $0).contains("descent-\(role)") })
      kill(victim, SIGKILL)
      let killed = Date()
      try waitUntil("the training goes on without process \(victim)", seconds: 10) {
        guard let status = try RunStatus(of: run) else { return false }
        return status.isRunning && status.workers.count == 2 && !(status.workers + [status.server]).contains(victim)
      }
      let recovery = Date().timeIntervalSince(killed)
      #expect(recovery < 4)
      #expect(processes(of: run).count == before.count)
      let others = Set(before).subtracting([victim])
      #expect(others.isSubset(of: processes(of: run)), "only the victim is replaced")
      let output = try running.wait()
      #expect(output.status == 0, "\(output.standardError)")
      #expect(output.standardError.contains("was killed by signal 9; restarting it"))
      #expect(try TrainingResult(output).hash == Self.undisturbedLonger.get())
      #expect(processes(of: run).isEmpty)
      #expect(try FileManager.default.contentsOfDirectory(atPath: sockets.path).isEmpty)
      try expectRisingMetrics(of: run)
      try Evidence.add(
        .processes, role,
        observed: "restarted once, \(others.count) others lived on, \(try TrainingResult(output).hash.prefix(12))",
        recovery: [recovery])
    }
  }

  @Test func `SIGKILL of the coordinator again and again: five restarts, then 70 and how to resume`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      var long = Training(workers: 2, Self.long)
      long.settings["max-steps"] = "1000000"
      let training = try long.start(in: run)
      _ = try RunStatus.reaching(step: 600, workers: 2, of: run)
      var killed: Set<pid_t> = []
      try waitUntil("descent train gives up", seconds: 60) {
        for process in processes(of: run) where name(of: process).contains("descent-coordinator") {
          if kill(process, SIGKILL) == 0 { killed.insert(process) }
        }
        return !training.process.isRunning
      }
      let output = try training.wait()
      #expect(output.status == 70)
      #expect(killed.count == 6, "once, and five times again")
      #expect(output.standardError.contains("--resume must"))
      #expect(processes(of: run).isEmpty)
      try Evidence.add(
        .processes, times: killed.count,
        observed: "\(killed.count) coordinators were killed, exit status \(output.status)")
    }
  }

  @Test(arguments: ["worker", "server", "coordinator"])
  func `SIGTERM to a role: a worker's work goes to the others, else 75 and every step is saved`(role: String) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      // No evaluation nor checkpoint comes between that could hide that steps were not saved.
      let settings = Self.long.merging(["evaluate-every": "6000", "checkpoint-every": "6000"]) { $1 }
      let running = try Training(workers: 2, settings).start(in: run)
      let before = try RunStatus.reaching(step: 600, workers: 2, of: run)
      let victim = try #require(processes(of: run).first { name(of: $0).contains("descent-\(role)") })
      kill(victim, SIGTERM)
      let began = Date()
      let output = try running.wait()
      let seconds = Date().timeIntervalSince(began)
      let endsRun = role != "worker"
      #expect(output.status == (endsRun ? 75 : 0), "\(output.standardError)")
      let isRestarted = output.standardError.contains("restarting it")
      #expect(!isRestarted, "nothing takes its place")
      var result = try TrainingResult(output)
      var observed = "exit status \(output.status) at step \(result.steps)"
      if endsRun {
        #expect(output.standardError.contains("--resume must"))
        #expect(result.steps >= before.step, "every step that was applied is saved")
        result = try Training(workers: 2, settings.merging(["resume": "must"]) { $1 }).result(in: run)
        observed += ", and resumed"
      }
      #expect(result.steps == 6000)
      #expect(try result.hash == Self.undisturbed.get())
      try Leftovers.expectNone(of: run)
      try Evidence.add(
        .processes, role,
        observed: observed + " \(result.hash.prefix(12))", recovery: endsRun ? [seconds] : [])
    }
  }

  @Test
  func `a second run in a directory that is in use is refused and leaves the first one alone`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let training = try Training(workers: 2, Self.long, isVerbose: true).start(in: run)
      _ = try RunStatus.reaching(step: 100, workers: 2, of: run)
      for policy in ["never", "auto"] {
        try Training(workers: 3, Self.long.merging(["resume": policy]) { $1 }).start(in: run).wait().expect(73)
      }
      let output = try training.wait()
      #expect(output.status == 0, "\(output.standardError)")
      #expect(output.standardError.contains("worker-2@") && !output.standardError.contains("worker-3@"))
      #expect(try TrainingResult(output).hash == Self.undisturbed.get())
    }
  }

  @Test(arguments: ["memory", "tcp"])
  func `SIGKILL of a coordinator started by hand: server and workers find the next one, no bit changes`(
    transport: String
  ) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      var arguments = try Training(workers: 2, Self.long).arguments(in: run)
      arguments.removeAll { ["train", "--json"].contains($0) }
      arguments += ["--transport", transport]
      let location = ["--run-dir", run.path]
      let data = ["--data", try SharedData.directory.get()]
      let first = try Program.start("descent-coordinator", arguments)
      let server = try Program.start("descent-server", location)
      let workers = try (0..<2).map { _ in try Program.start("descent-worker", location + data) }
      _ = try RunStatus.reaching(step: 600, workers: 2, of: run)
      kill(first.process.processIdentifier, SIGKILL)
      let killed = Date()
      _ = try first.wait()
      // By TCP it listens at another port.
      let second = try Program.start("descent-coordinator", arguments + ["--resume", "auto"])
      try waitUntil("the training goes on", seconds: 10) { try RunStatus(of: run).map(\.isRunning) ?? false }
      let recovery = Date().timeIntervalSince(killed)
      #expect(try second.wait().status == 0)
      for node in [server] + workers {
        let output = try node.wait()
        #expect(output.status == 0, "\(output.standardError)")
        #expect(output.standardError.contains("another coordinator has the run"))
      }
      let result =
        try JSONSerialization.jsonObject(
          with: Data(contentsOf: run.appendingPathComponent("result.json"))) as? [String: Any]
      let hash = result?["weights_sha256"] as? String
      #expect(try hash == Self.undisturbed.get())
      #expect(processes(of: run).isEmpty)
      try Evidence.add(
        .processes, transport,
        observed: "3 processes lived on, \(hash?.prefix(12) ?? "nothing")", recovery: [recovery])
    }
  }

  private func name(of process: pid_t) -> String {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/exe")) ?? ""
  }

  @Test
  func `a worker that starts later takes part`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let training = try Training(workers: 1, Self.long).start(in: run)
      _ = try RunStatus.reaching(step: 100, workers: 1, of: run)
      let data = try SharedData.directory.get()
      let late = try Program.start("descent-worker", ["--run-dir", run.path, "--data", data])
      _ = try RunStatus.reaching(step: 100, workers: 2, of: run)
      let output = try training.wait()
      #expect(output.status == 0, "\(output.standardError)")
      #expect(try TrainingResult(output).hash == Self.undisturbed.get())
      #expect(try late.wait().status == 0)
    }
  }

  @Test(arguments: [0, 1, 5])
  func `after kill -9 of everything a resumed run with another number of workers ends with the same bits`(
    resumedWorkers: Int
  ) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let training = try Training(workers: 2, Self.long).start(in: run)
      _ = try RunStatus.reaching(step: 1100, workers: 2, of: run)
      for process in processes(of: run) { kill(process, SIGKILL) }
      _ = try training.wait()
      try waitUntil("all are gone") { processes(of: run).isEmpty }
      let resumed = try Training(workers: resumedWorkers, Self.long.merging(["resume": "must"]) { $1 }).result(in: run)
      #expect(resumed.steps == 6000)
      #expect(try resumed.hash == Self.undisturbed.get())
      try expectRisingMetrics(of: run)
    }
  }

  @Test(arguments: [SIGTERM, SIGINT], [0, 2])
  func `SIGTERM and Ctrl-C save, end with 75 and can be resumed`(signal: Int32, workers: Int) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let settings = Self.long.merging(["max-steps": workers == 0 ? "60000" : "6000"]) { $1 }
      let training = try Training(workers: workers, settings).start(in: run)
      let metrics = run.appendingPathComponent("metrics.jsonl")
      // The first line is that before the first step.
      try waitUntil("an evaluation") {
        (try? String(contentsOf: metrics, encoding: .utf8))?.contains("\n{\"step\":500,") == true
      }
      kill(training.process.processIdentifier, signal)
      let output = try training.wait(seconds: 20)
      #expect(output.status == 75, "\(output.standardError)")
      let interrupted = try TrainingResult(output)
      #expect(interrupted.stopReason == "signal")
      #expect(interrupted.steps > 0)
      #expect(processes(of: run).isEmpty)
      guard workers > 0 else { return }
      let resumed = try Training(workers: 3, settings.merging(["resume": "must"]) { $1 }).result(in: run)
      #expect(try resumed.hash == Self.undisturbed.get())
    }
  }

  /// As scancel, systemctl stop and pkill do, and launchers that forward what the group has received.
  @Test(arguments: [SIGTERM, SIGINT, SIGHUP], [0, 2])
  func `a signal to all processes of a run, three times within a second: 75 and every step is saved`(
    signal: Int32, workers: Int
  ) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      // No evaluation nor checkpoint comes between that could hide that steps were not saved.
      let settings = ["max-steps": "1000000", "evaluate-every": "0", "checkpoint-every": "0"]
      let training = try Training(workers: workers, settings).start(in: run)
      if workers > 0 {
        _ = try RunStatus.reaching(step: 200, workers: workers, of: run)
      } else {
        try waitUntil("the run begins") { FileManager.default.fileExists(atPath: run.path + "/metrics.jsonl") }
      }
      let all = [training.process.processIdentifier] + processes(of: run)
      for _ in 0..<3 { for process in all { kill(process, signal) } }
      let output = try training.wait(seconds: 20)
      #expect(output.status == 75, "\(output.standardError)")
      let steps = try TrainingResult(output).steps
      #expect(workers == 0 || steps >= 200)
      let name = "step-" + String(repeating: "0", count: 12 - "\(steps)".count) + "\(steps)"
      #expect(FileManager.default.fileExists(atPath: "\(run.path)/checkpoints/\(name)"))
      try Evidence.add(
        .processes, "\(signal), \(workers) workers", observed: "exit status \(output.status), the last step is saved")
      #expect(processes(of: run).isEmpty)
    }
  }

  @Test func `a run that was started under nohup continues after SIGHUP`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let before = signal(SIGHUP, SIG_IGN)
      defer { signal(SIGHUP, before) }
      let training = try Training(workers: 2, ["max-steps": "1000000"]).start(in: run)
      let step = try RunStatus.reaching(step: 100, workers: 2, of: run).step
      for process in [training.process.processIdentifier] + processes(of: run) { kill(process, SIGHUP) }
      _ = try RunStatus.reaching(step: step + 1000, workers: 2, of: run)
      kill(training.process.processIdentifier, SIGTERM)
      #expect(try training.wait(seconds: 20).status == 75)
    }
  }

  @Test(arguments: [0, 2])
  func `a run that is over when it is resumed gives the same result again`(workers: Int) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let criterion = ["target-accuracy": "0.3", "evaluate-every": "20", "max-steps": "3000"]
      let first = try Training(workers: 2, criterion).result(in: run)
      let again = try Training(workers: workers, criterion.merging(["resume": "must"]) { $1 }).result(in: run)
      for key in ["weights_sha256", "stop_reason", "checkpoint"] {
        #expect(again.object[key] as? String == first.object[key] as? String, "\(key)")
      }
      for key in ["train_data_loss", "validation_data_loss", "best_validation_data_loss", "test_accuracy"] {
        #expect(again.object[key] as? Double == first.object[key] as? Double, "\(key)")
      }
      #expect(again.steps == first.steps)
    }
  }

  @Test
  func `a second signal ends everything at once`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let training = try Training(workers: 2, ["max-steps": "1000000", "evaluate-every": "1000"]).start(in: run)
      let status = try RunStatus.reaching(step: 100, workers: 2, of: run)
      // With the server stopped the first signal cannot be answered by a checkpoint at once.
      kill(try #require(status.server), SIGSTOP)
      kill(training.process.processIdentifier, SIGINT)
      try waitUntil("it ends", seconds: 10) {
        kill(training.process.processIdentifier, SIGTERM)
        return !training.process.isRunning
      }
      let output = try training.wait(seconds: 10)
      #expect(output.status == 143, "\(output.status) \(output.standardError)")
      try waitUntil("all are gone", seconds: 5) { processes(of: run).isEmpty }
    }
  }

  @Test
  func `a loss that is not finite ends with 70 and names the last good checkpoint`() throws {
    for workers in [0, 2] {
      try TemporaryDirectory.with { directory in
        let run = directory.appendingPathComponent("run")
        let settings = [
          "learning-rate": "1000", "schedule": "step", "step-every": "1", "step-factor": "1", "loss": "svm",
          "l2": "1000", "checkpoint-every": "1", "evaluate-every": "1", "max-steps": "100000",
        ]
        let output = try Training(workers: workers, settings).start(in: run).wait()
        #expect(output.status == 70, "\(workers) workers: \(output.standardError)")
        #expect(output.standardError.contains("checkpoint"))
        #expect(try TrainingResult(output).stopReason == "diverged")
        #expect(processes(of: run).isEmpty)
      }
    }
  }

  @Test
  func `nothing is left behind: no process, no socket, no endpoint`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let sockets = directory.appendingPathComponent("runtime")
      try FileManager.default.createDirectory(at: sockets, withIntermediateDirectories: true)
      var training = Training(workers: 2)
      training.environment = ["XDG_RUNTIME_DIR": sockets.path]
      _ = try training.result(in: run)
      #expect(processes(of: run).isEmpty)
      #expect(try FileManager.default.contentsOfDirectory(atPath: sockets.path).isEmpty)
      #expect(!FileManager.default.fileExists(atPath: run.appendingPathComponent("coordinator.endpoint").path))
    }
  }

  private func expectRisingMetrics(of run: URL) throws {
    let text = try String(contentsOf: run.appendingPathComponent("metrics.jsonl"), encoding: .utf8)
    let steps = try text.split(separator: "\n").map { line in
      let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
      return try #require(object?["step"] as? Int)
    }
    #expect(zip(steps, steps.dropFirst()).allSatisfy { $0 < $1 }, "\(steps)")
  }
}
