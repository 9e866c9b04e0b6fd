import Foundation
import TestSupport
import Testing

/// The scripts of the repository, on the programs that were built with the tests.
@Suite("Scripts", .serialized)
struct ScriptTests {
  @Test(arguments: [
    "benchmark", "benchmark-neighbors", "benchmark-peers", "defences", "fetch-cifar10", "fetch-swift", "install",
    "long-run", "resume",
    "start-coordinator", "start-server", "start-worker", "status", "stop", "test", "train-local", "verify-units",
  ])
  func `each explains itself with examples and refuses what it does not know`(name: String) throws {
    let output = try Script.run(name, ["--help"]).expect(0)
    #expect(output.standardOutput.contains("Usage: Scripts/\(name).sh"))
    #expect(output.standardError.isEmpty)
    guard !["train-local", "verify-units"].contains(name) else { return }
    try Script.run(name, ["--no-such-flag"]).expect(64)
  }

  @Test
  func `train-local.sh hands everything on: arguments, paths with blanks, standard output and the exit status`() throws
  {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("a run")
      let data = directory.appendingPathComponent("a data set")
      try FileManager.default.copyItem(atPath: SharedData.directory.get(), toPath: data.path)
      var arguments = try Training(workers: 2, ["data": "a data set"]).arguments(in: run)
      arguments.removeFirst()
      let output = try Script.run("train-local", arguments, in: directory).expect(0)
      #expect(try TrainingResult(output).hash == Training(workers: 0).result().hash)
      // A second run in the same directory is refused by the program, in its words and with its status.
      let second = try Script.run("train-local", arguments, in: directory).expect(73)
      #expect(second.standardOutput.isEmpty)
      #expect(second.standardError.contains("already contains run"))
    }
  }

  @Test
  func `benchmark.sh shows what it measured beside the targets, and writes the same as JSON`() throws {
    try TemporaryDirectory.with { directory in
      let file = directory.appendingPathComponent("benchmark.json")
      let data = try SharedData.directory.get()
      let output = try Script.run(
        "benchmark", ["--quick", "--data", data, "--json", file.path, "pieces"]
      ).expect(0)
      #expect(output.standardOutput.contains("server machine, a step of 64 pushes"))
      let object = try #require(
        try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
      let group = try #require((object["groups"] as? [[String: Any]])?.first)
      #expect(group["group"] as? String == "pieces")
      let targets = try #require(group["targets"] as? [[String: Any]])
      #expect(targets.count == 1)
      for target in targets {
        let name = try #require(target["target"] as? String)
        #expect(output.standardOutput.contains("\n\(name)"))
        #expect(target["met"] is Bool)
      }
    }
  }

  @Test
  func `roles started by hand in any order end with the weights of descent train and leave nothing behind`() throws {
    try ByHand.with { run in
      try run.start("worker", ["2"])
      try run.start("server")
      try run.startCoordinator(Training(workers: 2))
      try run.waitForEnd()
      #expect(try run.hash == Training(workers: 0).result().hash)
      let status = try run.script("status").expect(3)
      #expect(status.standardOutput.contains("finished"))
      try run.script("stop").expect(0)
    }
  }

  @Test
  func `stop.sh saves and ends every process, status.sh names each, and resume.sh continues with other workers`() throws
  {
    try ByHand.with { run in
      try run.startCoordinator(Training(workers: 2, FaultTests.long))
      try run.start("server")
      try run.start("worker", ["2"])
      _ = try RunStatus.reaching(step: 100, workers: 2, of: run.directory)
      let status = try run.script("status").expect(0)
      for name in ["coordinator", "server", "worker-1", "worker-2"] {
        // A pid file holds one number, of a process whose name the others have too.
        let pid = try #require(run.processes[name])
        #expect(status.standardOutput.contains(try Regex("\(name)@\(host) +running .pid \(pid)")))
        #expect(FileManager.default.fileExists(atPath: run.directory.path + "/logs/\(name)@\(host).jsonl"))
      }
      try run.start("server", expecting: 73)
      let stop = try run.script("stop").expect(0)
      #expect(stop.standardError.contains("Resume with: \(Script.directory.path)/resume.sh --run-dir "))
      let stopped = try run.script("status").expect(75)
      #expect(stopped.standardOutput.contains(try Regex("server@\(host) +ended 20[0-9-]* [0-9:]*: ")))
      #expect(processes(of: run.directory).isEmpty)
      #expect(try run.result()["stop_reason"] as? String == "signal")

      try run.script("resume", ["--workers", "3"]).expect(0)
      try run.waitForEnd()
      #expect(try run.hash == FaultTests.undisturbed.get())
    }
  }

  @Test
  func `resume.sh continues after kill -9 of everything, and ends with the same weights`() throws {
    try ByHand.with { run in
      try run.startCoordinator(Training(workers: 2, FaultTests.long))
      try run.start("server")
      try run.start("worker", ["2"])
      _ = try RunStatus.reaching(step: 1100, workers: 2, of: run.directory)
      run.killAll()
      try run.waitForEnd()
      let status = try run.script("status").expect(69)
      let ended = try Regex("server@\(host) +killed or crashed after 20[0-9-]* [0-9:]*, where its log ends: ")
      #expect(status.standardOutput.contains(ended), "\(status.standardOutput)")
      #expect(status.standardError == "Resume with: \(Script.directory.path)/resume.sh --run-dir \(run.quoted)\n")
      // One object and nothing else.
      let json = try run.script("status", ["--json"]).expect(69)
      #expect(try json.object()["state"] as? String == "crashed")
      // What the program says of the run that is there is no command to type; the script names one.
      let again = try run.startCoordinator(Training(workers: 2, FaultTests.long), expecting: 73)
      #expect(again.standardError.contains("resume.sh --run-dir "))
      try run.script("resume", ["--workers", "1"]).expect(0)
      try run.script("resume").expect(73)
      try run.waitForEnd()
      #expect(try run.hash == FaultTests.undisturbed.get())
    }
  }

  @Test
  func `resume.sh names the processes that have outlived their coordinator, and replaces them`() throws {
    try ByHand.with { run in
      try run.startCoordinator(Training(workers: 1, FaultTests.long))
      try run.start("server")
      try run.start("worker")
      _ = try RunStatus.reaching(step: 1100, workers: 1, of: run.directory)
      let old = run.processes
      kill(try #require(old["coordinator"]), SIGKILL)
      try waitUntil("the coordinator has ended") { run.processes["coordinator"] == nil }
      let resumed = try run.script("resume").expect(0)
      for name in ["server", "worker-1"] {
        let pid = try #require(old[name])
        #expect(resumed.standardError.contains("\(name)@\(host) (pid \(pid))"))
        #expect(run.processes[name] != pid)
      }
      try run.waitForEnd()
      #expect(try run.hash == FaultTests.undisturbed.get())
      // There is nothing to resume.
      #expect(try run.script("status").expect(3).standardError.isEmpty)
    }
  }

  @Test
  func `a later process with the number in a pid file, and one of another host, are left alone`() throws {
    try ByHand.with { run in
      let pids = run.directory.appendingPathComponent("pids")
      try FileManager.default.createDirectory(at: pids, withIntermediateDirectories: true)
      let other = Process()
      other.executableURL = URL(fileURLWithPath: "/bin/sleep")
      other.arguments = ["60"]
      try other.run()
      defer { kill(other.processIdentifier, SIGKILL) }
      let stat = try String(contentsOfFile: "/proc/\(other.processIdentifier)/stat", encoding: .utf8)
      let started = try #require(stat.split(separator: " ").dropFirst(21).first)
      let starts = ["server@\(host)": "1", "worker-1@\(host)": "", "worker-1@elsewhere": String(started)]
      for (name, start) in starts {
        try "\(other.processIdentifier)\n".write(
          to: pids.appendingPathComponent(name + ".pid"), atomically: true, encoding: .utf8)
        try "\(start)\n".write(to: pids.appendingPathComponent(name + ".start"), atomically: true, encoding: .utf8)
      }
      let stop = try run.script("stop").expect(0)
      #expect(stop.standardError.contains("No processes are running in"))
      #expect(other.isRunning)
      // With the right start time it is taken for what the file says. The process may have inherited that it ignores
      // SIGTERM.
      try "\(started)\n".write(
        to: pids.appendingPathComponent("server@\(host).start"), atomically: true, encoding: .utf8)
      let found = try run.script("stop", ["--seconds", "0"])
      #expect(found.standardError.contains("server@\(host)"), "\(found.standardError)")
    }
  }

  @Test
  func `install.sh installs programs and scripts that run from any directory, and again without harm`() throws {
    try TemporaryDirectory.with { directory in
      let prefix = directory.appendingPathComponent("a prefix")
      let first = try Script.run("install", [prefix.path]).expect(0)
      #expect(first.standardOutput == "export PATH=\"\(prefix.path)/bin:$PATH\"\n")
      let path = ["PATH": prefix.path + "/bin:" + (ProcessInfo.processInfo.environment["PATH"] ?? "")]
      let programs = ["DESCENT_PROGRAMS": Program.directory.path]
      let second = try Script.run("install", [prefix.path], environment: path.merging(programs) { $1 }).expect(0)
      #expect(second.standardOutput.isEmpty)
      // Through a link, from another directory: the programs in the prefix are found.
      let link = directory.appendingPathComponent("status.sh")
      try FileManager.default.createSymbolicLink(
        at: link, withDestinationURL: prefix.appendingPathComponent("share/descent/Scripts/status.sh"))
      let status = try Script.run("status", ["--run-dir", "none"], in: directory, at: directory, environment: [:])
      #expect(status.status == 66 && status.standardError.contains("none"), "\(status)")
      #expect(try Script.run("status", ["--help"], at: directory).expect(0).standardOutput.contains("Usage:"))
    }
  }

  @Test
  func `install.sh names the packages of the libraries that the programs do not find`() throws {
    let machine = try Machine(user: 1000)
    try machine.add("ldd", "printf '\\tlibzmq.so.5 => not found\\n\\tlibpng16.so.16 => not found\\n'")
    for name in ["descent", "descent-coordinator", "descent-server", "descent-worker"] {
      try machine.write("#!/bin/sh\n", to: machine.directory.appendingPathComponent("built/\(name)"))
    }
    let environment = ["DESCENT_PROGRAMS": machine.directory.path + "/built"]
    let output = try machine.run("install", ["prefix"], environment: environment).expect(69)
    #expect(output.standardError.contains("install --yes --no-install-recommends libzmq5 libpng16-16\n"))
  }

  @Test
  func `a worker finds the coordinator by its address as well`() throws {
    try ByHand.with { run in
      try run.startCoordinator(Training(workers: 1, ["transport": "tcp"]))
      let endpoint = try String(
        contentsOf: run.directory.appendingPathComponent("coordinator.endpoint"), encoding: .utf8)
      let address = try #require(endpoint.split(separator: "\n").first.map(String.init))
      #expect(address.hasPrefix("tcp://127.0.0.1:"))
      try run.start("server", ["--coordinator", address])
      try run.start("worker", ["--coordinator", address])
      try run.waitForEnd()
      #expect(try run.hash == Training(workers: 0).result().hash)
    }
  }

  @Test
  func `a role that cannot begin is reported in its own words and with its own status`() throws {
    try ByHand.with { run in
      let missing = run.directory.path + "/none"
      let worker = try Script.run(
        "start-worker", ["--run-dir", run.directory.path, "--data", missing]
      ).expect(66)
      #expect(worker.standardError.contains(missing))
      try Script.run("start-server", ["--run-dir", run.directory.path, "--lease-seconds", "soon"]).expect(64)
      try Script.run("start-server", []).expect(64)
      try run.script("resume").expect(66)
      #expect(processes(of: run.directory).isEmpty)
    }
  }

  @Test(.enabled(if: Script.hasSystemd, "systemd-analyze is not installed"))
  func `the systemd units are sound`() throws {
    let output = try Script.run("verify-units", []).expect(0)
    #expect(output.standardError.isEmpty)
    // Two runs on one host, each with several workers.
    for unit in ["descent@first.target", "descent-worker-1@second.service", "descent-worker-2@second.service"] {
      #expect(output.standardOutput.contains(unit))
    }
  }
}

