import Cluster
import Diagnostics
import Messaging
import Optimization
import Testing

@Suite struct GatheringTests {
  @Test func `the training begins when all expected workers are there`() throws {
    var coordinator = coordinatorStage(plan(), workers: 2)
    #expect(coordinator.gather([workerNumbers[0]]).assignments.isEmpty)
    let actions = coordinator.hears(join(.worker), from: workerNumbers[1])
    let (assignment, epoch) = try #require(actions.assignments.first)
    #expect(epoch == MembershipEpoch(1))
    #expect(assignment.members.map(\.shards) == [shards(0, 1), shards(2, 3)])
  }

  @Test func `the training begins with the workers that came by the deadline`() {
    var coordinator = coordinatorStage(plan(), workers: 2)
    _ = coordinator.gather([workerNumbers[0]])
    let actions = coordinator.passes(.seconds(30.5)) {
      $0.heartbeats(from: [serverNumber]) + $0.hears(join(.worker), from: workerNumbers[0])
    }
    #expect(actions.assignments.count == 1)
  }

  @Test func `without any worker the run is unavailable`() {
    var coordinator = coordinatorStage(plan())
    let actions = coordinator.passes(.seconds(40))
    #expect(actions.outcome?.status == .unavailable)
    #expect(actions.end == .unavailable)
  }

  @Test func `a worker with other training files is refused`() {
    var coordinator = coordinatorStage(plan())
    let actions = coordinator.hears(join(.worker, dataset: 1), from: workerNumbers[0])
    #expect(actions.ending(for: .node(.worker, workerNumbers[0]))?.status == .badData)
  }

  @Test func `one worker more than a run can have is refused and told the limit, until another one leaves`() throws {
    var coordinator = coordinatorStage(plan(), workers: 2_000)
    _ = coordinator.gather([])
    let workers = (0..<1_025).map { Incarnation(100 + $0) }
    for worker in workers.dropLast() {
      #expect(coordinator.hears(join(.worker), from: worker).ending(for: .node(.worker, worker)) == nil)
    }
    let destination = Destination.node(.worker, workers[1_024])
    let refusal = try #require(coordinator.hears(join(.worker), from: workers[1_024]).ending(for: destination))
    #expect(refusal.status == .refused)
    #expect(refusal.reason.contains("1024 workers"), "\(refusal)")
    _ = coordinator.hears(.leave, from: workers[7])
    #expect(coordinator.hears(join(.worker), from: workers[1_024]).ending(for: destination) == nil)
  }

  @Test func `a second server is refused once the first one is heard a lease later`() {
    var coordinator = coordinatorStage(plan())
    _ = coordinator.gather([])
    let second = Incarnation(3)
    #expect(coordinator.hears(join(.server), from: second).ending(for: .node(.server, second)) == nil)
    _ = coordinator.passes(.seconds(2)) { $0.heartbeats(from: [serverNumber]) }
    _ = coordinator.heartbeats(from: [serverNumber])
    #expect(coordinator.hears(join(.server), from: second).ending(for: .node(.server, second))?.status == .refused)
  }

  /// The coordinator was stopped meanwhile, and reads from both connections in turn.
  @Test func `the last messages of a dead server may follow the join of its successor`() {
    var coordinator = coordinatorStage(plan(), workers: 1)
    _ = coordinator.gather([workerNumbers[0]])
    let next = Incarnation(3)
    _ = coordinator.hears(join(.server), from: next)
    _ = coordinator.passes(.seconds(0.5))
    _ = coordinator.heartbeats(from: [serverNumber])
    let actions = coordinator.passes(.seconds(3)) {
      $0.heartbeats(from: [workerNumbers[0]]) + $0.hears(join(.server), from: next)
    }
    #expect(actions.ending(for: .node(.server, next)) == nil)
    let begun = coordinator.hears(.heartbeat(Message.Heartbeat(isReady: true)), from: next)
    #expect(begun.assignments.count == 1)
  }

