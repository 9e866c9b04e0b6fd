import Cluster
import Diagnostics
import Messaging
import Optimization
import TestSupport
import Testing

/// What coordinator and worker do when a data file is not what it was.
@Suite struct ChangedDataTests {
  private static let failure = Failure(.badData, "data/data_batch_3.bin was rewritten while it was in use")

  private static let plan = ClusterTests.plan(steps: 100, evaluateEvery: 2)

  /// A coordinator with a worker, after an evaluation at step 2.
  private func trained() -> Stage<CoordinatorMachine> {
    var coordinator = coordinatorStage(Self.plan)
    _ = coordinator.gather([workerNumbers[0]])
    _ = coordinator.snapshot(1, step: 2, .interval, plan: Self.plan)
    _ = coordinator.evaluated(1)
    return coordinator
  }

  /// Time passes until the next look at the files, which finds nothing.
  private func look(_ coordinator: inout Stage<CoordinatorMachine>) -> [CoordinatorMachine.Action] {
    let heartbeat = Message.Heartbeat(isReady: true) { $0.assignmentEpoch = MembershipEpoch(99) }
    let actions = coordinator.passes(.seconds(1.1)) {
      $0.heartbeats(from: [workerNumbers[0]]) + $0.hears(.heartbeat(heartbeat), from: serverNumber, step: 5)
    }
    return actions + coordinator.happens(.outcome(.dataVerified(nil, thoroughly: false)))
  }

  @Test
  func `the coordinator finds a file changed: the newest state before it is saved, and the run ends with 65`() throws {
    var coordinator = trained()
    let actions = coordinator.happens(.outcome(.dataVerified(Self.failure, thoroughly: false)))
    #expect(actions.writes.map(\.step) == [2])
    let ended = coordinator.happens(.outcome(.checkpointWritten(step: 2, .success("step-2"))))
    let outcome = try #require(ended.outcome)
    #expect(outcome.status == .badData && outcome.reason == .data && outcome.state.step == 2)
    #expect(outcome.checkpoint == "step-2" && outcome.message.contains("data_batch_3.bin was rewritten"))
    #expect(ended.ending(for: .node(.worker, workerNumbers[0]))?.status == .badData)
    try Evidence.add(.data, observed: "65: \(outcome.message)")
  }

  @Test func `two looks find the files unchanged: a kept snapshot counts`() throws {
    var coordinator = trained()
    let looks = look(&coordinator) + look(&coordinator)
    #expect(looks.contains { if case .request(.verifyData(thoroughly: false)) = $0 { true } else { false } })
    #expect(looks.sent.contains { if case .snapshotRequest(hold: false) = $0.message { true } else { false } })
    #expect(coordinator.snapshot(2, step: 5, .requested, plan: Self.plan).writes.isEmpty)
    for _ in 0..<2 { _ = look(&coordinator) }
    // The best state is saved first.
    let best = coordinator.happens(.outcome(.dataVerified(Self.failure, thoroughly: false)))
    #expect(best.writes.map(\.step) == [2])
    let newest = coordinator.happens(.outcome(.checkpointWritten(step: 2, .success("step-2"))))
    #expect(newest.writes.map(\.step) == [5])
    try Evidence.add(.data, observed: "65, step 5 of 5")
  }

  @Test func `one look finds the files unchanged: a snapshot that came just before does not count`() throws {
    var coordinator = trained()
    for _ in 0..<2 { _ = look(&coordinator) }
    _ = coordinator.snapshot(2, step: 5, .requested, plan: Self.plan)
    _ = look(&coordinator)
    #expect(coordinator.happens(.outcome(.dataVerified(Self.failure, thoroughly: false))).writes.map(\.step) == [2])
    let ended = coordinator.happens(.outcome(.checkpointWritten(step: 2, .success("step-2"))))
    #expect(ended.outcome?.state.step == 2)
    try Evidence.add(.data, observed: "65, step 2 of 5")
  }

  @Test func `a worker says that its files have changed: those of the coordinator are read, and the run ends with 65`()
    throws
  {
    var coordinator = trained()
    let answer = coordinator.hears(join(.worker, dataset: ~dataset), from: workerNumbers[0])
    #expect(answer.contains { if case .request(.verifyData(thoroughly: true)) = $0 { true } else { false } })
    #expect(answer.outcome == nil)
    _ = coordinator.hears(.leave, from: workerNumbers[0])
    // The files of this host are as they were: another one's are not.
    _ = coordinator.happens(.outcome(.dataVerified(nil, thoroughly: true)))
    let ended = coordinator.happens(.outcome(.checkpointWritten(step: 2, .success("step-2"))))
    let outcome = try #require(ended.outcome)
    #expect(outcome.status == .badData && outcome.state.step == 2)
    #expect(outcome.message.contains("worker-1@host"))
    try Evidence.add(.data, observed: "65: \(outcome.message)")
  }

  @Test func `a state cannot be saved because the data have changed: the newest one before it is`() throws {
    var coordinator = trained()
    _ = coordinator.happens(.stopRequested)
    #expect(coordinator.snapshot(2, step: 5, .requested, plan: Self.plan).writes.map(\.step) == [2])
    #expect(coordinator.happens(.outcome(.checkpointWritten(step: 2, .success("step-2")))).writes.map(\.step) == [5])
    _ = coordinator.happens(.outcome(.dataVerified(Self.failure, thoroughly: true)))
    let next = coordinator.happens(.outcome(.checkpointWritten(step: 5, .failure(Self.failure))))
    #expect(next.writes.map(\.step) == [2])
    let ended = coordinator.happens(.outcome(.checkpointWritten(step: 2, .success("step-2"))))
    let outcome = try #require(ended.outcome)
    #expect(outcome.status == .badData && outcome.checkpoint == "step-2")
    #expect(!outcome.message.contains("not saved"))
    try Evidence.add(.data, observed: "65, step 2 of 5")
  }

  @Test func `a worker finds a file changed: no gradient, but a join with another fingerprint, a leave and 65`() throws
  {
    var worker = joinedWorker()
    let work = Message.Work(item: WorkItem(id: WorkItem.ID(1), step: 0, shards: shards(0)), parameters: .empty)
    _ = worker.hears(.work(work), from: serverNumber)
    let actions = worker.happens(.outcome(.dataFailed(Self.failure)))
    let fingerprints = actions.sent.compactMap {
      if case .join(let join) = $0.message { join.datasetFingerprint } else { nil }
    }
    #expect(fingerprints.count == 1 && fingerprints[0] != dataset)
    #expect(actions.sent.contains { if case .leave = $0.message { true } else { false } })
    #expect(!actions.sent.contains { if case .push = $0.message { true } else { false } })
    #expect(actions.end == .badData)
    try Evidence.add(.data, observed: "nothing pushed, 65")
  }
}
