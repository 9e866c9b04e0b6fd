import Foundation
import TestSupport
import Testing

/// The output of a command, its errors included; nil where it cannot be run.
private func output(of command: [String]) -> (status: Int32, text: String)? {
  let process = Process()
  let pipe = Pipe()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = command
  (process.standardOutput, process.standardError) = (pipe, pipe)
  guard (try? process.run()) != nil else { return nil }
  let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  process.waitUntilExit()
  return (process.terminationStatus, text)
}

private func has(_ program: String) -> Bool { output(of: ["which", program])?.status == 0 }
private let python = ProcessInfo.processInfo.environment["DESCENT_PYTHON"] ?? "python3"
private let hasBrowser = has("chromium") && has("chromedriver")

/// `descent dashboard`, and what is spoken to it.
private struct Dashboard {
  let process: Program.Running
  let url: URL

  init(_ directory: URL, _ more: [String] = []) throws {
    let process = try Program.start("descent", ["dashboard", directory.path, "--json", "--port", "0"] + more)
    var url: URL?
    try waitUntil("the dashboard listens") {
      let data = Data(process.standardOutput.utf8)
      let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
      url = (object?["url"] as? String).flatMap { URL(string: $0) }
      return url != nil || !process.process.isRunning
    }
    self.process = process
    self.url = try #require(url, "\(process.standardError)")
  }

  var pid: pid_t { process.process.processIdentifier }

  func stop() throws {
    kill(pid, SIGTERM)
    _ = try process.wait(seconds: 10)
  }

  func get(_ path: String) throws -> String {
    let answer = try #require(output(of: ["curl", "--silent", "--max-time", "20", url.absoluteString + path]))
    #expect(answer.status == 0)
    return answer.text
  }
}

private func script(_ name: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(name).path
}

@Suite("The dashboard's process", .serialized)
struct DashboardProcessTests {
  private func train(_ name: String, in directory: URL, _ more: [String: String] = [:]) throws {
    var settings = ["max-steps": "60", "evaluate-every": "10", "checkpoint-every": "20"]
    settings.merge(more) { $1 }
    _ = try Training(workers: 1, settings).result(in: directory.appendingPathComponent(name))
  }

