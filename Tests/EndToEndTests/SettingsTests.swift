import Foundation
import TestSupport
import Testing

/// Settings that reach several processes and commands, and command lines as people and services hand them over.
@Suite struct SettingsTests {
  private static let platform = [
    "DESCENT_PORT": "tcp://10.96.0.12:5555", "DESCENT_SERVICE_HOST": "10.96.0.12",
    "DESCENT_PORT_5555_TCP_ADDR": "10.96.0.12", "DESCENT_KEYS": "", "DESCENT_FAULT": "", "DESCENT_HOME": "/opt/descent",
    "ZMQ_IPV6": "1", "http_proxy": "http://127.0.0.1:1", "LC_ALL": "de_DE.UTF-8",
  ]

  @Test func `settings from file, variable and flag at once: train, status and evaluate agree`() throws {
    try TemporaryDirectory.with { directory in
      let (file, run) = (directory.appendingPathComponent("run.yaml"), directory.appendingPathComponent("run"))
      try Data("\u{FEFF}shards: 24\r\nepochs: 3\r\nmax-steps: 20\r\nvalidation-examples: 500\r\n".utf8).write(to: file)
      let environment = Self.platform.merging([
        "DESCENT_BATCH_SIZE": "48", "DESCENT_SHARDS": "24", "DESCENT_CONSISTENCY": "bsp:backup=20",
        "DESCENT_DATA": "$DATASETS/\(try SharedData.directory.get())", "DATASETS": "/",
      ]) { $1 }
      let trained = try Program.run(
        "descent", ["train", "--json", "--config", file.path, "--workers", "20", "--run-dir", run.path],
        environment: environment
      ).object()
      let status = try Program.run(
        "descent", ["status", "--run-dir", run.path], environment: environment, expecting: 3)
      #expect(status.standardError.contains("10.96.0.12") && !status.standardError.contains("error"))
      let evaluated = try Program.run(
        "descent", ["evaluate", "--checkpoint", run.path, "--split", "validation", "--json"], environment: environment
      ).object()
      let accuracy = try #require(evaluated["accuracy"] as? Double)
      #expect(accuracy == trained["validation_accuracy"] as? Double)
      #expect(evaluated["examples"] as? Int == 500)
      try Evidence.add(.settings, observed: "20 steps, status 3, accuracy \(accuracy) of training and evaluation")
    }
  }

  @Test(arguments: [
    (["train", "\u{2013}-lr", "0.1"], Int32(64), "`\u{2013}-lr` begins with U+2013 EN DASH. Did you mean `--lr`?"),
    (["evaluate", "\u{2014}checkpoint", "x"], 64, "begins with U+2014 EM DASH. Did you mean `--checkpoint`?"),
    (["train", "--learning_rate", "0.1"], 64, "Did you mean `--learning-rate`?"),
    (["train", "--lr", "\u{201C}0.1\u{201D}"], 64, "Did you mean `0.1`?"),
    (["train", "--data=~/cifar"], 66, "cannot read /nowhere/cifar"), (["inspect", "~/run"], 66, "/nowhere/run"),
    (["train", "--config=~/run.yaml"], 66, "cannot read configuration file /nowhere/run.yaml"),
    (["train", "--seed", "1", "--seed=2", "--data", "/nowhere"], 66, "warning: --seed is given 2 times: 2 counts"),
  ])
  func `a command line as chats, services and containers hand it over: read, or named`(
    _ arguments: [String], _ status: Int32, _ message: String
  ) throws {
    let output = try Program.run("descent", arguments, environment: ["HOME": "/nowhere"], expecting: status)
    #expect(output.standardError.contains(message), "\(output.standardError)")
    try Evidence.add(.settings, arguments.joined(separator: " "), observed: "\(status): \(message)")
  }

  @Test func `a command line longer than one argument may be: the run starts, and records its beginning`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let more = Array(repeating: "--data=./" + String(repeating: "x", count: 1000), count: 150)
      let data = try SharedData.directory.get()
      try Program.run(
        "descent",
        ["train", "--quiet", "--run-dir", run.path, "--workers", "1", "--validation-examples", "500", "--batch-size"]
          + ["64", "--epochs", "1", "--max-steps", "2"] + more + ["--data", data])
      let text = try String(contentsOf: run.appendingPathComponent("run.json"), encoding: .utf8)
      #expect(text.contains("\"…\""))
      try Evidence.add(.settings, observed: "\(more.joined().utf8.count) bytes of flags, the run is done")
    }
  }

  @Test(arguments: [true, false])
  func `a working directory that was removed: full paths work, others are explained`(isFull: Bool) throws {
    try TemporaryDirectory.with { directory in
      let program = Program.directory.appendingPathComponent("descent").path
      let run = isFull ? ["--run-dir", directory.path + "/run"] : []
      let shell = try Program.Running(
        at: URL(fileURLWithPath: "/bin/sh"),
        ["-c", "mkdir \"$0\" && cd \"$0\" && rmdir \"$0\" && exec \"$@\"", directory.path + "/gone", program]
          + ["train", "--quiet", "--workers", "0", "--data", SharedData.directory.get(), "--epochs", "1"]
          + ["--validation-examples", "500", "--batch-size", "64", "--max-steps", "2"] + run,
        environment: [:])
      let output = try shell.wait()
      #expect(output.status == (isFull ? 0 : 73))
      #expect(output.standardError.contains("The working directory has been removed") == !isFull)
      try Evidence.add(.settings, isFull ? "full paths" : "a relative path", observed: "\(output.status)")
    }
  }

  @Test(
    .enabled(
      if: Enumeration.isComplete && geteuid() == 0, "another /etc/hosts takes root: Scripts/faults.sh tries it"))
  func `a host name with several addresses, of which one is listened at: that one is found`() throws {
    try TemporaryDirectory.with { directory in
      let hosts = directory.appendingPathComponent("hosts")
      try Data("127.0.0.1 descent-test-host\n::1 descent-test-host\n".utf8).write(to: hosts)
      let run = directory.appendingPathComponent("run")
      let training = try Training(workers: 1, FaultTests.long.merging(["transport": "tcp", "bind": "::1"]) { $1 })
        .start(in: run)
      _ = try RunStatus.reaching(step: 1, workers: 1, of: run)
      let address = try String(contentsOf: run.appendingPathComponent("coordinator.endpoint"), encoding: .utf8)
      let port = try #require(address.firstMatch(of: /\]:([0-9]+)/)).1
      let status = try Program.Running(
        at: URL(fileURLWithPath: "/usr/bin/unshare"),
        ["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\"", hosts.path]
          + [Program.directory.appendingPathComponent("descent").path, "status"]
          + ["--coordinator", "descent-test-host:\(port)"], environment: [:]
      ).wait()
      #expect(status.status == 0, "\(status.standardError)")
      kill(training.process.processIdentifier, SIGTERM)
      #expect(try training.wait(seconds: 30).status == 75)
      try Evidence.add(.addresses, observed: "status 0 by the second address")
    }
  }
}
