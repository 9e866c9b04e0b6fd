import Checkpoints
import Foundation
import TestSupport
import Testing

/// Runs on several nodes that share a directory, whose locks are local to a node.
@Suite(
  "Leases of directories and keys", .serialized,
  .enabled(if: Nodes.canBeMade, "no C compiler for the library that plays the nodes"))
struct LeaseTests {
  private static let settings = [
    "max-steps": "300", "evaluate-every": "100", "checkpoint-every": "50", "rendezvous-seconds": "8",
    "keep-last": "100", "epochs": "1000000",
  ]
  /// A quarter of the rendezvous, and another quarter of that.
  private static let patience = "2.5 s"
  private static let undisturbed = Result { try Training(workers: 0, settings).result().hash }

  private static func arguments(_ workers: Int, in run: URL, _ more: [String: String] = [:]) throws -> [String] {
    try Training(workers: workers, settings.merging(more) { $1 }).arguments(in: run)
  }

  /// Removes the checkpoints that are beyond the end of the run that follows.
  private static func removeLater(_ run: URL) throws {
    for name in try FileManager.default.contentsOfDirectory(atPath: run.path + "/checkpoints")
    where name.hasPrefix("step-") && name > "step-000000000250" {
      try FileManager.default.removeItem(atPath: "\(run.path)/checkpoints/\(name)")
    }
  }

