import Cluster
import Diagnostics
import Messaging
import Optimization
import Testing

/// A checkpoint that a signal asks for, after which the training goes on.
@Suite struct SaveRequestTests {
  private func training() -> Stage<CoordinatorMachine> {
    var coordinator = coordinatorStage(plan())
    _ = coordinator.gather([workerNumbers[0]])
    return coordinator
  }

  private func asks(_ actions: [CoordinatorMachine.Action]) -> Bool {
    actions.sent.contains { if case .snapshotRequest(hold: false) = $0.message { true } else { false } }
  }

  @Test func `a signal to the coordinator: the server's state is saved, and the training goes on`() {
    var coordinator = training()
    #expect(asks(coordinator.happens(.saveRequested)))
    let actions = coordinator.snapshot(1, step: 5, .requested, plan: plan())
    #expect(actions.writes.map(\.step) == [5])
    #expect(!coordinator.machine.hasDecided)
  }

  @Test(arguments: [serverNumber, workerNumbers[0]])
  func `a member passes it on`(member: Incarnation) {
    var coordinator = training()
    #expect(asks(coordinator.hears(.saveRequest, from: member)))
  }

  @Test func `a process that is no member is not heeded`() {
    var coordinator = training()
    #expect(coordinator.hears(.saveRequest, from: workerNumbers[2]).isEmpty)
  }

  @Test func `all processes get the same signal: one checkpoint`() {
    var coordinator = training()
    #expect(asks(coordinator.happens(.saveRequested)))
    for member in [serverNumber, workerNumbers[0]] { #expect(coordinator.hears(.saveRequest, from: member).isEmpty) }
    _ = coordinator.passes(.seconds(1.5)) { $0.heartbeats(from: [serverNumber, workerNumbers[0]]) }
    #expect(asks(coordinator.happens(.saveRequested)))
  }

  @Test func `the server is replaced before it answers: its successor is asked`() {
    var coordinator = training()
    _ = coordinator.happens(.saveRequested)
    _ = coordinator.passes(.seconds(3)) { $0.heartbeats(from: [workerNumbers[0]]) }
    let next = Incarnation(3)
    _ = coordinator.hears(join(.server), from: next)
    _ = coordinator.hears(.heartbeat(Message.Heartbeat(isReady: true)), from: next)
    let actions = coordinator.passes(.seconds(3)) { $0.heartbeats(from: [workerNumbers[0], next]) }
    #expect(asks(actions))
  }

  @Test func `while the run waits for a server, the newest state is saved`() {
    var coordinator = coordinatorStage(plan())
    #expect(coordinator.happens(.saveRequested).writes.map(\.step) == [0])
  }

  @Test func `a worker passes it on once it has joined, and says so before`() {
    var joining = Stage(
      WorkerMachine(
        incarnation: workerNumbers[0], name: "worker-1", processID: 1, host: "host", datasetFingerprint: dataset,
        timing: Timing()))
    _ = joining.happens(.begin)
    let early = joining.happens(.saveRequested)
    #expect(early.sent.isEmpty && early.notes("save_request_ignored").count == 1)
    var worker = joinedWorker()
    let actions = worker.happens(.saveRequested)
    #expect(actions.sent.contains { if case .saveRequest = $0.message { $0.to == .coordinator } else { false } })
    #expect(actions.end == nil)
  }

  @Test func `a server passes it on, and goes on`() {
    var server = ServerStage(plan(), members: [(workerNumbers[0], shards(0, 1, 2, 3))])
    let actions = server.stage.happens(.saveRequested)
    #expect(actions.sent.contains { if case .saveRequest = $0.message { true } else { false } })
    #expect(actions.end == nil)
  }
}
