import Cluster
import Diagnostics
import Messaging
import Optimization

/// How a simulation went.
public struct Report: Sendable {
  /// A rule that did not hold.
  public struct Violation: Sendable, CustomStringConvertible {
    /// Simulated seconds since the start.
    public var seconds: Double
    public var rule: String
    public var description: String { "at \(seconds) s: \(rule)" }
  }

  /// How a process ended of its own will.
  public struct Ending: Sendable {
    public var process: String
    public var role: NodeRole
    public var status: ExitStatus
    public var reason: String
    public var seconds: Double
  }

  public struct Counts: Sendable, Equatable {
    public var events = 0
    public var sent = 0
    public var lost = 0
    public var repeated = 0
    /// Refused by the codec.
    public var refused = 0
    public var crashes = 0
    public var pauses = 0
    public var partitions = 0
    /// Pushes the server counted, and those it did not.
    public var pushesCounted = 0
    public var pushesRefused = 0
    public var serverStarts = 0
    public var workerStarts = 0
    public var checkpoints = 0
  }

  public var seed: UInt64
  public var violations: [Violation] = []
  public var outcome: RunOutcome?
  public var endings: [Ending] = []
  public var counts = Counts()
  /// Simulated seconds until the last process had ended.
  public var seconds = 0.0
  /// Of the result's weights and velocity; equal numbers mean equal bits.
  public var resultFingerprint: UInt64?
  /// What is durable in the end, in the order it became so.
  public var checkpoints: [CheckpointRequest] = []
  /// `staleness[k]`: pushes that were counted and whose work was handed out k clocks ahead of the slowest shard, by the
  /// checker's own account.
  public var staleness: [UInt64] = []
  /// One line an event, if it was asked for.
  public var trace: [String] = []

  public var isCorrect: Bool { violations.isEmpty }
}

extension InitialState {
  /// Where a run goes on after its checkpoint.
  public init(resuming checkpoint: CheckpointRequest, path: String) {
    self.init(
      step: checkpoint.step, shardClocks: checkpoint.shardClocks, totals: checkpoint.totals,
      monitor: checkpoint.monitor, membershipEpoch: checkpoint.membershipEpoch,
      trainLoss: checkpoint.trainLoss, checkpoint: path,
      state: checkpoint.state)
  }
}
