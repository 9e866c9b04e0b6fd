import Foundation
import TestSupport
import Testing

/// `descent join`: the workers of a host in a run that is led elsewhere.
@Suite("Joining a run", .serialized)
struct JoinTests {
  private static let patience = ["lease-seconds": "1.5", "heartbeat-seconds": "0.2", "rendezvous-seconds": "10"]
  private static let endless = ["max-steps": "10000000", "epochs": "1000000", "evaluate-every": "0"]

  /// A coordinator and a server, started by hand, and what joins them.
  private struct Cluster {
    let run: URL
    let coordinator: Program.Running
    let server: Program.Running

    init(in directory: URL, _ settings: [String: String]) throws {
      run = directory.appendingPathComponent("run")
      let arguments = try Training(workers: 2, settings).arguments(in: run).filter {
        !["train", "--json"].contains($0)
      }
      coordinator = try Program.start("descent-coordinator", arguments)
      server = try Program.start("descent-server", ["--run-dir", run.path] + JoinTests.flags(JoinTests.patience))
    }

    /// The live workers, by the status of the run.
    func workers(reaching step: Int = 100) throws -> [pid_t] {
      try RunStatus.reaching(step: step, workers: 2, of: run).workers
    }
  }

  private static func flags(_ settings: [String: String]) -> [String] {
    settings.sorted { $0.key < $1.key }.flatMap { ["--\($0.key)", $0.value] }
  }

  private static func join(_ arguments: [String], workers: Int = 2, patience: [String: String] = JoinTests.patience)
    throws
    -> Program.Running
  {
    let data = try SharedData.directory.get()
    return try Program.start(
      "descent", ["join", "--workers", "\(workers)", "--data", data] + arguments + flags(patience))
  }

  @Test func `a worker is killed and restarted, the run finishes: the same bits, and 0`() throws {
    try TemporaryDirectory.with { directory in
      let cluster = try Cluster(in: directory, FaultTests.longer.merging(Self.patience) { $1 })
      let join = try Self.join(["--run-dir", cluster.run.path])
      let before = try cluster.workers()
      kill(before[1], SIGKILL)
      try waitUntil("it is restarted") { join.standardError.contains("was killed by signal 9; restarting it") }
      var after: [pid_t] = []
      try waitUntil("it has joined again") {
        after = try RunStatus(of: cluster.run)?.workers ?? []
        return after.count == 2 && Set(after) != Set(before)
      }
      #expect(after.contains(before[0]))
      try cluster.coordinator.wait().expect(0)
      try join.wait(seconds: 10).expect(0)
      try cluster.server.wait(seconds: 10).expect(0)
      let result = try Data(contentsOf: cluster.run.appendingPathComponent("result.json"))
      let object = try JSONSerialization.jsonObject(with: result) as? [String: Any]
      #expect(try object?["weights_sha256"] as? String == FaultTests.undisturbedLonger.get())
      let log = try RunLog(of: cluster.run, role: "join")
      #expect(log.messages("process_started").count == 3 && log.messages("process_restarted").count == 1)
      try expectHostsInNames(of: cluster.run.appendingPathComponent("logs"))
      try Leftovers.expectNone(of: cluster.run)
    }
  }

