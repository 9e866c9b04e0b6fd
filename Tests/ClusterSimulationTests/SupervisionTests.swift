import Cluster
import ClusterSimulation
import Messaging
import TestSupport
import Testing

/// The processes of one host under the supervisor of `descent train`, whose waits and those of the cluster must fit
/// together.
@Suite struct SupervisionTests {
  /// Half of these have one fault, the others several at once.
  private static func simulation(_ seed: UInt64) -> Simulation { Simulation(supervisedSeed: seed) }

  @Test(arguments: (0..<4).map { $0 * 500 } as [UInt64])
  func `faults under the supervisor: the same bits, or a stated failure after several at once`(first: UInt64) throws {
    let reports = (first..<(first + 500)).map { expectCorrect(Self.simulation($0)) }
    #expect(reports.allSatisfy { $0.exitCode != nil })
    // Most recover from several faults as well.
    #expect(reports.count { $0.exitCode == 0 } >= 450)
    func total(_ count: (Report.Counts) -> Int) -> Int { reports.reduce(0) { $0 + count($1.counts) } }
    let counts = [
      total(\.crashes), total(\.pauses), total(\.silences), total(\.restarts), total(\.resumptions), total(\.fenced),
      total(\.rejoins),
    ]
    #expect(counts.allSatisfy { $0 >= 50 }, "\(counts)")
    try Evidence.add(
      .simulation, "crashes, pauses, signals and silence of processes; one schedule for each seed",
      times: reports.count,
      observed: "all invariants held, \(reports.count { $0.exitCode == 0 }) runs ended with 0")
  }

  /// A member that waits for the coordinator as long as the coordinator waits for a member is replaced too late: the
  /// coordinator gives the run up. In other schedules the late replacement of a silent coordinator only delays the result
  /// beyond its bound, which is no evidence of the race.
  @Test func `members that wait as long as their coordinator, put in on purpose: found within 100 schedules`() throws {
    let found = (0..<100 as Range<UInt64>).lazy.compactMap { seed -> (seed: UInt64, rule: String)? in
      var simulation = Self.simulation(seed)
      simulation.sabotage.memberTiming = { timing in
        var longer = timing
        longer.rendezvous = .seconds(2 * timing.rendezvous.seconds)
        return longer
      }
      let race = simulation.run().violations.first { $0.rule.contains("gave up although it need not") }
      return race.map { (seed, $0.rule) }
    }.first
    let (seed, rule) = try #require(found)
    try Evidence.add(
      .simulation, times: Int(seed) + 1, observed: "found by schedule \(seed): \(rule)")
  }

  @Test func `all processes are stopped at once for up to a minute: none is restarted or loses its part`() throws {
    let reports = (0..<50 as Range<UInt64>).map { seed in
      var faults = FaultPlan.none
      faults.suspensions = 2
      faults.span = .seconds(2)
      faults.cease = .seconds(130)
      return expectCorrect(Simulation(seed: seed, plan: SimulationPlan(supervisedSeed: seed), faults: faults))
    }
    #expect(reports.allSatisfy { $0.exitCode == 0 && $0.counts.restarts == 0 && $0.counts.evictions == 0 })
    let pauses = reports.reduce(0) { $0 + $1.counts.pauses }
    #expect(pauses >= 100)
    try Evidence.add(
      .trees, "one schedule for each seed, simulated", times: reports.count,
      observed: "\(pauses) stops, no restart, no eviction")
  }

  @Test func `the same seed gives the same trace`() {
    for seed in 0..<10 as Range<UInt64> {
      let (first, second) = (0..<2).map { _ in Simulation(supervisedSeed: seed, recordsTrace: true).run() }.pair
      #expect(first.trace == second.trace)
      #expect(first.counts == second.counts)
    }
  }
}

extension [Report] {
  fileprivate var pair: (Report, Report) { (self[0], self[1]) }
}
