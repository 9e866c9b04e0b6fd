import Cluster
import ClusterSimulation
import Messaging
import Optimization
import Testing

/// The invariants have teeth: every bug that is put in on purpose is found.
@Suite struct CheckerTests {
  /// The first rule that each seed finds broken.
  private func brokenRules(
    _ consistency: ConsistencyModel = .bsp(backup: 0), seeds: Range<UInt64> = 0..<20, faults: FaultPlan = .none,
    workers: Int = 4, _ sabotage: () -> Sabotage
  ) -> [String] {
    seeds.compactMap { seed in
      var plan = SimulationPlan(seed: seed, consistency: consistency)
      plan.workers = workers
      plan.stoppingRule = StoppingRule()
      var simulation = Simulation(seed: seed, plan: plan, faults: faults)
      simulation.sabotage = sabotage()
      return simulation.run().violations.first?.rule
    }
  }

  private func flippingOneBit(of payload: Payload, at position: Int) -> Payload {
    Payload(count: payload.count) { target in
      target.copyMemory(from: payload.bytes)
      target[position] ^= 1
    }
  }

  /// A server that takes every push as the answer to whatever work on the same shards is open.
  private func withoutJudgement(of isJudged: @escaping (Message.Push, Envelope) -> Bool) -> Sabotage {
    var sabotage = Sabotage()
    sabotage.serverReceives = { message, envelope, tickets in
      guard case .push(var push) = message, !isJudged(push, envelope),
        let open = tickets.first(where: { $0.shards == push.shards })
      else { return (message, envelope) }
      push.ticket = open.number
      var forged = envelope
      forged.incarnation = open.worker
      forged.step = open.clock
      forged.membershipEpoch = open.epoch
      return (.push(push), forged)
    }
    return sabotage
  }

  @Test func nothingIsBrokenWithoutABug() {
    #expect(brokenRules { Sabotage() }.isEmpty)
  }

  @Test func aGradientWithOneBitFlippedIsFound() {
    let rules = brokenRules(seeds: 0..<3) {
      var sabotage = Sabotage()
      sabotage.gradient = { task, gradient in
        task.step == 7 && task.shards.contains(0) ? flippingOneBit(of: gradient, at: 4_000) : gradient
      }
      return sabotage
    }
    #expect(rules.count == 3)
    #expect(rules.allSatisfy { $0.contains("weights after step 8") })
  }

  @Test func aDuplicateThatIsCountedIsFound() {
    var faults = FaultPlan.none
    faults.duplication = 0.5
    faults.reordering = 0.5
    faults.longestDelay = .milliseconds(300)
    let rules = brokenRules(faults: faults) {
      var seen: Set<UInt64> = []
      return withoutJudgement { push, _ in seen.insert(push.ticket).inserted }
    }
    #expect(!rules.isEmpty)
    #expect(rules.allSatisfy { $0.contains("counted") }, "\(rules)")
  }

  @Test func aPushOfAnOlderEpochThatIsCountedIsFound() {
    var faults = FaultPlan.none
    faults.workerPauses = 6
    faults.lateJoiners = 1
    faults.span = .seconds(3)
    let rules = brokenRules(seeds: 0..<60, faults: faults) {
      withoutJudgement { push, envelope in false }
    }
    #expect(rules.contains { $0.contains("of epoch") && $0.contains("was counted in epoch") }, "\(rules)")
  }

  @Test func aShardThatIsLeftOutIsFound() {
    let rules = brokenRules(seeds: 0..<3) {
      var sabotage = Sabotage()
      sabotage.serverReceives = { message, envelope, _ in
        guard case .welcome(var welcome) = message else { return (message, envelope) }
        welcome.plan.consistency = .bsp(backup: 5)
        return (.welcome(welcome), envelope)
      }
      return sabotage
    }
    #expect(rules.count == 3)
  }

  @Test func workBeyondTheStalenessBoundIsFound() {
    var faults = FaultPlan.none
    faults.workerPauses = 4
    let rules = brokenRules(.ssp(3), faults: faults) {
      var sabotage = Sabotage()
      sabotage.serverReceives = { message, envelope, _ in
        guard case .welcome(var welcome) = message else { return (message, envelope) }
        welcome.plan.consistency = .ssp(4)
        return (.welcome(welcome), envelope)
      }
      return sabotage
    }
    #expect(rules.contains { $0.contains("4 clocks ahead of the slowest shard, more than 3") }, "\(rules)")
  }

  @Test func aCheckpointOfOtherWeightsIsFound() {
    let rules = brokenRules(seeds: 0..<3) {
      var sabotage = Sabotage()
      sabotage.checkpoint = { request in
        var changed = request
        changed.state = flippingOneBit(of: request.state, at: 17)
        return changed
      }
      return sabotage
    }
    #expect(rules.count == 3)
    #expect(rules.allSatisfy { $0.contains("announced with weights that were never reached") }, "\(rules)")
  }

  @Test func aCheckpointAnnouncedBeforeItIsDurableIsFound() {
    let rules = brokenRules(seeds: 0..<3) {
      var sabotage = Sabotage()
      sabotage.announcesEarly = true
      return sabotage
    }
    #expect(rules.count == 3)
    #expect(rules.allSatisfy { $0.contains("before it was durable") }, "\(rules)")
  }

  @Test func aRunThatNeverEndsIsFound() {
    let rules = brokenRules(seeds: 0..<1) {
      var sabotage = Sabotage()
      sabotage.serverReceives = { message, envelope, _ in
        if case .push = message { return (.statusRequest, envelope) }
        return (message, envelope)
      }
      return sabotage
    }
    #expect(rules.count == 1)
    #expect(rules.allSatisfy { $0.contains("no result") }, "\(rules)")
  }
}
