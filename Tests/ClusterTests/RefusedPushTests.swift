import Cluster
import Messaging
import Optimization
import Testing

/// What a push may not be, whatever its sender.
@Suite struct RefusedPushTests {
  let first = workerNumbers[0]
  let second = workerNumbers[1]

  private func twoWorkers(_ consistency: ConsistencyModel = .bsp(backup: 0)) -> ServerStage {
    ServerStage(plan(consistency), members: [(first, shards(0, 1)), (second, shards(2, 3))])
  }

  enum Badness: CaseIterable {
    case short, long, empty, tooFewExamples, notFinite, negativeLoss, impossibleLoss, impossibleNorm, extreme

    func apply(to push: inout Message.Push, of plan: TrainingPlan) {
      switch self {
      case .short: push.gradient = gradient(count: 30_729)
      case .long: push.gradient = gradient(count: 30_731)
      case .empty: push.gradient = .empty
      case .tooFewExamples: push.statistics.examples -= 1
      case .notFinite: push.statistics.isFinite = false
      case .negativeLoss: push.statistics.lossSum = -1
      case .impossibleLoss: push.statistics.lossSum = Int64.max
      case .impossibleNorm:
        let element = plan.largestGradientNorm(shards: push.item.shards.count) / 30_730.0.squareRoot()
        push.gradient = gradient(of: Int32(element * 1.01))
      case .extreme: push.gradient = gradient(of: .min)
      }
    }
  }

  @Test(arguments: Badness.allCases, [ConsistencyModel.bsp(backup: 0), .ssp(1), .asp])
  func `an impossible push does not count and is asked for again`(badness: Badness, consistency: ConsistencyModel)
    throws
  {
    var server = twoWorkers(consistency)
    let before = try #require(server.stage.machine.trainingState)
    let work = try #require(server.work[first])
    let plan = server.plan
    let actions = server.push(first) { push, _ in badness.apply(to: &push, of: plan) }
    #expect(server.received.isEmpty)
    #expect(try #require(server.stage.machine.trainingState) == before)
    #expect(actions.notes("push_rejected").count == 1)
    #expect(actions.snapshots.isEmpty)
    let again = try #require(actions.work(for: first))
    #expect(again.work.item.id > work.work.item.id)
    #expect(again.work.item.shards == work.work.item.shards)
    #expect(again.addressing.step == work.addressing.step)
    _ = server.push(first)
    _ = server.push(second)
    #expect(server.step == 1)
  }

  @Test func `the largest possible norm counts`() {
    var server = twoWorkers()
    let element = server.plan.largestGradientNorm(shards: 2) / 30_730.0.squareRoot()
    _ = server.push(first) { push, _ in push.gradient = gradient(of: Int32(element * 0.99)) }
    #expect(server.received == shards(0, 1))
  }

  @Test func `after three, the worker gets no work and the coordinator is notified`() throws {
    var server = twoWorkers()
    for count in 1...3 {
      let actions = server.push(first) { push, _ in push.statistics.isFinite = false }
      let heartbeats = heartbeats(in: actions)
      #expect((actions.work(for: first) != nil) == (count < 3))
      #expect(heartbeats.map(\.untrusted) == (count < 3 ? [] : [first]))
      #expect(heartbeats.map(\.rejectedPushes) == (count < 3 ? [] : [3]))
    }
    #expect(server.hears(.requestWork, from: first).work(for: first) == nil)
    // Again with each heartbeat, as the first may be lost.
    let later = heartbeats(in: server.stage.passes(.seconds(1)))
    #expect(!later.isEmpty && later.allSatisfy { $0.untrusted == first })
    let dealt = server.assign([(second, shards(0, 1, 2, 3))], epoch: 2)
    #expect(dealt.work(for: second)?.work.item.shards == shards(0, 1, 2, 3))
    _ = server.push(second)
    #expect(server.step == 1)
    #expect(server.hears(.requestWork, from: first).ending(for: .node(.worker, first))?.status == .fenced)
    #expect(heartbeats(in: server.stage.passes(.seconds(1))).allSatisfy { $0.untrusted == Incarnation(0) })
  }

  @Test func `the count outlives a change of membership`() {
    var server = twoWorkers()
    for _ in 0..<2 { _ = server.push(first) { push, _ in push.gradient = .empty } }
    _ = server.push(second)
    _ = server.assign([(first, shards(0, 1, 2, 3))], epoch: 2)
    let actions = server.push(first) { push, _ in push.gradient = .empty }
    #expect(actions.work(for: first) == nil)
    #expect(heartbeats(in: actions).map(\.untrusted) == [first])
  }

  @Test func `what was not asked for is counted and costs its sender nothing`() throws {
    var server = twoWorkers()
    let (work, addressing) = try #require(server.work[first])
    _ = server.push(first)
    for _ in 0..<10 { _ = server.push(first, answering: work, addressing) }
    _ = server.push(workerNumbers[2], answering: work, addressing)
    let beat = try #require(heartbeats(in: server.stage.passes(.seconds(1))).last)
    #expect(beat.stalePushes == 11)
    #expect(beat.rejectedPushes == 0)
    #expect(beat.untrusted == Incarnation(0))
    _ = server.push(second)
    #expect(server.step == 1)
    #expect(server.scheduler?.totals.examples == 8)
  }