  @Test func `bare sockets: refusals, a thousand idle connections, slow readers, no cost without a reader`() throws {
    try TemporaryDirectory.with { directory in
      try train("a", in: directory)
      let dashboard = try Dashboard(directory)
      let port = "\(try #require(dashboard.url.port))"
      let answer = try #require(
        output(of: ["python3", script("dashboard-sockets.py"), port, "\(dashboard.pid)", directory.path]))
      #expect(answer.status == 0, "\(answer.text)")
      try dashboard.stop()
    }
  }

  @Test(.enabled(if: hasBrowser, "no chromium with chromedriver"))
  func `a browser shows curves, templates, news, a killed worker and a comparison, without an error`() throws {
    try TemporaryDirectory.with { directory in
      try train("still", in: directory, ["learning-rate": "0.002"])
      try train("<img src=x onerror=window.pwned=1>", in: directory)
      let live = directory.appendingPathComponent("live")
      let training = try Training(
        workers: 2, ["max-steps": "100000000", "evaluate-every": "2000", "checkpoint-every": "2000"]
      ).start(in: live)
      let status = try RunStatus.reaching(step: 4001, workers: 2, of: live)
      let dashboard = try Dashboard(directory)
      let pictures = ProcessInfo.processInfo.environment["DESCENT_PICTURES"].map { [$0] } ?? []
      let worker = "\(try #require(status.workers.first))"
      let answer = try #require(
        output(
          of: ["python3", script("dashboard-browser.py"), dashboard.url.absoluteString, directory.path, worker]
            + pictures))
      #expect(answer.status == 0, "\(answer.text)")
      print(answer.text)
      kill(training.process.processIdentifier, SIGTERM)
      try training.wait().expect(75)
      try dashboard.stop()
    }
  }

  @Test(.enabled(if: has("promtool"), "no promtool"))
  func `promtool accepts the metrics, the rules and the scrape configuration`() throws {
    try TemporaryDirectory.with { directory in
      try train("a", in: directory)
      let dashboard = try Dashboard(directory)
      let metrics = directory.appendingPathComponent("metrics")
      try Data(dashboard.get("metrics").utf8).write(to: metrics)
      let answer = try #require(output(of: ["sh", "-c", "promtool check metrics <\"$0\"", metrics.path]))
      #expect(answer.status == 0 && answer.text.isEmpty, "\(answer.text)")
      try dashboard.stop()
      let deploy = URL(fileURLWithPath: script("")).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Deploy/prometheus").path
      for (check, file) in [("rules", "alerts.yml"), ("config", "scrape.yml")] {
        let answer = try #require(output(of: ["promtool", "check", check, "\(deploy)/\(file)"]))
        #expect(answer.status == 0, "\(answer.text)")
      }
      let test = try #require(output(of: ["promtool", "test", "rules", "\(deploy)/alerts-test.yml"]))
      #expect(test.status == 0, "\(test.text)")
    }
  }

  @Test(.enabled(if: output(of: [python, "-c", "import prometheus_client"])?.status == 0, "no prometheus_client"))
  func `the parser of prometheus_client reads the metrics`() throws {
    try TemporaryDirectory.with { directory in
      try train("a \"quoted\" \\ name", in: directory)
      let dashboard = try Dashboard(directory)
      let file = try TemporaryDirectory.untilExit().write(dashboard.get("metrics").utf8, to: "metrics")
      let program = """
        import sys
        from prometheus_client.parser import text_string_to_metric_families as parse
        families = list(parse(open(sys.argv[1], encoding="utf-8").read()))
        steps = [s for f in families for s in f.samples if s.name == "descent_run_steps_total"]
        assert [(s.labels["run"], s.value) for s in steps] == [('a "quoted" \\\\ name', 60)], steps
        print(len(families))
        """
      let answer = try #require(output(of: [python, "-c", program, file]))
      #expect(answer.status == 0 && Int(answer.text.filter(\.isNumber)) ?? 0 > 15, "\(answer.text)")
      try dashboard.stop()
    }
  }

  @Test func `train --dashboard prints the address, and the page ends with the command`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let training = Training(workers: 1, ["max-steps": "100000000"])
      let process = try Program.start("descent", training.arguments(in: run) + ["--dashboard"])
      var address: Substring?
      try waitUntil("the address is printed") {
        address = process.standardError.firstMatch(of: /the dashboard is at (http:\/\/127\.0\.0\.1:\d+\/)/)?.1
        return address != nil || !process.process.isRunning
      }
      let url = String(try #require(address, "\(process.standardError)"))
      _ = try RunStatus.reaching(step: 10, workers: 1, of: run)
      try waitUntil("the run is on the page") {
        output(of: ["curl", "--silent", url + "api/runs"])?.text.contains("\"state\":\"running\"") ?? false
      }
      kill(process.process.processIdentifier, SIGKILL)
      try waitUntil("the page is gone") { output(of: ["curl", "--silent", url])?.status != 0 }
      try waitUntil("nothing is left") { processes(of: run).isEmpty }
    }
  }

  @Test func `a port that is taken, a missing directory and another address without a token are errors`() throws {
    try TemporaryDirectory.with { directory in
      let dashboard = try Dashboard(directory)
      let port = "\(try #require(dashboard.url.port))"
      let taken = try Program.run("descent", ["dashboard", directory.path, "--port", port], expecting: 73)
      #expect(taken.standardError.contains("choose another --port"))
      try Program.run("descent", ["dashboard", directory.path + "/none"], expecting: 66)
      try Program.run("descent", ["dashboard", directory.path, "--bind", "0.0.0.0"], expecting: 78)
      try Program.run("descent", ["dashboard", directory.path, "--bind", "example.org"], expecting: 78)
      try Program.run("descent", ["dashboard", directory.path, "--token-file", "/nonexistent"], expecting: 66)
      try dashboard.stop()
    }
  }
}
