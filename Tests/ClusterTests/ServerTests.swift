import Cluster
import Diagnostics
import Messaging
import Optimization
import TestSupport
import Testing

@Suite struct WhatCountsTests {
  let first = workerNumbers[0]
  let second = workerNumbers[1]

  private func twoWorkers(
    _ consistency: ConsistencyModel = .bsp(backup: 0), incarnation: Incarnation = serverNumber
  ) -> ServerStage {
    ServerStage(
      plan(consistency), members: [(first, shards(0, 1)), (second, shards(2, 3))], incarnation: incarnation)
  }

  @Test func `a step is applied when all shards are in`() {
    var server = twoWorkers()
    _ = server.push(first)
    #expect(server.step == 0)
    #expect(server.received == shards(0, 1))
    let actions = server.push(second)
    #expect(server.step == 1)
    #expect(server.scheduler?.totals.examples == 8)
    #expect(actions.work(for: first)?.addressing.step == 1)
    #expect(actions.work(for: second)?.addressing.step == 1)
  }

  @Test func `the first step is reported once`() {
    var server = twoWorkers()
    #expect(server.push(first).notes("first_step").isEmpty)
    #expect(server.push(second).notes("first_step").count == 1)
    _ = server.push(first)
    #expect(server.push(second).notes("first_step").isEmpty)
    #expect(server.step == 2)
  }

  @Test func `the update is that of the summed gradient`() throws {
    var server = twoWorkers()
    _ = server.push(first)
    _ = server.push(second)
    var expected = TrainingState(plan: server.plan)
    let sum = [Int32](repeating: 2, count: server.plan.shape.parameterCount)
    _ = UpdateRule(plan: server.plan, kernel: .best).apply(
      sum, scale: server.plan.firstScale, examples: 8, learningRate: 0, to: &expected)
    #expect(try #require(server.stage.machine.trainingState).parameters == expected.parameters)
  }

  @Test func `a duplicate does not count`() throws {
    var server = twoWorkers()
    let (work, addressing) = try #require(server.work[first])
    _ = server.push(first)
    #expect(server.push(first, answering: work, addressing).isEmpty)
    _ = server.push(second)
    #expect(server.step == 1)
    #expect(server.push(first, answering: work, addressing).isEmpty)
    #expect(server.received.isEmpty)
    #expect(server.scheduler?.totals.examples == 8)
  }

  @Test func `a stale item does not count`() {
    var server = twoWorkers()
    _ = server.push(first) { push, _ in push.item.id = WorkItem.ID(push.item.id.value + 7) }
    #expect(server.received.isEmpty)
  }

  @Test func `another step does not count`() {
    var server = twoWorkers()
    _ = server.push(first) { _, addressing in addressing.step = 1 }
    #expect(server.received.isEmpty)
  }

  @Test func `an older epoch does not count`() throws {
    var server = twoWorkers()
    let (work, addressing) = try #require(server.work[first])
    _ = server.assign([(first, shards(0, 1, 2, 3))], epoch: 2)
    _ = server.push(first, answering: work, addressing)
    #expect(server.received.isEmpty)
  }

  @Test func `shards of another worker do not count`() {
    var server = twoWorkers()
    _ = server.push(first) { push, _ in
      push.item.shards = shards(1, 2)
    }
    #expect(server.received.isEmpty)
  }

  @Test func `a push of another run does not count`() throws {
    var server = twoWorkers()
    let (work, addressing) = try #require(server.work[first])
    let push = Message.Push(
      item: work.item, statistics: MinibatchStatistics(examples: 4, lossSum: 0, correct: 0, isFinite: true),
      gradient: gradient())
    let envelope = Envelope(
      type: .push, run: RunID(8), membershipEpoch: addressing.membershipEpoch, incarnation: first, step: 0, sequence: 0)
    _ = server.stage.happens(.received(.push(push), envelope))
    #expect(server.received.isEmpty)
  }

