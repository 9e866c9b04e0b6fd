import Diagnostics
import Messaging
import Optimization

/// A moment on the monotonic clock of one process, in nanoseconds from an arbitrary origin.
public struct Instant: Sendable, Hashable, Comparable {
  public let nanoseconds: UInt64
  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }
  public static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }
  public static func + (a: Self, b: Interval) -> Self {
    Instant(nanoseconds: a.nanoseconds + b.nanoseconds)
  }
  /// The time since `earlier`, zero if that lies ahead.
  public func since(_ earlier: Instant) -> Interval {
    Interval(nanoseconds: nanoseconds > earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0)
  }
}

/// A span of time, never negative.
public struct Interval: Sendable, Hashable, Comparable, CustomStringConvertible {
  public let nanoseconds: UInt64
  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }
  public static func milliseconds(_ value: UInt64) -> Self { Interval(nanoseconds: value * 1_000_000) }
  /// What is negative or not a number is zero; 68 years are the longest.
  public static func seconds(_ value: Double) -> Self {
    Interval(nanoseconds: value > 0 ? UInt64(min(value, Double(Int32.max)) * 1e9) : 0)
  }
  public static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }
  public var seconds: Double { Double(nanoseconds) / 1e9 }
  /// For people: "2.1 s".
  public var description: String {
    let tenths = (nanoseconds + 50_000_000) / 100_000_000
    return "\(tenths / 10).\(tenths % 10) s"
  }
}

/// How long everybody waits. Every wait of the cluster has its bound here.
public struct Timing: Sendable, Equatable {
  /// Between two heartbeats of a node, and between two tries of a message that got no answer.
  public var heartbeat = Interval.milliseconds(500)
  /// A node that was silent for this long is no longer a member.
  public var lease = Interval.seconds(2)
  /// A worker that holds up the step for this long although it is alive is no longer a member.
  public var straggler = Interval.seconds(30)
  /// For the coordinator, a server and the expected workers to find one another.
  public var rendezvous = Interval.seconds(30)
  /// A worker that waits for the server asks again after this long.
  public var retry = Interval.seconds(1)
  /// For the last messages when a run ends.
  public var farewell = Interval.seconds(3)

  public init() {}
}

/// A role of the cluster as a value: no socket, file, clock or thread in it. The shell around it
/// 1. calls `handle` for every event, one at a time, with the current time;
/// 2. performs the actions in order, and reports what they lead to as further events;
/// 3. calls `handle(.deadline, …)` once `nextDeadline` has passed;
/// 4. ends the process at `.stop` after everything sent before it has left, and at `.rejoin` puts a new machine in this
///    one's place, which nothing reaches that was meant for this one.
public protocol Role {
  mutating func handle(_ event: Event, at now: Instant, into actions: inout [Action])
  /// When the role wants to be called although nothing has happened.
  var nextDeadline: Instant? { get }
}

/// What happens to a role.
public enum Event: Sendable {
  /// First of all, once.
  case begin
  /// A message whose frames, lengths and checksums are right, from the peer it claims to be from.
  case received(Message, Envelope)
  case deadline
  /// Worker: the gradient of a `compute` action.
  case gradientReady(ComputedGradient)
  /// Coordinator: the result of an `evaluate` action.
  case evaluated(serial: UInt64, EvaluationSplit, Evaluation)
  /// Coordinator: a checkpoint is durable (its path), or what was not saved and why.
  case checkpointWritten(step: UInt64, Result<String, Failure>)
  /// SIGINT or SIGTERM.
  case stopRequested
}

/// What a role wants done.
public enum Action: Sendable {
  case send(Message, to: Destination, Stamp)
  /// Worker: (re)connect to the server, and exchange messages with it through memory if it is on the same host.
  case connect(serverEndpoint: String, sharesMemory: Bool)
  /// Worker: get ready to compute gradients of this plan.
  case prepare(TrainingPlan, meanImage: Payload)
  case compute(GradientTask)
  case evaluate(serial: UInt64, EvaluationSplit, parameters: Payload)
  case write(CheckpointRequest)
  case observe(Observation)
  /// Server, worker: the coordinator has been silent for longer than the lease; it may have come back elsewhere.
  case seekCoordinator
  /// Server, worker, as the last action: another coordinator has the run. Begin anew, as a new incarnation.
  case rejoin(reason: String)
  /// The last action: end the process.
  case stop(ExitStatus, reason: String)
}

/// Where a message goes; the shell knows the socket.
public enum Destination: Sendable, Hashable {
  case coordinator
  case server
  case node(NodeRole, Incarnation)
}

/// What the sender puts on the envelope; incarnation and sequence number are the shell's.
public struct Stamp: Sendable, Equatable {
  public var run: RunID
  public var membershipEpoch: MembershipEpoch
  public var step: UInt64
  public init(run: RunID, membershipEpoch: MembershipEpoch, step: UInt64) {
    self.run = run
    self.membershipEpoch = membershipEpoch
    self.step = step
  }
}

/// A piece of work for the thread that computes.
public struct GradientTask: Sendable {
  public var ticket: UInt64
  public var step: UInt64
  public var membershipEpoch: MembershipEpoch
  public var shards: ShardSet
  /// Float32 [parameters].
  public var parameters: Payload
}

/// What came of a `GradientTask`; `ticket` is the task's.
public struct ComputedGradient: Sendable {
  public var ticket: UInt64
  public var statistics: MinibatchStatistics
  /// Int32 [parameters].
  public var gradient: Payload
  public init(ticket: UInt64, statistics: MinibatchStatistics, gradient: Payload) {
    self.ticket = ticket
    self.statistics = statistics
    self.gradient = gradient
  }
}

/// Which examples an evaluation is made on.
public enum EvaluationSplit: Sendable, Hashable { case validation, test }

/// What people and files get to see; the shell renders it.
public enum Observation: Sendable {
  public enum Level: Sendable, Comparable { case debug, info, warning, error }
  /// A line for the log. `event` is a stable name for scripts.
  case note(Level, event: String, String)
  case progress(TrainingProgress)
  /// A membership epoch has begun, with so many workers.
  case membership(MembershipEpoch, step: UInt64, workers: Int)
  case evaluated(EvaluatedStep)
  case finished(RunOutcome)
}

/// Where the training stands, as the server's newest heartbeat says.
public struct TrainingProgress: Sendable, Equatable {
  public var step: UInt64
  /// Examples that went into the weights since the run began.
  public var examples: UInt64
  /// Mean data loss of the newest step; not a number before the first.
  public var loss: Double
  public var workers: Int
}