  @Test func `the successor of a dead server is admitted when the lease has run out`() {
    var coordinator = coordinatorStage(plan(), workers: 1)
    _ = coordinator.gather([workerNumbers[0]])
    let next = Incarnation(3)
    let actions = coordinator.passes(.seconds(3)) {
      $0.heartbeats(from: [workerNumbers[0]]) + $0.hears(join(.server), from: next)
    }
    #expect(actions.ending(for: .node(.server, next)) == nil)
    let begun = coordinator.hears(.heartbeat(Message.Heartbeat(isReady: true)), from: next)
    #expect(begun.assignments.count == 1)
  }

  @Test func `after the loss of a server, the training continues with the workers that are there`() {
    var coordinator = coordinatorStage(plan(), workers: 2)
    _ = coordinator.gather([workerNumbers[0], workerNumbers[1]])
    _ = coordinator.hears(.leave, from: workerNumbers[1])
    _ = coordinator.passes(.seconds(3)) { $0.heartbeats(from: [workerNumbers[0]]) }
    let next = Incarnation(3)
    _ = coordinator.hears(join(.server), from: next)
    let actions = coordinator.hears(.heartbeat(Message.Heartbeat(isReady: true)), from: next)
    #expect(actions.assignments.first?.0.members.map(\.incarnation) == [workerNumbers[0]])
  }
}

@Suite struct LeaseTests {
  @Test func `a silent worker's shards are reassigned within three seconds`() throws {
    var coordinator = coordinatorStage(plan(), workers: 2)
    _ = coordinator.gather([workerNumbers[0], workerNumbers[1]])
    let actions = coordinator.passes(.seconds(3)) { $0.heartbeats(from: [serverNumber, workerNumbers[0]]) }
    let (assignment, _) = try #require(actions.assignments.first)
    #expect(assignment.members.map(\.incarnation) == [workerNumbers[0]])
    #expect(assignment.members[0].shards == shards(0, 1, 2, 3))
  }

  @Test func `a fenced worker that comes back is no member`() {
    var coordinator = coordinatorStage(plan(), workers: 2)
    _ = coordinator.gather([workerNumbers[0], workerNumbers[1]])
    _ = coordinator.passes(.seconds(3)) { $0.heartbeats(from: [serverNumber, workerNumbers[0]]) }
    let actions = coordinator.heartbeats(from: [workerNumbers[1]])
    #expect(actions.isStranger(.node(.worker, workerNumbers[1])))
  }

  /// A join that was held up on the way looks like that of a new server, whose snapshots would be counted from one on.
  @Test func `a lost server is not admitted again`() {
    var coordinator = coordinatorStage(plan(), workers: 1)
    _ = coordinator.gather([workerNumbers[0]])
    _ = coordinator.passes(.seconds(3)) { $0.heartbeats(from: [workerNumbers[0]]) }
    let actions = coordinator.hears(join(.server), from: serverNumber)
    #expect(actions.ending(for: .node(.server, serverNumber))?.status == .fenced)
    let next = coordinator.hears(join(.server), from: Incarnation(3))
    #expect(next.sent.contains { if case .welcome = $0.message { true } else { false } })
  }

  @Test func `a straggler that is alive loses its shards after its time`() {
    var coordinator = coordinatorStage(plan(), workers: 2)
    _ = coordinator.gather([workerNumbers[0], workerNumbers[1]])
    let heartbeat = Message.Heartbeat(isReady: true) {
      $0.assignmentEpoch = MembershipEpoch(1)
      $0.waitingFor = workerNumbers[1]
      $0.waitingMilliseconds = 30_000
    }
    let actions = coordinator.hears(.heartbeat(heartbeat), from: serverNumber)
    #expect(actions.ending(for: .node(.worker, workerNumbers[1]))?.status == .fenced)
    #expect(actions.assignments.count == 1)
  }

