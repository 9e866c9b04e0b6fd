import Diagnostics
import FoundationEssentials
import Messaging
import Optimization
import Reporting
import TestSupport
import Testing

@Suite struct WorkersWriterTests {
  static func record(_ step: UInt64) -> WorkersRecord {
    var totals = RunTotals()
    (totals.takenOverShards, totals.lateShards) = (3, 2)
    (totals.staleness[0], totals.staleness[2]) = (40, 2)
    let snapshot = TrainingSnapshot(
      step: step, shardClocks: [], totals: totals, state: OptimizerState(parameters: ParameterVector([]), slots: []))
    var record = WorkersRecord(snapshot, seconds: 1.5)
    let pace = Message.WorkerPace(worker: Incarnation(10)) {
      ($0.answers, $0.timesLast, $0.medianSeconds, $0.p99Seconds) = (12, 5, 0.001, 0.004)
      ($0.awaitedSeconds, $0.memberSeconds) = (0.5, 2)
    }
    record.members = [
      .init(
        name: "worker-1@host", incarnation: Incarnation(10), shards: ShardSet(range: 0..<8), pace: pace,
        shareAwaited: 0.25),
      .init(
        name: "worker-2@host", incarnation: Incarnation(UInt64.max), shards: nil, pace: nil, shareAwaited: nil),
    ]
    record.rejectedPushes = 1
    return record
  }

  private func text(_ path: String) throws -> String { try String(contentsOf: URL(filePath: path), encoding: .utf8) }

  @Test func `a line reads back as the record, and says null of what is not known`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      let writer = try WorkersWriter(path: path, startingAt: 0)
      for step in [10, 20] as [UInt64] { try writer.workersMeasured(Self.record(step)) }
      #expect(try WorkersRecord.all(in: path) == [Self.record(10), Self.record(20)])
      #expect(
        try text(path).hasPrefix(
          #"{"step":10,"seconds":1.5,"members":[{"name":"worker-1@host","incarnation":"000000000000000a","shards":"0-7","#
            + #""answers":12,"times_last":5,"median_seconds":0.001,"p99_seconds":0.004,"share_awaited":0.25,"#
            + #""member_seconds":2},{"name":"worker-2@host","incarnation":"ffffffffffffffff","shards":null,"answers":0,"#
            + #""times_last":0,"median_seconds":null,"p99_seconds":null,"share_awaited":null,"member_seconds":null}],"#
            + #""taken_over_shards":3,"late_shards":2,"rejected_pushes":1,"unsolicited_pushes":0,"staleness":[40,0,2]}"#
        ))
      #expect(try text(path).utf8.count / 2 < WorkersRecord.typicalByteCount(workers: 2))
    }
  }

  @Test func `a resumed run repeats no step, and a reader passes over a line that is being written`() throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      let first = try WorkersWriter(path: path, startingAt: 0)
      for step in [10, 20, 30] as [UInt64] { try first.workersMeasured(Self.record(step)) }
      let torn = try text(path) + "{\"step\":40,\"sec"
      try Data(torn.utf8).write(to: URL(filePath: path))
      #expect(try WorkersRecord.all(in: path).map(\.step) == [10, 20, 30])
      let resumed = try WorkersWriter(path: path, startingAt: 20)
      for step in [20, 25] as [UInt64] { try resumed.workersMeasured(Self.record(step)) }
      #expect(try WorkersRecord.all(in: path).map(\.step) == [10, 20, 25])
      #expect(throws: Failure.self) { try WorkersRecord.all(in: directory.path + "/none") }
    }
  }

  @Test func `a line that could not be written is reported at the end`() throws {
    let writer = try WorkersWriter(path: "/dev/full")
    let first = try #require(throws: Failure.self) { try writer.workersMeasured(Self.record(10)) }
    let result = RunResult(run: "r1", runDirectory: "runs/r1", stopReason: .signal)
    #expect(throws: first) { try writer.finished(result, ExitReason(status: .success, reason: "finished")) }
  }

  @Test(arguments: ["{\"step\":1}\n", "x\n", "\n"]) func `a whole line that is something else is an error`(
    text: String
  ) throws {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      try Data(text.utf8).write(to: URL(filePath: path))
      let failure = try #require(throws: Failure.self) { try WorkersRecord.all(in: path) }
      #expect(failure.status == .badData && failure.description.contains("line 1"))
    }
  }
}
