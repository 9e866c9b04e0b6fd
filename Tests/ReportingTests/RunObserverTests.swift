import Diagnostics
import FoundationEssentials
import Messaging
import Optimization
import Reporting
import TestSupport
import Testing

@Suite struct RunObserverTests {
  private let result = RunResult(run: "r1", runDirectory: "runs/r1", stopReason: .signal)
  private let success = ExitReason(status: .success, reason: "finished")

  private let snapshot = TrainingSnapshot(
    step: 0, shardClocks: [], totals: RunTotals(),
    state: OptimizerState(parameters: ParameterVector([]), slots: []))

  private let validation = Evaluation(.zero, confusion: [])

  private func record(_ step: UInt64) -> MetricsRecord {
    MetricsRecord(step: step, examples: step * 10)
  }

  @Test func `a step that is evaluated again after a resume is recorded once`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      let first = try MetricsWriter(path: path)
      for step in [10, 20, 30] as [UInt64] { try first.evaluated(record(step), snapshot, validation) }
      let written = try Data(contentsOf: URL(filePath: path))
      let resumed = try MetricsWriter(path: path, startingAt: 30)
      try resumed.evaluated(record(30), snapshot, validation)
      try resumed.finished(result, success)
      #expect(try Data(contentsOf: URL(filePath: path)) == written)
    }
  }

  @Test func `a line that could not be written is reported at the end`() throws {
    let writer = try MetricsWriter(path: "/dev/full")
    let first = try #require(throws: Failure.self) { try writer.evaluated(record(10), snapshot, validation) }
    #expect(throws: Failure.self) { try writer.evaluated(record(20), snapshot, validation) }
    #expect(throws: first) { try writer.finished(result, success) }
  }

  @Test func `the run file of a resumed run continues the earlier one`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      func writer(pid: Int32, at seconds: Int64, isResumed: Bool) throws -> RunFileWriter {
        try RunFileWriter(runFile(pid: pid, at: seconds), path: path, isResumed: isResumed) { "SIGTERM" }
      }
      let first = try writer(pid: 41, at: 1, isResumed: false)
      try first.membershipChanged(epoch: 1, step: 0, workers: 2)
      try first.finished(result, ExitReason(status: .stoppedBySignal, reason: "interrupted at step 0"))
      let interrupted = try RunFile(readingFrom: path)
      #expect(interrupted.status == .interrupted)
      #expect(interrupted.ended?.reason == .signal)
      #expect(interrupted.ended?.signal == "SIGTERM")
      #expect(interrupted.ended?.message == "interrupted at step 0")

      let second = try writer(pid: 42, at: 2, isResumed: true)
      let resumed = try RunFile(readingFrom: path)
      #expect(resumed.status == .running && resumed.ended == nil && resumed.pid == 42)
      #expect(resumed.starts.map(\.pid) == [41, 42])
      #expect(resumed.starts.map(\.ended) == [.signal, nil])
      #expect(resumed.started == UTCTime(microseconds: 1_000_000).timestamp)
      #expect(resumed.membershipEpochs.map(\.epoch) == [1])
      try second.finished(result, ExitReason(status: .inputOutput, reason: "the disk is full"))
      let failed = try RunFile(readingFrom: path)
      #expect(failed.status == .failed)
      #expect(failed.ended?.reason == .inputOutput && failed.ended?.signal == nil)
    }
  }

  private func runFile(pid: Int32, at seconds: Int64) -> RunFile {
    let start = RunFile.Start(
      command: ["descent"], time: UTCTime(microseconds: seconds * 1_000_000), host: "host", pid: pid, resumedFrom: nil)
    var file = RunFile(run: "r1", seed: 1, datasetFingerprint: 2, start: start)
    file.pid = pid
    return file
  }

  @Test func `a start that ended without a word is recorded as killed by the next one`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      _ = try RunFileWriter(runFile(pid: 41, at: 1), path: path, isResumed: false)
      _ = try RunFileWriter(runFile(pid: 42, at: 2), path: path, isResumed: true)
      #expect(try RunFile(readingFrom: path).starts.map(\.ended) == [.killed, nil])
    }
  }

  @Test func `a restarted process belongs to the start that it was restarted in`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      _ = try RunFileWriter(runFile(pid: 41, at: 1), path: path, isResumed: false)
      let next = try RunFileWriter(
        runFile(pid: 41, at: 2), path: path, isResumed: true, process: "coordinator@host",
        formerExit: "was killed by signal 9")
      try next.restarted("worker-1@host", formerExit: "was killed by signal 11")
      let file = try RunFile(readingFrom: path)
      #expect(file.starts.map(\.pid) == [41] && file.starts.map(\.ended) == [nil])
      #expect(file.restarts.map(\.process) == ["coordinator@host", "worker-1@host"])
      #expect(file.restarts.map(\.formerExit) == ["was killed by signal 9", "was killed by signal 11"])
    }
  }

  @Test func `the result of an earlier start is removed`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      try Data().write(to: URL(filePath: path))
      let file = ResultFile(path: path)
      #expect(!FileManager.default.fileExists(atPath: path))
      try file.finished(result, success)
      #expect(try Data(contentsOf: URL(filePath: path)) == Data(result.json.utf8))
      #expect(throws: Failure.self) {
        try ResultFile(path: path + "/none").finished(result, success)
      }
    }
  }
}
