import Diagnostics
import Messaging
import Optimization

/// What the coordinator of a run knows of the workers at a step: a line of `workers.jsonl`.
public struct WorkersRecord: Sendable, Equatable {
  /// What is known of a worker since it joined, as of the server's newest heartbeat.
  public struct Member: Sendable, Equatable {
    /// "worker-1@host".
    public var name: String
    /// Sixteen hexadecimal digits; a restarted worker has others.
    public var incarnation: String
    /// "0-7"; empty if there are more workers than shards, nil until the next membership epoch.
    public var shards: String?
    /// Gradients that counted.
    public var answers: UInt64
    /// Steps that its gradient completed; 0 where updates do not wait for whole steps.
    public var timesLast: UInt64
    /// Percentiles of the time from handing out work to its gradient. These and the next are nil before the first one.
    public var medianSeconds: Double?
    public var p99Seconds: Double?
    /// Of its time as a member: in which steps waited for this worker alone, in 0 ... 1; nil where no step waits for one of
    /// several workers.
    public var shareAwaited: Double?
    /// For how long it has been a member.
    public var memberSeconds: Double?

    public init(
      name: String, incarnation: Incarnation, shards: ShardSet?, pace: Message.WorkerPace?, shareAwaited: Double?
    ) {
      (self.name, self.incarnation, self.shards) = (name, incarnation.description, shards?.description)
      (answers, timesLast) = (pace?.answers ?? 0, pace?.timesLast ?? 0)
      (medianSeconds, p99Seconds, memberSeconds) = (pace?.medianSeconds, pace?.p99Seconds, pace?.memberSeconds)
      self.shareAwaited = shareAwaited
    }
  }

  /// Steps done.
  public var step: UInt64
  /// Training time of the run, interruptions excluded.
  public var seconds: Double
  /// In the order of their ranks; none for the sequential trainer.
  public var members: [Member] = []
  /// Since the run began, as in `RunTotals`.
  public var takenOverShards: UInt64
  public var lateShards: UInt64
  /// Since the server started: gradients that cannot have been computed, and that were not asked for (any more).
  public var rejectedPushes: UInt64 = 0
  public var unsolicitedPushes: UInt64 = 0
  /// Since the run began: gradients applied by the number of steps that their weights were old; the element at 64 counts
  /// those of 64 and above. Without the zeros at the end, but never empty.
  public var staleness: [UInt64]

  /// - Parameter snapshot: the training state after the step.
  public init(_ snapshot: TrainingSnapshot, seconds: Double) {
    (step, self.seconds) = (snapshot.step, seconds)
    (takenOverShards, lateShards) = (snapshot.totals.takenOverShards, snapshot.totals.lateShards)
    staleness = snapshot.totals.shownStaleness
  }
}

extension RunTotals {
  /// Without the zeros at the end, but never empty.
  package var shownStaleness: [UInt64] { Array(staleness.prefix((staleness.lastIndex { $0 != 0 } ?? 0) + 1)) }
}

// MARK: - File

extension WorkersRecord {
  var json: JSONValue {
    [
      "step": .number(step),
      "seconds": .measurement(seconds),
      "members": .array(members.map(\.json)),
      "taken_over_shards": .number(takenOverShards),
      "late_shards": .number(lateShards),
      "rejected_pushes": .number(rejectedPushes),
      "unsolicited_pushes": .number(unsolicitedPushes),
      "staleness": .numbers(staleness),
    ]
  }

  /// Of its line in the file.
  package static func typicalByteCount(workers: Int) -> Int { 250 + 250 * workers }

  /// Reads a line of the file.
  ///
  /// - Throws: `badData`.
  package init(_ fields: JSONFields) throws(Failure) {
    (step, seconds) = (try fields["step"], try fields["seconds"])
    members = try fields.objects("members") { (member) throws(Failure) in try Member(member) }
    (takenOverShards, lateShards) = (try fields["taken_over_shards"], try fields["late_shards"])
    (rejectedPushes, unsolicitedPushes) = (try fields["rejected_pushes"], try fields["unsolicited_pushes"])
    staleness = try fields["staleness"]
  }

  /// The lines of a file, the earliest first. A last line that is not whole, because it is being written or its writer was
  /// killed, is left out.
  ///
  /// - Throws: `missingInput` when there is no file, `badData` for a line that is something else.
  public static func all(in path: String) throws(Failure) -> [WorkersRecord] {
    try StepLines.read(path) { (fields) throws(Failure) in try WorkersRecord(fields) }
  }
}

extension WorkersRecord.Member {
  fileprivate var json: JSONValue {
    [
      "name": .string(name),
      "incarnation": .string(incarnation),
      "shards": shards.map { .string($0) } ?? .null,
      "answers": .number(answers),
      "times_last": .number(timesLast),
      "median_seconds": .measurement(medianSeconds),
      "p99_seconds": .measurement(p99Seconds),
      "share_awaited": .measurement(shareAwaited),
      "member_seconds": .measurement(memberSeconds),
    ]
  }

  fileprivate init(_ fields: JSONFields) throws(Failure) {
    (name, incarnation, shards) = (try fields["name"], try fields["incarnation"], try fields["shards"])
    (answers, timesLast) = (try fields["answers"], try fields["times_last"])
    (medianSeconds, p99Seconds) = (try fields["median_seconds"], try fields["p99_seconds"])
    (shareAwaited, memberSeconds) = (try fields["share_awaited"], try fields["member_seconds"])
  }
}

/// Writes `workers.jsonl`: a line of JSON for each evaluation, and one for the end of a start where that is at another step.
///
/// One owner; not for use by two threads at once.
public final class WorkersWriter: RunObserver {
  public let name = "workers"
  private let lines: StepLines

  /// Opens the file at `path`, or creates it.
  ///
  /// - Parameter step: where the run starts or resumes; nil for a file without later lines.
  public init(path: String, startingAt step: UInt64? = nil) throws(Failure) {
    lines = try StepLines(path: path, startingAt: step)
  }

  public func workersMeasured(_ record: WorkersRecord) throws(Failure) {
    try lines.record(record.json, of: record.step)
  }

  public func finished(_ result: RunResult, _ ending: ExitReason) throws(Failure) { try lines.requireAll() }
}
