import Foundation
import TestSupport
import Testing

/// What shells, terminals, schedulers and service managers do to a tree of processes.
@Suite("Process trees", .serialized)
struct ProcessTreeTests {
  /// No evaluation nor checkpoint comes between that could hide that steps were not saved.
  private static let endless = [
    "max-steps": "10000000", "epochs": "1000000", "evaluate-every": "0", "checkpoint-every": "0",
  ]

  private struct Tree {
    let run: URL
    let training: Program.Running

    var command: pid_t { training.process.processIdentifier }
    /// Of the roles, in the order of their starts; empty without workers.
    var children: [pid_t] { ProcessTreeTests.children(of: command) }

    func signal(_ number: Int32) { for process in [command] + children { kill(process, number) } }
  }

  /// The live children of a process.
  private static func children(of process: pid_t) -> [pid_t] {
    let path = "/proc/\(process)/task/\(process)/children"
    return (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: " ").compactMap { pid_t($0) } ?? []
  }

  private static func state(of process: pid_t) -> Character? {
    (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8))?
      .split(separator: ")").last?.split(separator: " ").first?.first
  }

  /// A run that trains, until `body` has ended it.
  ///
  /// - Parameter wrapper: a command, with the path of its program, that starts `descent`.
  private func with(
    workers: Int = 2, _ settings: [String: String] = [:], wrapper: [String] = [], _ body: (Tree) throws -> Void
  ) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let arguments = try Training(workers: workers, Self.endless.merging(settings) { $1 }).arguments(in: run)
      let descent = Program.directory.appendingPathComponent("descent").path
      let line = wrapper + [descent] + arguments
      let training = try Program.Running(
        at: URL(fileURLWithPath: line[0]), Array(line.dropFirst()), environment: [:])
      if workers > 0 {
        _ = try RunStatus.reaching(step: 100, workers: workers, of: run)
      } else {
        try waitUntil("the run begins") { FileManager.default.fileExists(atPath: run.path + "/metrics.jsonl") }
      }
      try body(Tree(run: run, training: training))
    }
  }

  /// The end of a run that a signal has stopped: the last step is saved, `run.json` says so, and nothing is left.
  /// - Returns: the step.
  @discardableResult
  private func expectSaved(_ tree: Tree, atLeast step: Int = 0) throws -> Int {
    let output = try tree.training.wait(seconds: 20).expect(75)
    let steps = try TrainingResult(output).steps
    #expect(steps >= step)
    try expectSaved(tree.run, steps)
    return steps
  }

  private func expectSaved(_ run: URL, _ steps: Int) throws {
    let name = "step-" + String(repeating: "0", count: 12 - "\(steps)".count) + "\(steps)"
    #expect(FileManager.default.fileExists(atPath: "\(run.path)/checkpoints/\(name)"))
    try expectEnded(run)
  }

  private func expectEnded(_ run: URL) throws {
    try Leftovers.expectNone(of: run)
    let record = try String(contentsOf: run.appendingPathComponent("run.json"), encoding: .utf8)
    #expect(record.contains("\"status\": \"interrupted\""))
    let names = try FileManager.default.subpathsOfDirectory(atPath: run.path)
    #expect(names.allSatisfy { !$0.contains(".tmp-") && $0 != "coordinator.endpoint" }, "\(names)")
  }

  @Test(arguments: [(SIGQUIT, 2), (SIGUSR2, 2), (SIGUSR2, 0), (SIGXCPU, 0)])
  func `a scheduler's warning or Ctrl-backslash to all processes: 75 and every step is saved`(
    signal: Int32, workers: Int
  ) throws {
    try with(workers: workers) { tree in
      tree.signal(signal)
      let step = try expectSaved(tree)
      try Evidence.add(.trees, "signal \(signal), \(workers) workers", observed: "75, step \(step) is saved")
    }
  }

  @Test func `all processes are stopped for longer than every wait: the same continue, and no step is lost`() throws {
    let impatient = ["heartbeat-seconds": "0.1", "lease-seconds": "0.5", "rendezvous-seconds": "2"]
    try with(impatient) { tree in
      let before = Set(tree.children)
      tree.signal(SIGSTOP)
      usleep(2_500_000)
      tree.signal(SIGCONT)
      let step = try #require(try RunStatus(of: tree.run)).step
      _ = try RunStatus.reaching(step: step + 200, workers: 2, of: tree.run)
      #expect(Set(tree.children) == before)
      kill(tree.command, SIGTERM)
      let end = try expectSaved(tree, atLeast: step)
      let log = try RunLog(of: tree.run, role: "coordinator")
      #expect(log.messages("worker_evicted").isEmpty && log.messages("server_lost").isEmpty)
      try Evidence.add(.trees, observed: "\(before.count) processes continue at step \(step) or later, saved at \(end)")
    }
  }

  @Test func `Ctrl-Z: the command and all processes of the run stop, and continue with it`() throws {
    try with { tree in
      let all = [tree.command] + tree.children
      kill(tree.command, SIGTSTP)
      try waitUntil("all are stopped") { all.allSatisfy { Self.state(of: $0) == "T" } }
      kill(tree.command, SIGCONT)
      try waitUntil("all continue") { all.allSatisfy { Self.state(of: $0) != "T" } }
      let step = try RunStatus.reaching(step: 100, workers: 2, of: tree.run).step
      kill(tree.command, SIGTERM)
      try expectSaved(tree, atLeast: step)
      try Evidence.add(.trees, observed: "\(all.count) processes stopped, all continued")
    }
  }

  @Test func `SIGKILL to the command alone: the coordinator saves, run.json is closed, and nothing is left`() throws {
    try with { tree in
      let step = try #require(try RunStatus(of: tree.run)).step
      kill(tree.command, SIGKILL)
      _ = try tree.training.wait()
      try Leftovers.expectNone(of: tree.run)
      let result = try JSONSerialization.jsonObject(
        with: Data(contentsOf: tree.run.appendingPathComponent("result.json")))
      let steps = try #require((result as? [String: Any])?["steps"] as? Int)
      #expect(steps >= step)
      try expectSaved(tree.run, steps)
      try Evidence.add(.trees, observed: "step \(steps) is saved, interrupted")
    }
  }

  /// The command passes it on, and its copy is no second signal.
  @Test func `a signal to the coordinator, and to the command 1.2 s later: 75 and every step is saved`() throws {
    try with { tree in
      let (coordinator, server) = (tree.children[0], tree.children[1])
      // So that the save takes longer.
      kill(server, SIGSTOP)
      kill(coordinator, SIGTERM)
      usleep(1_200_000)
      kill(tree.command, SIGTERM)
      usleep(200_000)
      kill(server, SIGCONT)
      try expectSaved(tree, atLeast: 100)
      try Evidence.add(.trees, observed: "75, the last step is saved")
    }
  }

  @Test func `a second, deliberate signal: everything ends at once, and run.json does not say running`() throws {
    try with { tree in
      // With the server stopped the first signal cannot be answered by a checkpoint at once.
      kill(tree.children[1], SIGSTOP)
      try waitUntil("it ends", seconds: 10) {
        kill(tree.command, SIGTERM)
        return !tree.training.process.isRunning
      }
      try tree.training.wait().expect(143)
      try expectEnded(tree.run)
      try Evidence.add(.trees, observed: "143, interrupted")
    }
  }

  /// The signal is pending when a process begins to handle signals; it does not end it before.
  @Test(arguments: [0, 1, 2, 3])
  func `a signal to a process that has just been started: 75, and the run can be resumed`(child: Int) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let short = ["max-steps": "40", "evaluate-every": "40", "checkpoint-every": "0"]
      let training = try Training(workers: 2, short).start(in: run)
      let command = training.process.processIdentifier
      var children: [pid_t] = []
      try waitUntil("the processes are started") {
        children = Self.children(of: command)
        return children.count == 4
      }
      kill(children[child], SIGTERM)
      kill(command, SIGTERM)
      let status = try training.wait(seconds: 20).status
      // It may be over already.
      #expect([0, 75].contains(status), "\(training.standardError)")
      try Leftovers.expectNone(of: run)
      let resumed = try Training(workers: 2, short.merging(["resume": "must"]) { $1 }).result(in: run)
      #expect(resumed.steps == 40)
      try Evidence.add(
        .trees, ["coordinator", "server", "worker-1", "worker-2"][child], observed: "\(status), resumed to its end")
    }
  }

  @Test func `a signal before the first step: 75, and the same command begins again`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let arguments = try Training(workers: 2).arguments(in: run).filter { !["train", "--json"].contains($0) }
      let coordinator = try Program.start("descent-coordinator", arguments)
      try waitUntil("it listens") { FileManager.default.fileExists(atPath: run.path + "/coordinator.endpoint") }
      kill(coordinator.process.processIdentifier, SIGTERM)
      try coordinator.wait(seconds: 10).expect(75)
      try expectSaved(run, 0)
      #expect(try Training(workers: 2).result(in: run).steps == 300)
      try Evidence.add(.trees, observed: "75 and a checkpoint of step 0; the same command: 0")
    }
  }

  @Test func `SIGKILL before the first step: the same command begins again`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let arguments = try Training(workers: 2).arguments(in: run).filter { !["train", "--json"].contains($0) }
      let coordinator = try Program.start("descent-coordinator", arguments)
      try waitUntil("it listens") { FileManager.default.fileExists(atPath: run.path + "/coordinator.endpoint") }
      kill(coordinator.process.processIdentifier, SIGKILL)
      _ = try coordinator.wait(seconds: 10)
      #expect(try Program.run("descent", ["runs", directory.path]).standardOutput.isEmpty)
      #expect(try Training(workers: 2).result(in: run).steps == 300)
      try Leftovers.expectNone(of: run)
      try Evidence.add(.starts, observed: "not listed; the same command: 0")
    }
  }

  @Test func `a worker cannot be started: 70, nothing is left, and the same command works once it can`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let programs = directory.appendingPathComponent("bin")
      try FileManager.default.createDirectory(at: programs, withIntermediateDirectories: false)
      for name in ["descent", "descent-coordinator", "descent-server", "descent-worker"] {
        let copy = programs.appendingPathComponent(name)
        if name == "descent-worker" {
          try Data("no program".utf8).write(to: copy)
          try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: copy.path)
        } else {
          try FileManager.default.copyItem(at: Program.directory.appendingPathComponent(name), to: copy)
        }
      }
      let arguments = try Training(workers: 1).arguments(in: run)
      let descent = programs.appendingPathComponent("descent")
      try Program.Running(at: descent, arguments, environment: [:]).wait(seconds: 20).expect(70)
      #expect(!FileManager.default.fileExists(atPath: run.path))
      let worker = programs.appendingPathComponent("descent-worker")
      try FileManager.default.removeItem(at: worker)
      try FileManager.default.copyItem(at: Program.directory.appendingPathComponent("descent-worker"), to: worker)
      try Program.Running(at: descent, arguments, environment: [:]).wait(seconds: 20).expect(0)
      try Evidence.add(.starts, observed: "70, no directory; then 0")
    }
  }

  // MARK: - What is inherited

  private static let env = ["/usr/bin/env"]

  @Test(arguments: [
    ("SIGCHLD ignored", ["--ignore-signal=CHLD"]), ("SIGTERM blocked", ["--block-signal=TERM"]),
    ("SIGTERM and SIGINT ignored", ["--ignore-signal=TERM", "--ignore-signal=INT"]),
    ("all blocked", ["--block-signal"]),
  ])
  func `signals are blocked or ignored at the start: a signal saves all the same, and the exit status is right`(
    name: String, flags: [String]
  ) throws {
    for signal in [SIGTERM, SIGINT] {
      try with(wrapper: Self.env + flags) { tree in
        kill(tree.command, signal)
        try expectSaved(tree, atLeast: 100)
      }
    }
    try Evidence.add(.trees, name, times: 2, observed: "75, the last step is saved")
  }

  @Test(arguments: [
    ("bash", ["/bin/bash", "-c", "\"$@\" & wait $!", "bash"], false),
    ("timeout", ["/usr/bin/timeout", "-s", "TERM", "600"], true),
    ("timeout --foreground", ["/usr/bin/timeout", "--foreground", "600"], true),
    ("setsid nohup", ["/usr/bin/setsid", "--wait", "/usr/bin/nohup"], false),
    (
      "a trap that forwards",
      // Each signal ends a `wait`.
      [
        "/bin/bash", "-c",
        "\"$@\" & p=$!; trap 'kill -TERM $p' TERM; while kill -0 $p 2>/dev/null; do wait $p; done; wait $p", "bash",
      ], true
    ),
  ])
  func `a signal to a wrapper and to all that it has started: 75 and every step is saved`(
    name: String, wrapper: [String], passesStatus: Bool
  ) throws {
    try with(wrapper: wrapper) { tree in
      let descent = try #require(Self.children(of: tree.command).first)
      let all = [tree.command, descent] + Self.children(of: descent)
      for _ in 0..<3 {
        for process in all { kill(process, SIGTERM) }
        // Signals that have not been received are one.
        usleep(10_000)
      }
      let output = try tree.training.wait(seconds: 20)
      if passesStatus { output.expect(75) }
      try Leftovers.expectNone(of: tree.run)
      let data = try Data(contentsOf: tree.run.appendingPathComponent("result.json"))
      let steps = (try JSONSerialization.jsonObject(with: data) as? [String: Any])?["steps"] as? Int
      try expectSaved(tree.run, try #require(steps))
      try Evidence.add(.trees, name, observed: "\(output.status), step \(steps ?? 0) is saved")
    }
  }

  // MARK: - Terminals

  private func terminal(_ flags: [String], _ keys: URL) -> [String] {
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("terminal.py")
    return ["/usr/bin/env", "python3", script.path] + flags + [keys.path]
  }

  @Test func `Ctrl-C where SIGINT was ignored at the start: the run continues, and SIGTERM saves it`() throws {
    try TemporaryDirectory.with { directory in
      let keys = directory.appendingPathComponent("keys")
      try with(wrapper: terminal(["--ignore-interrupt"], keys)) { tree in
        _ = try RunStatus.reaching(step: 100, workers: 2, of: tree.run)
        // All at once: what is half written must not be typed.
        try Data([3]).write(to: keys, options: .atomic)
        try waitUntil("it is typed") { !FileManager.default.fileExists(atPath: keys.path) }
        // Further than a run comes that is being stopped.
        let step = try RunStatus.reaching(step: 100, workers: 2, of: tree.run).step
        _ = try RunStatus.reaching(step: step + 5000, workers: 2, of: tree.run)
        kill(try #require(Self.children(of: tree.command).first), SIGTERM)
        try tree.training.wait(seconds: 20).expect(75)
        try expectEnded(tree.run)
        try Evidence.add(.trees, observed: "no stop by Ctrl-C; 75 by SIGTERM")
      }
    }
  }

  @Test func `a run writes to a terminal with tostop: no process of it is stopped`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let line = terminal(["--tostop"], directory.appendingPathComponent("keys"))
      let descent = Program.directory.appendingPathComponent("descent").path
      let training = try Program.Running(
        at: URL(fileURLWithPath: line[0]), line.dropFirst() + [descent] + Training(workers: 1).arguments(in: run),
        environment: [:])
      let output = try training.wait(seconds: 20).expect(0)
      #expect(output.standardError.contains("30,730 parameters"))
      try Evidence.add(.trees, observed: "shown, and 0")
    }
  }

  /// As in a container without an init process.
  @Test(.enabled(if: Enumeration.isComplete && geteuid() == 0, "takes root: Scripts/faults.sh runs it"))
  func `the command is process 1: a signal saves, and orphans are reaped`() throws {
    let script = "(sleep 0.1 & exec sleep 0.05) & exec \"$@\""
    try with(wrapper: ["/usr/bin/unshare", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", script, "sh"]) { tree in
      let first = try #require(Self.children(of: tree.command).first)
      try waitUntil("orphans are gone", seconds: 10) {
        Self.children(of: first).allSatisfy { Self.state(of: $0) != "Z" }
      }
      kill(first, SIGTERM)
      try waitUntil("it ends") { !tree.training.process.isRunning }
      try expectEnded(tree.run)
      try Evidence.add(.trees, observed: "interrupted, no zombie")
    }
  }
}
