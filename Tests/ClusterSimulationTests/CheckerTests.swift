import Cluster
import ClusterSimulation
import Messaging
import Optimization
import TestSupport
import Testing

/// A bug put in on purpose, and where the simulation finds it.
struct Bug: Sendable, CustomTestStringConvertible {
  let testDescription: String
  var consistency = bulkSynchronous
  /// What the rule that is found broken says.
  let rule: String
  /// It is found within this many schedules, with the faults that every seed has anyway.
  let schedules: UInt64
  let sabotage: @Sendable () -> Sabotage

  /// Changes what the server makes of the messages it receives.
  static func server(
    _ change: @escaping (Message, Envelope, WorkScheduler?) -> (Message, Envelope)
  ) -> Sabotage {
    var sabotage = Sabotage()
    sabotage.serverReceives = change
    return sabotage
  }

  static func changing(_ change: (inout Sabotage) -> Void) -> Sabotage {
    var sabotage = Sabotage()
    change(&sabotage)
    return sabotage
  }

  /// A server that takes a push as the answer of another member than its sender, if there is one.
  static func crediting(
    _ holder: @escaping (Message.Push, Envelope, WorkScheduler) -> WorkScheduler.Member?
  ) -> Sabotage {
    server { message, envelope, scheduler in
      guard case .push(var push) = message, let scheduler, let holder = holder(push, envelope, scheduler),
        let item = holder.outstanding?.item
      else { return (message, envelope) }
      push.item = item
      var forged = envelope
      forged.incarnation = holder.incarnation
      forged.step = item.step
      forged.membershipEpoch = scheduler.epoch
      return (.push(push), forged)
    }
  }

  /// A server that takes a push as the answer to whatever work on the same shards is open, unless it is judged.
  static func withoutJudgement(of isJudged: @escaping (Message.Push, Envelope) -> Bool) -> Sabotage {
    crediting { push, envelope, scheduler in
      isJudged(push, envelope)
        ? nil : scheduler.members.first { $0.outstanding?.item.shards == push.item.shards }
    }
  }

  static func flippingOneBit(of payload: Payload, at position: Int) -> Payload {
    Payload(count: payload.count) { target in
      target.copyMemory(from: payload.bytes)
      target[position] ^= 1
    }
  }

  /// A server that has another consistency model than the run.
  static func server(believingIn consistency: ConsistencyModel) -> Sabotage {
    server { message, envelope, _ in
      guard case .welcome(var welcome) = message else { return (message, envelope) }
      welcome.plan.consistency = consistency
      return (.welcome(welcome), envelope)
    }
  }
}

