import Foundation
import TestSupport
import Testing

/// `descent train --launcher slurm`, with an `srun` that starts the tasks on this host.
@Suite("Launcher", .serialized)
struct LauncherTests {
  /// Starts the tasks with the variables that Slurm gives them, and ends with the highest status.
  private static let srun = #"""
    #!/usr/bin/env bash
    echo "$*" >> "${0%/*}/srun.calls"
    while [[ $1 == --* ]]; do
      case $1 in --ntasks=*) count=${1#*=} ;; esac
      shift
    done
    export SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=$count SLURM_STEP_NUM_NODES=$count
    export SLURM_STEP_TASKS_PER_NODE="1(x$count)" SLURM_LOCALID=0
    tasks=() status=0
    for ((task = 0; task < count; task++)); do
      SLURM_PROCID=$task SLURM_NODEID=$task "$@" &
      tasks+=($!)
    done
    for task in "${tasks[@]}"; do
      wait "$task" || { code=$?; ((code <= status)) || status=$code; }
    done
    exit "$status"
    """#

  private static func batch(nodes: Int, in directory: URL) -> [String: String] {
    [
      "SLURM_JOB_ID": "4711", "SLURM_JOB_NUM_NODES": "\(nodes)", "SLURM_NNODES": "\(nodes)", "SLURM_PROCID": "0",
      "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_CPUS_PER_NODE": "2(x\(nodes))",
      "SLURM_TASKS_PER_NODE": "1(x\(nodes))", "SLURM_CPUS_ON_NODE": "2",
      "PATH": "\(directory.path):\(ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")",
    ]
  }

  private func with(_ body: (URL, URL) throws -> Void) throws {
    try TemporaryDirectory.with { directory in
      let tool = directory.appendingPathComponent("srun")
      try Self.srun.write(to: tool, atomically: true, encoding: .utf8)
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: tool.path)
      try body(directory, directory.appendingPathComponent("run"))
    }
  }

  /// - Parameter workers: of the whole run; nil for those of the allocation.
  private func arguments(in run: URL, workers: Int?, _ settings: [String: String] = [:]) throws -> [String] {
    var arguments = try Training(workers: workers ?? 1, ["bind": "127.0.0.1"].merging(settings) { $1 }).arguments(
      in: run)
    if workers == nil, let index = arguments.firstIndex(of: "--workers") { arguments.removeSubrange(index...index + 1) }
    return arguments + ["--launcher", "slurm"]
  }

  private func names(of run: URL) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: run.path + "/logs").map {
      String($0.prefix { $0 != "@" })
    }.sorted()
  }

  @Test func `a batch script: one task on each node, one run, the same bits, and keys in its directory`() throws {
    try with { directory, run in
      let training = try Program.start(
        "descent", arguments(in: run, workers: nil), environment: Self.batch(nodes: 2, in: directory))
      let output = try training.wait(seconds: 60).expect(0)
      #expect(try TrainingResult(output).hash == Training(workers: 0).result().hash)
      #expect(try TrainingResult(output).object["workers"] as? Int == 4, "\(output.standardError)")
      #expect(
        try names(of: run) == [
          "coordinator", "join", "server", "train", "worker-1", "worker-2", "worker-3", "worker-4",
        ])
      let calls = try String(contentsOf: directory.appendingPathComponent("srun.calls"), encoding: .utf8)
      #expect(calls.contains("--nodes=2 --ntasks=2 --ntasks-per-node=1"), "\(calls)")
      let keys = try FileManager.default.contentsOfDirectory(atPath: run.path + "/keys")
      #expect(keys.contains("worker-3.key") && keys.contains("allow-list"))
      try Leftovers.expectNone(of: run)
    }
  }

  @Test func `a signal to the batch script's command: the run saves, and 75; the same command goes on`() throws {
    try with { directory, run in
      let environment = Self.batch(nodes: 2, in: directory)
      let endless = FaultTests.longer.merging(["resume": "auto"]) { $1 }
      let line = try arguments(in: run, workers: 2, endless)
      let training = try Program.start("descent", line, environment: environment)
      let keys = run.appendingPathComponent("keys")
      _ = try RunStatus.reaching(step: 100, workers: 2, of: run, keys: keys)
      kill(training.process.processIdentifier, SIGUSR1)
      try waitUntil("a checkpoint is saved", seconds: 20) {
        try !RunLog(of: run, role: "coordinator").announced.isEmpty
      }
      kill(training.process.processIdentifier, SIGTERM)
      try training.wait(seconds: 30).expect(75)
      try Leftovers.expectNone(of: run)
      let requeued = environment.merging(["SLURM_RESTART_COUNT": "1"]) { $1 }
      let output = try Program.start("descent", line, environment: requeued).wait(seconds: 120).expect(0)
      #expect(try TrainingResult(output).hash == FaultTests.undisturbedLonger.get())
      try Leftovers.expectNone(of: run)
    }
  }

  @Test func `a task of several without a launcher is refused, and nothing is made`() throws {
    try with { directory, run in
      let step = [
        "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "1",
        "SLURM_NODEID": "1",
      ]
      let environment = Self.batch(nodes: 2, in: directory).merging(step) { $1 }
      let line = try Training(workers: 1).arguments(in: run)
      let output = try Program.start("descent", line, environment: environment).wait().expect(64)
      #expect(output.standardError.contains("--launcher slurm"), "\(output.standardError)")
      #expect(!FileManager.default.fileExists(atPath: run.path))
      try Program.start("descent", line + ["--launcher", "none"], environment: environment).wait().expect(0)
    }
  }

  @Test func `the launcher outside an allocation, and without srun: refused`() throws {
    try with { directory, run in
      let line = try arguments(in: run, workers: 2)
      let output = try Program.start("descent", line).wait().expect(64)
      #expect(output.standardError.contains("SLURM_JOB_ID is not set"), "\(output.standardError)")
      let bare = Self.batch(nodes: 2, in: directory).merging(["PATH": run.path]) { $1 }
      let missing = try Program.start("descent", line, environment: bare).wait().expect(66)
      #expect(missing.standardError.contains("no srun in PATH"), "\(missing.standardError)")
    }
  }

  @Test func `the start of the leading task fails: its status, and the other node does not wait for long`() throws {
    try with { directory, run in
      let settings = ["rendezvous-seconds": "2", "lease-seconds": "0.5", "heartbeat-seconds": "0.1", "port": "1"]
      let line = try arguments(in: run, workers: 2, settings.merging(["bind": "192.0.2.77"]) { $1 })
      let output = try Program.start("descent", line, environment: Self.batch(nodes: 2, in: directory))
        .wait(seconds: 30)
      #expect(output.status != 0, "\(output.standardError)")
      #expect(output.standardError.contains("192.0.2.77"), "\(output.standardError)")
      try Leftovers.expectNone(of: run)
    }
  }
}