  @Test func `a worker that is no member any more is fenced when it pushes`() throws {
    var server = twoWorkers()
    let (work, addressing) = try #require(server.work[second])
    _ = server.assign([(first, shards(0, 1, 2, 3))], epoch: 2)
    let actions = server.push(second, answering: work, addressing)
    #expect(actions.ending(for: .node(.worker, second))?.status == .fenced)
    #expect(server.received.isEmpty)
  }

  @Test func `a server begins again with another coordinator`() {
    for message in [
      Message.heartbeatReply, .notAMember, .assignment(Message.Assignment(members: [])), .snapshotRequest(hold: false),
    ] {
      var server = twoWorkers()
      let actions = server.hears(message, from: Incarnation(99), epoch: 2)
      #expect(actions.rejoins)
      #expect(actions.sent.isEmpty)
      #expect(server.hears(.heartbeatReply, from: coordinatorNumber, epoch: 2).isEmpty)
    }
  }

  @Test func `a server that its coordinator has given up is fenced`() {
    var server = twoWorkers()
    #expect(server.hears(.heartbeatReply, from: coordinatorNumber, epoch: 2).isEmpty)
    #expect(server.hears(.notAMember, from: coordinatorNumber, epoch: 2).end == .fenced)
  }

  /// A push that was meant for a server which had the same step and epoch.
  @Test func `no two servers hand out the same item`() throws {
    var servers = [twoWorkers(), twoWorkers(incarnation: Incarnation(77))]
    let items = try servers.map { try #require($0.work[first]).work.item.id }
    #expect(items[0] != items[1])
    let (work, addressing) = try #require(servers[0].work[first])
    _ = servers[1].push(first, answering: work, addressing)
    #expect(servers[1].received.isEmpty)
    _ = servers[0].push(first, answering: work, addressing)
    #expect(servers[0].received == work.item.shards)
  }

  @Test func `a message that no coordinator sends does not end the server`() {
    var server = twoWorkers()
    #expect(server.hears(.leave, from: workerNumbers[0]).isEmpty)
    #expect(server.push(first).end == nil)
  }

  @Test func `a newcomer whose assignment is on its way waits`() {
    var server = twoWorkers()
    let actions = server.hears(.requestWork, from: workerNumbers[2], epoch: 2)
    guard case .noWorkYet? = actions.sent.first?.message else {
      Issue.record("answered with \(actions)")
      return
    }
  }

  @Test func `a lost work message is sent again as the same item`() throws {
    var server = twoWorkers()
    let item = try #require(server.work[first]).work.item
    #expect(server.hears(.requestWork, from: first).work(for: first)?.work.item == item)
  }

  @Test func `a loss that is not finite stops the training before it counts`() {
    var diverging = TrainingState(plan: plan())
    diverging.parameters.values[5] = 1e30
    var server = ServerStage(
      plan(), members: [(first, shards(0, 1)), (second, shards(2, 3))], state: OptimizerState(diverging))
    let actions = server.push(first) { push, _ in push.statistics.isFinite = false }
    #expect(actions.snapshots.map(\.snapshot.occasion) == [.diverged])
    #expect(server.push(second).isEmpty)
    #expect(server.step == 0)
  }
}

@Suite struct MembershipChangeTests {
  let first = workerNumbers[0]
  let second = workerNumbers[1]
  let third = workerNumbers[2]

  @Test func `an evicted worker's missing shards go to the survivors within the step`() {
    var server = ServerStage(plan(), members: [(first, shards(0, 1)), (second, shards(2, 3))])
    _ = server.push(first)
    let actions = server.assign([(first, shards(0, 1, 2, 3))], epoch: 2)
    #expect(actions.work(for: first)?.addressing.step == 0)
    #expect(actions.work(for: first)?.work.item.shards == shards(2, 3))
    _ = server.push(first)
    #expect(server.step == 1)
    #expect(server.scheduler?.totals.examples == 8)
  }