/// The name of this host, as it is part of the names of processes.
private let host: String = {
  var name = utsname()
  uname(&name)
  return withUnsafeBytes(of: &name.nodename) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}()

/// A run whose roles are started one by one with the scripts. Nothing of it outlives the test.
private struct ByHand {
  let directory: URL

  static func with(_ body: (ByHand) throws -> Void) throws {
    try TemporaryDirectory.with { parent in
      let run = ByHand(directory: parent.appendingPathComponent("a run"))
      defer { run.killAll() }
      try body(run)
    }
  }

  @discardableResult
  func startCoordinator(_ training: Training, expecting status: Int32 = 0) throws -> Program.Output {
    // Without "train" and "--json".
    try Script.run("start-coordinator", Array(training.arguments(in: directory).dropFirst(2))).expect(status)
  }

  func start(_ role: String, _ arguments: [String] = [], expecting status: Int32 = 0) throws {
    let data = role == "worker" ? ["--data", try SharedData.directory.get()] : []
    try Script.run("start-\(role)", arguments + ["--run-dir", directory.path] + data).expect(status)
  }

  func script(_ name: String, _ arguments: [String] = []) throws -> Program.Output {
    try Script.run(name, ["--run-dir", directory.path] + arguments)
  }

  /// Every process that was started for the run, by its name without the host, as those with an address do not name the
  /// run.
  var processes: [String: pid_t] {
    let pids = directory.appendingPathComponent("pids")
    var running: [String: pid_t] = [:]
    for file in (try? FileManager.default.contentsOfDirectory(atPath: pids.path)) ?? [] {
      guard file.hasSuffix("@\(host).pid"),
        let text = try? String(contentsOf: pids.appendingPathComponent(file), encoding: .utf8),
        let id = pid_t(text.dropLast()),
        let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(id)/exe"),
        path.hasPrefix(Program.directory.resolvingSymlinksInPath().path)
      else { continue }
      running[String(file.prefix { $0 != "@" })] = id
    }
    return running
  }

