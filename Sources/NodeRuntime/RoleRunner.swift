import Cluster
import Diagnostics
import Messaging
import ZeroMQTransport

/// How a role ended.
package enum RoleEnding: Sendable, Equatable {
  case ended(Message.Ending)
  /// Another coordinator has the run: the process goes on with a new machine.
  case superseded(reason: String)
}

/// Runs a role: the loop that owns the sockets and hands the machine one event at a time.
///
/// To be used by one thread at a time; `Helm` passes it from one to another.
package final class RoleRunner<Machine: Role> {
  /// Messages handled before time, signals and the mailbox are looked at again.
  private static var messagesPerTurn: Int { 64 }

  private var machine: Machine
  private let links: NodeLinks
  private let mailbox: Mailbox
  private let interruptions: Interruptions
  private let shell: any NodeShell
  private let log: NodeLog
  private let descriptors: [Int32]
  private let fault: FaultPoint?
  private var actions: [Action] = []
  private var ending: RoleEnding?
  private var reportedRejections: UInt64 = 0
  private var reportedRefusals: UInt64 = 0
  private var reminder = ExposureReminder()

  package init(
    machine: Machine, links: NodeLinks, mailbox: Mailbox, interruptions: Interruptions,
    shell: any NodeShell, log: NodeLog, fault: FaultPoint? = nil
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
  package func run() -> RoleEnding {
    begin()
    while !hasEnded { turn() }
    return finish()
  }

  /// The role's first event.
  func begin() { deliver(.begin) }

  /// Whether the machine has stopped; nothing may be delivered any more.
  var hasEnded: Bool { ending != nil }

  /// Waits for something to happen, and handles it.
  func turn() {
    let hasPolled = links.wait(for: descriptors, until: nextWake)
    if hasPolled {
      deliverInterruptions()
      for event in mailbox.take() where ending == nil { deliver(event) }
    }
    deliverMessages(fromSockets: hasPolled)
    if hasPolled { reportStrangers() }
    if ending == nil, let deadline = machine.nextDeadline, MonotonicClock.now() >= deadline { deliver(.deadline) }
  }

  /// Closes the sockets; what was sent leaves while the context ends.
  func finish() -> RoleEnding {
    links.close()
    log.counters(links.counters)
    fault?.finish()
    return ending ?? .ended(Message.Ending(status: .internalError, reason: "the role ended without a reason"))
  }

  private var nextWake: Instant? {
    guard let reminder = reminder.next else { return machine.nextDeadline }
    return min(reminder, machine.nextDeadline ?? reminder)
  }

  private func deliverInterruptions() {
    // A closure: the method itself, taken from a protocol, would be a value that is allocated at every turn.
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

  /// Tells of rubbish at 1, 2, 4, 8 … messages: a sender of rubbish must not fill the log as well.
  private func reportRejections() {
    let rejected = links.counters.rejected
    guard rejected > 0, rejected >= reportedRejections * 2 else { return }
    reportedRejections = rejected
    log.note(
      .warning, event: "messages_rejected",
      "\(rejected) messages were malformed or not their sender's to send, and dropped")
  }

  /// Tells who was kept out, at 1, 2, 4, 8 … of them, and that nobody is where that is so.
  private func reportStrangers() {
    if links.isExposed, reminder.isDue(at: MonotonicClock.now()) {
      log.note(.warning, event: "no_keys", ExposureReminder.text)
    }
    if let problem = links.takeAccessProblem() {
      log.note(.error, event: "allow_list_not_used", "the allow-list stays as it was: \(problem)")
    }
    guard let refusals = links.refusals, refusals.count >= reportedRefusals * 2 else { return }
    reportedRefusals = refusals.count
    log.note(
      .warning, event: "keys_refused",
      "\(refusals.count) connections with unknown keys were refused, the newest from \(refusals.address) "
        + "(fingerprint \(refusals.fingerprint))")
  }

  func deliver(_ event: Event) {
    fault?.pass(event)
    machine.handle(event, at: MonotonicClock.now(), into: &actions)
    for action in actions {
      fault?.pass(action, isDone: false)
      perform(action)
      fault?.pass(action, isDone: true)
    }
    actions.removeAll(keepingCapacity: true)
  }

  private func perform(_ action: Action) {
    switch action {
    case .send(let message, let destination, let stamp):
      if let fault, fault.isMute { return }
      links.send(message, to: destination, stamp)
    case .connect(let endpoint, let sharesMemory):
      do {
        try links.connectToServer(
          Endpoint(parsing: endpoint), sharingMemory: sharesMemory ? shell.gradientByteCount : nil)
      } catch {
        log.note(.error, event: "connect_failed", error.description)
      }
    case .seekCoordinator:
      if let endpoint = shell.findCoordinator() { connectToCoordinator(endpoint) }
    case .rejoin(let reason):
      // Of no run, so that no role hears it: it gives back the key, which the next incarnation needs at once.
      let stamp = Stamp(run: RunID(0), membershipEpoch: MembershipEpoch(0), step: 0)
      links.send(.leave, to: .coordinator, stamp)
      ending = .superseded(reason: reason)
    case .stop(let status, let reason):
      ending = .ended(Message.Ending(status: status, reason: reason))
    case .prepare, .compute, .evaluate, .write, .observe:
      shell.perform(action)
    }
  }

  private func connectToCoordinator(_ endpoint: Endpoint) {
    do {
      try links.connectToCoordinator(endpoint)
      log.note(.info, event: "coordinator_moved", "the coordinator is at \(endpoint) now")
    } catch {
      log.note(.error, event: "connect_failed", error.description)
    }
  }
}