  @Test func `whether a loss can be infinite is judged by the weights that the worker had`() {
    // The first worker's one fraction of a step brings weights that diverge; the second had those of before.
    var fast = plan(.asp)
    fast.learningRate = LearningRate(base: 1e30, schedule: .constant, warmupSteps: 0, horizon: 10)
    var server = ServerStage(fast, members: [(first, shards(0, 1)), (second, shards(2, 3))])
    _ = server.push(first) { push, _ in push.gradient = gradient(of: 1000) }
    let lie = server.push(second) { push, _ in push.statistics.isFinite = false }
    #expect(lie.snapshots.isEmpty)
    #expect(lie.notes("push_rejected").count == 1)
    #expect(server.push(first) { push, _ in push.statistics.isFinite = false }.snapshots.count == 1)
  }

  // MARK: - Networks

  /// A network of 3,072 pixels, 2 units and 10 classes with weights of this size.
  private func network(_ size: Float, _ consistency: ConsistencyModel = .bsp(backup: 0)) -> ServerStage {
    var plan = plan(consistency)
    plan.shape = ModelShape(classes: 10, pixels: 3072, hidden: [2])
    (plan.initialization, plan.initialStandardDeviation) = (.normal, size)
    return ServerStage(plan, members: [(first, shards(0, 1)), (second, shards(2, 3))])
  }

  /// What fits a shard whose largest elements have 20 bits.
  private func makeHonest(_ push: inout Message.Push, _ value: Int32 = 3) {
    push.gradient = gradient(of: value, count: ModelShape(classes: 10, pixels: 3072, hidden: [2]).parameterCount)
    for block in 0..<4 { push.statistics.peaks.bits[block] = 22 }
  }

  enum NetworkBadness: CaseIterable {
    case short, tooFewExamples, notFinite, impossibleLoss, thousandfold, extreme, impossiblePeaks, onePeak

    func apply(to push: inout Message.Push) {
      let count = push.gradient.count / 4
      switch self {
      case .short: push.gradient = gradient(count: count - 1)
      case .tooFewExamples: push.statistics.examples -= 1
      case .notFinite: push.statistics.isFinite = false
      case .impossibleLoss: push.statistics.lossSum = .max
      case .thousandfold: push.gradient = gradient(of: 8_400_000, count: count)
      case .extreme: push.gradient = gradient(of: .min, count: count)
      case .impossiblePeaks: push.statistics.peaks.bits[0] = 60
      // The gradient of the others does not fit to it.
      case .onePeak: push.statistics.peaks.bits[2] = 0
      }
    }
  }

  @Test(arguments: NetworkBadness.allCases, [ConsistencyModel.bsp(backup: 0), .asp])
  func `an impossible push of a network does not count and is asked for again`(
    badness: NetworkBadness, consistency: ConsistencyModel
  ) throws {
    var server = network(0.001, consistency)
    let before = try #require(server.stage.machine.trainingState)
    let actions = server.push(first) { push, _ in
      makeHonest(&push, badness == .onePeak ? 1000 : 3)
      badness.apply(to: &push)
    }
    #expect(server.received.isEmpty)
    #expect(try #require(server.stage.machine.trainingState) == before)
    #expect(actions.notes("push_rejected").count == 1)
    #expect(actions.work(for: first) != nil && actions.snapshots.isEmpty)
    _ = server.push(first) { push, _ in makeHonest(&push) }
    _ = server.push(second) { push, _ in makeHonest(&push) }
    #expect(server.step == 1)
  }

  @Test func `where a network's weights allow a loss that is not finite, two workers have to report it`() {
    func report(_ server: inout ServerStage, _ worker: Incarnation) -> [ServerMachine.Action] {
      server.push(worker) { push, _ in
        makeHonest(&push)
        push.statistics.isFinite = false
      }
    }
    var server = network(100)
    #expect(report(&server, first).notes("push_rejected").count == 1)
    #expect(report(&server, first).notes("push_rejected").count == 1)
    #expect(server.stage.machine.dataPlane?.snapshots.isEmpty == true)
    #expect(report(&server, second).snapshots.count == 1)
    // A report of an earlier step confirms nothing.
    server = network(100)
    _ = report(&server, first)
    for worker in [first, second] { _ = server.push(worker) { push, _ in makeHonest(&push) } }
    #expect(server.step == 1)
    #expect(report(&server, second).notes("push_rejected").count == 1)
    // The only worker is believed, as is any without whole steps.
    server = network(100)
    _ = server.assign([(second, shards(0, 1, 2, 3))], epoch: 2)
    #expect(report(&server, second).snapshots.count == 1)
    server = network(100, .asp)
    #expect(report(&server, first).snapshots.count == 1)
  }

  private func heartbeats(in actions: [ServerMachine.Action]) -> [Message.Heartbeat] {
    actions.sent.compactMap { if case .heartbeat(let beat) = $0.message { beat } else { nil } }
  }
}
