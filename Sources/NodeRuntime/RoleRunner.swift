import Cluster
import Diagnostics
import Messaging
import ZeroMQTransport

/// Runs a role: the loop that owns the sockets and hands the machine one event at a time.
///
/// To be used by one thread at a time; `LeaderHandoff` passes it from one to another.
package final class RoleRunner<Shell: NodeShell> {
  /// Messages handled between two looks at time, signals and the mailbox.
  private static var messagesPerTurn: Int { 64 }

  private var machine: Shell.Machine
  private let links: NodeLinks
  private let mailbox: Mailbox<Shell.Machine.Event>
  private let interruptions: Interruptions
  private let shell: Shell
  private let log: NodeLog
  private let descriptors: [Int32]
  private let fault: FaultPoint?
  private var actions: [Shell.Machine.Action] = []
  private var ending: Shell.Ending?
  private var reportedRejections: UInt64 = 0
  private var reportedRefusals: UInt64 = 0
  private var reminder = ExposureReminder()

  package init(
    machine: Shell.Machine, links: NodeLinks, mailbox: Mailbox<Shell.Machine.Event>, interruptions: Interruptions,
    shell: Shell, log: NodeLog, fault: FaultPoint? = nil
  ) {
    self.fault = fault
    self.machine = machine
    self.links = links
    self.mailbox = mailbox
    self.interruptions = interruptions
    self.shell = shell
    self.log = log
    descriptors = [mailbox.wakeUp.descriptor] + interruptions.descriptors
  }

  /// Runs the role to its end.
  package func run() -> Shell.Ending {
    begin()
    while !hasEnded { turn() }
    return finish()
  }

  /// The role's first event.
  func begin() { deliver(.begin) }

  /// Whether the role has ended; nothing may be delivered any more.
  var hasEnded: Bool { ending != nil }

  /// Waits for something to happen, and handles it.
  func turn() {
    let hasPolled = links.wait(for: descriptors, until: nextWake)
    if hasPolled {
      deliverInterruptions()
      for event in mailbox.take() where ending == nil { deliver(event) }
    }
    deliverMessages(fromSockets: hasPolled)
    if hasPolled { reportAccess() }
    if ending == nil, let deadline = machine.nextDeadline, MonotonicClock.now() >= deadline { deliver(.deadline) }
  }

  /// Closes the sockets; what was sent leaves while the context ends.
  func finish() -> Shell.Ending {
    links.close()
    log.counters(links.counters)
    fault?.finish()
    guard let ending else { preconditionFailure("finished before the role has ended") }
    return ending
  }

  private var nextWake: Instant? {
    guard let reminder = reminder.next else { return machine.nextDeadline }
    return min(reminder, machine.nextDeadline ?? reminder)
  }

  private func deliverInterruptions() {
    guard interruptions.poll({ shell.abandon() }) else { return }
    if ending == nil { deliver(.stopRequested) }
  }

  private func deliverMessages(fromSockets: Bool) {
    for _ in 0..<Self.messagesPerTurn {
      guard ending == nil, let (message, envelope) = links.receive(fromSockets: fromSockets) else { break }
      deliver(.received(message, envelope))
    }
    reportRejections()
  }

  /// Notes malformed messages when there are 1, 2, 4, 8 …, so that their sender cannot fill the log.
  private func reportRejections() {
    let rejected = links.counters.rejected
    guard rejected > 0, rejected >= reportedRejections * 2 else { return }
    reportedRejections = rejected
    log.note(
      .warning, event: "messages_rejected",
      "dropped \(rejected) messages that were malformed or that their sender may not send")
  }

  /// Notes refused connections when there are 1, 2, 4, 8 …, and reminds of a network without keys.
  private func reportAccess() {
    if links.isExposed, reminder.isDue(at: MonotonicClock.now()) {
      log.note(.warning, event: "no_keys", ExposureReminder.text)
    }
    if let problem = links.takeAccessProblem() {
      log.note(.error, event: "allow_list_not_used", "still using the previous allow-list: \(problem)")
    }
    guard let refusals = links.refusals, refusals.count >= reportedRefusals * 2 else { return }
    reportedRefusals = refusals.count
    log.note(
      .warning, event: "keys_refused",
      "refused \(refusals.count) connections with unknown keys, the newest from \(refusals.address) "
        + "(fingerprint \(refusals.fingerprint))")
  }

  func deliver(_ event: Shell.Machine.Event) {
    fault?.pass(event.faultPoint(isDone: false))
    machine.handle(event, at: MonotonicClock.now(), into: &actions)
    for action in actions {
      if let fault {
        fault.pass(action.faultPoint(isDone: false))
        links.isMute = fault.isMute
      }
      if let ending = shell.perform(action) { self.ending = ending }
      fault?.pass(action.faultPoint(isDone: true))
    }
    actions.removeAll(keepingCapacity: true)
  }
}