  @Test func `a worker that the server does not trust is evicted once and not admitted again`() {
    var coordinator = coordinatorStage(plan(), workers: 2)
    _ = coordinator.gather([workerNumbers[0], workerNumbers[1]])
    let heartbeat = Message.heartbeat(
      Message.Heartbeat(isReady: true) {
        $0.assignmentEpoch = MembershipEpoch(1)
        $0.rejectedPushes = 3
        $0.stalePushes = 5
        $0.untrusted = workerNumbers[1]
      })
    let actions = coordinator.hears(heartbeat, from: serverNumber)
    #expect(actions.ending(for: .node(.worker, workerNumbers[1]))?.status == .fenced)
    #expect(actions.assignments.map { $0.0.members.map(\.incarnation) } == [[workerNumbers[0]]])
    #expect(actions.notes("worker_evicted").count == 1)
    let report = String(decoding: coordinator.machine.statusReport(at: coordinator.now).bytes, as: UTF8.self)
    #expect(report.contains(#""rejected_pushes":3,"unsolicited_pushes":5"#))
    #expect(coordinator.hears(heartbeat, from: serverNumber).notes("worker_evicted").isEmpty)
    let again = coordinator.hears(join(.worker), from: workerNumbers[1])
    #expect(again.ending(for: .node(.worker, workerNumbers[1]))?.status == .fenced)
    #expect(coordinator.machine.workers.count == 1)
    #expect(coordinator.machine.untrusted.count == 1)
  }

  @Test func `another server begins where the newest snapshot was`() throws {
    let plan = plan(evaluateEvery: 2)
    var coordinator = coordinatorStage(plan)
    _ = coordinator.gather([workerNumbers[0]])
    _ = coordinator.snapshot(1, step: 2, .interval, plan: plan)
    _ = coordinator.evaluated(1)
    _ = coordinator.passes(.seconds(3)) { $0.heartbeats(from: [workerNumbers[0]]) }
    let actions = coordinator.hears(join(.server), from: Incarnation(3))
    let start = try #require(actions.sent.first { if case .start = $0.message { true } else { false } })
    #expect(start.addressing.step == 2)
  }

  @Test func `a snapshot of a lost server is not acknowledged to the next one`() {
    let plan = plan(evaluateEvery: 2)
    var coordinator = coordinatorStage(plan)
    _ = coordinator.gather([workerNumbers[0]])
    _ = coordinator.snapshot(1, step: 2, .interval, plan: plan)
    _ = coordinator.passes(.seconds(3)) { $0.heartbeats(from: [workerNumbers[0]]) }
    _ = coordinator.hears(join(.server), from: Incarnation(3))
    #expect(coordinator.evaluated(1).sent.isEmpty)
  }
}

@Suite struct DecisionTests {
  @Test func `a criterion that is met ends the run at its snapshot, although the server ran ahead`() {
    let plan = plan(evaluateEvery: 2)
    var coordinator = coordinatorStage(plan, rule: StoppingRule(targetAccuracy: 0.5))
    _ = coordinator.gather([workerNumbers[0]])
    _ = coordinator.snapshot(1, step: 2, .interval, plan: plan)
    _ = coordinator.snapshot(2, step: 4, .interval, plan: plan)
    var actions = coordinator.evaluated(1, correct: 10)
    #expect(actions.writes.map(\.step) == [2])
    // The server stops handing out work, and no member is sent a stop as long as the result is not saved.
    #expect(actions.sent.contains { if case .snapshotRequest(hold: true) = $0.message { true } else { false } })
    actions += coordinator.hears(join(.worker), from: workerNumbers[0])
    #expect(actions.ending(for: .node(.server, serverNumber)) == nil)
    #expect(actions.ending(for: .node(.worker, workerNumbers[0])) == nil)
    actions = coordinator.happens(.outcome(.checkpointWritten(step: 2, .success("step-2"))))
    actions += coordinator.happens(
      .outcome(
        .evaluated(
          serial: 1, .test, Evaluation(MinibatchStatistics(examples: 1, lossSum: 0, correct: 1), confusion: []))))
    #expect(actions.ending(for: .node(.server, serverNumber))?.status == .success)
    #expect(actions.outcome?.state.step == 2)
    #expect(actions.outcome?.reason == .targetAccuracy)
    #expect(actions.outcome?.checkpoint == "step-2")
  }

