import Foundation
import TestSupport
import Testing

/// Promise 3: who waits says for whom, since when and with what, while it waits and when it gives up.
@Suite("Who waits for whom", .serialized)
struct WaitingTests {
  private static let settings = settings(of: FaultTests.long)

  private static func settings(of run: [String: String]) -> [String: String] {
    run.merging(["lease-seconds": "1.5", "heartbeat-seconds": "0.2", "rendezvous-seconds": "2"]) { $1 }
  }

  /// Waits until a line of the live status fits, by `descent status` and by the script alike.
  /// - Returns: the line.
  private func shown(_ pattern: String, of run: URL, limit: Double = 5) throws -> String {
    let expression = try Regex(pattern)
    var line: String?
    try waitUntil("descent status shows \(pattern)", seconds: limit) {
      line = try RunStatus(of: run)?.text.split(separator: "\n").map(String.init).first { $0.contains(expression) }
      return line != nil
    }
    return try #require(line)
  }

  /// The one line of a log that fits.
  private func said(_ pattern: String, _ messages: [String]) throws -> String {
    let expression = try Regex(pattern)
    return try #require(messages.first { $0.contains(expression) }, "\(messages)")
  }

  @Test func `a worker is stopped: status and log name worker, step, shards and silence within 3 s`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let training = try Training(workers: 2, Self.settings(of: FaultTests.longer)).start(in: run)
      let status = try RunStatus.reaching(step: 100, workers: 2, of: run)
      let worker = status.workers[1]
      kill(worker, SIGSTOP)
      let began = Date()
      let line = try shown(
        "worker +worker-[12]@\\S+ +pid \(worker) +shards 8-15 .* heard (0\\.[4-9]|1\\.\\d) s ago", of: run)
      let script = try Script.run("status", ["--run-dir", run.path]).expect(0)
      #expect(script.standardOutput.contains("pid \(worker)  shards 8-15"))
      try waitUntil("it is missed", seconds: 5) { training.standardError.contains("reassigning shards") }
      let seconds = Date().timeIntervalSince(began)
      #expect(seconds < 3)
      kill(worker, SIGCONT)
      let output = try training.wait().expect(0)
      #expect(try TrainingResult(output).hash == FaultTests.undisturbedLonger.get())
      let message = try said(
        "worker-[12]@\\S+ \\(pid \(worker)\\) lost at step \\d+: no heartbeat for \\d\\.\\d s; reassigning shards 8-15",
        RunLog(of: run, role: "coordinator").messages("worker_evicted"))
      try Leftovers.expectNone(of: run)
      try Evidence.add(
        .waiting,
        observed: "status: \(line); message: \(message)", recovery: [seconds])
    }
  }

  /// SCHED_BATCH: with the usual policy the server's reply to the second worker could come a whole gradient late.
  @Test func `a worker that wakes up never takes the processor from the server`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let training = try Training(workers: 2, Self.settings).start(in: run)
      let status = try RunStatus.reaching(step: 100, workers: 2, of: run)
      for worker in status.workers { #expect(try policies(of: worker).filter { $0 == 3 }.count == 2, "\(worker)") }
      for server in processes(of: run) where !status.workers.contains(server) {
        #expect(try !policies(of: server).contains(3), "\(server)")
      }
      try training.wait().expect(0)
    }
  }

  /// Scheduling policy of each thread, the 41st field of /proc/PID/task/TID/stat.
  private func policies(of process: pid_t) throws -> [Int] {
    let tasks = "/proc/\(process)/task"
    return try FileManager.default.contentsOfDirectory(atPath: tasks).compactMap { thread in
      // A thread that has ended meanwhile has none.
      guard let text = try? String(contentsOfFile: "\(tasks)/\(thread)/stat", encoding: .utf8) else { return nil }
      // The name of the thread, the second field, may contain spaces.
      let fields = try #require(text.split(separator: ")").last).split(separator: " ")
      return Int(fields[38])
    }
  }

  /// For 1 to 500 ms, which is below the lease.
  @Test func `workers stand still again and again: others take over, none is evicted, no bit changes`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let training = try Training(workers: 3, Self.settings).start(in: run)
      let workers = try RunStatus.reaching(step: 100, workers: 3, of: run).workers
      var state: UInt64 = 16
      func random(_ bound: UInt64) -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 33) % bound
      }
      while training.process.isRunning {
        let worker = workers[Int(random(3))]
        kill(worker, SIGSTOP)
        usleep(UInt32(1_000 + 1_000 * random(500)))
        kill(worker, SIGCONT)
        usleep(UInt32(1_000 * random(100)))
      }
      let result = try TrainingResult(training.wait().expect(0))
      #expect(try result.hash == FaultTests.undisturbed.get())
      let (taken, late) = (result.object["taken_over_shards"] as? Int, result.object["late_shards"] as? Int)
      #expect(try #require(taken) > 0 && late != nil)
      #expect(try RunLog(of: run, role: "coordinator").messages("worker_evicted").isEmpty)
      try Leftovers.expectNone(of: run)
    }
  }

  @Test(.enabled(if: Slowdown.hasControlGroups, "a control group with a quota takes root and its file system"))
  func `a worker gets a tenth of a processor: others take over what it is late with, and no bit changes`() throws {
    try expectTakeOvers(from: .quota)
  }

  @Test func `a worker has the lowest priority: others take over what it is late with, and no bit changes`() throws {
    try expectTakeOvers(from: .nice)
  }

  private func expectTakeOvers(from kind: Slowdown, function: String = #function) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let settings = Self.settings.merging(["max-steps": "1500"]) { $1 }
      let training = try Training(workers: 3, settings).start(in: run)
      let worker = try RunStatus.reaching(step: 100, workers: 3, of: run).workers[1]
      let slow = try kind.slowDown(worker, name: directory.lastPathComponent)
      defer { slow.end() }
      let result = try TrainingResult(training.wait().expect(0))
      #expect(try result.hash == Training(workers: 0, settings).result().hash)
      let taken = try #require(result.object["taken_over_shards"] as? Int)
      #expect(taken > 0)
      #expect(try RunLog(of: run, role: "coordinator").messages("worker_evicted").isEmpty)
      try Leftovers.expectNone(of: run)
      try Evidence.add(
        .waiting, kind.rawValue, observed: "\(taken) shards taken over in 1,500 steps, weights equal",
        function: function)
    }
  }

  @Test func `the server is stopped and no other comes: status, coordinator and worker name it, then 69`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let training = try Training(workers: 1, Self.settings).start(in: run)
      let status = try RunStatus.reaching(step: 600, workers: 1, of: run)
      let server = try #require(status.server)
      kill(server, SIGSTOP)
      let began = Date()
      let line = try shown("server +server@\\S+ +pid \(server) .* heard (0\\.[4-9]|1\\.\\d) s ago", of: run)
      let waiting = try shown("waiting for a server \\(\\d\\.\\d s left\\); 1 of 1 workers connected", of: run)
      let output = try training.wait(seconds: 20).expect(69)
      let seconds = Date().timeIntervalSince(began)
      #expect(seconds < 10)
      #expect(output.standardError.contains("after 2.0 s: no server connected"), "\(output.standardError)")
      let message = try said(
        "server@\\S+ \\(pid \(server)\\) lost at step \\d+: no heartbeat for \\d\\.\\d s; waiting for another one",
        RunLog(of: run, role: "coordinator").messages("server_lost"))
      let worker = try said(
        "no message from the server at \\S+ for \\d\\.\\d s \\(worker-1@\\S+ at step \\d+\\)",
        RunLog(of: run, role: "worker").messages("waiting_for_server"))
      try Leftovers.expectNone(of: run)
      try Evidence.add(
        .waiting,
        observed: "status: \(line); then: \(waiting); \(message); \(worker); \(output.status)", recovery: [seconds])
    }
  }

  @Test(arguments: ["server", "worker"])
  func `a role never comes: status names it meanwhile, then 69`(role: String) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let arguments = try Training(workers: 2, Self.settings).arguments(in: run)
        .filter { !["train", "--json"].contains($0) }
      let began = Date()
      let coordinator = try Program.start("descent-coordinator", arguments)
      let server = role == "worker" ? try Program.start("descent-server", ["--run-dir", run.path]) : nil
      let awaited = role == "server" ? "a server" : "workers"
      let line = try shown("waiting for \(awaited) \\(\\d\\.\\d s left\\); 0 of 2 workers connected", of: run)
      let output = try coordinator.wait(seconds: 20).expect(69)
      let seconds = Date().timeIntervalSince(began)
      #expect(seconds < 6)
      let text = "gave up at step 0 after 2.0 s: no \(role) connected (0 of 2 workers connected)"
      #expect(output.standardError.contains(text), "\(output.standardError)")
      if let server { try server.wait(seconds: 10).expect(69) }
      try Leftovers.expectNone(of: run)
      try Evidence.add(
        .waiting, role,
        observed: "status: \(line); \(output.status): \(text)", recovery: [seconds])
    }
  }

  @Test(.enabled(if: Enumeration.isComplete, "takes a minute: Scripts/faults.sh runs it"))
  func `60,000 steps with a kill every 2 s: memory, files and threads stay flat, no bit changes`() throws {
    let output = try Script.run("long-run", ["60000", "--seconds", "2", "--seed", "11"], seconds: 300).expect(0)
    let lines = output.standardOutput.split(separator: "\n").map(String.init)
    #expect(lines.last?.contains("are those of the undisturbed run") == true)
    let total = try #require(lines.first?.firstMatch(of: /(\d+) killed/))
    let kills = try #require(Int(total.1))
    #expect(kills >= 5)
    let roles = lines.filter { $0.contains("→") && $0.hasPrefix("|") }
    #expect(!roles.isEmpty && roles.allSatisfy { $0.contains("flat") })
    try Evidence.add(
      .waiting, "Scripts/long-run.sh, a worker or the server", times: kills,
      observed: ([lines.first ?? ""] + roles.map { $0.replacingOccurrences(of: "|", with: ";") }).joined(separator: " ")
    )
  }
}
