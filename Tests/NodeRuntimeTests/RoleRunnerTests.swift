import Cluster
import Diagnostics
import Dispatch
import Messaging
import NodeRuntime
import Optimization
import Synchronization
import TestSupport
import Testing
import Transport

/// Waits for a deadline, then for a result of another thread, then for a message, answers it, and stops.
private struct ToyRole: Role {
  enum Event: NodeEvent {
    case begin, deadline, resultReady, stopRequested
    case received(Message, Envelope)
  }

  enum Action: Sendable {
    case send(Message, to: Destination, Addressing)
    case note(String)
    case stop(ExitReason)
  }

  var nextDeadline: Instant?
  let peer: Incarnation

  mutating func handle(_ event: Event, at now: Instant, into actions: inout [Action]) {
    switch event {
    case .begin:
      nextDeadline = now + Interval.milliseconds(5)
    case .deadline:
      nextDeadline = nil
      actions.append(.note("deadline"))
    case .resultReady:
      actions.append(.note("result"))
    case .received:
      let addressing = Addressing(run: RunID(1), membershipEpoch: MembershipEpoch(0), step: 0)
      actions.append(.send(.noWorkYet, to: .node(.worker, peer), addressing))
      actions.append(.stop(ExitReason(status: .fenced, reason: "told")))
    case .stopRequested: break
    }
  }
}

/// Posts a result from another thread after the deadline.
private final class ToyShell: NodeShell {
  typealias Machine = ToyRole

  let transport: NodeTransport
  let mailbox: Mailbox<ToyRole.Event>
  let thread = DispatchQueue(label: "results")
  var notes: [String] = []
  let onResult: () -> Void

  init(_ transport: NodeTransport, _ mailbox: Mailbox<ToyRole.Event>, onResult: @escaping () -> Void) {
    self.transport = transport
    self.mailbox = mailbox
    self.onResult = onResult
  }

  func perform(_ action: ToyRole.Action) -> RoleEnding? {
    switch action {
    case .send(let message, let destination, let addressing): transport.send(message, to: destination, addressing)
    case .note(let event):
      notes.append(event)
      if event == "deadline" {
        thread.async { [mailbox] in mailbox.post(.resultReady) }
      } else {
        onResult()
      }
    case .stop(let ending): return .ended(ending)
    }
    return nil
  }
}

@Suite struct RoleRunnerTests {
  @Test func `a role receives deadlines, other threads' events and messages, and its last messages are sent`() throws {
    let directory = TemporaryDirectory()
    let context = try MessagingContext()
    let worker = NodeTransport(role: .worker, incarnation: Incarnation(2), context: context)
    let transport = NodeTransport(role: .server, incarnation: Incarnation(1), context: context)
    let endpoint = try transport.listen(at: Endpoint(socketPath: directory.path + "/toy"))
    try worker.connectToServer(Endpoint(parsing: endpoint))
    let mailbox = try Mailbox<ToyRole.Event>()
    let shell = ToyShell(transport, mailbox) {
      worker.send(
        .requestWork, to: .server(.first), Addressing(run: RunID(1), membershipEpoch: MembershipEpoch(0), step: 0))
    }
    let runner = RoleRunner(
      machine: ToyRole(peer: Incarnation(2)), transport: transport, mailbox: mailbox, signals: TerminationSignals(),
      shell: shell, log: NodeLog(file: nil, show: nil))
    let ending = runner.run()
    #expect(ending == .ended(ExitReason(status: .fenced, reason: "told")))
    #expect(shell.notes == ["deadline", "result"])
    worker.wait(for: [], until: .now + .seconds(10))
    #expect(try #require(worker.receive()).0.type == .noWorkYet)
    worker.close()
  }
}
