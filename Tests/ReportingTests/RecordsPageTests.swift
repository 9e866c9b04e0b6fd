import Diagnostics
import FoundationEssentials
import Messaging
import Optimization
import Reporting
import TestSupport
import Testing

/// `Records.md` says what each field means: those that are written, and no others.
@Suite struct RecordsPageTests {
  /// The first column of the table under a heading, each with what the page says of it.
  private func fields(under heading: String) throws -> [(name: String, meaning: String)] {
    let page = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Sources/Descent.docc/Records.md")
    let text = try String(contentsOf: page, encoding: .utf8)
    let section = try #require(text.split(separator: #/\n###? /#).first { $0.hasPrefix(heading + "\n") })
    return section.split(separator: "\n").compactMap { line in
      line.wholeMatch(of: /\| `(\w+)` \| (.+) \|/).map { (String($0.1), String($0.2)) }
    }
  }

  private func names(_ json: String) throws -> [String] {
    try JSONFields(parsing: Array(json.utf8), source: "record").members.map(\.name)
  }

  @Test func `the table of metrics.jsonl has exactly the fields of a line`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/metrics.jsonl"
      try MetricsWriter(path: path).append(MetricsRecord(step: 1, examples: 512))
      let line = try String(contentsOf: URL(filePath: path), encoding: .utf8)
      #expect(try fields(under: "metrics.jsonl").map(\.name) == names(line))
    }
  }

  @Test func `the tables of workers.jsonl have exactly the fields of a line and of a member`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/workers.jsonl"
      try WorkersWriter(path: path, startingAt: 0).workersMeasured(WorkersWriterTests.record(7))
      let text = try String(contentsOf: URL(filePath: path), encoding: .utf8)
      #expect(try fields(under: "workers.jsonl").map(\.name) == names(text))
      let members = try JSONFields(parsing: Array(text.utf8), source: path).objects("members") {
        (member) throws(Failure) in
        member.members.map(\.name)
      }
      #expect(try members.first == fields(under: "members").map(\.name))
    }
  }

  @Test func `the table of confusion.json has exactly the fields of the file`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/confusion.json"
      let snapshot = TrainingSnapshot(
        step: 1, shardClocks: [], totals: RunTotals(),
        state: OptimizerState(parameters: ParameterVector([]), slots: []))
      let statistics = MinibatchStatistics(examples: 1, lossSum: 0, correct: 1)
      try ConfusionFile(path: path, classNames: ["cat", "dog"], startingAt: 0).evaluated(
        MetricsRecord(step: 1, examples: 512), snapshot, Evaluation(statistics, confusion: [1, 0, 0, 0]))
      let text = try String(contentsOf: URL(filePath: path), encoding: .utf8)
      #expect(try fields(under: "confusion.json").map(\.name) == names(text))
    }
  }

  @Test func `the table of result.json has exactly the fields of a result`() throws {
    let result = RunResult(run: "r1", runDirectory: "runs/r1", stopReason: .steps)
    let fields = try fields(under: "result.json")
    #expect(try fields.map(\.name) == names(result.json))
    let reasons = try #require(fields.first { $0.name == "stop_reason" }).meaning
    #expect(StopReason.allCases.allSatisfy { reasons.contains("`\($0.rawValue)`") })
  }

  @Test func `the tables of traces have exactly the fields of a file`() throws {
    var file = TraceFile(
      TraceFile.Heading(
        role: "train", process: "train@host", pid: 1, host: "host", clock: "", incarnation: 1, steps: 1...1, began: 0,
        origin: 0))
    file.tracks = [("training", [TraceSpan(.save, step: 1, from: 0, to: 1)])]
    let lines = try file.bytes.split(separator: UInt8(ascii: "\n")).flatMap { line in
      try names(String(decoding: line, as: UTF8.self))
    }
    #expect(try fields(under: "traces").map(\.name) == lines)
  }

  @Test func `an objective is the data loss plus the penalty, and null without a data loss`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/metrics.jsonl"
      var record = MetricsRecord(step: 0, examples: 0)
      (record.penalty, record.validationDataLoss, record.trainDataLoss) = (0.25, 2.5, .nan)
      try MetricsWriter(path: path).append(record)
      let text = try String(contentsOf: URL(filePath: path), encoding: .utf8)
      let line = try JSONFields(parsing: Array(text.utf8), source: path)
      #expect(try line["validation_objective"] as Double? == 2.75)
      #expect(try line["train_objective"] as Double? == nil)
    }
  }
}
