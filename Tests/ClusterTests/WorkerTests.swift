import Cluster
import Diagnostics
import Messaging
import Optimization
import Testing

@Suite struct WorkerTests {
  private func item(_ id: UInt64, step: UInt64 = 0) -> WorkItem {
    WorkItem(id: WorkItem.ID(id), step: step, shards: shards(0, 1))
  }

  private func work(_ id: UInt64, step: UInt64 = 0) -> Message {
    .work(Message.Work(item: item(id, step: step), parameters: .empty))
  }

  private func items(_ actions: [WorkerMachine.Action]) -> [UInt64] {
    actions.compactMap { if case .request(.compute(let item, _)) = $0 { item.id.value } else { nil } }
  }

  private func pushes(_ actions: [WorkerMachine.Action]) -> [UInt64] {
    actions.sent.compactMap { if case .push(let push) = $0.message { push.item.id.value } else { nil } }
  }

  private func computed(_ id: UInt64) -> WorkerMachine.Event {
    .outcome(
      .gradientReady(
        Message.Push(
          item: item(id), statistics: MinibatchStatistics(examples: 4, lossSum: 0, correct: 0, isFinite: true),
          gradient: .empty)))
  }

  @Test func `work is computed and pushed at its step`() {
    var worker = joinedWorker()
    #expect(items(worker.hears(work(3, step: 5), from: serverNumber, step: 5)) == [3])
    let actions = worker.happens(computed(3))
    #expect(pushes(actions) == [3])
    #expect(actions.sent.first?.addressing.step == 5)
  }

  @Test func `the same item is computed once and pushed again`() {
    var worker = joinedWorker()
    _ = worker.hears(work(3), from: serverNumber)
    #expect(items(worker.hears(work(3), from: serverNumber)).isEmpty)
    _ = worker.happens(computed(3))
    let again = worker.hears(work(3), from: serverNumber)
    #expect(items(again).isEmpty)
    #expect(pushes(again) == [3])
  }

  @Test func `work that newer work has replaced is not pushed`() {
    var worker = joinedWorker()
    _ = worker.hears(work(3), from: serverNumber)
    #expect(items(worker.hears(work(4), from: serverNumber)).isEmpty)
    let actions = worker.happens(computed(3))
    #expect(pushes(actions).isEmpty)
    #expect(items(actions) == [4])
  }

  @Test func `the items of another server are new`() {
    var worker = joinedWorker()
    _ = worker.hears(work(30), from: serverNumber)
    _ = worker.happens(computed(30))
    _ = worker.hears(.noWorkYet, from: Incarnation(3))
    #expect(items(worker.hears(work(1), from: Incarnation(3))) == [1])
  }

  @Test func `a worker without work asks again`() {
    var worker = joinedWorker()
    let actions = worker.passes(.seconds(1.5)) { $0.hears(.heartbeatReply, from: coordinatorNumber) }
    #expect(actions.sent.contains { if case .requestWork = $0.message { true } else { false } })
  }

  @Test func `a worker that waits long for the server asks where it is`() {
    var worker = joinedWorker()
    let actions = worker.passes(.seconds(3.5)) { $0.hears(.heartbeatReply, from: coordinatorNumber) }
    #expect(actions.sent.contains { if case .join = $0.message { true } else { false } })
    let moved = Message.Welcome(plan: plan(), serverEndpoint: "ipc://other", meanImage: .empty)
    let connected = worker.hears(.welcome(moved), from: coordinatorNumber).contains {
      if case .request(.connect(.first, endpoint: "ipc://other", sharesMemory: false)) = $0 { true } else { false }
    }
    #expect(connected)
  }

  @Test func `a refused worker ends with the status it is given`() {
    for status in [ExitStatus.fenced, .badData] {
      var worker = joinedWorker()
      let refusal = Message.refusal(ExitReason(status: status, reason: ""))
      #expect(worker.hears(refusal, from: coordinatorNumber).end == status)
    }
  }

  /// A run that is over when it is resumed ends before a worker is welcomed.
  @Test func `a worker that is sent a stop while it joins leaves in the name of the run`() {
    var worker = Stage(
      WorkerMachine(
        incarnation: workerNumbers[0], name: "worker-1", processID: 1, host: "host", datasetFingerprint: dataset,
        resumeHint: "Resume it", timing: Timing()))
    _ = worker.happens(.begin)
    let stop = Message.stop(ExitReason(status: .success, reason: ""))
    let actions = worker.hears(stop, from: coordinatorNumber)
    #expect(actions.end == .success)
    let leave = actions.sent.first { if case .leave = $0.message { true } else { false } }
    #expect(leave?.addressing.run == run)
  }

  @Test func `a worker without a coordinator gives up`() {
    var worker = joinedWorker()
    #expect(worker.passes(.seconds(31)).end == .unavailable)
  }

  @Test func `a worker that receives a signal leaves the run`() {
    var worker = joinedWorker()
    let actions = worker.happens(.stopRequested)
    #expect(actions.end == .stoppedBySignal)
    #expect(actions.sent.contains { if case .leave = $0.message { true } else { false } })
  }

  @Test func `a worker begins again with another coordinator`() {
    for message in [Message.notAMember, .heartbeatReply] {
      var worker = joinedWorker()
      let actions = worker.hears(message, from: Incarnation(99))
      #expect(actions.rejoins)
      // The other coordinator may have taken a join that was late: it must not wait for a worker that is gone.
      #expect(actions.sent.contains { if case .leave = $0.message { $0.to == .coordinator } else { false } })
      #expect(worker.hears(work(3), from: serverNumber).isEmpty)
    }
  }

  @Test func `a worker that its coordinator has given up is fenced`() {
    var worker = joinedWorker()
    #expect(worker.hears(.notAMember, from: coordinatorNumber).end == .fenced)
  }

  @Test func `a worker looks for its coordinator after the lease`() {
    var worker = joinedWorker()
    func seeks(after time: Interval) -> Bool {
      worker.passes(time).contains {
        if case .request(.member(.seekCoordinator)) = $0 { true } else { false }
      }
    }
    #expect(!seeks(after: .seconds(1)))
    #expect(seeks(after: .seconds(1)))
  }
}
