import Checkpoints
import Foundation
import TestSupport
import Testing

/// What `descent report`, `export` and `compare` write, read by the programs that people read it with.
@Suite("Published files", .serialized)
struct PublishedFileTests {
  /// `python3` with these modules, or nil. DESCENT_PYTHON names another interpreter.
  private static func python(_ modules: String) -> String? {
    let name = ProcessInfo.processInfo.environment["DESCENT_PYTHON"] ?? "python3"
    return (try? run([name, "-c", "import \(modules)"])) == nil ? nil : name
  }

  private static let script = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().appendingPathComponent("published.py").path

  /// The output of a program; an error for any other status than 0.
  private static func run(_ words: [String]) throws -> Data {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = words
    (process.standardOutput, process.standardError) = (output, FileHandle.nullDevice)
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw CocoaError(.executableLoad, userInfo: [NSDebugDescriptionErrorKey: words.joined(separator: " ")])
    }
    return data
  }

  private func read(_ what: String, _ path: String, with modules: String = "json") throws -> [String: Any] {
    let python = try #require(Self.python(modules))
    let data = try Self.run([python, Self.script, what, path])
    return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
  }

  /// The runs that the tests share, made once: a linear model, the same with another learning rate, and a network.
  private static let runs: Result<TemporaryDirectory, any Error> = Result {
    let directory = TemporaryDirectory.untilExit()
    let networks: [(String, [String: String])] = [
      ("a", [:]), ("b", ["learning-rate": "0.02", "batch-size": "128"]),
      ("network", ["hidden": "6", "activation": "tanh"]),
    ]
    for (name, settings) in networks {
      _ = try Training(workers: 0, ["max-steps": "60", "evaluate-every": "20"].merging(settings) { $1 })
        .result(in: directory.url.appendingPathComponent(name))
    }
    return directory
  }

  private func run(_ name: String) throws -> String { "\(try Self.runs.get().path)/\(name)" }

  // MARK: Report

  @Test func `a report is one well-formed page that loads nothing and has every part`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/report.html"
      let run = try run("a")
      let output = try Program.run("descent", ["report", run, "-o", path])
      #expect(output.standardOutput.isEmpty)
      let page = try read("page", path)
      #expect(page["errors"] as? [String] == [])
      let headings = try #require(page["headings"] as? [String])
      #expect(headings.first == "Run \(run)")
      for part in [
        "Results", "Learning curves", "Model", "Confusion", "Faults survived", "Throughput", "Settings",
        "Versions and data", "How to reproduce it",
      ] { #expect(headings.contains(part), "\(part)") }
      let elements = try #require(page["elements"] as? [String: Int])
      // Curves, templates, confusion matrix, mistakes; ten templates, and pictures of mistakes.
      #expect(elements["svg"] == 4)
      #expect((elements["image"] ?? 0) > 20)
      let code = try #require(page["code"] as? [String]).joined()
      let configuration = try String(contentsOfFile: run + "/config.yaml", encoding: .utf8)
      #expect(code.contains(configuration) && code.contains("descent train --config \(run)/config.yaml"))
      let text = try String(contentsOfFile: path, encoding: .utf8)
      let result = try Program.run(
        "descent", ["evaluate", "--checkpoint", run, "--data", SharedData.directory.get(), "--json"]
      )
      .object()
      let accuracy = try #require(result["accuracy"] as? Double)
      #expect(text.contains("<td>\(String(format: "%.2f", accuracy * 100)) %</td>"))
      // The same bytes again, in the place of the first ones.
      try Program.run("descent", ["report", run, "-o", path])
      #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
    }
  }

  @Test(.enabled(if: python("html5lib") != nil, "python3 has no html5lib"))
  func `the parser of the HTML standard finds no error in a report`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/report.html"
      for runs in try [[run("a")], [run("a"), run("b"), run("network")]] {
        try Program.run("descent", ["report", "-o", path] + runs)
        _ = try read("strict", path, with: "html5lib")
      }
    }
  }

  @Test func `of several runs a report has all, their curves in one chart and what differs`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/report.html"
      try Program.run("descent", ["report", run("a"), run("b"), run("network"), "-o", path])
      let page = try read("page", path)
      #expect(page["errors"] as? [String] == [])
      let headings = try #require(page["headings"] as? [String])
      #expect(headings.contains("Settings that differ"))
      #expect(headings.filter { $0 == "How to reproduce it" }.count == 3)
      let text = try String(contentsOfFile: path, encoding: .utf8)
      #expect(text.contains(#"<th scope="row">learning-rate</th>"#) && text.contains("No two runs have the same bits"))
    }
  }

  @Test func `without its data set a report says so and has the rest`() throws {
    try TemporaryDirectory.with { directory in
      let (path, other) = (directory.path + "/report.html", directory.path + "/other")
      let sizes = ["--train-examples", "200", "--test-examples", "100", "--seed", "9"]
      try Program.run("descent", ["data", "synthesize", other] + sizes)
      for (data, words) in [(directory.path + "/none", "none"), (other, "is another data set")] {
        let output = try Program.run("descent", ["report", run("a"), "-o", path, "--data", data])
        #expect(output.standardError.contains("reported without confusions"))
        let page = try read("page", path)
        #expect(page["errors"] as? [String] == [])
        #expect((page["elements"] as? [String: Int])?["svg"] == 2)
        #expect(try String(contentsOfFile: path, encoding: .utf8).contains(words))
      }
    }
  }

  @Test func `a run that was killed is reported as far as it went, and its restarts are counted`() throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("<b>run & \"more\"</b>")
      let training = try Training(workers: 2, ["max-steps": "1000000"]).start(in: run)
      let status = try RunStatus.reaching(step: 150, workers: 2, of: run)
      kill(try #require(status.workers.first), SIGKILL)
      try waitUntil("another worker") {
        try RunStatus(of: run).map { $0.workers.count == 2 && $0.workers != status.workers } ?? false
      }
      let path = directory.path + "/report.html"
      try Program.run("descent", ["report", run.path, "-o", path])
      kill(training.process.processIdentifier, SIGTERM)
      #expect(try training.wait().status == 75)
      let page = try read("page", path)
      #expect(page["errors"] as? [String] == [])
      #expect((page["headings"] as? [String])?.first == "Run \(run.path)")
      let text = try String(contentsOfFile: path, encoding: .utf8)
      #expect(text.contains("The run has no result: it is running"))
      #expect(text.contains(#"<th scope="row">restarts</th>"# + "\n<td>1</td>"))
      #expect(text.contains("was killed by signal 9"))
    }
  }

  @Test func `what cannot be reported or written is refused before any work, and nothing foreign is replaced`() throws {
    try TemporaryDirectory.with { directory in
      let (run, path) = (try run("a"), directory.path + "/report.html")
      let refused: [([String], Int32)] = [
        (["report", run], 64), (["report", run, "-o", directory.path + "/report.pdf"], 64),
        (["report", run, "-o", "/nonexistent/report.html"], 73), (["report", run, run, "-o", path], 64),
        (["report", run, try self.run("b"), "--model-card", directory.path + "/card"], 64),
        (["report", run, "-o", path, "--license", "mit"], 64),
        (["report", run, "--model-card", directory.path + "/card", "--license", "MIT license"], 64),
        (["report", directory.path, "-o", path], 66), (["report", "none", "-o", path], 66),
        (["report", run, "-o", path, "--limit", "0"], 64),
        (["compare", run], 64), (["compare", run, "none"], 66), (["compare", run, run], 64),
        (["export", run, "--format", "npz", "-o", directory.path + "/model.pt"], 64),
        (["export", run, "--format", "csv", "-o", run + "/metrics.jsonl"], 64),
        (["export", run, "--format", "onnx", "-o", path], 64),
        (["export", run + "@best", "--format", "csv", "-o", directory.path + "/m.csv"], 66),
        (["export", run + "@7", "--format", "npz", "-o", directory.path + "/m.npz"], 66),
      ]
      for (arguments, status) in refused { try Program.run("descent", arguments, expecting: status) }
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
      let foreign = Data("<!DOCTYPE html>mine".utf8)
      for (name, arguments) in [
        ("page.html", ["report", run]), ("m.npz", ["export", run, "--format", "npz"]),
        ("m.pt", ["export", run, "--format", "torch-state"]), ("m.csv", ["export", run, "--format", "csv"]),
      ] {
        let file = directory.appendingPathComponent(name)
        try foreign.write(to: file)
        let output = try Program.run("descent", arguments + ["-o", file.path], expecting: 73)
        #expect(output.standardError.contains("this command did not write it"))
        #expect(try Data(contentsOf: file) == foreign)
      }
      try foreign.write(to: directory.appendingPathComponent("README.md"))
      try Program.run("descent", ["report", run, "--model-card", directory.path], expecting: 73)
    }
  }

  // MARK: Model card

  @Test(.enabled(if: python("huggingface_hub") != nil, "python3 has no huggingface_hub"))
  func `huggingface_hub reads the front matter of a model card and finds the results`() throws {
    try TemporaryDirectory.with { directory in
      for (name, license) in [("a", nil), ("network", "apache-2.0")] as [(String, String?)] {
        let (run, card) = (try run(name), directory.path + "/\(name)")
        let flags = license.map { ["--license", $0] } ?? []
        try Program.run("descent", ["report", run, "--model-card", card] + flags)
        let found = try read("card", card, with: "huggingface_hub")
        #expect(found["license"] as? String == license)
        #expect(found["metrics"] as? [String] == ["accuracy"])
        #expect(found["datasets"] as? [String] == nil)
        let results = try #require(found["results"] as? [[String: Any]])
        let data = try Data(contentsOf: URL(fileURLWithPath: run + "/result.json"))
        let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        let accuracy = try #require(object["test_accuracy"] as? Double)
        let test = try #require(
          results.first { $0["split"] as? String == "test" && $0["metric"] as? String == "accuracy" })
        #expect(abs((test["value"] as? Double ?? -1) - accuracy) < 1e-6)
      }
    }
  }

  @Test func `the model of a card is that of the run, bit by bit, and no path of the host is in the card`() throws {
    try TemporaryDirectory.with { directory in
      let (run, card) = (try run("network"), directory.path + "/card")
      for _ in 0..<2 { try Program.run("descent", ["report", run, "--model-card", card]) }
      let files = try FileManager.default.contentsOfDirectory(atPath: card).sorted()
      #expect(files == ["README.md", "curves.png", "model.safetensors", "templates.png"])
      #expect(
        try Data(contentsOf: URL(fileURLWithPath: card + "/model.safetensors"))
          == Data(contentsOf: URL(fileURLWithPath: run + "/checkpoints/latest/model.safetensors")))
      let text = try String(contentsOfFile: card + "/README.md", encoding: .utf8)
      #expect(text.hasPrefix("---\nlibrary_name: descent\n"))
      #expect(!text.contains(directory.path) && !text.contains(run) && !text.contains(ProcessInfo.processInfo.hostName))
    }
  }

  // MARK: Export

  private func bits(_ values: [Float]) -> [Int] { values.map { Int($0.bitPattern) } }

  private func expectTensors(_ found: [String: Any], of model: TrainedModel, _ names: [String]) throws {
    let (bits, shapes) = (
      try #require(found["bits"] as? [String: [Int]]), try #require(found["shapes"] as? [String: [Int]])
    )
    for (block, name) in zip(model.shape.blocks, names) {
      #expect(block.name == name && shapes[name] == block.shape)
      #expect(bits[name] == self.bits(Array(model.parameters.values[block.range])), "\(name)")
    }
    #expect(bits["mean_image"] == self.bits(model.meanImage))
  }

  @Test(.enabled(if: python("numpy") != nil, "python3 has no numpy"))
  func `NumPy reads every tensor of an npz export, bit by bit, without pickle`() throws {
    try TemporaryDirectory.with { directory in
      for (run, names) in [
        ("a", ["weight", "bias"]), ("network", ["0.weight", "0.bias", "2.weight", "2.bias"]),
      ] {
        let (run, path) = (try self.run(run), directory.path + "/model.npz")
        try Program.run("descent", ["export", run, "--format", "npz", "-o", path])
        let found = try read("npz", path, with: "numpy")
        let model = try TrainedModel.load(run)
        try expectTensors(found, of: model, names)
        let texts = try #require(found["texts"] as? [String: Any])
        #expect(texts["class_names"] as? [String] == model.classNames)
        #expect(texts["activation"] as? String == (names.count > 2 ? "tanh" : nil))
        let first = try Data(contentsOf: URL(fileURLWithPath: path))
        try Program.run("descent", ["export", run, "--format", "npz", "-o", path])
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == first)
        _ = try Self.run(["unzip", "-tq", path])
      }
    }
  }

  @Test(.enabled(if: python("torch") != nil, "python3 has no torch"))
  func `PyTorch loads a torch-state export as weights only, mapped or read, and a module takes it`() throws {
    try TemporaryDirectory.with { directory in
      for (run, names) in [
        ("a", ["weight", "bias"]), ("network", ["0.weight", "0.bias", "2.weight", "2.bias"]),
      ] {
        let (run, path) = (try self.run(run), directory.path + "/model.pt")
        try Program.run("descent", ["export", run, "--format", "torch-state", "-o", path])
        let found = try read("torch", path, with: "torch")
        #expect(found["names"] as? [String] == names + ["mean_image"])
        try expectTensors(found, of: TrainedModel.load(run), names)
      }
    }
  }

  @Test func `a csv export has a row for each line of metrics, with its digits`() throws {
    try TemporaryDirectory.with { directory in
      let (run, path) = (try run("a"), directory.path + "/metrics.csv")
      try Program.run("descent", ["export", run, "--format", "csv", "--output", path])
      let rows = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
        $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
      }
      let lines = try String(contentsOfFile: run + "/metrics.jsonl", encoding: .utf8).split(separator: "\n")
      #expect(rows.count == lines.count + 1 && rows.allSatisfy { $0.count == rows[0].count })
      for (row, line) in zip(rows.dropFirst(), lines) {
        for (name, cell) in zip(rows[0], row) {
          #expect(line.contains("\"\(name)\":\(cell.isEmpty ? "null" : cell)"), "\(name)")
        }
      }
    }
  }

  // MARK: Compare

  @Test func `compare names the settings that differ, with their origins, and the runs of the same bits`() throws {
    try TemporaryDirectory.with { directory in
      let twin = directory.appendingPathComponent("twin")
      _ = try Training(workers: 2, ["max-steps": "60", "evaluate-every": "20"]).result(in: twin)
      let arguments = ["compare", try run("a"), try run("b"), twin.path]
      let found = try Program.run("descent", arguments + ["--json"]).object()
      #expect(found["same_weights"] as? [[Int]] == [[0, 2], [1]])
      let settings = try #require(found["differing_settings"] as? [[String: Any]])
      #expect(settings.compactMap { $0["setting"] as? String } == ["batch-size", "learning-rate", "workers"])
      #expect(settings[1]["values"] as? [String] == ["0.05", "0.02", "0.05"])
      #expect(settings[1]["origins"] as? [String] == ["default", "--learning-rate", "default"])
      #expect(settings.compactMap { $0["shapes_weights"] as? Bool } == [true, true, false])
      let picture = directory.path + "/curves.svg"
      let text = try Program.run("descent", arguments + ["--picture", picture]).standardOutput
      #expect(text.contains("a and twin have the same bits"))
      #expect(text.contains("learning-rate *  0.05 (default)"))
      #expect(try String(contentsOfFile: picture, encoding: .utf8).hasPrefix("<svg "))
    }
  }
}
