import Diagnostics
import FoundationEssentials
import NodeRuntime
import Reporting
import TestSupport
import Testing

/// The event files of a run. `TensorBoardTests` (EndToEndTests) read them with TensorBoard.
@Suite struct EventRecorderTests {
  private let directory = TemporaryDirectory()

  private func train(_ workers: Int, _ changes: [String: String] = [:]) throws -> RunEnding {
    let settings = try settings(directory.path + "/run", changes.merging(["workers": "\(workers)"]) { $1 })
    return workers == 0 ? try runSequentially(quiet(settings)) : try trainWithWorkers(settings)
  }

  private var events: EventDirectory { EventDirectory(path: directory.path + "/run/tensorboard") }

  private func records() throws -> [Int] {
    try events.files.map { EventRecord.all(in: Array(try Data(contentsOf: URL(filePath: $0)))).count }
  }

  @Test(arguments: [(0, 2), (2, 0)])
  func `each start has a file of its own, and only the newest has what ends a run`(before: Int, after: Int) throws {
    _ = try train(before, ["max-steps": "13"])
    // Version, start; settings for HPARAMS, run, settings; 0, 10 and 13 steps, two of them with pictures; test, end.
    #expect(try records().count == 1 && records()[0] >= 2 + 3 + 5 + 2)
    let first = try records()[0]
    let result = try train(after, ["resume": "must"]).result
    #expect(try records().count == 2 && records()[0] == first - 3)
    let newest = try events.removeValues(after: .max)
    for tag in [
      "loss/train", "loss/validation", "accuracy/validation", "accuracy/test", "gradient_norm", "workers",
      "weights/weight",
      "weights/bias", "gradients/weight", "confusion/validation", "confusion/counts", "templates/airplane",
    ] {
      #expect(newest[tag] == result.steps, "\(tag)")
    }
    #expect(newest["run"] == 13 && newest["settings"] == 13 && newest["_hparams_/session_end_info"] == 0)
  }

  @Test func `a network has histograms of every layer and one image of its first`() throws {
    let steps = try train(0, ["max-steps": "12", "hidden": "6,5", "dropout": "0.2"]).result.steps
    let newest = try events.removeValues(after: .max)
    for block in ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"] {
      #expect(newest["weights/\(block)"] == steps && newest["gradients/\(block)"] == steps, "\(block)")
    }
    #expect(newest.keys.filter { $0.hasPrefix("templates/") } == ["templates/first_layer"])
  }

  @Test func `the directory cannot be made: the run trains to its end, which says so`() throws {
    let undisturbed = try train(0, ["event-files": "off", "max-steps": "20"]).result
    #expect(try records().isEmpty)
    let path = directory.path + "/run"
    try FileManager.default.removeItem(atPath: path)
    try directory.write(Data("mine".utf8), to: "run/tensorboard")
    let ending = try train(0, ["max-steps": "20"])
    #expect(ending.status == .inputOutput && ending.reason.contains("\(path)/tensorboard"), "\(ending.reason)")
    #expect(ending.result.weightsSHA256 == undisturbed.weightsSHA256)
    let logs = try FileManager.default.contentsOfDirectory(atPath: path + "/logs")
    let lines = try logs.flatMap {
      try String(contentsOfFile: "\(path)/logs/\($0)", encoding: .utf8).split(separator: "\n")
    }
    #expect(lines.count { $0.contains("\"event_files_failed\"") } == 1)
  }
}