  /// The name of a log has the host, as each of its lines does.
  private func expectHostsInNames(of logs: URL) throws {
    var buffer = [CChar](repeating: 0, count: 256)
    gethostname(&buffer, buffer.count - 1)
    let host = String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    for name in try FileManager.default.contentsOfDirectory(atPath: logs.path) where name.hasSuffix(".jsonl") {
      #expect(name.contains("@\(host)"), "\(name)")
      let text = try String(contentsOf: logs.appendingPathComponent(name), encoding: .utf8)
      for line in text.split(separator: "\n") { #expect(line.contains("@\(host)"), "\(line)") }
    }
  }

  @Test func `the run is interrupted: 75, and nothing is restarted`() throws {
    try TemporaryDirectory.with { directory in
      let cluster = try Cluster(in: directory, Self.endless.merging(Self.patience) { $1 })
      let join = try Self.join(["--run-dir", cluster.run.path])
      _ = try cluster.workers()
      cluster.coordinator.process.terminate()
      try cluster.coordinator.wait(seconds: 20).expect(75)
      let output = try join.wait(seconds: 20).expect(75)
      #expect(!output.standardError.contains("restarting"), "\(output.standardError)")
      try Leftovers.expectNone(of: cluster.run)
    }
  }

  @Test func `a signal to the command: the workers leave, 75, and the run waits for others`() throws {
    try TemporaryDirectory.with { directory in
      let cluster = try Cluster(in: directory, Self.endless.merging(Self.patience) { $1 })
      let join = try Self.join(["--run-dir", cluster.run.path])
      _ = try cluster.workers()
      join.process.terminate()
      try join.wait(seconds: 20).expect(75)
      let next = try Self.join(["--run-dir", cluster.run.path])
      _ = try cluster.workers(reaching: 200)
      cluster.coordinator.process.terminate()
      try cluster.coordinator.wait(seconds: 20).expect(75)
      try next.wait(seconds: 20).expect(75)
      try Leftovers.expectNone(of: cluster.run)
    }
  }

  @Test func `no run comes: 69 after twice the rendezvous, and one line says which worker was the first`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("none")
      let impatient = ["lease-seconds": "0.2", "heartbeat-seconds": "0.1", "rendezvous-seconds": "1"]
      let output = try Self.join(["--run-dir", run.path], patience: impatient).wait(seconds: 20).expect(69)
      #expect(output.standardError.contains("the first of 2 workers to fail"), "\(output.standardError)")
      #expect(!FileManager.default.fileExists(atPath: run.path))
      try Leftovers.expectNone(of: run)
    }
  }

  @Test func `the run has finished before: 0 within seconds`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      _ = try Training(workers: 1).result(in: run)
      let began = Date()
      try Self.join(["--run-dir", run.path], patience: ["rendezvous-seconds": "60"]).wait(seconds: 30).expect(0)
      #expect(Date().timeIntervalSince(began) < 20)
      try Leftovers.expectNone(of: run)
    }
  }

  @Test func `without data: refused before anything is started, with the flag`() throws {
    try TemporaryDirectory.with { directory in
      let output = try Program.start("descent", ["join", "--run-dir", directory.path, "--workers", "2"]).wait()
        .expect(66)
      #expect(output.standardError.contains("--data"), "\(output.standardError)")
      let none = try Program.start("descent", ["join", "--workers", "2"]).wait().expect(64)
      #expect(none.standardError.contains("--coordinator"), "\(none.standardError)")
      let damaged = try Program.start(
        "descent", ["join", "--run-dir", directory.path, "--workers", "2", "--data", directory.path]
      ).wait(seconds: 20)
      #expect(damaged.status == 66, "\(damaged.standardError)")
      #expect(damaged.standardError.contains("descent: error:"), "\(damaged.standardError)")
    }
  }

  @Test func `by the address alone, with keys: the logs are where --log-dir says, or where a line says`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let keys = directory.appendingPathComponent("keys").path
      try Program.run(
        "descent", ["keygen", "--output", keys, "--names", "coordinator,server,worker-0,worker-1,worker-2,observer"])
      let settings = Self.endless.merging(Self.patience) { $1 }
        .merging(["transport": "tcp", "keys": keys, "min-workers": "3"]) { $1 }
      let training = try Training(workers: 1, settings).start(in: run)
      var endpoint = ""
      try waitUntil("the coordinator listens") {
        let record = try? Data(contentsOf: run.appendingPathComponent("run.json"))
        let object = try record.map { try JSONSerialization.jsonObject(with: $0) } as? [String: Any]
        endpoint = object?["endpoint"] as? String ?? ""
        return !endpoint.isEmpty
      }
      let place = ["--coordinator", endpoint, "--keys", keys]
      let logs = directory.appendingPathComponent("logs")
      let chosen = try Self.join(place + ["--log-dir", logs.path], workers: 1)
      let state = directory.appendingPathComponent("state")
      let data = try SharedData.directory.get()
      let other = try Program.start(
        "descent", ["join", "--workers", "1", "--data", data] + place + Self.flags(Self.patience),
        environment: ["XDG_STATE_HOME": state.path])
      _ = try RunStatus.reaching(step: 100, workers: 3, of: run, keys: URL(fileURLWithPath: keys))
      let said = state.appendingPathComponent("descent/logs")
      #expect(other.standardError.contains("logs in \(said.path)"), "\(other.standardError)")
      for place in [logs, said] { try expectHostsInNames(of: place) }
      #expect(try FileManager.default.contentsOfDirectory(atPath: said.path).contains { $0.hasPrefix("worker-1@") })
      training.process.terminate()
      try training.wait(seconds: 20).expect(75)
      for join in [chosen, other] { try join.wait(seconds: 20).expect(75) }
      try Leftovers.expectNone(of: run)
    }
  }
}