  /// The directory as the shell reads it.
  var quoted: String { directory.path.replacing(" ", with: "\\ ") }

  func killAll() {
    for process in processes.values { kill(process, SIGKILL) }
  }

  func waitForEnd() throws {
    try waitUntil("the roles of \(directory.path) have ended") { processes.isEmpty }
  }

  func result() throws -> [String: Any] {
    let data = try Data(contentsOf: directory.appendingPathComponent("result.json"))
    return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
  }

  var hash: String? { get throws { try result()["weights_sha256"] as? String } }
}

enum Script {
  static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("Scripts")

  static let hasSystemd = (try? run("verify-units", []).status) != 69

  /// Runs a script to its end. Its output goes to files, which the roles it starts do not hold open.
  static func run(
    _ name: String, _ arguments: [String], in working: URL? = nil, at scripts: URL = directory,
    environment: [String: String] = ["DESCENT_PROGRAMS": Program.directory.path], seconds: Double = 60
  ) throws -> Program.Output {
    try TemporaryDirectory.with { directory in
      let process = Process()
      process.executableURL = scripts.appendingPathComponent("\(name).sh")
      process.arguments = arguments
      process.currentDirectoryURL = working
      process.environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("DESCENT_") }
        .merging(environment) { $1 }
      process.standardInput = FileHandle.nullDevice
      let urls = ["stdout", "stderr"].map(directory.appendingPathComponent)
      for url in urls { try Data().write(to: url) }
      process.standardOutput = try FileHandle(forWritingTo: urls[0])
      process.standardError = try FileHandle(forWritingTo: urls[1])
      try process.run()
      defer { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }
      try waitUntil("\(name).sh \(arguments) ends", seconds: seconds) { !process.isRunning }
      process.waitUntilExit()
      let texts = try urls.map { String(decoding: try Data(contentsOf: $0), as: UTF8.self) }
      return Program.Output(status: process.terminationStatus, standardOutput: texts[0], standardError: texts[1])
    }
  }
}
