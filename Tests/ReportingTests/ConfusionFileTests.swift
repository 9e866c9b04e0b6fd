import Diagnostics
import FoundationEssentials
import Messaging
import Optimization
import Reporting
import TestSupport
import Testing

@Suite struct ConfusionFileTests {
  private let snapshot = TrainingSnapshot(
    step: 0, shardClocks: [], totals: RunTotals(),
    state: OptimizerState(parameters: ParameterVector([]), slots: []))
  private let result = RunResult(run: "r1", runDirectory: "runs/r1", stopReason: .steps)

  private func evaluation(_ confusion: [Int]) -> Evaluation {
    Evaluation(MinibatchStatistics(examples: confusion.reduce(0, +), lossSum: 0, correct: 0), confusion: confusion)
  }

  private func fields(_ path: String) throws -> JSONFields {
    try JSONFields(parsing: Array(Data(contentsOf: URL(filePath: path))), source: path)
  }

  @Test func `the file has the first evaluation at once, and the last one at the end`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/confusion.json"
      let file = ConfusionFile(path: path, classNames: ["cat", "dog"], startingAt: 0)
      try file.evaluated(MetricsRecord(step: 10, examples: 1), snapshot, evaluation([3, 1, 0, 4]))
      var found = try fields(path)
      #expect(try found["step"] as UInt64 == 10 && found["examples"] as Int == 8)
      #expect(try found["classes"] as [String] == ["cat", "dog"])
      #expect(try found["counts"] as [[Int]] == [[3, 1], [0, 4]])
      // Soon after it: only the end has to have it.
      try file.evaluated(MetricsRecord(step: 20, examples: 1), snapshot, evaluation([4, 0, 0, 4]))
      try file.finished(result, ExitReason(status: .success, reason: ""))
      found = try fields(path)
      #expect(try found["step"] as UInt64 == 20 && found["counts"] as [[Int]] == [[4, 0], [0, 4]])
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["confusion.json"])
    }
  }

  @Test(arguments: [(19, false), (20, true)]) func `a resumed run removes the file of a later step`(
    step: UInt64, isLeft: Bool
  ) throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/confusion.json"
      let file = ConfusionFile(path: path, classNames: ["cat", "dog"], startingAt: 0)
      try file.evaluated(MetricsRecord(step: 20, examples: 1), snapshot, evaluation([3, 1, 0, 4]))
      _ = ConfusionFile(path: path, classNames: ["cat", "dog"], startingAt: step)
      #expect(FileManager.default.fileExists(atPath: path) == isLeft)
    }
  }

  @Test func `without validation examples there is no file`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/confusion.json"
      let file = ConfusionFile(path: path, classNames: ["cat", "dog"], startingAt: 0)
      try file.evaluated(MetricsRecord(step: 10, examples: 1), snapshot, evaluation([0, 0, 0, 0]))
      try file.finished(result, ExitReason(status: .success, reason: ""))
      #expect(!FileManager.default.fileExists(atPath: path))
    }
  }
}
