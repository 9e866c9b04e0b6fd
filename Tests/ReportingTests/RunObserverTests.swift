import Diagnostics
import FoundationEssentials
import Messaging
import Optimization
import Reporting
import TestSupport
import Testing

@Suite struct RunObserverTests {
  private let result = RunResult(run: "r1", runDirectory: "runs/r1", stopReason: .stopped)

  private let snapshot = TrainingSnapshot(
    step: 0, shardClocks: [], totals: RunTotals(),
    state: OptimizerState(parameters: ParameterVector([]), velocity: nil))

  private func record(_ step: UInt64) -> MetricsRecord {
    MetricsRecord(step: step, examples: step * 10)
  }

  @Test func `a step that is evaluated again after a resume is recorded once`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      let first = try MetricsWriter(path: path)
      for step in [10, 20, 30] as [UInt64] { try first.evaluated(record(step), snapshot) }
      let written = try Data(contentsOf: URL(filePath: path))
      let resumed = try MetricsWriter(path: path, startingAt: 30)
      try resumed.evaluated(record(30), snapshot)
      try resumed.finished(result, .success)
      #expect(try Data(contentsOf: URL(filePath: path)) == written)
    }
  }

  @Test func `a line that could not be written is reported at the end`() throws {
    let writer = try MetricsWriter(path: "/dev/full")
    let first = try #require(throws: Failure.self) { try writer.evaluated(record(10), snapshot) }
    #expect(throws: Failure.self) { try writer.evaluated(record(20), snapshot) }
    #expect(throws: first) { try writer.finished(result, .success) }
  }

  @Test func `the run file of a resumed run continues the earlier one`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      func writer(pid: Int32, at seconds: Int64, isResumed: Bool) throws -> RunFileWriter {
        var file = RunFile(
          run: "r1", seed: 1, datasetFingerprint: 2, started: UTCTime(microseconds: seconds * 1_000_000))
        file.pid = pid
        return try RunFileWriter(file, path: path, isResumed: isResumed)
      }
      let first = try writer(pid: 41, at: 1, isResumed: false)
      try first.membershipChanged(epoch: 1, step: 0, workers: 2)
      try first.finished(result, .stoppedBySignal)
      #expect(try RunFile(readingFrom: path).status == .interrupted)
      #expect(try RunFile(readingFrom: path).stopReason == .stopped)

      let second = try writer(pid: 42, at: 2, isResumed: true)
      let resumed = try RunFile(readingFrom: path)
      #expect(resumed.status == .running && resumed.stopReason == nil && resumed.pid == 42)
      #expect(resumed.started == UTCTime(microseconds: 1_000_000).timestamp)
      #expect(resumed.membershipEpochs.map(\.epoch) == [1])
      try second.finished(result, .inputOutput)
      #expect(try RunFile(readingFrom: path).status == .failed)
    }
  }

  @Test func `the result of an earlier start is removed`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      try Data().write(to: URL(filePath: path))
      let file = ResultFile(path: path)
      #expect(!FileManager.default.fileExists(atPath: path))
      try file.finished(result, .success)
      #expect(try Data(contentsOf: URL(filePath: path)) == Data(result.json.utf8))
      #expect(throws: Failure.self) {
        try ResultFile(path: path + "/none").finished(result, .success)
      }
    }
  }
}
