import Cluster
import Diagnostics
import Messaging
import NodeRuntime
import Optimization
import Synchronization
import Testing
import ZeroMQTransport

/// Waits for a deadline, then for a result of another thread, then for a message, tells a peer, and stops.
private struct ToyRole: Role {
  var nextDeadline: Instant?
  let peer: Incarnation

  mutating func handle(_ event: Event, at now: Instant, into actions: inout [Action]) {
    let stamp = Stamp(run: RunID(1), membershipEpoch: MembershipEpoch(0), step: 0)
    switch event {
    case .begin:
      nextDeadline = now + Interval.milliseconds(5)
    case .deadline:
      nextDeadline = nil
      actions.append(.observe(.note(.info, event: "deadline", "")))
    case .checkpointWritten(let step, _):
      actions.append(.observe(.note(.info, event: "written \(step)", "")))
    case .received:
      actions.append(.send(.wait, to: .node(.worker, peer), stamp))
      actions.append(.stop(.fenced, reason: "told"))
    case .stopRequested, .gradientReady, .evaluated: break
    }
  }
}

/// Posts a result from another thread when it is told of the deadline.
private final class ToyShell: NodeShell {
  let mailbox: Mailbox
  let thread: SerialThread
  var notes: [String] = []
  let onWritten: () -> Void

  init(_ mailbox: Mailbox, onWritten: @escaping () -> Void) throws {
    self.mailbox = mailbox
    thread = try SerialThread()
    self.onWritten = onWritten
  }

  func perform(_ action: Action) {
    guard case .observe(.note(_, let event, _)) = action else { return }
    notes.append(event)
    if event == "deadline" {
      thread.perform { [mailbox] in mailbox.post(.checkpointWritten(step: 7, .success(""))) }
    } else {
      onWritten()
    }
  }

  func abandon() {}
}

@Suite struct RoleRunnerTests {
  @Test func aRoleHearsOfTimeOtherThreadsAndPeersAndItsLastWordsAreHeard() throws {
    let directory = TemporaryDirectory()
    let context = try MessagingContext()
    let worker = NodeTransport(role: .worker, incarnation: Incarnation(2), context: context)
    let transport = NodeTransport(role: .server, incarnation: Incarnation(1), context: context)
    let endpoint = try transport.listen(at: Endpoint(socketPath: directory.path + "/toy"))
    try worker.connectToServer(Endpoint(parsing: endpoint))
    let mailbox = try Mailbox()
    let shell = try ToyShell(mailbox) {
      worker.send(.hello, to: .server, Stamp(run: RunID(1), membershipEpoch: MembershipEpoch(0), step: 0))
    }
    let runner = RoleRunner(
      machine: ToyRole(peer: Incarnation(2)), links: NodeLinks(sockets: transport, log: NodeLog(file: nil, show: nil)),
      mailbox: mailbox,
      interruptions: Interruptions(), shell: shell, log: NodeLog(file: nil, show: nil))
    let ending = runner.run()
    #expect(ending == .ended(Message.Ending(status: .fenced, reason: "told")))
    #expect(shell.notes == ["deadline", "written 7"])
    worker.wait(for: [], milliseconds: 10_000)
    #expect(try #require(worker.receive()).0.type == .wait)
    worker.close()
  }
}
