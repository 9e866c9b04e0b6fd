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
    /// It had been silent for longer than its lease, and others had taken over its part.
    public var wasEvicted: Bool
  }

  public struct Counts: Sendable, Equatable {
    public var events = 0

    public var messagesSent = 0
    public var messagesLost = 0
    public var messagesRepeated = 0
    /// By the codec.
    public var messagesRefused = 0

    // Faults.
    public var crashes = 0
    public var powerCuts = 0
    public var pauses = 0
    public var partitions = 0
    public var swizzles = 0
    /// Processes that were no longer heard, or heard nothing any more.
    public var silences = 0
    /// Calls that the disk failed.
    public var diskFailures = 0

    // What became of it.
    /// Pushes the server counted, and those it did not.
    public var pushesCounted = 0
    public var pushesRefused = 0
    /// Steps, or without whole steps items, that were computed again at another scale.
    public var corrections = 0
    /// Shards that an idle worker took over from a late one, and those whose result was dropped as late.
    public var takenOverShards = 0
    public var lateShards = 0
    public var coordinatorStarts = 0
    public var serverStarts = 0
    public var workerStarts = 0
    /// By a supervisor.
    public var restarts = 0
    /// Coordinators that resumed from a checkpoint.
    public var resumptions = 0
    /// Checkpoints that were passed over because they were damaged.
    public var damagedCheckpoints = 0
    public var checkpoints = 0
    /// Processes that lost their part because they were silent, or because another coordinator came, whether they still
    /// lived or not...
    public var evictions = 0
    /// ...and of these, those that received a refusal and ended with status 79, and those that were admitted again.
    public var fenced = 0
    public var readmissions = 0
    /// Servers and workers that went over to another coordinator, as new incarnations.
    public var rejoins = 0

    public init() {}
  }

  public var seed: UInt64
  public var violations: [Violation] = []
  /// Of the newest coordinator that came so far.
  public var outcome: RunOutcome?
  public var endings: [Ending] = []
  public var counts = Counts()
  /// Simulated seconds until the last process had ended.
  public var seconds = 0.0
  /// Simulated seconds from the last fault to the result; negative if the run was over before.
  public var secondsAfterFaults: Double?
  /// The supervisor's, in a plan with one.
  public var exitCode: Int32?
  /// Of the result's weights and the optimizer's vectors; equal numbers mean equal bits.
  public var resultFingerprint: UInt64?
  /// `staleness[k]`: pushes that were counted and whose work was handed out k clocks ahead of the slowest shard, by the
  /// checker's own account.
  public var staleness: [UInt64] = []
  /// One line an event, if it was asked for.
  public var trace: [String] = []

  public var isCorrect: Bool { violations.isEmpty }
}

extension Report.Counts {
  /// All of them in their order, for people and scripts: the names of the properties with `_` before each word.
  public var named: [(name: String, value: Int)] {
    Mirror(reflecting: self).children.compactMap { label, value in
      guard let label, let value = value as? Int else { return nil }
      return (label.reduce(into: "") { $0 += $1.isUppercase ? "_" + $1.lowercased() : String($1) }, value)
    }
  }
}
