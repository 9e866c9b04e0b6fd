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
private struct ToyRole: NodeMachine {
  enum Outcome: Sendable { case resultReady }
  typealias Request = String

  var nextDeadline: Instant?
  let peer: Incarnation

  mutating func handle(_ event: Event, at now: Instant, into actions: inout [Action]) {
    switch event {
    case .begin:
      nextDeadline = now + Interval.milliseconds(5)
    case .deadline:
      nextDeadline = nil
      actions.append(.request("deadline"))
    case .outcome(.resultReady):
      actions.append(.request("result"))
    case .received:
      let addressing = Addressing(run: RunID(1), membershipEpoch: MembershipEpoch(0), step: 0)
      actions.append(.send(.noWorkYet, to: .node(.worker, peer), addressing))
      actions.append(.stop(.fenced, reason: "told"))
    case .stopRequested, .saveRequested: break
    }
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
    let mailbox = try Mailbox<ToyRole.Outcome>()
    let thread = DispatchQueue(label: "results")
    var requests: [String] = []
    // Posts a result from another thread after the deadline.
    let runner = RoleRunner(
      machine: ToyRole(peer: Incarnation(2)), transport: transport, mailbox: mailbox, signals: TerminationSignals(),
      log: NodeLog(file: nil, show: nil),
      perform: { request in
        requests.append(request)
        if request == "deadline" {
          thread.async { mailbox.post(.resultReady) }
        } else {
          worker.send(
            .requestWork, to: .server(.first), Addressing(run: RunID(1), membershipEpoch: MembershipEpoch(0), step: 0))
        }
        return nil
      })
    let ending = runner.run()
    #expect(ending == .ended(ExitReason(status: .fenced, reason: "told")))
    #expect(requests == ["deadline", "result"])
    worker.wait(for: [], until: .now + .seconds(10))
    #expect(try #require(worker.receive()).0.type == .noWorkYet)
    worker.close()
  }
}