  @Test func `a signal ends in a checkpoint and status 75`() {
    let plan = plan()
    var coordinator = coordinatorStage(plan)
    _ = coordinator.gather([workerNumbers[0]])
    let request = coordinator.happens(.stopRequested)
    #expect(request.sent.contains { if case .snapshotRequest(hold: true) = $0.message { true } else { false } })
    #expect(coordinator.snapshot(1, step: 5, .requested, plan: plan).writes.map(\.step) == [5])
    var actions = coordinator.happens(.outcome(.checkpointWritten(step: 5, .success("step-5"))))
    #expect(actions.outcome?.reason == .signal)
    #expect(actions.outcome?.state.step == 5)
    actions += coordinator.hears(.leave, from: serverNumber) + coordinator.hears(.leave, from: workerNumbers[0])
    #expect(actions.end == .stoppedBySignal)
  }

  /// The server's last snapshot waits for its turn while the one before it is evaluated.
  @Test func `a server that is sent a stop loses no step`() {
    let plan = plan(evaluateEvery: 2)
    var coordinator = coordinatorStage(plan)
    _ = coordinator.gather([workerNumbers[0]])
    _ = coordinator.snapshot(1, step: 2, .interval, plan: plan)
    _ = coordinator.snapshot(2, step: 3, .requested, plan: plan)
    #expect(coordinator.hears(.leave, from: serverNumber).outcome == nil)
    // The best one, which no checkpoint has yet, and then the last one.
    #expect(coordinator.evaluated(1).writes.map(\.step) == [2])
    let next = coordinator.happens(.outcome(.checkpointWritten(step: 2, .success("step-2"))))
    #expect(next.writes.map(\.step) == [3] && next.outcome == nil)
    let outcome = coordinator.happens(.outcome(.checkpointWritten(step: 3, .success("step-3")))).outcome
    #expect(outcome?.state.step == 3)
    #expect(outcome?.status == .stoppedBySignal)
    #expect(outcome?.checkpoint == "step-3")
    #expect(outcome?.message == "interrupted at step 3")
  }

  @Test func `the state before the first step is evaluated once, before any other, and is not saved`() {
    var machine = coordinatorStage(plan(), initial: RunState(beginning: plan())).machine
    var actions: [CoordinatorMachine.Action] = []
    machine.handle(.begin, at: Instant(nanoseconds: 1), into: &actions)
    #expect(actions.evaluations(.validation) == [0])
    var resumed = RunState(beginning: plan())
    resumed.snapshot.step = 5
    var coordinator = coordinatorStage(plan(), initial: resumed)
    #expect(coordinator.happens(.begin).evaluations(.validation).isEmpty)
    let saving = plan(evaluateEvery: 2, checkpointEvery: 2)
    var beginning = Stage(coordinatorStage(saving).machine)
    _ = beginning.happens(.begin)
    _ = beginning.gather([workerNumbers[0]])
    #expect(beginning.snapshot(1, step: 2, .interval, plan: saving).evaluations(.validation).isEmpty)
    let evaluated = beginning.evaluated(0)
    #expect(evaluated.writes.isEmpty && evaluated.evaluations(.validation) == [1])
  }

  @Test func `a checkpoint between two evaluations is saved without an evaluation`() {
    let plan = plan(evaluateEvery: 4, checkpointEvery: 2)
    var coordinator = coordinatorStage(plan)
    _ = coordinator.gather([workerNumbers[0]])
    let actions = coordinator.snapshot(1, step: 2, .interval, plan: plan)
    #expect(actions.writes.map(\.step) == [2] && actions.evaluations(.validation).isEmpty)
    #expect(actions.sent.contains { if case .snapshotReceived(serial: 1) = $0.message { true } else { false } })
    #expect(coordinator.snapshot(2, step: 4, .interval, plan: plan).evaluations(.validation) == [2])
  }