  @Test func `a joiner gets shards at the next step`() {
    var server = ServerStage(plan(), members: [(first, shards(0, 1)), (second, shards(2, 3))])
    _ = server.push(first)
    let before = server.assign([(first, shards(0)), (second, shards(1, 2)), (third, shards(3))], epoch: 2)
    #expect(before.work(for: third) == nil)
    let after = server.push(second)
    #expect(server.step == 1)
    #expect(after.work(for: third)?.work.item.shards == shards(3))
    #expect(after.work(for: third)?.addressing.membershipEpoch == MembershipEpoch(2))
  }

  @Test func `an assignment that deals a shard twice is refused`() {
    var server = ServerStage(plan(), members: [(first, shards(0, 1, 2, 3))])
    let actions = server.assign([(first, shards(0, 1, 2)), (second, shards(2, 3))], epoch: 2)
    #expect(actions.notes("assignment_rejected").count == 1)
    #expect(server.scheduler?.epoch == MembershipEpoch(1))
  }
}

@Suite struct ConsistencyTests {
  let first = workerNumbers[0]
  let second = workerNumbers[1]

  @Test func `stale synchronous workers run ahead up to the bound and no further`() {
    var server = ServerStage(plan(.ssp(2)), members: [(first, shards(0, 1)), (second, shards(2, 3))])
    #expect(server.push(first).work(for: first)?.addressing.step == 1)
    #expect(server.push(first).work(for: first)?.addressing.step == 2)
    #expect(server.push(first).work(for: first) == nil)
    let actions = server.push(second)
    #expect(actions.work(for: first)?.addressing.step == 3)
    #expect(server.scheduler?.totals.staleness[2] == 1)
    #expect(server.scheduler?.totals.staleness[3] == 0)
  }

  @Test func `an asynchronous worker never waits`() {
    var server = ServerStage(plan(.asp), members: [(first, shards(0, 1)), (second, shards(2, 3))])
    for clock in 1...9 { #expect(server.push(first).work(for: first)?.addressing.step == UInt64(clock)) }
  }

  @Test func `the backup shard is not waited for and counts as late`() {
    var server = ServerStage(plan(.bsp(backup: 2)), members: [(first, shards(0, 1)), (second, shards(2, 3))])
    _ = server.push(first)
    #expect(server.step == 1)
    #expect(server.scheduler?.totals.examples == 4)
    let actions = server.push(second)
    #expect(server.step == 1)
    #expect(server.scheduler?.totals.lateShards == 2)
    #expect(actions.work(for: second)?.addressing.step == 1)
  }
}

@Suite struct SnapshotTests {
  let first = workerNumbers[0]

  @Test func `the training waits for snapshots that are not acknowledged`() {
    var server = ServerStage(plan(evaluateEvery: 1), members: [(first, shards(0, 1, 2, 3))])
    #expect(server.push(first).work(for: first) != nil)
    #expect(server.push(first).work(for: first) == nil)
    #expect(server.stage.machine.dataPlane?.snapshots.count == 2)
    #expect(server.hears(.snapshotReceived(serial: 1), from: coordinatorNumber).work(for: first)?.addressing.step == 2)
  }

  @Test func `a snapshot is sent again until it is received`() {
    var server = ServerStage(plan(evaluateEvery: 1), members: [(first, shards(0, 1, 2, 3))])
    _ = server.push(first)
    #expect(server.stage.passes(.seconds(3)).snapshots.allSatisfy { $0.snapshot.serial == 1 && $0.step == 1 })
    _ = server.hears(.snapshotReceived(serial: 1), from: coordinatorNumber)
    #expect(server.stage.passes(.seconds(3)).snapshots.isEmpty)
  }

  @Test func `intervals of zero mean: only at the end`() {
    var server = ServerStage(
      plan(steps: 2, evaluateEvery: 0, checkpointEvery: 0), members: [(first, shards(0, 1, 2, 3))])
    #expect(server.push(first).snapshots.isEmpty)
    #expect(server.push(first).snapshots.map(\.snapshot.occasion) == [.final])
  }

  @Test func `a server without a coordinator gives up`() {
    var server = ServerStage(plan(), members: [(first, shards(0, 1, 2, 3))])
    #expect(server.stage.passes(.seconds(31)).end == .unavailable)
  }
}
