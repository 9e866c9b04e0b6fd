import Cluster
import Messaging
import Optimization
import TestSupport
import Testing

/// Gradients that do not fit their scale: the step is computed again at another one, whichever worker's shard it was.
@Suite struct CorrectionTests {
  private let first = workerNumbers[0]
  private let second = workerNumbers[1]
  private let third = workerNumbers[2]

  private func unboundedPlan(_ consistency: ConsistencyModel = .bsp(backup: 0)) -> TrainingPlan {
    var plan = plan(consistency)
    plan.loss = .squaredHinge
    return plan
  }

  private func twoWorkers(_ consistency: ConsistencyModel = .bsp(backup: 0)) -> ServerStage {
    ServerStage(unboundedPlan(consistency), members: [(first, shards(0, 1)), (second, shards(2, 3))])
  }

  /// 4 shards may have 29 bits; at weights of zero no shard can have more than 34.
  private func push(_ server: inout ServerStage, _ worker: Incarnation, bits: Int8 = 25) -> [ServerMachine.Action] {
    server.push(worker) { push, _ in
      (push.statistics.peaks.bits[0], push.statistics.peaks.bits[1]) = (bits, 25)
    }
  }

  @Test(arguments: [[33, 25], [25, 33], [33, 33]] as [[Int8]])
  func `a step that does not fit is handed out again at a smaller scale, and leaves no trace`(bits: [Int8]) throws {
    var server = twoWorkers()
    let before = try #require(server.stage.machine.trainingState)
    let scale = try #require(server.work[first]).work.item.scale
    _ = push(&server, first, bits: bits[0])
    let actions = push(&server, second, bits: bits[1])
    #expect(server.step == 0 && server.received.isEmpty && server.scheduler?.totals.examples == 0)
    #expect(server.stage.machine.trainingState == before)
    for (worker, shards) in [(first, shards(0, 1)), (second, shards(2, 3))] {
      let again = try #require(actions.work(for: worker)).work
      #expect(again.item.step == 0 && again.item.shards == shards)
      #expect(again.item.scale.exponents[0] == scale.exponents[0] - 8)
      #expect(again.item.scale.exponents[1] == scale.exponents[1])
    }
    _ = push(&server, first)
    _ = push(&server, second)
    #expect(server.step == 1 && server.scheduler?.totals.examples == 8)
    var expected = TrainingState(plan: server.plan)
    let sum = [Int32](repeating: 2, count: server.plan.shape.parameterCount)
    let corrected = try #require(server.work[first]).work.item.scale
    _ = UpdateRule(plan: server.plan, kernel: .best).apply(
      sum, scale: corrected, examples: 8, learningRate: 0, to: &expected)
    #expect(try #require(server.stage.machine.trainingState).parameters == expected.parameters)
  }

  @Test func `a gradient at another scale than its step's: it does not count, and is computed again`() throws {
    var server = ServerStage(
      unboundedPlan(.bsp(backup: 1)), members: [(first, shards(0, 1)), (second, shards(2)), (third, shards(3))])
    _ = push(&server, first, bits: 33)
    _ = push(&server, second)
    #expect(server.received.isEmpty && server.step == 0)
    let actions = push(&server, third)
    #expect(server.received.isEmpty)
    let again = try #require(actions.work(for: third)).work.item
    #expect(again.scale == server.work[first]?.work.item.scale)
    _ = push(&server, third)
    #expect(server.received == shards(3))
    try Evidence.add(.bytes, observed: "handed out again at the scale of the step")
  }

  @Test func `shards of a worker that has left are computed again by others`() throws {
    var server = twoWorkers()
    _ = push(&server, first, bits: 33)
    // Its shards are in, so the new assignment can wait for the end of the step, which does not come.
    _ = server.assign([(second, shards(0, 1, 2, 3))], epoch: 2)
    let actions = push(&server, second)
    #expect(try #require(actions.work(for: second)).work.item.shards == shards(0, 1, 2, 3))
  }

  @Test(arguments: [ConsistencyModel.ssp(1), .asp])
  func `without whole steps the item alone is handed out again`(consistency: ConsistencyModel) throws {
    var server = twoWorkers(consistency)
    let before = try #require(server.stage.machine.trainingState)
    let actions = push(&server, first, bits: 33)
    #expect(actions.work(for: first)?.work.item.step == 0)
    #expect(server.stage.machine.trainingState == before)
    _ = push(&server, first)
    #expect(server.scheduler?.shardClocks == [1, 1, 0, 0])
  }

  @Test func `a peak that no shard can have at these weights: the push is rejected`() throws {
    var server = twoWorkers()
    #expect(push(&server, first, bits: 36).notes("push_rejected").count == 1)
    #expect(server.received.isEmpty)
    var proven = ServerStage(plan(), members: [(first, shards(0, 1)), (second, shards(2, 3))])
    #expect(push(&proven, first).notes("push_rejected").count == 1)
    try Evidence.add(.bytes, observed: "rejected, also where the scale is proven and a push has none")
  }

  @Test func `the largest norm of a push is that of its peaks`() {
    var server = twoWorkers()
    let rejected = server.push(first) { push, _ in
      (push.statistics.peaks.bits[0], push.statistics.peaks.bits[1]) = (20, 20)
      push.gradient = gradient(of: 1 << 22)
    }
    #expect(rejected.notes("push_rejected").count == 1)
    _ = server.push(first) { push, _ in
      (push.statistics.peaks.bits[0], push.statistics.peaks.bits[1]) = (21, 21)
      push.gradient = gradient(of: 1 << 22)
    }
    #expect(server.received == shards(0, 1))
  }

  @Test func `a snapshot carries the scale, and a server continues with it`() throws {
    var server = twoWorkers()
    _ = push(&server, first, bits: 33)
    _ = push(&server, second)
    let scale = try #require(server.work[first]).work.item.scale
    _ = server.hears(.snapshotRequest(hold: true), from: coordinatorNumber)
    let snapshot = try #require(server.snapshots.last).snapshot.training
    #expect(snapshot.scale == scale && snapshot.fits(server.plan))
    var without = snapshot
    without.scale = nil
    #expect(!without.fits(server.plan))
  }
}
