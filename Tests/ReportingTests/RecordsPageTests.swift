import Diagnostics
import FoundationEssentials
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
    let section = try #require(text.split(separator: "\n## ").first { $0.hasPrefix(heading + "\n") })
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

  @Test func `the table of result.json has exactly the fields of a result`() throws {
    let result = RunResult(run: "r1", runDirectory: "runs/r1", stopReason: .steps)
    let fields = try fields(under: "result.json")
    #expect(try fields.map(\.name) == names(result.json))
    let reasons = try #require(fields.first { $0.name == "stop_reason" }).meaning
    #expect(StopReason.allCases.allSatisfy { reasons.contains("`\($0.rawValue)`") })
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
