import Cluster
import Diagnostics
import Messaging
import ZeroMQTransport

/// Runs a role: the loop of one thread that owns the sockets and hands the machine one event at a time.
package final class RoleRunner<Machine: Role> {
  /// Messages handled before time, signals and the mailbox are looked at again.
  private static var messagesPerTurn: Int { 64 }

  private var machine: Machine
  private let transport: NodeTransport
  private let mailbox: Mailbox
  private let interruptions: Interruptions
  private let shell: any NodeShell
  private let log: NodeLog
  private var actions: [Action] = []
  private var ending: Message.Ending?
  private var reportedRejections: UInt64 = 0

  package init(
    machine: Machine, transport: NodeTransport, mailbox: Mailbox, interruptions: Interruptions,
    shell: any NodeShell, log: NodeLog
  ) {
    self.machine = machine
    self.transport = transport
    self.mailbox = mailbox
    self.interruptions = interruptions
    self.shell = shell
    self.log = log
  }

  /// Runs the role to its end. The sockets are closed then; what was sent leaves while the context ends.
  package func run() -> Message.Ending {
    deliver(.begin)
    while ending == nil {
      transport.wait(
        for: [mailbox.wakeUp.descriptor] + interruptions.descriptors,
        milliseconds: machine.nextDeadline.map(MonotonicClock.milliseconds))
      deliverInterruptions()
      for event in mailbox.take() where ending == nil { deliver(event) }
      deliverMessages()
      if ending == nil, let deadline = machine.nextDeadline, MonotonicClock.now() >= deadline { deliver(.deadline) }
    }
    transport.close()
    log.counters(transport.counters)
    return ending ?? Message.Ending(status: .internalError, reason: "the role ended without a reason")
  }

  private func deliverInterruptions() {
    guard interruptions.poll(shell.abandon) else { return }
    if ending == nil { deliver(.stopRequested) }
  }

  private func deliverMessages() {
    for _ in 0..<Self.messagesPerTurn {
      guard ending == nil, let (message, envelope) = transport.receive() else { break }
      deliver(.received(message, envelope))
    }
    reportRejections()
  }

  /// Tells of rubbish at 1, 2, 4, 8 … messages: a sender of rubbish must not fill the log as well.
  private func reportRejections() {
    let rejected = transport.counters.rejected
    guard rejected > 0, rejected >= reportedRejections * 2 else { return }
    reportedRejections = rejected
    log.note(.warning, event: "messages_rejected", "\(rejected) messages were malformed and dropped so far")
  }

  private func deliver(_ event: Event) {
    machine.handle(event, at: MonotonicClock.now(), into: &actions)
    for action in actions { perform(action) }
    actions.removeAll(keepingCapacity: true)
  }

  private func perform(_ action: Action) {
    switch action {
    case .send(let message, let destination, let stamp):
      transport.send(message, to: destination, stamp)
    case .connect(let endpoint):
      do {
        try transport.connectToServer(Endpoint(parsing: endpoint))
      } catch {
        log.note(.error, event: "connect_failed", error.description)
      }
    case .stop(let status, let reason):
      ending = Message.Ending(status: status, reason: reason)
    case .prepare, .compute, .evaluate, .write, .observe:
      shell.perform(action)
    }
  }
}
