import Foundation
import RunConfiguration
import TestSupport
import Testing

/// The other subcommands, and the exit codes that scripts rely on.
@Suite("Commands", .serialized)
struct CommandTests {
  @Test
  func `evaluate, inspect, verify and predict agree on a checkpoint, a run and a bare file`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let result = try Training(workers: 2).result(in: run)
      let data = try SharedData.directory.get()
      let checkpoint = try #require(result.checkpoint)
      for path in [run.path, run.path + "@latest", run.path + "@300", checkpoint, checkpoint + "/model.safetensors"] {
        let output = try Program.run("descent", ["evaluate", "--checkpoint", path, "--data", data, "--json"]).object()
        #expect(output["accuracy"] as? Double == result.testAccuracy)
        #expect(output["loss"] as? Double == result.object["test_data_loss"] as? Double)
        #expect(output["examples"] as? Int == 500)
        let confusion = try #require(output["confusion"] as? [[Int]])
        #expect(confusion.flatMap { $0 }.reduce(0, +) == 500)
        try Program.run("descent", ["inspect", path])
        try Program.run("descent", ["verify", path])
      }
      let validation = try Program.run(
        "descent", ["evaluate", "--checkpoint", run.path, "--data", data, "--split", "validation", "--json"]
      ).object()
      #expect(validation["accuracy"] as? Double == result.object["validation_accuracy"] as? Double)
      #expect(validation["examples"] as? Int == 500)
      let best = try Program.run(
        "descent", ["evaluate", "--checkpoint", run.path + "@best", "--data", data, "--split", "validation", "--json"]
      ).object()
      #expect(best["loss"] as? Double == result.object["best_validation_data_loss"] as? Double)
      let missing = try Program.run("descent", ["verify", run.path + "@7"], expecting: 66)
      #expect(missing.standardError.contains("there is no checkpoint \(run.path)@7: \(run.path) has step"))
    }
  }

  @Test
  func `predict names the best classes of a picture, and continues after one that it cannot read`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      _ = try Training(workers: 0, ["max-steps": "20"]).result(in: run)
      // 2×2 pixels, made with Pillow: Image.new("RGB", (2, 2), (200, 30, 90)).save(..., "PNG")
      let picture = directory.appendingPathComponent("two by two.png")
      let bytes = try #require(Data(base64Encoded: Self.png))
      try bytes.write(to: picture)
      let output = try Program.run("descent", ["predict", "--checkpoint", run.path, "--json", picture.path])
      let parsed = try JSONSerialization.jsonObject(with: Data(output.standardOutput.utf8)) as? [[String: Any]]
      let top = try #require(parsed?.first?["top"] as? [[String: Any]])
      let probabilities = top.compactMap { $0["probability"] as? Double }
      #expect(probabilities.count == 3)
      #expect(probabilities == probabilities.sorted(by: >))
      let scores = try #require(parsed?.first?["scores"] as? [Double])
      #expect(scores.count == 10 && Set(scores).count > 1)
      let all = try Program.run("descent", ["predict", "--checkpoint", run.path, "--top", "10", picture.path])
      #expect(all.standardOutput.split(separator: ",").count == 10)
      let damaged = directory.appendingPathComponent("damaged.png")
      try bytes.dropLast(20).write(to: damaged)
      let mixed = try Program.run(
        "descent", ["predict", "--checkpoint", run.path, damaged.path, picture.path], expecting: 65)
      #expect(mixed.standardOutput.hasPrefix(picture.path + ": "))
      #expect(mixed.standardError.hasPrefix("descent: error: \(damaged.path) is damaged or cut short"))
      let json = try Program.run(
        "descent", ["predict", "--json", "--checkpoint", run.path, damaged.path, picture.path], expecting: 65)
      let answers = try JSONSerialization.jsonObject(with: Data(json.standardOutput.utf8)) as? [[String: Any]]
      #expect(answers?.map { $0["error"] != nil } == [true, false])
      try Program.run("descent", ["predict", "--checkpoint", run.path, picture.path + ".none"], expecting: 66)
    }
  }

  private static let png =
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGM8IRfFwMDAxMDAwMDAAAAPmAFE4knAJgAAAABJRU5ErkJggg=="

  @Test
  func `simulate replays a schedule to the last byte of its trace, in every process`() throws {
    for consistency in ["bsp", "asp"] {
      let arguments = ["simulate", "--seed", "3", "--consistency", consistency]
      let traces = try (0..<2).map { _ in
        try Program.run("descent", arguments + ["--trace"]).standardOutput.split(separator: "\n").filter {
          !$0.contains("schedules/s")
        }
      }
      #expect(traces[0].count > 100)
      #expect(traces[0] == traces[1])
      let summary = try Program.run("descent", arguments + ["--count", "20", "--json"]).object()
      #expect(summary["count"] as? Int == 20)
      #expect((summary["failures"] as? [Any])?.isEmpty == true)
      #expect(((summary["totals"] as? [String: Any])?["crashes"] as? Int ?? 0) > 0)
    }
    try Program.run("descent", ["simulate", "--consistency", "bsp:backup=16"], expecting: 78)
    try Program.run("descent", ["simulate", "--consistency", "sometimes"], expecting: 64)
    try Program.run("descent", ["simulate", "--count", "0"], expecting: 64)
    for workers in ["0", "1025"] {
      let refused = try Program.run("descent", ["simulate", "--workers", workers], expecting: 64)
      #expect(refused.standardError.contains("from 1 to 1024"))
    }
  }

  @Test
  func `a damaged checkpoint is refused with 65 and a reason, a missing one with 66`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let checkpoint = try #require(try Training(workers: 0).result(in: run).checkpoint)
      let model = URL(fileURLWithPath: checkpoint + "/model.safetensors")
      var bytes = try Data(contentsOf: model)
      bytes[bytes.count / 2] ^= 1
      try bytes.write(to: model)
      for path in [checkpoint, run.path] {
        let output = try Program.run("descent", ["verify", path], expecting: 65)
        #expect(output.standardError.contains("sha256") || output.standardError.contains("SHA-256"))
      }
      try Data().write(to: model)
      try Program.run("descent", ["verify", checkpoint], expecting: 65)
      try Program.run("descent", ["inspect", model.path], expecting: 65)
      try Program.run("descent", ["verify", directory.appendingPathComponent("none").path], expecting: 66)
    }
  }

  @Test
  func `the policies of --resume`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      _ = try Training(workers: 0, ["resume": "must"]).start(in: run).wait().expect(66)
      let first = try Training(workers: 0, ["resume": "auto"]).result(in: run)
      _ = try Training(workers: 0).start(in: run).wait().expect(73)
      let other = try Training(workers: 0, ["resume": "must", "learning-rate": "0.01"]).start(in: run).wait().expect(78)
      #expect(other.standardError.contains("learning-rate"))
      let further = ["max-steps": "500"]
      // As from a coordinator that was killed while it replaced the file.
      let unfinished = run.appendingPathComponent(".tmp-run.json-0123456789abcdef")
      try Data().write(to: unfinished)
      let resumed = try Training(workers: 2, further.merging(["resume": "auto"]) { $1 }).result(in: run)
      #expect(resumed.steps == 500)
      #expect(!FileManager.default.fileExists(atPath: unfinished.path))
      #expect(try resumed.hash == Training(workers: 0, further).result().hash)
      let checkpoint = try #require(first.checkpoint)
      let elsewhere = directory.appendingPathComponent("elsewhere")
      if FileManager.default.fileExists(atPath: checkpoint) {
        let forked = try Training(workers: 1, further.merging(["resume": checkpoint]) { $1 }).result(in: elsewhere)
        #expect(forked.hash == resumed.hash)
      }
    }
  }

  @Test
  func `bad input: the exit code and a message that names what was found`() throws {
    try TemporaryDirectory.with { directory in
      try Program.run("descent", ["train", "--no-such-flag"], expecting: 64)
      try Program.run("descent", ["train", "--batch-size", "many", "--data", "x"], expecting: 64)
      try Program.run("descent", ["train", "--data", directory.path + "/none"], expecting: 66)
      let file = directory.appendingPathComponent("bad.yaml")
      try "learnig-rate: 0.1\n".write(to: file, atomically: true, encoding: .utf8)
      let output = try Program.run("descent", ["config", "show", "--config", file.path], expecting: 78)
      #expect(output.standardError.contains("learning-rate"))
      #expect(output.standardError.contains("bad.yaml:1"))
      try Data(count: 3072).write(to: directory.appendingPathComponent("data_batch_1.bin"))
      let short = try Program.run("descent", ["data", "check", directory.path], expecting: 65)
      #expect(short.standardError.contains("3072"))
      try Program.run(
        "descent", ["config", "show"], environment: ["DESCENT_LEARNIG_RATE": "1"], expecting: 78)
      try Program.run("descent", ["data", "check", "/"], environment: ["DESCENT_KERNEL": "mmx"], expecting: 78)
    }
  }

  @Test
  func `descent train gives every process the settings of file, environment and flags`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let file = directory.appendingPathComponent("train.yaml")
      let data = try SharedData.directory.get()
      try "data: '\(data)'\nlease-seconds: 3\nmax-steps: 100000000\nepochs: 1000000\nvalidation-examples: 500\n"
        .write(to: file, atomically: true, encoding: .utf8)
      let environment = ["DESCENT_HEARTBEAT_SECONDS": "0.25", "DESCENT_BATCH_SIZE": "64", "DESCENT_WORKERS": "2"]
      let training = try Program.start(
        "descent", ["train", "--config", file.path, "--run-dir", run.path, "--rendezvous-seconds", "21"],
        environment: environment)
      _ = try RunStatus.reaching(step: 1, workers: 2, of: run)
      let children = processes(of: run).filter { $0 != training.process.processIdentifier }
      #expect(children.count == 4)
      for child in children {
        let line = FileManager.default.contents(atPath: "/proc/\(child)/cmdline") ?? Data()
        let arguments = String(decoding: line, as: UTF8.self).split(separator: "\0").map(String.init)
        let option = try #require(arguments.firstIndex(of: "--resolved"))
        let settings = try ResolvedSettings.resolve(document: arguments[option + 1])
        #expect(settings.data == data)
        #expect(settings.leaseSeconds == 3)
        #expect(settings.origin(of: \.leaseSeconds) == .file(path: file.path, line: 2))
        #expect(settings.heartbeatSeconds == 0.25)
        #expect(settings.origin(of: \.heartbeatSeconds) == .environment("DESCENT_HEARTBEAT_SECONDS"))
        #expect(settings.rendezvousSeconds == 21)
        #expect(settings.batchSize == 64)
      }
      let written = try String(contentsOf: run.appendingPathComponent("run.json"), encoding: .utf8)
      #expect(written.contains("\(file.path):2"))
      #expect(written.contains("DESCENT_BATCH_SIZE"))
      kill(training.process.processIdentifier, SIGTERM)
      _ = try training.wait().expect(75)
      try Leftovers.expectNone(of: run)
    }
  }

  @Test
  func `a bare file is taken for softmax with a warning, and --loss chooses another loss`() throws {
    try TemporaryDirectory.with { directory in
      let data = try SharedData.directory.get()
      let file = directory.appendingPathComponent("bare.safetensors")
      let header =
        #"{"weight":{"dtype":"F32","shape":[10,3072],"data_offsets":[0,122880]},"#
        + #""bias":{"dtype":"F32","shape":[10],"data_offsets":[122880,122920]},"#
        + #""mean_image":{"dtype":"F32","shape":[3072],"data_offsets":[122920,135208]}}"#
      let padded = header + String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
      let length = withUnsafeBytes(of: UInt64(padded.utf8.count).littleEndian) { Data($0) }
      try (length + Data(padded.utf8) + Data(count: 135_208)).write(to: file)
      let arguments = ["evaluate", "--checkpoint", file.path, "--data", data]
      let assumed = try Program.run("descent", arguments)
      #expect(
        assumed.standardError
          == "descent: warning: \(file.path) names no loss: softmax is assumed. Choose one with --loss\n")
      #expect(assumed.standardOutput.contains("500 examples, softmax loss 2.3026"))
      let chosen = try Program.run("descent", arguments + ["--loss", "svm", "--json"])
      #expect(chosen.standardError.isEmpty)
      #expect(try chosen.object()["loss"] as? Double == 9)
      #expect(try chosen.object()["loss_function"] as? String == "svm")
      let lines = assumed.standardOutput.split(separator: "\n")
      #expect(lines.allSatisfy { $0.count <= 100 })
      let (heads, rows) = (lines[2], lines[3...])
      #expect(heads.hasSuffix(" truck") && heads.contains(" autom."))
      #expect(rows.count == 10 && rows.allSatisfy { $0.count == heads.count })
    }
  }

  @Test
  func `--version names the versions that must agree, and every program has it`() throws {
    for program in ["descent", "descent-server", "descent-worker", "descent-coordinator"] {
      for flag in ["--version", "-V"] {
        let text = try Program.run(program, [flag]).standardOutput
        #expect(text.contains(/^descent \d+\.\d+\.\d+\n/))
        for line in ["commit ", "wire protocol", "checkpoint format", "kernels"] { #expect(text.contains(line)) }
      }
    }
  }

  @Test
  func `an error has one prefix, and is an object with --json`() throws {
    for arguments in [["train", "--no-such-flag"], ["data", "check", "/none"], ["predict"], ["train", "--l2", "-1"]] {
      let text = try Program.run("descent", arguments, expecting: nil)
      #expect(text.standardError.hasPrefix("descent: error: "), "\(text.standardError)")
      let json = try Program.run("descent", arguments + ["--json"], expecting: text.status)
      #expect(json.standardOutput.isEmpty)
      let object = try JSONSerialization.jsonObject(with: Data(json.standardError.utf8)) as? [String: Any]
      #expect(object?["status"] as? Int32 == text.status)
      let message = try #require(object?["error"] as? String)
      #expect(text.standardError.hasPrefix("descent: error: \(message)"))
    }
  }

  @Test
  func `what other trainers call a setting is answered by its name here`() throws {
    let iterations = try Program.run("descent", ["train", "--iterations", "5"], expecting: 64)
    #expect(
      iterations.standardError.hasPrefix("descent: error: unknown option '--iterations'. Did you mean `--max-steps`?\n")
    )
    let decay = try Program.run("descent-coordinator", ["--weight-decay=0.1"], expecting: 64)
    #expect(decay.standardError.contains("an l2 of d/2"))
    let elsewhere = try Program.run("descent", ["predict", "--iterations", "5"], expecting: 64)
    #expect(!elsewhere.standardError.contains("--max-steps"))
    let bound = try Program.run("descent", ["config", "show", "--l2", "-1"], expecting: 64)
    #expect(bound.standardError == "descent: error: --l2 must be a number from 0 to 1000, but is \"-1\"\n")
  }

  @Test
  func `descent train shows data, plan, progress and result; the rest with --verbose and in the log`() throws {
    let processes = ["listening on", "joined", "training with", "saved checkpoint"]
    try TemporaryDirectory.with { directory in
      for workers in [0, 2] {
        let run = directory.appendingPathComponent("run\(workers)")
        let output = try Training(workers: workers).start(in: run).wait().expect(0)
        let lines = output.standardError.split(separator: "\n")
        #expect(lines.first?.hasPrefix("descent: warning: synthetic data") == true)
        #expect(lines.dropFirst().first?.hasPrefix("softmax, 30,730 parameters: 300 steps of 64 examples") == true)
        #expect(lines.dropFirst(2).allSatisfy { $0.hasPrefix("step ") }, "\(output.standardError)")
        #expect(Set(lines).count == lines.count)
        #expect(!output.standardError.contains(" - "))
      }
      let run = directory.appendingPathComponent("verbose")
      let output = try Training(isVerbose: true).start(in: run).wait().expect(0)
      let log = try ["coordinator", "server", "worker"].flatMap { role in
        let log = try RunLog(of: run, role: role)
        return ["listening", "worker_joined", "membership", "checkpoint"].flatMap { log.messages($0) }
      }
      for text in processes {
        #expect(output.standardError.contains(text), "\(output.standardError)")
        #expect(log.contains { $0.contains(text) }, "\(text)")
      }
    }
  }

  @Test
  func `--lr is --learning-rate`() throws {
    let output = try Program.run("descent", ["config", "show", "--lr", "0.25", "--json"]).object()
    #expect((output["learning-rate"] as? [String: Any])?["value"] as? Double == 0.25)
    let help = try Program.run("descent", ["train", "--help"]).standardOutput
    #expect(help.contains("--learning-rate, --lr"))
    let unknown = try Program.run("descent", ["train", "--batchsize", "64"], expecting: 64)
    #expect(unknown.standardError.contains("--batch-size"))
  }

  @Test
  func `--dry-run prints the plan and touches nothing`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let arguments = try Training(workers: 3).arguments(in: run).filter { $0 != "--json" }
      let output = try Program.run("descent", arguments + ["--dry-run"])
      #expect(output.standardOutput.contains("worker 2"))
      #expect(!FileManager.default.fileExists(atPath: run.path))
    }
  }

  @Test
  func `descent gradient-check passes on minibatches of a data set, for all losses`() throws {
    let data = try RealData.directory ?? SharedData.directory.get()
    try Program.run(
      "descent", ["gradient-check", "--data", data, "--validation-examples", "500", "--batch-size", "64"])
  }

  @Test func `gradient-check --all passes, and refuses flags that it would ignore`() throws {
    try Program.run("descent", ["gradient-check", "--all"])
    for flags in [["--hidden", "3"], ["--coordinates", "5"], ["--config", "train.yaml"]] {
      let output = try Program.run("descent", ["gradient-check", "--all"] + flags, expecting: 64)
      #expect(output.standardError.contains("\(flags[0]) has no meaning with --all"), "\(output.standardError)")
    }
  }

  @Test(.enabled(if: hasNumPy, "no python3 with numpy"))
  func `a script of ten lines in NumPy gets the accuracy that descent evaluate prints`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let result = try Training(workers: 2).result(in: run)
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("evaluate.py")
      let python = Process()
      let pipe = Pipe()
      python.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      python.arguments = [
        "python3", script.path, try #require(result.checkpoint) + "/model.safetensors", try SharedData.directory.get(),
      ]
      python.standardOutput = pipe
      try python.run()
      let printed = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      python.waitUntilExit()
      let accuracy = try #require(Double(printed.trimmingCharacters(in: .whitespacesAndNewlines)))
      // Scores in another order of summation: an example may tip over where two classes tie.
      #expect(abs(accuracy - result.testAccuracy) <= 1.0 / 500 + 1e-12)
    }
  }

  static let hasNumPy: Bool = {
    let python = Process()
    python.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    python.arguments = ["python3", "-c", "import numpy"]
    python.standardError = FileHandle.nullDevice
    guard (try? python.run()) != nil else { return false }
    python.waitUntilExit()
    return python.terminationStatus == 0
  }()
}

extension Program.Output {
  @discardableResult
  func expect(_ status: Int32, sourceLocation: SourceLocation = #_sourceLocation) -> Self {
    #expect(self.status == status, "\(standardError.suffix(2000))", sourceLocation: sourceLocation)
    return self
  }
}