  /// Every checkpoint is whole, and the newest has the weights of the undisturbed run.
  private static func expectWhole(_ run: URL) throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: run.path + "/checkpoints")
    #expect(names.allSatisfy { !$0.hasPrefix(".tmp-") }, "\(names)")
    for name in names where name.hasPrefix("step-") { _ = try CheckpointStore.load("\(run.path)/checkpoints/\(name)") }
    let result =
      try JSONSerialization.jsonObject(
        with: Data(contentsOf: run.appendingPathComponent("result.json"))) as? [String: Any]
    #expect(try result?["weights_sha256"] as? String == undisturbed.get())
  }

  @Test(arguments: [0, 2])
  func `two runs are started in one directory from two nodes: one goes on, the other ends with 73`(workers: Int) throws
  {
    try TemporaryDirectory.with { directory in
      let (nodes, run) = (Nodes(directory: directory), directory.appendingPathComponent("run"))
      // The one that waits sees the other one work.
      let more = ["max-steps": workers == 0 ? "20000" : "4000", "evaluate-every": "1000", "checkpoint-every": "500"]
      let both = try ["node-a", "node-b"].map { try nodes.start($0, Self.arguments(workers, in: run, more)) }
      let outputs = try both.map { try $0.wait() }
      #expect(outputs.map(\.status).sorted() == [0, 73], "\(outputs.map { $0.standardError.suffix(1000) })")
      let refused = outputs.first { $0.status == 73 }
      #expect(
        refused?.standardError.contains(/is in use|already contains/) == true, "\(refused?.standardError ?? "")")
      let winner = try TrainingResult(try #require(outputs.first { $0.status == 0 }))
      #expect(try Training(workers: 0, Self.settings.merging(more) { $1 }).result().hash == winner.hash)
      try Leftovers.expectNone(of: run)
      try Evidence.add(
        .fileSystems, "\(workers) workers", observed: "\(outputs.map(\.status).sorted()), the same bits")
    }
  }

  @Test func `a run goes on in a directory that another node uses: the other ends with 73, and touches nothing`() throws
  {
    try TemporaryDirectory.with { directory in
      let (nodes, run) = (Nodes(directory: directory), directory.appendingPathComponent("run"))
      let first = try nodes.start("node-a", Self.arguments(1, in: run, ["max-steps": "100000000"]))
      try waitUntil("it saves") { FileManager.default.fileExists(atPath: run.path + "/checkpoints/step-000000000050") }
      let second = try nodes.start("node-b", Self.arguments(1, in: run, ["resume": "auto"])).wait()
      #expect(second.status == 73, "\(second.standardError)")
      #expect(second.standardError.contains("waiting for the lease of process"), "\(second.standardError)")
      #expect(second.standardError.contains("on node-a"), "\(second.standardError)")
      #expect(first.process.isRunning)
      kill(first.process.processIdentifier, SIGTERM)
      try first.wait().expect(75)
      // It gave its lease back: nothing is waited for.
      let third = try nodes.start("node-b", Self.arguments(1, in: run, ["resume": "must"])).wait()
      #expect(third.status == 0 && !third.standardError.contains("waiting for"), "\(third.standardError)")
      try Evidence.add(.fileSystems, observed: "\(second.status); \(second.standardError.suffix(300))")
    }
  }

  @Test(arguments: [0, 2])
  func `the node of a run dies: another one goes on after one lease, with the same bits`(workers: Int) throws {
    try TemporaryDirectory.with { directory in
      let (nodes, run) = (Nodes(directory: directory), directory.appendingPathComponent("run"))
      let first = try nodes.start("node-a", Self.arguments(workers, in: run, ["max-steps": "100000000"]))
      try waitUntil("it saves") { FileManager.default.fileExists(atPath: run.path + "/checkpoints/step-000000000050") }
      _ = Nodes.signal(SIGKILL, run)
      _ = try first.wait()
      try Self.removeLater(run)
      let second = try nodes.start("node-b", Self.arguments(workers, in: run, ["resume": "must"])).wait()
      #expect(second.status == 0, "\(second.standardError)")
      let lines = second.standardError.split(separator: "\n").filter { $0.contains("waiting for the lease") }
      #expect(
        lines.count == 1 && lines[0].contains("on node-a") && lines[0].contains("up to \(Self.patience)"), "\(lines)")
      try Self.expectWhole(run)
      try Evidence.add(.fileSystems, "\(workers) workers", observed: "0, the same bits")
    }
  }

  @Test(arguments: [0, 2])
  func `a run is stopped for longer than its lease: another node goes on, and it ends with 79`(workers: Int) throws {
    try TemporaryDirectory.with { directory in
      let (nodes, run) = (Nodes(directory: directory), directory.appendingPathComponent("run"))
      let first = try nodes.start("node-a", Self.arguments(workers, in: run, ["max-steps": "100000000"]))
      try waitUntil("it saves") { FileManager.default.fileExists(atPath: run.path + "/checkpoints/step-000000000050") }
      let stopped = Nodes.signal(SIGSTOP, run)
      try Self.removeLater(run)
      let second = try nodes.start("node-b", Self.arguments(workers, in: run, ["resume": "must"])).wait()
      #expect(second.status == 0, "\(second.standardError)")
      let before = try FileManager.default.subpathsOfDirectory(atPath: run.path + "/checkpoints").sorted()
      for process in stopped { kill(process, SIGCONT) }
      let output = try first.wait()
      #expect(output.status == 79, "\(output.standardError)")
      #expect(output.standardError.contains("has taken over the directory"), "\(output.standardError)")
      #expect(try FileManager.default.subpathsOfDirectory(atPath: run.path + "/checkpoints").sorted() == before)
      try Self.expectWhole(run)
      try Program.run("descent", ["status", "--run-dir", run.path], expecting: 3)
    }
  }

  @Test func `a run is stopped for longer than its lease, and no other one came: it goes on`() throws {
    try TemporaryDirectory.with { directory in
      let (nodes, run) = (Nodes(directory: directory), directory.appendingPathComponent("run"))
      let training = try nodes.start("node-a", Self.arguments(2, in: run, ["max-steps": "100000000"]))
      let epoch = { (number: Int) in FileManager.default.fileExists(atPath: "\(run.path)/lease-\(number)") }
      try waitUntil("it saves") { FileManager.default.fileExists(atPath: run.path + "/checkpoints/step-000000000050") }
      #expect(epoch(1))
      let stopped = Nodes.signal(SIGSTOP, run)
      // Longer than its lease of 2 s.
      usleep(2_500_000)
      for process in stopped { kill(process, SIGCONT) }
      try waitUntil("it claims the next epoch") { epoch(2) && !epoch(1) }
      kill(training.process.processIdentifier, SIGTERM)
      try training.wait().expect(75)
    }
  }

  @Test func `two nodes share a directory of keys: a key is one process's, and free after the lease of a dead one`()
    throws
  {
    try TemporaryDirectory.with { directory in
      let (nodes, run) = (Nodes(directory: directory), directory.appendingPathComponent("run"))
      let keys = directory.appendingPathComponent("keys").path
      try Program.run("descent", ["keygen", "--output", keys, "--names", "coordinator,server,worker-0,observer"])
      let more = ["max-steps": "100000000", "keys": keys]
      let training = try nodes.start("node-a", Self.arguments(1, in: run, more))
      _ = try RunStatus.reaching(step: 1, workers: 1, of: run, keys: URL(fileURLWithPath: keys))
      let flags = ["--run-dir", run.path, "--keys", keys, "--rendezvous-seconds", "8"]
      let data = try ["--data", SharedData.directory.get()]
      let refused = try nodes.start("node-b", program: "descent-worker", flags + data).wait()
      #expect(refused.status == 73, "\(refused.standardError)")
      #expect(refused.standardError.contains("other processes have taken every key for a worker"))
      _ = Nodes.signal(SIGKILL, run)
      _ = try training.wait()
      // The keys of the dead ones are free after a lease, and so is the directory.
      let next = try nodes.start(
        "node-b", Self.arguments(1, in: run, ["keys": keys, "resume": "auto", "max-steps": "100000000"]))
      _ = try RunStatus.reaching(step: 1, workers: 1, of: run, keys: URL(fileURLWithPath: keys))
      kill(next.process.processIdentifier, SIGTERM)
      let output = try next.wait()
      #expect(output.status == 75, "\(output.standardError)")
      #expect(output.standardError.contains("waiting for the lease of the key"), "\(output.standardError)")
      try Evidence.add(.fileSystems, observed: "\(refused.status), then \(output.status)")
    }
  }

  @Test func `a worker comes late to a finished run: it ends with 0 and says so`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      try Program.run("descent", Self.arguments(0, in: run))
      let data = try SharedData.directory.get()
      let output = try Program.run("descent-worker", ["--run-dir", run.path, "--data", data])
      #expect(output.standardError.contains("has ended: finished"), "\(output.standardError)")
    }
  }
}
