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

/// A role that exchanges messages. The shells of all such roles send, log and stop alike; requests are the role's own.
public protocol NodeMachine: Role where Event == NodeEvent<Outcome>, Action == NodeAction<Request> {
  /// What comes of the requests.
  associatedtype Outcome: Sendable
  /// What only the shell of this role can do.
  associatedtype Request: Sendable
}

public enum NodeEvent<Outcome: Sendable>: Sendable {
  /// First of all, once.
  case begin
  /// A message whose frames, lengths and checksums are right, from the peer it claims to be from.
  case received(Message, Envelope)
  case outcome(Outcome)
  case deadline
  /// A signal asks the process to stop.
  case stopRequested
  /// A signal asks for a checkpoint; the training goes on.
  case saveRequested
}

public enum NodeAction<Request: Sendable>: Sendable {
  case send(Message, to: Destination, Addressing)
  /// A line for the log. `event` is a stable name for scripts.
  case note(NoteLevel, event: String, String)
  case request(Request)
  /// The last action: end the process.
  case stop(ExitStatus, reason: String)
}

/// What servers and workers request alike.
public enum MemberRequest: Sendable {
  /// The coordinator has been silent for longer than the lease; another one may have started elsewhere.
  case seekCoordinator
  /// The last action: another coordinator has the run. Join it as a new incarnation.
  case rejoin(reason: String)
}

public enum NoteLevel: Sendable, Comparable { case debug, info, notice, warning, error }

/// The event that a machine is handling: its time, and the actions so far. A machine keeps one, so that its methods need
/// not hand time and actions to each other; `handle` lends it the caller's array, so that nothing is allocated.
///
/// The time of a machine is that of its process less `absence`: a process that was stopped (SIGSTOP, Ctrl-Z, a suspended
/// job) or starved did not listen meanwhile, so a silence of that time is not that of its peers, whose messages are still
/// in its queue, and none of its waits is over.
struct Turn<Action> {
  /// 0 before the first event.
  private(set) var now = Instant(nanoseconds: 0)
  /// For how long the process did not run although the machine was due, in total.
  private(set) var absence = Interval.seconds(0)
  private var actions: [Action] = []

  /// - Parameters:
  ///   - time: of the process.
  ///   - due: when the machine wanted to be called at the latest, in its own time; nil for never.
  ///   - allowance: a call that is later than this comes after an absence.
  mutating func begin(at time: Instant, due: Instant?, allowance: Interval, into actions: inout [Action]) {
    if let due, now.nanoseconds > 0 {
      let expected = max(due, now)
      // defence: absence fails
      if time.since(expected + absence) >= allowance { absence = time.since(expected) }
    }
    now = Instant(nanoseconds: time.nanoseconds - absence.nanoseconds)
    swap(&self.actions, &actions)
  }

  /// Gives the array back.
  mutating func end(into actions: inout [Action]) { swap(&self.actions, &actions) }

  mutating func append(_ action: Action) { actions.append(action) }

  mutating func request<Request>(_ request: Request) where Action == NodeAction<Request> { append(.request(request)) }

  mutating func send<Request>(_ message: Message, to destination: Destination, _ addressing: Addressing)
  where Action == NodeAction<Request> {
    append(.send(message, to: destination, addressing))
  }

  mutating func note<Request>(_ level: NoteLevel, _ event: String, _ text: String) where Action == NodeAction<Request> {
    append(.note(level, event: event, text))
  }
}

extension Turn {
  /// A signal asks a server or worker for a checkpoint, which only the coordinator can save.
  mutating func noteSaveRequest<Request>(isMember: Bool) where Action == NodeAction<Request> {
    if isMember {
      note(.info, "save_requested", "asking the coordinator to save a checkpoint, as a signal asks")
    } else {
      note(.warning, "save_request_ignored", "a signal asks for a checkpoint: ignored, as there is no coordinator yet")
    }
  }
}

/// When to repeat a line about something that lasts: after 1, 2, 4, 8, … s.
struct RepeatedNote {
  private var next: Instant?
  private var pause = Interval.seconds(0)

  /// Whether the line is due. It is at first.
  mutating func isDue(at now: Instant) -> Bool {
    guard now >= next ?? now else { return false }
    pause = max(.seconds(1), pause * 2)
    next = now + pause
    return true
  }
}

/// Which examples an evaluation is made on.
public enum EvaluationSplit: Sendable, Hashable { case validation, test }

/// What the run shows and records; the shell renders it.
public enum Observation: Sendable {
  case progress(TrainingProgress)
  /// A membership epoch has begun, with so many workers.
  case membership(MembershipEpoch, step: UInt64, workers: Int)
  /// A server or worker has joined that takes the place of one that ended like this: "was killed by signal 9".
  case restarted(process: String, formerExit: String)
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
  /// The one that the steps wait for, "worker-2@host"; nil if none stands out.
  public var slowWorker: String?
}