  @Test func `an improvement that waits to be written is not lost to a newer state, only to a better one`() {
    let plan = plan(steps: 20, evaluateEvery: 2, checkpointEvery: 4)
    var coordinator = coordinatorStage(plan)
    _ = coordinator.gather([workerNumbers[0]])
    var writes: [UInt64] = []
    var serial: UInt64 = 0
    func evaluate(_ step: UInt64, _ loss: Int64) {
      serial += 1
      _ = coordinator.snapshot(serial, step: step, .interval, plan: plan)
      writes += coordinator.evaluated(serial, loss: loss).writes.map(\.step)
    }
    func written(_ step: UInt64) {
      writes += coordinator.happens(.outcome(.checkpointWritten(step: step, .success("step")))).writes.map(\.step)
    }
    evaluate(2, 8)
    #expect(writes.isEmpty)
    evaluate(4, 9)
    // While step 2 is written, 4 waits; 6 and 8 take its place; then 10 and 12.
    evaluate(6, 7)
    evaluate(8, 9)
    evaluate(10, 9)
    evaluate(12, 9)
    #expect(writes == [2])
    for step in [2, 6, 12] as [UInt64] { written(step) }
    #expect(writes == [2, 6, 12])
    // The last step is worse than the best one, which is saved at the end as well.
    evaluate(14, 6)
    evaluate(16, 5)
    evaluate(18, 4)
    evaluate(20, 9)
    #expect(writes == [2, 6, 12, 16])
    for step in [16, 18] as [UInt64] { written(step) }
    #expect(writes == [2, 6, 12, 16, 18, 20])
  }

  @Test func `after a stop because of patience the best model is evaluated on the test split`() throws {
    let plan = plan(evaluateEvery: 2)
    var coordinator = coordinatorStage(plan, rule: StoppingRule(patience: 1))
    _ = coordinator.gather([workerNumbers[0]])
    _ = coordinator.snapshot(1, step: 2, .interval, plan: plan)
    _ = coordinator.evaluated(1)
    _ = coordinator.snapshot(2, step: 4, .interval, plan: plan)
    var actions = coordinator.evaluated(2, loss: 2 << 24)
    #expect(actions.writes.map(\.step) == [2] && actions.evaluations(.test) == [2])
    actions = coordinator.happens(.outcome(.checkpointWritten(step: 2, .success("step-2"))))
    actions += coordinator.happens(.outcome(.checkpointWritten(step: 4, .success("step-4"))))
    let test = Evaluation(MinibatchStatistics(examples: 1, lossSum: 0, correct: 1), confusion: [])
    actions += coordinator.happens(.outcome(.evaluated(serial: 2, .test, test)))
    let outcome = try #require(actions.outcome)
    #expect(outcome.state.step == 4 && outcome.testStep == 2 && outcome.test?.accuracy == 1)
    #expect(outcome.state.best?.step == 2 && outcome.checkpoint == "step-4")
  }

  @Test func `divergence ends with status 70 and names the last good checkpoint`() throws {
    let plan = plan(evaluateEvery: 2, checkpointEvery: 2)
    var coordinator = coordinatorStage(plan)
    _ = coordinator.gather([workerNumbers[0]])
    _ = coordinator.snapshot(1, step: 2, .interval, plan: plan)
    _ = coordinator.evaluated(1)
    _ = coordinator.happens(.outcome(.checkpointWritten(step: 2, .success("step-2"))))
    let outcome = try #require(coordinator.snapshot(2, step: 3, .diverged, plan: plan).outcome)
    #expect(outcome.status == .internalError)
    #expect(outcome.reason == .diverged)
    #expect(outcome.checkpoint == "step-2")
    #expect(outcome.message.contains("step-2"))
  }

  @Test func `a checkpoint that was not saved is reported in the end`() {
    let plan = plan(steps: 2)
    var coordinator = coordinatorStage(plan)
    _ = coordinator.gather([workerNumbers[0]])
    _ = coordinator.snapshot(1, step: 2, .final, plan: plan)
    _ = coordinator.evaluated(1)
    _ = coordinator.happens(
      .outcome(
        .evaluated(
          serial: 1, .test, Evaluation(MinibatchStatistics(examples: 1, lossSum: 0, correct: 1), confusion: []))))
    let actions = coordinator.happens(
      .outcome(.checkpointWritten(step: 2, .failure(Failure(.inputOutput, "the disk is full")))))
    #expect(actions.outcome?.status == .inputOutput)
    #expect(actions.outcome?.message.contains("the disk is full") == true)
  }

  @Test func `the goodbye of a refused server does not end the run`() {
    var coordinator = coordinatorStage(plan())
    _ = coordinator.gather([workerNumbers[0]])
    #expect(coordinator.hears(.leave, from: Incarnation(3)).isEmpty)
  }
}
