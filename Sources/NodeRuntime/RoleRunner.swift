import Cluster
import Diagnostics
import Messaging
import Transport

/// How a role ended.
package enum RoleEnding: Sendable, Equatable {
  case ended(ExitReason)
  /// Another coordinator has the run: a server or worker process continues with a new machine.
  case superseded(reason: String)
}

/// Runs a role: the loop that owns the sockets and hands the machine one event at a time.
///
/// To be used by one thread at a time; `LeaderHandoff` passes it from one to another.
package final class RoleRunner<Machine: NodeMachine> {
  /// Messages handled between two looks at time, signals and the mailbox, and bytes: those of a large model take time.
  private static var messagesPerTurn: Int { 64 }
  private static var bytesPerTurn: Int { 64 << 20 }

  private var machine: Machine
  private let transport: NodeTransport
  private let mailbox: Mailbox<Machine.Outcome>
  private let signals: TerminationSignals
  private let log: NodeLog
  private var descriptors: [Int32]
  private let fault: FaultPoint?
  private let trace: LoopTrace<Machine>?
  private let abandon: @Sendable () -> Void
  private let perform: (Machine.Request) -> RoleEnding?
  private let meanwhile: () -> Void
  private var actions: [Machine.Action] = []
  private var ending: RoleEnding?
  private var reportedRejections: UInt64 = 0
  private var reportedRefusals: UInt64 = 0
  private var reminder = ExposureReminder()

  /// - Parameters:
  ///   - trace: what is recorded of the loop; nil for nothing.
  ///   - abandon: removes what would be left behind when the process ends at once. Nothing in it may take long.
  ///   - perform: performs a request, or has another thread perform it, which posts the outcome to the mailbox. It must
  ///     return soon: the node receives nothing meanwhile. Returns how the role ended, for its last request.
  ///   - meanwhile: something short and useful to do while there is nothing to receive.
  init(
    machine: Machine, transport: NodeTransport, mailbox: Mailbox<Machine.Outcome>, signals: TerminationSignals,
    log: NodeLog, fault: FaultPoint? = nil, trace: LoopTrace<Machine>?,
    abandon: @escaping @Sendable () -> Void = {}, perform: @escaping (Machine.Request) -> RoleEnding?,
    meanwhile: @escaping () -> Void = {}
  ) {
    self.fault = fault
    self.trace = trace
    self.abandon = abandon
    self.perform = perform
    self.meanwhile = meanwhile
    self.machine = machine
    self.transport = transport
    self.mailbox = mailbox
    self.signals = signals
    self.log = log
    descriptors = [mailbox.descriptor] + signals.descriptors
  }

  /// One that records nothing.
  package convenience init(
    machine: Machine, transport: NodeTransport, mailbox: Mailbox<Machine.Outcome>, signals: TerminationSignals,
    log: NodeLog, fault: FaultPoint? = nil, abandon: @escaping @Sendable () -> Void = {},
    perform: @escaping (Machine.Request) -> RoleEnding?
  ) {
    self.init(
      machine: machine, transport: transport, mailbox: mailbox, signals: signals, log: log, fault: fault, trace: nil,
      abandon: abandon, perform: perform)
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
    let hasPolled = transport.wait(for: descriptors, until: nextWake, meanwhile: meanwhile)
    if hasPolled {
      deliverSignals()
      for outcome in mailbox.take() where ending == nil { deliver(.outcome(outcome)) }
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
    let isStop = signals.poll(abandon)
    if ending == nil, signals.takeSaveRequest() { deliver(.saveRequested) }
    guard isStop else { return }
    // Without that of a parent that is gone.
    descriptors = [mailbox.descriptor] + signals.descriptors
    if ending == nil { deliver(.stopRequested) }
  }

  private func deliverMessages(fromSockets: Bool) {
    var byteCount = 0
    for _ in 0..<Self.messagesPerTurn where byteCount < Self.bytesPerTurn {
      guard ending == nil, let (message, envelope) = transport.receive(fromSockets: fromSockets) else { break }
      byteCount += Int(envelope.payloadLength)
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

  func deliver(_ event: Machine.Event) {
    fault?.pass(event)
    let began = Instant.now
    machine.handle(event, at: began, into: &actions)
    trace?.handled(event, by: machine, from: began)
    for action in actions {
      if let fault {
        fault.pass(action, "before.")
        transport.isSilenced = fault.isSilenced
      }
      switch action {
      case .send(let message, let destination, let addressing): send(message, to: destination, addressing)
      case .note(let level, let event, let text): log.note(level, event: event, text)
      case .request(let request): if let ending = perform(request) { self.ending = ending }
      case .stop(let status, let reason): ending = .ended(ExitReason(status: status, reason: reason))
      }
      fault?.pass(action, "after.")
    }
    actions.removeAll(keepingCapacity: true)
  }

  private func send(_ message: Message, to destination: Destination, _ addressing: Addressing) {
    guard let trace else { return transport.send(message, to: destination, addressing) }
    let began = Instant.now
    transport.send(message, to: destination, addressing)
    trace.sent(message, to: destination, from: began)
  }
}

/// When to log that peers are not authenticated. The warning repeats, so that a run which was exposed for a test does not
/// stay exposed unnoticed.
package struct ExposureReminder {
  package static let interval = Interval.seconds(60)
  package static let text =
    "this process talks to other hosts without keys: any host that reaches it can read, forge and stop the training"

  /// Nil before the first time.
  package private(set) var next: Instant?

  package init() {}

  /// Whether the warning is due: at once, and then a minute after each time.
  package mutating func isDue(at now: Instant) -> Bool {
    guard now >= next ?? now else { return false }
    next = now + Self.interval
    return true
  }
}
