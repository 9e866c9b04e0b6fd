import Datasets
import Foundation
import TestSupport
import Testing

/// The small synthetic set that the tests share, made once.
enum SharedData {
  static let directory: Result<String, any Error> = Result {
    let path = TemporaryDirectory.untilExit().path + "/data"
    try SyntheticDataset.write(to: path, trainingExamples: 2500, testExamples: 500, seed: 3)
    return path
  }
}

/// One `descent train`.
struct Training {
  var workers = 2
  var settings: [String: String] = [
    "batch-size": "64", "validation-examples": "500", "max-steps": "300", "epochs": "1000000", "evaluate-every": "100",
    "checkpoint-every": "100", "seed": "5", "rendezvous-seconds": "20",
  ]
  var environment: [String: String] = [:]
  /// Shows on standard error what is otherwise in the logs only.
  var isVerbose = false

  init(workers: Int = 2, _ more: [String: String] = [:], isVerbose: Bool = false) {
    (self.workers, self.isVerbose) = (workers, isVerbose)
    settings.merge(more) { $1 }
  }

  func arguments(in run: URL) throws -> [String] {
    var all = settings
    all["data"] = try all["data"] ?? SharedData.directory.get()
    all["workers"] = "\(workers)"
    all["run-dir"] = run.path
    let flags = ["train", "--json"] + (isVerbose ? ["--verbose"] : [])
    return flags + all.sorted { $0.key < $1.key }.flatMap { ["--\($0.key)", $0.value] }
  }

  func start(in run: URL) throws -> Program.Running {
    try Program.start("descent", arguments(in: run), environment: environment)
  }

  /// Runs to the end in a directory of its own and returns the result.
  func result(
    expecting status: Int32 = 0, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> TrainingResult {
    try TemporaryDirectory.with { directory in
      try result(in: directory.appendingPathComponent("run"), expecting: status, sourceLocation: sourceLocation)
    }
  }

  func result(
    in run: URL, expecting status: Int32 = 0, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> TrainingResult {
    let output = try start(in: run).wait()
    #expect(output.status == status, "\(output.standardError.suffix(3000))", sourceLocation: sourceLocation)
    return try TrainingResult(output, sourceLocation: sourceLocation)
  }
}

/// The JSON object of `descent train --json`.
struct TrainingResult {
  let object: [String: Any]

  init(_ output: Program.Output, sourceLocation: SourceLocation = #_sourceLocation) throws {
    object = try output.object(sourceLocation: sourceLocation)
  }

  var hash: String { object["weights_sha256"] as? String ?? "none" }
  var stopReason: String { object["stop_reason"] as? String ?? "none" }
  var steps: Int { object["steps"] as? Int ?? -1 }
  var staleness: [Int] { object["staleness"] as? [Int] ?? [] }
  var testAccuracy: Double { object["test_accuracy"] as? Double ?? .nan }
  var checkpoint: String? { object["checkpoint"] as? String }
}

/// What `descent status` says of a run that is going on.
struct RunStatus {
  let text: String

  /// - Parameter text: what the command has printed.
  init(text: String) { self.text = text }

  /// Nil until the coordinator answers.
  /// - Parameter keys: the directory of keys, if the run has some.
  init?(of run: URL, keys: URL? = nil) throws {
    let output = try Program.run(
      "descent", ["status", "--run-dir", run.path, "--rendezvous-seconds", "1", "--timeout", "1"],
      environment: keys.map { ["DESCENT_KEYS": $0.path] } ?? [:], expecting: nil)
    guard output.status == 0 else { return nil }
    text = output.standardOutput
  }

  private func numbers(_ pattern: String) -> [Int] {
    guard let expression = try? NSRegularExpression(pattern: pattern) else { return [] }
    let range = NSRange(text.startIndex..., in: text)
    return expression.matches(in: text, range: range).compactMap { match in
      Range(match.range(at: 1), in: text).flatMap { Int(text[$0]) }
    }
  }

  var step: Int { numbers("(?m)^step +(\\d+)").first ?? -1 }
  var workers: [pid_t] { numbers("(?m)^worker +\\S+ +pid (\\d+)").map(pid_t.init) }
  var isRunning: Bool { text.contains(/(^|\n)state +running\n/) }
  var server: pid_t? { numbers("(?m)^server +\\S+ +pid (\\d+)").first.map(pid_t.init) }

  /// Of a server that listens on TCP.
  var serverPort: UInt16? { numbers("(?m)^server +\\S+ +pid \\d+ +tcp://[0-9.]+:(\\d+)").first.flatMap { UInt16($0) } }

  /// Waits until the run has reached a step and has so many workers.
  static func reaching(step: Int, workers: Int, of run: URL, keys: URL? = nil) throws -> RunStatus {
    var status: RunStatus?
    try waitUntil("step \(step) with \(workers) workers") {
      status = try RunStatus(of: run, keys: keys)
      return status.map { $0.step >= step && $0.workers.count == workers } ?? false
    }
    return try #require(status)
  }
}

/// Processes whose command line names the run: nobody may be left when a run has ended.
func processes(of run: URL) -> [pid_t] {
  let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
  return entries.compactMap(pid_t.init).filter { pid in
    guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return false }
    let arguments = String(decoding: data, as: UTF8.self).split(separator: "\0")
    return arguments.contains { $0 == run.path } && arguments.contains { $0.contains("descent") }
      && !arguments.contains("status")
  }
}
