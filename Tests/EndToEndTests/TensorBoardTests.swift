import Foundation
import TestSupport
import Testing

/// `python3` with `tensorboard`, or nil. DESCENT_PYTHON names another interpreter.
private let python: String? = {
  let name = ProcessInfo.processInfo.environment["DESCENT_PYTHON"] ?? "python3"
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = [name, "-c", "import tensorboard.program, PIL"]
  (process.standardOutput, process.standardError) = (FileHandle.nullDevice, FileHandle.nullDevice)
  guard (try? process.run()) != nil else { return nil }
  process.waitUntilExit()
  return process.terminationStatus == 0 ? name : nil
}()

/// Event files, as TensorBoard reads them.
@Suite("TensorBoard", .enabled(if: python != nil, "no python3 with tensorboard"))
struct TensorBoardTests {
  private typealias Points = [[Double]]

  private static let settings = ["max-steps": "1000", "evaluate-every": "50", "checkpoint-every": "150"]

  /// What TensorBoard says of the runs in a directory.
  private func board(_ runs: URL) throws -> [String: Any] {
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("event_files.py")
    let output = try Program.Running(
      at: URL(fileURLWithPath: "/usr/bin/env"), [#require(python), script.path, runs.path], environment: [:]
    ).wait()
    try #require(output.status == 0, "\(output.standardError.suffix(3000))")
    return try output.object()
  }

  private func dig<Value>(_ object: Any?, _ path: String..., as: Value.Type = Value.self) throws -> Value {
    var value = object
    for name in path { value = (value as? [String: Any])?[name] }
    return try #require(value as? Value, "\(path)")
  }

  /// The steps of a field that are not null, and its values there.
  private func metrics(_ run: URL, _ field: String) throws -> Points {
    let text = try String(contentsOf: run.appendingPathComponent("metrics.jsonl"), encoding: .utf8)
    return try text.split(separator: "\n").compactMap { line in
      let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      guard let value = object[field] as? Double, let step = object["step"] as? Double else { return nil }
      return [step, value]
    }
  }

  /// Killed at a step after its newest checkpoint, so that there is a future to abandon.
  private func killedAndResumed(_ run: URL) throws {
    var training = Training(workers: 2, Self.settings.merging(["max-steps": "100000"]) { $1 })
    let first = try training.start(in: run)
    let metrics = run.appendingPathComponent("metrics.jsonl")
    try waitUntil("an evaluation after a checkpoint") {
      (try? String(contentsOf: metrics, encoding: .utf8))?.contains("\n{\"step\":350,") == true
    }
    for process in processes(of: run) { kill(process, SIGKILL) }
    _ = try first.wait()
    try waitUntil("all are gone") { processes(of: run).isEmpty }
    // What a kill in the middle of a write leaves.
    let events = run.appendingPathComponent("tensorboard")
    let name = try #require(try FileManager.default.contentsOfDirectory(atPath: events.path).first)
    let file = try FileHandle(forWritingTo: events.appendingPathComponent(name))
    try file.seekToEnd()
    try file.write(contentsOf: Data([40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]))
    try file.close()
    let checkpoint = try #require(
      try FileManager.default.contentsOfDirectory(atPath: run.path + "/checkpoints")
        .compactMap { Int($0.drop { !$0.isNumber }) }.max())
    training.settings["resume"] = "must"
    training.settings["max-steps"] = "\(checkpoint + 320)"
    _ = try training.result(in: run)
  }

