import Foundation
import TestSupport
import Testing

private let hasPython =
  (try? Program.Running(
    at: URL(fileURLWithPath: "/usr/bin/env"), ["python3", "-c", "import json"], environment: [:]
  ).wait().status) == 0

/// `trace-steps` and `descent trace` with real processes.
@Suite("Traces", .serialized, .enabled(if: hasPython, "no python3 to check the traces with"))
struct TraceTests {
  private static let untraced = Result { try Training(workers: 0).result().hash }

  private func files(of run: URL) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: run.appendingPathComponent("traces").path).sorted()
  }

  private func heading(_ name: String, of run: URL) throws -> [String: Any] {
    let text = try String(contentsOf: run.appendingPathComponent("traces/\(name)"), encoding: .utf8)
    let line = try #require(text.split(separator: "\n").first)
    return try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
  }

  /// Checks a merged trace with a script that shares no code with Descent. Perfetto's own reader is not used: its Python
  /// package fetches the program when it is called.
  private func check(_ run: URL, steps: ClosedRange<Int>, as kind: String = "cluster") throws {
    let trace = run.appendingPathComponent("trace.json")
    let output = try Program.run("descent", ["trace", run.path, "--output", trace.path])
    #expect(output.standardOutput == "")
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("check_trace.py")
    let arguments = ["python3", script.path, trace.path, "\(steps.lowerBound)", "\(steps.upperBound)", kind]
    let verdict = try Program.Running(at: URL(fileURLWithPath: "/usr/bin/env"), arguments, environment: [:]).wait()
    #expect(verdict.status == 0, "\(verdict.standardOutput)\(verdict.standardError)")
  }

  @Test(arguments: [("memory", 2), ("ipc", 3), ("memory", 0)])
  func `a traced run has the bits of another one, and every process leaves a trace that nests`(
    transport: String, workers: Int
  ) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      var training = Training(workers: workers, ["trace-steps": "90..120"])
      if workers > 0 { training.settings["transport"] = transport }
      #expect(try training.result(in: run).hash == Self.untraced.get())
      let names = try files(of: run)
      let processes = workers == 0 ? ["train"] : ["coordinator", "server"] + (1...workers).map { "worker-\($0)" }
      #expect(names.map { String($0.prefix { $0 != "@" }) } == processes)
      for name in names {
        let heading = try heading(name, of: run)
        #expect(heading["lost"] as? Int == 0)
        #expect(heading["steps"] as? [Int] == [90, 120])
      }
      #expect(Set(try names.map { try heading($0, of: run)["coordinator"] as? String }).count == 1)
      try check(run, steps: 90...120, as: workers == 0 ? "sequential" : "cluster")
      let summary = try Program.run("descent", ["trace", "summary", run.path, "--json"]).object()
      #expect((summary["first_step"] as? Int, summary["last_step"] as? Int) == (90, 120))
      let phases = try #require(summary["phases"] as? [[String: Any]])
      let found = Set(phases.compactMap { $0["phase"] as? String })
      #expect(found.isSuperset(of: workers == 0 ? ["compute"] : ["compute", "send", "wait", "update", "reply"]))
      // Of step 100.
      #expect(found.isSuperset(of: ["evaluate", "save"]))
      #expect((summary["steps_counted"] as? Int ?? -1 > 0) == (workers > 1))
      let text = try Program.run("descent", ["trace", "summary", run.path]).standardOutput
      #expect(text.hasPrefix("steps 90 to 120, median "))
    }
  }

  @Test(arguments: ["ssp:2", "asp", "bsp:backup=1"])
  func `the other consistency models leave traces that nest`(consistency: String) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      _ = try Training(workers: 2, ["trace-steps": "1..300", "consistency": consistency]).result(in: run)
      let output = try Program.run("descent", ["trace", run.path])
      let parsed = try JSONSerialization.jsonObject(with: Data(output.standardOutput.utf8)) as? [String: Any]
      #expect((parsed?["traceEvents"] as? [Any])?.count ?? 0 > 300)
    }
  }

  @Test func `a killed worker costs its own trace only`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      var training = Training(workers: 2, ["trace-steps": "1..300"])
      let fault = directory.appendingPathComponent("killed").path
      training.environment = ["DESCENT_FAULT": "worker/received.work/50/kill=\(fault)"]
      _ = try training.result(in: run)
      let workers = try files(of: run).filter { $0.hasPrefix("worker") }
      // That of the other one, and that of the successor if it came before the end.
      #expect((1...2).contains(workers.count))
      let pids = Set(try workers.map { try heading($0, of: run)["pid"] as? Int })
      let killed = try String(contentsOfFile: fault, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
      #expect(!pids.contains(Int(killed)))
      #expect(pids.count == workers.count)
      try check(run, steps: 1...300, as: "partial")
    }
  }

  /// The steps after the checkpoint that a resumed run begins with are trained twice.
  @Test(arguments: ["server", "coordinator"])
  func `a server or coordinator that was killed leaves no step twice`(role: String) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      var training = Training(workers: 2, ["trace-steps": "1..300"])
      let fault = directory.appendingPathComponent("killed").path
      let point = role == "server" ? "received.push/500" : "received.snapshot/3"
      training.environment = ["DESCENT_FAULT": "\(role)/\(point)/kill=\(fault)"]
      #expect(try training.result(in: run).hash == Self.untraced.get())
      #expect(FileManager.default.fileExists(atPath: fault))
      let output = try Program.run("descent", ["trace", run.path])
      let parsed = try JSONSerialization.jsonObject(with: Data(output.standardOutput.utf8)) as? [String: Any]
      var updates: [Int: Int] = [:]
      for event in try #require(parsed?["traceEvents"] as? [[String: Any]]) where event["name"] as? String == "update" {
        let step = try #require((event["args"] as? [String: Any])?["step"] as? Int)
        updates[step, default: 0] += 1
      }
      #expect(!updates.isEmpty)
      #expect(updates.values.allSatisfy { $0 == 1 })
    }
  }

  @Test func `a resumed run does not record again without being asked, and an earlier start is left out`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let short = ["max-steps": "100", "trace-steps": "40..60"]
      _ = try Training(workers: 1, short).result(in: run)
      let before = try files(of: run)
      _ = try Training(workers: 1, ["max-steps": "200", "resume": "must"]).result(in: run)
      #expect(try files(of: run) == before)
      _ = try Training(workers: 1, ["max-steps": "300", "resume": "must", "trace-steps": "240..260"]).result(in: run)
      let output = try Program.run("descent", ["trace", run.path, "-o", directory.path + "/t.json"])
      let warning = "descent: warning: left out \(before.count) traces of earlier starts of the run\n"
      #expect(output.standardError == warning)
      try check(run, steps: 240...260)
    }
  }

  @Test(arguments: [
    (["train", "--trace-steps", "9..3"], Int32(64), "--trace-steps must be A..B"),
    (["trace", "/nowhere"], 66, "there is no run at /nowhere"), (["trace", "summary", "/"], 66, "/ has no traces"),
  ])
  func `what cannot be is named`(_ arguments: [String], _ status: Int32, _ message: String) throws {
    let output = try Program.run("descent", arguments, expecting: status)
    #expect(output.standardError.contains(message), "\(output.standardError)")
  }
}
