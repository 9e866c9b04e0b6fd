import Foundation
import Optimization
import TestSupport
import Testing

/// `descent doctor` on this machine, and on worse ones.
@Suite("Doctor", .serialized)
struct DoctorTests {
  /// Runs the doctor in a directory of its own, after `preparation` in bash, and expects that nothing is left there.
  private func examine(
    _ arguments: [String] = [], after preparation: String = ":", environment: [String: String] = [:],
    expecting status: Int32, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> (output: Program.Output, findings: [String: [String: Any]]) {
    try TemporaryDirectory.with { directory in
      let program = Program.directory.appendingPathComponent("descent").path
      let output = try Program.Running(
        at: URL(fileURLWithPath: "/bin/bash"),
        ["-c", "cd '\(directory.path)'; \(preparation); exec \"$0\" doctor --json \"$@\"", program] + arguments,
        environment: environment
      ).wait()
      #expect(
        output.status == status, "\(output.standardOutput.suffix(3000))\(output.standardError.suffix(1000))",
        sourceLocation: sourceLocation)
      let left = try FileManager.default.contentsOfDirectory(atPath: directory.path).filter { $0 != "kept" }
      #expect(left.isEmpty, sourceLocation: sourceLocation)
      let object = try output.object()
      let list = try #require(object["findings"] as? [[String: Any]])
      #expect(object["status"] as? Int == Int(output.status), sourceLocation: sourceLocation)
      let named = list.map { ($0["check"] as? String ?? "", $0) }
      return (output, Dictionary(named) { first, _ in first })
    }
  }

  private func verdict(_ finding: [String: Any]?) -> String { finding?["verdict"] as? String ?? "missing" }
  private func found(_ finding: [String: Any]?) -> String { finding?["found"] as? String ?? "" }
  private func remedy(_ finding: [String: Any]?) -> String { finding?["remedy"] as? String ?? "" }

  @Test(arguments: KernelVariant.supported)
  func `the weights are those that are published, with the kernels of every instruction set`(kernel: KernelVariant)
    throws
  {
    let (_, findings) = try examine(environment: ["DESCENT_KERNEL": kernel.rawValue], expecting: 0)
    for name in ["training, sequential", "training, 1 worker", "training, 3 workers"] {
      #expect(verdict(findings[name]) == "ok" && found(findings[name]).hasPrefix("100 steps"), "\(findings)")
    }
    #expect(verdict(findings["processor"]) == (kernel == KernelVariant.supported.first ? "ok" : "warning"))
    #expect(found(findings["processor"]).contains(kernel.rawValue))
    for name in [
      "versions", "processors", "large pages", "limits", "memory", "clocks", "terminal", "run directory", "sockets",
      "ports", "shared memory", "keys",
    ] {
      #expect(["ok", "warning"].contains(verdict(findings[name])), "\(name): \(findings[name] ?? [:])")
      #expect(!found(findings[name]).isEmpty)
    }
  }

  @Test func `people get a line for each check, and what to do below it`() throws {
    try TemporaryDirectory.with { directory in
      let output = try Program.run(
        "descent", ["doctor", "--quick", "--run-dir", directory.path + "/runs/new"],
        environment: ["DESCENT_KERNEL": "portable"])
      let lines = output.standardOutput.split(separator: "\n", omittingEmptySubsequences: false)
      #expect(lines.contains { $0.hasPrefix("ok       versions             descent ") }, "\(output.standardOutput)")
      let processor = try #require(
        lines.firstIndex { $0.hasPrefix("warning  processor ") || $0.hasPrefix("ok       processor ") })
      if lines[processor].hasPrefix("warning") { #expect(lines[processor + 1].hasPrefix("         ")) }
      #expect(!output.standardOutput.contains("training"))
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    }
  }

  @Test func `a limit that is too low is an error with what to do, and the training says so as well`() throws {
    let (_, findings) = try examine(["--quick"], after: "ulimit -n 24", expecting: 78)
    #expect(verdict(findings["limits"]) == "error")
    #expect(found(findings["limits"]).contains("open files, but the limit is 24"))
    #expect(remedy(findings["limits"]).contains("ulimit -n "))
  }

  @Test(
    .enabled(if: geteuid() != 0 || FileManager.default.isExecutableFile(atPath: "/usr/bin/setpriv"), "takes setpriv"))
  func `a directory that cannot be written is an error, and the training goes to another place`() throws {
    let program = Program.directory.appendingPathComponent("descent").path
    try TemporaryDirectory.with { directory in
      // Another user, as root writes everywhere.
      let user = geteuid() == 0 ? ["/usr/bin/setpriv", "--reuid=65534", "--clear-groups"] : ["/usr/bin/env"]
      chmod(directory.path, 0o555)
      let output = try Program.Running(
        at: URL(fileURLWithPath: user[0]),
        user.dropFirst() + [program, "doctor", "--json", "--run-dir", directory.path + "/run"],
        environment: ["TMPDIR": "/tmp"]
      ).wait()
      #expect(output.status == 73, "\(output)")
      let findings = try #require(try output.object()["findings"] as? [[String: Any]])
      let place = findings.first { $0["check"] as? String == "run directory" }
      #expect(verdict(place) == "error" && remedy(place).contains("--run-dir"), "\(findings)")
      #expect(findings.contains { $0["check"] as? String == "training, 3 workers" && verdict($0) == "ok" })
    }
  }

  @Test func `keys that others can read are an error, and good ones are named`() throws {
    let descent = Program.directory.appendingPathComponent("descent").path
    let make = "'\(descent)' keygen --output kept/keys >/dev/null"
    let good = try examine(["--quick", "--keys", "kept/keys"], after: make, expecting: 0).findings["keys"]
    #expect(verdict(good) == "ok" && found(good).contains("coordinator, "), "\(good ?? [:])")
    let bad = try examine(
      ["--quick", "--keys", "kept/keys"], after: "\(make); chmod 644 kept/keys/server.key", expecting: 78
    ).findings["keys"]
    #expect(verdict(bad) == "error" && found(bad).contains("server.key"), "\(bad ?? [:])")
    let none = try examine(["--quick"], environment: ["DESCENT_KEYS": "none"], expecting: 0).findings["keys"]
    #expect(verdict(none) == "warning" && remedy(none).contains("descent keygen --output none"))
  }

  @Test func `a signal ends the training, and nothing is left`() throws {
    try TemporaryDirectory.with { directory in
      let doctor = try Program.start("descent", ["doctor", "--json", "--run-dir", directory.path + "/run"])
      try waitUntil("it trains") { try !FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty }
      kill(doctor.process.processIdentifier, SIGTERM)
      let output = try doctor.wait(seconds: 60)
      // It may have come between two trainings, and after the last one.
      #expect([0, 75].contains(output.status), "\(output)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    }
  }
}