  @Test func `TensorBoard shows each step of each tag once, of a killed run and of others beside it`() throws {
    try TemporaryDirectory.with { directory in
      // In a directory named runs there would be `latest`, which TensorBoard follows, as one more run.
      let runs = directory.appendingPathComponent("compared")
      let (killed, network) = (runs.appendingPathComponent("killed"), runs.appendingPathComponent("network"))
      try killedAndResumed(killed)
      _ = try Training(workers: 0, Self.settings.merging(["max-steps": "120", "hidden": "20"]) { $1 }).result(
        in: network)
      let board = try board(runs)
      for (name, run) in [("killed", killed), ("network", network)] {
        let name = "\(name)/tensorboard"
        for (loader, tags) in try dig(board, "raw", name, as: [String: [String: Points]].self) {
          for (tag, steps) in tags { #expect(steps.allSatisfy { $0[1] == 1 }, "\(loader): \(tag) \(steps)") }
        }
        let sources: [(String, Any?)] = [
          ("legacy", try dig(board, "legacy", name, as: Any.self)),
          ("fast", try dig(board, "served", "true", name, as: Any.self)),
          ("slow", try dig(board, "served", "false", name, as: Any.self)),
        ]
        for (source, shown) in sources {
          for (tag, field) in Self.scalars {
            let expected = try metrics(run, field)
            let found = try dig(shown, "scalars", tag, as: Points.self)
            #expect(found.map { $0[0] } == expected.map { $0[0] }, "\(source): \(tag)")
            // Those of event files are in single precision.
            let isNear = zip(found, expected).allSatisfy { abs($0[1] - $1[1]) <= 1e-6 * abs($1[1]) }
            #expect(isNear, "\(source): \(tag) \(found) \(expected)")
          }
          try expectPictures(shown, of: run, isLinear: name.hasPrefix("killed"), "\(source), \(name)")
        }
        let converted = try dig(board, "converted", name, as: [String: [Any]].self)
        #expect(converted["loss/validation"]?[0] as? String == "scalars")
        #expect(converted["settings"]?[0] as? String == "text")
        #expect(converted["confusion/validation"]?[0] as? String == "images")
      }
      try expectHyperparameters(board)
    }
  }

  private static let scalars = [
    "loss/train": "train_data_loss", "loss/validation": "validation_data_loss",
    "accuracy/train": "train_accuracy", "accuracy/validation": "validation_accuracy",
    "learning_rate": "learning_rate", "gradient_norm": "gradient_norm", "workers": "workers", "epoch": "epoch",
  ]

  private func expectPictures(_ shown: Any?, of run: URL, isLinear: Bool, _ what: String) throws {
    let last = try #require(try metrics(run, "epoch").last)[0]
    let images = try dig(shown, "images", as: [String: Points].self)
    let templates = images.keys.filter { $0.hasPrefix("templates/") }
    #expect(templates.count == (isLinear ? 10 : 1), "\(what): \(images.keys)")
    for (tag, points) in images {
      // At the first and the last evaluation, and seldom between them.
      #expect(points.last?[0] == last && points.count > 1, "\(what): \(tag) \(points)")
      let side: [Double] = tag.hasPrefix("confusion") ? [240, 240] : isLinear ? [32, 32] : [263, 98]
      #expect(points.allSatisfy { Array($0.suffix(2)) == side }, "\(what): \(tag) \(points)")
    }
    let blocks = isLinear ? ["weight": 30_720, "bias": 10.0] : ["0.weight": 61_440, "2.bias": 10.0]
    for (block, count) in blocks {
      for group in ["weights", "gradients"] {
        let points = try dig(shown, "histograms", "\(group)/\(block)", as: Points.self)
        #expect(points.last?[0] == last && points.allSatisfy { abs(($0.last ?? 0) - count) < 1 }, "\(what): \(points)")
      }
    }
    guard let texts = (shown as? [String: Any])?["text"] as? [String: [[Any]]] else { return }
    #expect((texts["settings"]?.last?[1] as? String)?.contains("learning-rate") == true, "\(what)")
    #expect((texts["run"]?.first?[1] as? String)?.contains("train --json") == true, "\(what)")
    #expect((texts["confusion/counts"]?.last?[1] as? String)?.contains("<table>") == true, "\(what)")
  }

  private func expectHyperparameters(_ board: [String: Any]) throws {
    for source in ["true", "false"] {
      let page = try dig(board, "served", source, "hparams", as: [String: Any].self)
      #expect((page["columns"] as? [String])?.contains("learning-rate") == true)
      #expect((page["metrics"] as? [String])?.contains("accuracy/validation") == true)
      let groups = try #require(page["groups"] as? [[String: Any]])
      #expect(groups.count == 2)
      for group in groups {
        let values = try #require(group["hparams"] as? [String: Any])
        #expect(values["batch-size"] as? Double == 64 && values["loss"] as? String == "softmax")
        let sessions = try #require(group["sessions"] as? [[String: Any]])
        #expect(sessions.count == 1 && sessions[0]["status"] as? String == "STATUS_SUCCESS")
        let metrics = try #require(group["metricValues"] as? [[String: Any]])
        let tags = metrics.compactMap { ($0["name"] as? [String: Any])?["tag"] as? String }
        #expect(Set(tags).isSuperset(of: ["accuracy/validation", "accuracy/test", "loss/train"]), "\(tags)")
      }
    }
  }
}

/// Event files of real processes, read by nothing.
@Suite("Event files") struct EventFileRunTests {
  @Test func `without event files there is no directory of them, and the weights are the same`() throws {
    try TemporaryDirectory.with { directory in
      let settings = ["max-steps": "60", "evaluate-every": "20"]
      let (on, off) = (directory.appendingPathComponent("on"), directory.appendingPathComponent("off"))
      let hash = try Training(workers: 2, settings).result(in: on).hash
      #expect(try Training(workers: 2, settings.merging(["event-files": "off"]) { $1 }).result(in: off).hash == hash)
      #expect(FileManager.default.fileExists(atPath: on.path + "/tensorboard"))
      #expect(!FileManager.default.fileExists(atPath: off.path + "/tensorboard"))
      #expect(FileManager.default.fileExists(atPath: off.path + "/confusion.json"))
    }
  }

  /// A file system of 64 kB, which the event files fill and nothing else of the run is on.
  @Test(.enabled(if: geteuid() == 0, "mounting takes root"), arguments: [0, 2])
  func `the disk of the event files is full: it is said once, training goes on, and 74 at the end`(workers: Int) throws
  {
    try TemporaryDirectory.with { directory in
      let (run, whole) = (directory.appendingPathComponent("run"), directory.appendingPathComponent("whole"))
      let settings = ["max-steps": "400", "evaluate-every": "2"]
      let training = Training(workers: workers, settings)
      let program = Program.directory.appendingPathComponent("descent").path
      let script = """
        mkdir -p "$RUN/tensorboard" && mount -t tmpfs -o size=64k none "$RUN/tensorboard" && "$0" "$@"
        status=$?; wc -c "$RUN"/tensorboard/* >&2; exit $status
        """
      let output = try Program.Running(
        at: URL(fileURLWithPath: "/usr/bin/unshare"),
        ["-m", "bash", "-c", script, program] + training.arguments(in: run), environment: ["RUN": run.path]
      ).wait()
      #expect(output.status == 74, "\(output.standardError.suffix(2000))")
      #expect(output.standardError.contains("not everything was saved"))
      #expect(output.standardError.contains("/tensorboard/events.out.tfevents."))
      let log = try RunLog(of: run, role: workers == 0 ? "train" : "coordinator")
      #expect(log.messages("event_files_failed").count == 1)
      let result = try TrainingResult(output)
      #expect(result.steps == 400)
      #expect(try result.hash == training.result(in: whole).hash)
      let lines = try String(contentsOf: run.appendingPathComponent("metrics.jsonl"), encoding: .utf8)
      #expect(lines.split(separator: "\n").count == 201)
    }
  }
}