extension Bug {
  static let all = [
    // The server.
    Bug(testDescription: "no deduplication: a push that arrives again counts again", rule: "was counted", schedules: 20)
    {
      var seen: Set<[UInt64]> = []
      return withoutJudgement { push, envelope in
        seen.insert([envelope.incarnation.value, push.item.id.value, envelope.membershipEpoch.value]).inserted
      }
    },
    Bug(testDescription: "no fencing: a push of an older epoch counts", rule: "was counted", schedules: 20) {
      withoutJudgement { _, _ in false }
    },
    Bug(testDescription: "a step that does not wait for all its shards", rule: "step", schedules: 3) {
      server(believingIn: .bsp(backup: 5))
    },
    Bug(
      testDescription: "work beyond the staleness bound", consistency: .ssp(3),
      rule: "4 clocks ahead of the slowest shard, more than 3", schedules: 40
    ) { server(believingIn: .ssp(4)) },
    Bug(testDescription: "a push that never counts", rule: "no result", schedules: 3) {
      server { message, envelope, _ in
        if case .push = message { return (.statusRequest, envelope) }
        return (message, envelope)
      }
    },
    Bug(testDescription: "a scale that depends on the partition", rule: "the server's scale", schedules: 20) {
      server { message, envelope, _ in
        guard case .push(var push) = message, push.statistics.peaks != .none else { return (message, envelope) }
        // As if measured on the sum of the worker's shards.
        push.statistics.peaks.bits &+= Int8(push.item.shards.count / 2)
        return (.push(push), envelope)
      }
    },
    Bug(testDescription: "a late result of a taken-over shard counts again", rule: "was counted", schedules: 40) {
      crediting { push, _, scheduler in
        guard push.item.step == scheduler.step, !push.item.shards.isDisjoint(with: scheduler.received) else {
          return nil
        }
        return scheduler.members.first {
          $0.outstanding?.item.step == scheduler.step
            && $0.outstanding?.item.shards.isDisjoint(with: scheduler.received) == true
        }
      }
    },
    Bug(testDescription: "a taken-over shard of an older step counts", rule: "was counted", schedules: 40) {
      crediting { push, envelope, scheduler in
        guard envelope.membershipEpoch == scheduler.epoch, push.item.step < scheduler.step else { return nil }
        return scheduler.members.first {
          $0.outstanding?.item.step == scheduler.step && $0.outstanding?.item.shards == push.item.shards
        }
      }
    },
    // The worker.
    Bug(testDescription: "one bit of one gradient", rule: "weights after step 8", schedules: 3) {
      changing {
        $0.gradient = { task, gradient in
          task.step == 7 && task.shards.contains(0) ? flippingOneBit(of: gradient, at: 40) : gradient
        }
      }
    },
    // The coordinator, and what is durable.
    Bug(testDescription: "no fsync", rule: "announced before it was durable", schedules: 3) {
      changing { $0.ignoresSynchronize = true }
    },
    Bug(testDescription: "the announcement before the write", rule: "announced before it was durable", schedules: 3) {
      changing { $0.announcesEarly = true }
    },
    Bug(testDescription: "other weights in the checkpoint", rule: "is not what was saved", schedules: 20) {
      changing {
        $0.checkpoint = { request in
          var changed = request
          changed.snapshot.state.payload = flippingOneBit(of: request.snapshot.state.payload, at: 17)
          return changed
        }
      }
    },
    Bug(testDescription: "a criterion's memory that is not saved", rule: "is not what was saved", schedules: 20) {
      changing {
        $0.checkpoint = { request in
          var changed = request
          changed.monitor = ConvergenceMonitor()
          return changed
        }
      }
    },
    Bug(
      testDescription: "a resumed run that starts from scratch", rule: "and the run resumes from step 0", schedules: 20
    ) {
      changing { $0.forgetsCheckpoints = true }
    },
    Bug(testDescription: "a snapshot that is never dealt with", rule: "no result", schedules: 3) {
      changing {
        $0.coordinatorReceives = { message, envelope in
          if case .snapshot = message { return (.statusRequest, envelope) }
          return (message, envelope)
        }
      }
    },
    Bug(testDescription: "refusals that are lost", rule: "gave up although there is a coordinator", schedules: 20) {
      changing { $0.losesRefusals = true }
    },
  ]
}

/// The invariants have teeth: every bug that is put in on purpose is found.
@Suite struct CheckerTests {
  @Test(arguments: Bug.all) func `a bug is put in on purpose: found within its number of schedules`(bug: Bug) throws {
    let found = (0..<bug.schedules).lazy.compactMap { seed -> (seed: UInt64, rule: String)? in
      var simulation = Simulation(seed: seed, consistency: bug.consistency)
      simulation.sabotage = bug.sabotage()
      return simulation.run().violations.first.map { (seed, $0.rule) }
    }.first
    let (seed, rule) = try #require(found, "not within \(bug.schedules) schedules")
    #expect(rule.contains(bug.rule))
    try Evidence.add(
      .simulation, bug.testDescription, times: Int(seed) + 1,
      observed: "found by schedule \(seed) of \(bug.schedules): \(rule)")
  }

  /// Without faults nothing is read back before the end.
  @Test func `a best model that is not linked is found at the end of the run`() throws {
    var simulation = Simulation(seed: 1, plan: SimulationPlan(seed: 1, consistency: bulkSynchronous), faults: .none)
    #expect(simulation.run().isCorrect)
    simulation.sabotage.checkpoint = { request in
      var changed = request
      changed.best = nil
      return changed
    }
    let violation = try #require(simulation.run().violations.first)
    #expect(violation.rule.contains("and the one on the disk of step 0"))
  }

  @Test func `the same schedules are fine without it`() {
    for consistency in [bulkSynchronous, .ssp(3)] {
      for seed in 0..<100 as Range<UInt64> { #expect(Simulation(seed: seed, consistency: consistency).run().isCorrect) }
    }
  }
}
