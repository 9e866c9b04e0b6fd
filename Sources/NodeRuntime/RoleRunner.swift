import Cluster
import Diagnostics
import Messaging
import Transport

/// The part of a node that differs between roles: it performs the actions of its machine.
package protocol NodeShell: AnyObject {
  associatedtype Machine: Role where Machine.Event: NodeEvent

  /// Performs one action, or has another thread perform it, which posts the outcome to the mailbox. Must return soon: the
  /// node receives nothing meanwhile.
  /// - Returns: how the role ended, for its last action.
  func perform(_ action: Machine.Action) -> RoleEnding?

  /// The process ends at once: removes what would be left behind. Nothing may take long.
  func abandon()
}

extension NodeShell {
  package func abandon() {}
}

/// How a role ended.
package enum RoleEnding: Sendable, Equatable {
  case ended(ExitReason)
  /// Another coordinator has the run: a server or worker process continues with a new machine.
  case superseded(reason: String)
}

/// Runs a role: the loop that owns the sockets and hands the machine one event at a time.
///
/// To be used by one thread at a time; `LeaderHandoff` passes it from one to another.
package final class RoleRunner<Shell: NodeShell> {
  /// Messages handled between two looks at time, signals and the mailbox.
  private static var messagesPerTurn: Int { 64 }

  private var machine: Shell.Machine
  private let transport: NodeTransport
  private let mailbox: Mailbox<Shell.Machine.Event>
  private let signals: TerminationSignals
  private let shell: Shell
  private let log: NodeLog
  private let descriptors: [Int32]
  private let fault: FaultPoint?
  private var actions: [Shell.Machine.Action] = []
  private var ending: RoleEnding?
  private var reportedRejections: UInt64 = 0
  private var reportedRefusals: UInt64 = 0
  private var reminder = ExposureReminder()

  package init(
    machine: Shell.Machine, transport: NodeTransport, mailbox: Mailbox<Shell.Machine.Event>,
    signals: TerminationSignals, shell: Shell, log: NodeLog, fault: FaultPoint? = nil
  ) {
    self.fault = fault
    self.machine = machine
    self.transport = transport
    self.mailbox = mailbox
    self.signals = signals
    self.shell = shell
    self.log = log
    descriptors = [mailbox.descriptor] + signals.descriptors
  }

  /// Runs the role to its end.
  package func run() -> RoleEnding {
    deliver(.begin)
    while !hasEnded { turn() }
    return finish()
  }

  /// Whether the role has ended; nothing may be delivered any more.
  var hasEnded: Bool { ending != nil }

  /// Waits for something to happen, and handles it.
  func turn() {
    let hasPolled = transport.wait(for: descriptors, until: nextWake)
    if hasPolled {
      deliverSignals()
      for event in mailbox.take() where ending == nil { deliver(event) }
    }
    deliverMessages(fromSockets: hasPolled)
    if hasPolled { reportAccess() }
    if ending == nil, let deadline = machine.nextDeadline, Instant.now >= deadline { deliver(.deadline) }
  }

  /// Closes the sockets; what was sent leaves while the context ends.
  func finish() -> RoleEnding {
    transport.close()
    log.counters(transport.counters)
    fault?.finish()
    guard let ending else { preconditionFailure("finished before the role has ended") }
    return ending
  }

  private var nextWake: Instant? {
    guard let reminder = reminder.next else { return machine.nextDeadline }
    return min(reminder, machine.nextDeadline ?? reminder)
  }

  private func deliverSignals() {
    guard signals.poll({ shell.abandon() }) else { return }
    if ending == nil { deliver(.stopRequested) }
  }

  private func deliverMessages(fromSockets: Bool) {
    for _ in 0..<Self.messagesPerTurn {
      guard ending == nil, let (message, envelope) = transport.receive(fromSockets: fromSockets) else { break }
      deliver(.received(message, envelope))
    }
    reportRejections()
  }

  /// Notes malformed messages when there are 1, 2, 4, 8 …, so that their sender cannot fill the log.
  private func reportRejections() {
    let rejected = transport.counters.rejected
    guard rejected > 0, rejected >= reportedRejections * 2 else { return }
    reportedRejections = rejected
    log.note(
      .warning, event: "messages_rejected",
      "dropped \(rejected) messages that were malformed or that their sender may not send")
  }

  /// Notes refused connections when there are 1, 2, 4, 8 …, and reminds of a network without keys.
  private func reportAccess() {
    if transport.isExposed, reminder.isDue(at: .now) {
      log.note(.warning, event: "no_keys", ExposureReminder.text)
    }
    if let problem = transport.authenticator?.takeAccessProblem() {
      log.note(.error, event: "allow_list_not_used", "still using the previous allow-list: \(problem)")
    }
    guard let refusals = transport.authenticator?.refusals, refusals.count >= reportedRefusals * 2 else { return }
    reportedRefusals = refusals.count
    log.note(
      .warning, event: "keys_refused",
      "refused \(refusals.count) connections with unknown keys, the newest from \(refusals.address) "
        + "(fingerprint \(refusals.fingerprint))")
  }

  func deliver(_ event: Shell.Machine.Event) {
    fault?.pass(event)
    machine.handle(event, at: .now, into: &actions)
    for action in actions {
      if let fault {
        fault.pass(action, "before.")
        transport.isSilenced = fault.isSilenced
      }
      if let ending = shell.perform(action) { self.ending = ending }
      fault?.pass(action, "after.")
    }
    actions.removeAll(keepingCapacity: true)
  }
}

/// Repeats that peers are not authenticated, where that is so: a run that was exposed for a test must not stay
/// so unseen.
package struct ExposureReminder {
  package static let interval = Interval.seconds(60)
  package static let text =
    "this process talks to other hosts without keys: any host that reaches it can read, forge and stop the training"

  /// Nil before the first time.
  package private(set) var next: Instant?

  package init() {}

  /// Whether it is time to say so: at once, and then a minute after each time.
  package mutating func isDue(at now: Instant) -> Bool {
    guard now >= next ?? now else { return false }
    next = now + Self.interval
    return true
  }
}
