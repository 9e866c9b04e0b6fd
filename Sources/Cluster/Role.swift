import Diagnostics
import Messaging
import Optimization

/// A role of the cluster as a value: no socket, file, clock or thread in it. The shell around it
/// 1. calls `handle` for every event, one at a time, with the current time;
/// 2. performs the actions in order, and reports their outcomes as further events;
/// 3. hands over the deadline event once `nextDeadline` has passed;
/// 4. ends the process at `stop` after everything sent before it has left, and at `rejoin` replaces the machine with a
///    new one, which receives nothing that was meant for the old one.
///
/// Each role has its own events and actions, so that none can be handed an event, and no shell an action, of another one.
public protocol Role {
  associatedtype Event: Sendable
  associatedtype Action: Sendable
  mutating func handle(_ event: Event, at now: Instant, into actions: inout [Action])
  /// When the role wants to be called although nothing has happened.
  var nextDeadline: Instant? { get }
}

/// The events of every role that exchanges messages, besides its own.
public protocol NodeEvent: Sendable {
  /// First of all, once.
  static var begin: Self { get }
  /// A message whose frames, lengths and checksums are right, from the peer it claims to be from.
  static func received(_ message: Message, _ envelope: Envelope) -> Self
  static var deadline: Self { get }
  /// SIGINT or SIGTERM.
  static var stopRequested: Self { get }
}

/// The actions of every role that exchanges messages, besides its own.
public protocol NodeAction: Sendable {
  static func send(_ message: Message, to destination: Destination, _ addressing: Addressing) -> Self
  /// A line for the log. `event` is a stable name for scripts.
  static func note(_ level: NoteLevel, event: String, _ text: String) -> Self
  /// The last action: end the process.
  static func stop(_ status: ExitStatus, reason: String) -> Self
}

public enum NoteLevel: Sendable, Comparable { case debug, info, warning, error }

/// The event that a machine is handling: its time, and the actions so far. A machine keeps one, so that its methods need
/// not hand time and actions to each other; `handle` lends it the caller's array, so that nothing is allocated.
struct Turn<Action> {
  private(set) var now = Instant(nanoseconds: 0)
  private var actions: [Action] = []

  mutating func begin(at now: Instant, into actions: inout [Action]) {
    self.now = now
    swap(&self.actions, &actions)
  }

  /// Gives the array back.
  mutating func end(into actions: inout [Action]) { swap(&self.actions, &actions) }

  mutating func append(_ action: Action) { actions.append(action) }
}

extension Turn where Action: NodeAction {
  mutating func send(_ message: Message, to destination: Destination, _ addressing: Addressing) {
    append(.send(message, to: destination, addressing))
  }

  mutating func note(_ level: NoteLevel, _ event: String, _ text: String) {
    append(.note(level, event: event, text))
  }
}

/// Which examples an evaluation is made on.
public enum EvaluationSplit: Sendable, Hashable { case validation, test }

/// What the run shows and records; the shell renders it.
public enum Observation: Sendable {
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
