import Cluster
import ClusterSimulation
import Diagnostics
import Messaging
import Optimization
import TestSupport
import Testing

/// A failing seed's story: what broke, and the end of the trace. The same seed gives the same story again.
func story(of report: Report, _ simulation: Simulation) -> Comment {
  var retold = simulation
  retold.recordsTrace = true
  let trace = retold.run().trace.suffix(60).joined(separator: "\n")
  let rules = report.violations.map(\.description).joined(separator: "; ")
  return "seed \(report.seed), \(simulation.plan.training.consistency): \(rules)\n\(trace)"
}

/// Runs the simulation and expects every invariant to hold.
func expectCorrect(_ simulation: Simulation, sourceLocation: SourceLocation = #_sourceLocation) -> Report {
  let report = simulation.run()
  if !report.isCorrect { Issue.record(story(of: report, simulation), sourceLocation: sourceLocation) }
  return report
}

/// The schedules that `descent simulate --seed … --consistency …` replays.
func expectCorrect(
  seeds: Range<UInt64>, _ consistency: ConsistencyModel, function: String = #function,
  sourceLocation: SourceLocation = #_sourceLocation
) throws -> [Report] {
  let reports = seeds.map {
    expectCorrect(Simulation(seed: $0, consistency: consistency), sourceLocation: sourceLocation)
  }
  if reports.allSatisfy(\.isCorrect) {
    try Evidence.add(
      .simulation, "\(consistency), one schedule for each seed; seconds are simulated", times: reports.count,
      observed: "all invariants held", recovery: reports.compactMap(\.secondsAfterFaults).map { max(0, $0) },
      file: "ClusterSimulationTests/FaultToleranceTests.swift", function: function)
  }
  return reports
}

let bulkSynchronous = ConsistencyModel.bsp(backup: 0)

/// 11,500 schedules, each with the faults of its own seed. The parts run side by side.
@Suite struct FaultToleranceTests {
  @Test(arguments: (0..<7).map { $0 * 1_000 } as [UInt64])
  func `every fault at once under bsp: the run ends with the bits of the sequential trainer`(first: UInt64) throws {
    let reports = try expectCorrect(seeds: first..<(first + 1_000), bulkSynchronous)
    let outcomes = reports.compactMap(\.outcome)
    #expect(outcomes.count == 1_000)
    // Only a disk that refused the last checkpoint makes another status of a result.
    #expect(outcomes.allSatisfy { $0.status == .success || $0.status == .inputOutput })
    #expect(reports.allSatisfy { $0.outcome?.status == .success || $0.counts.diskFailures > 0 })
    expectEveryFault(in: reports)
  }

  /// The schedules do what they are meant to do; otherwise they would show nothing.
  private func expectEveryFault(in reports: [Report]) {
    func total(_ count: (Report.Counts) -> Int) -> Int { reports.reduce(0) { $0 + count($1.counts) } }
    let counts = [
      total(\.messagesLost), total(\.messagesRepeated), total(\.messagesRefused), total(\.crashes),
      total(\.powerCuts), total(\.pauses), total(\.partitions), total(\.swizzles), total(\.diskFailures),
      total(\.pushesRefused), total(\.corrections), total(\.resumptions),
      total(\.evictions), total(\.fenced), total(\.rejoins),
    ]
    #expect(counts.allSatisfy { $0 >= reports.count / 10 }, "\(counts)")
    for role in [NodeRole.worker, .server] {
      #expect(reports.contains { $0.endings.contains { $0.role == role && $0.wasEvicted && $0.status == .fenced } })
    }
    // Some schedules outlast their faults, so that the bound on what follows is put to the test.
    #expect(reports.contains { ($0.secondsAfterFaults ?? 0) > 10 })
  }

  @Test(arguments: [0, 500, 1_000] as [UInt64])
  func `every fault at once under bsp with a backup: a shard counts once or not at all`(first: UInt64) throws {
    let reports = try expectCorrect(seeds: first..<(first + 500), .bsp(backup: 1))
    #expect(reports.contains { ($0.outcome?.state.snapshot.totals.lateShards ?? 0) > 0 })
  }

  @Test(arguments: [0, 500, 1_000] as [UInt64])
  func `every fault at once under ssp: the bound on staleness holds`(first: UInt64) throws {
    let reports = try expectCorrect(seeds: first..<(first + 500), .ssp(3))
    for report in reports { #expect(report.staleness[4...].allSatisfy { $0 == 0 }) }
    #expect(reports.contains { $0.staleness[3] > 0 }, "the bound is never reached")
  }

  @Test(arguments: [0, 500, 1_000] as [UInt64])
  func `every fault at once under asp: every push is applied once`(first: UInt64) throws {
    let reports = try expectCorrect(seeds: first..<(first + 500), .asp)
    #expect(reports.contains { $0.staleness[4...].contains { $0 > 0 } })
  }

  @Test(arguments: [bulkSynchronous, .bsp(backup: 1), .ssp(3), .asp])
  func `networks are among the schedules, and some of their gradients are computed again`(
    consistency: ConsistencyModel
  ) {
    let networks = (0..<200 as Range<UInt64>).map { Simulation(seed: $0, consistency: consistency) }
      .filter { !$0.plan.training.shape.isLinear }
    #expect(networks.count >= 15)
    #expect(networks.prefix(6).count { expectCorrect($0).counts.corrections > 0 } >= 3)
  }

  @Test func `with the real kernel, the bits are those of the sequential trainer too`() {
    for seed in 0..<12 as Range<UInt64> {
      var plan = SimulationPlan(seed: seed, consistency: bulkSynchronous, computation: .kernel)
      if seed % 2 == 1 {
        plan.training.shape = ModelShape(classes: 10, pixels: 3_072, hidden: [8])
        plan.training.initialStandardDeviation = 0.01
      }
      #expect(expectCorrect(Simulation(seed: seed, plan: plan, faults: FaultPlan(seed: seed))).outcome != nil)
    }
  }

  @Test func `the bits do not depend on the number of workers nor on the faults`() throws {
    var plan = SimulationPlan(seed: 5_000, consistency: bulkSynchronous)
    plan.stoppingRule = StoppingRule()
    var fingerprints: Set<UInt64> = []
    for workers in 1...6 {
      plan.workers = workers
      let report = expectCorrect(
        Simulation(seed: UInt64(workers), plan: plan, faults: FaultPlan(seed: UInt64(5_000 + workers))))
      fingerprints.insert(try #require(report.resultFingerprint))
    }
    #expect(fingerprints.count == 1)
  }

  @Test(arguments: [bulkSynchronous, .bsp(backup: 1), .ssp(3), .asp])
  func `the same seed tells the same story`(consistency: ConsistencyModel) {
    for seed in 0..<10 as Range<UInt64> {
      let simulation = Simulation(seed: seed, consistency: consistency, recordsTrace: true)
      let (first, second) = (simulation.run(), simulation.run())
      #expect(first.trace == second.trace)
      #expect(first.trace.count > 100)
      #expect(first.counts == second.counts)
      // Telling the story does not change it.
      #expect(Simulation(seed: seed, consistency: consistency).run().counts == first.counts)
    }
  }
}

@Suite struct InterruptionTests {
  /// Runs with one kind of fault only, and returns how many of them were resumed from a checkpoint. The result is that
  /// of the sequential trainer, or `expectCorrect` says so.
  private func resumptions(seeds: Range<UInt64>, _ faults: (inout FaultPlan) -> Void) -> Int {
    seeds.count { seed in
      var plan = FaultPlan.none
      plan.span = .seconds(8)
      plan.cease = .seconds(12)
      faults(&plan)
      var simulated = SimulationPlan(seed: seed, consistency: bulkSynchronous)
      // Long enough, and saved often enough, that the faults hit something.
      simulated.computeTime = .milliseconds(200)
      simulated.training.checkpointEvery = 1 + seed % 4
      let simulation = Simulation(seed: seed, plan: simulated, faults: plan)
      return expectCorrect(simulation).counts.resumptions > 0
    }
  }

  @Test func `a run that is stopped by a signal and resumed ends with the same bits`() {
    #expect(resumptions(seeds: 0..<100) { $0.stopSignals = 2 } >= 40)
  }

  @Test func `a run that is killed at any time and resumed ends with the same bits`() {
    #expect(resumptions(seeds: 0..<100) { $0.simultaneousCrashes = 2 } >= 40)
  }

  @Test func `a run that loses power at any time and is resumed ends with the same bits`() {
    #expect(resumptions(seeds: 0..<100) { $0.powerCuts = 3 } >= 40)
  }

  @Test func `a coordinator that comes back finds the run and continues it`() {
    #expect(resumptions(seeds: 0..<100) { $0.coordinatorCrashes = 2 } >= 40)
  }

  @Test func `a disk that fails costs steps and no bits`() {
    let resumed = resumptions(seeds: 0..<100) {
      $0.simultaneousCrashes = 2
      $0.diskFailures = 0.5
      $0.fullDisks = 1
    }
    #expect(resumed >= 20)
  }
}

@Suite struct StragglerTests {
  /// Reports of runs of four workers whose speeds differ as `slowness` says, with no other faults than stalls.
  private func reports(
    _ seeds: Range<UInt64>, slowness: [UInt64] = [1], stalls: Int, _ consistency: ConsistencyModel = bulkSynchronous
  ) -> [Report] {
    seeds.map { seed in
      var faults = FaultPlan.none
      faults.workerStalls = stalls
      faults.span = .seconds(8)
      var plan = SimulationPlan(seed: seed, consistency: consistency)
      plan.workers = 4
      plan.computeTime = .milliseconds(20)
      plan.slowness = slowness
      plan.training.totalSteps = 100
      plan.training.checkpointEvery = 50
      plan.stoppingRule = StoppingRule()
      return expectCorrect(Simulation(seed: seed, plan: plan, faults: faults))
    }
  }

  @Test func `workers of about the same speed take nothing over`() {
    for report in reports(0..<50, stalls: 0) {
      #expect(report.counts.takenOverShards == 0 && report.counts.lateShards == 0)
    }
  }

  /// Of 1,600 shards a run; a stall has one item of four shards to lose, and what is taken over may be late itself.
  @Test(arguments: [bulkSynchronous, .ssp(3), .asp], [[1], [1, 1, 2, 8]] as [[UInt64]])
  func `workers stand still for half a second: none is evicted, and no bit changes`(
    consistency: ConsistencyModel, slowness: [UInt64]
  ) {
    let stalls = 30
    let reports = reports(0..<100, slowness: slowness, stalls: stalls, consistency)
    #expect(reports.allSatisfy { $0.counts.evictions == 0 && $0.outcome?.status == .success })
    #expect(reports.allSatisfy { $0.counts.lateShards <= 8 * stalls })
    let takenOver = reports.reduce(0) { $0 + $1.counts.takenOverShards }
    #expect(consistency == .asp || takenOver > reports.count)
  }

  @Test func `a worker at half speed costs what it does not compute, not what the others wait`() {
    func seconds(_ slowness: [UInt64]) -> Double {
      reports(0..<20, slowness: slowness, stalls: 0).reduce(0) { $0 + $1.seconds }
    }
    // Of four workers' work 3.5 are left: 14 % longer; 100 % if the others waited.
    let ratio = seconds([1, 1, 1, 2]) / seconds([1])
    #expect(ratio > 1 && ratio < 1.5, "\(ratio)")
  }
}

@Suite struct ZombieTests {
  /// How processes ended that had been evicted from runs which outlast every pause, with one kind of fault only.
  private func endingsOfEvicted(_ faults: (inout FaultPlan) -> Void) -> [Report.Ending] {
    (0..<100 as Range<UInt64>).flatMap { seed in
      var plan = FaultPlan.none
      plan.span = .seconds(2)
      plan.longestPause = .seconds(3)
      faults(&plan)
      var simulated = SimulationPlan(seed: seed, consistency: bulkSynchronous)
      simulated.workers = 3
      simulated.computeTime = .milliseconds(200)
      simulated.stoppingRule = StoppingRule()
      return expectCorrect(Simulation(seed: seed, plan: simulated, faults: plan)).endings.filter(\.wasEvicted)
    }
  }

  @Test func `a worker that returns after its lease is fenced`() {
    let endings = endingsOfEvicted { $0.workerPauses = 3 }
    #expect(endings.count >= 50)
    #expect(endings.allSatisfy { $0.status == .fenced }, "\(endings)")
  }

  @Test func `a server that returns after its lease is fenced`() {
    let endings = endingsOfEvicted { $0.serverPauses = 2 }
    #expect(endings.count { $0.role == .server } >= 50)
    #expect(endings.allSatisfy { $0.status == .fenced }, "\(endings)")
  }

  /// Its own silence is not the fault of others.
  @Test func `a coordinator that returns evicts no worker`() {
    #expect(endingsOfEvicted { $0.coordinatorPauses = 3 }.isEmpty)
  }

  @Test func `with clocks that drift apart, no worker is evicted`() {
    #expect(endingsOfEvicted { $0.largestClockDrift = 100_000 }.isEmpty)
  }
}

@Suite struct CoordinatorRestartTests {
  /// Coordinators die and come back, and nothing else happens: no other process has to be started again.
  @Test func `server and workers outlive their coordinators`() {
    var rejoins = 0
    for seed in 0..<100 as Range<UInt64> {
      var faults = FaultPlan.none
      faults.span = .seconds(2)
      faults.coordinatorCrashes = 2
      var plan = SimulationPlan(seed: seed, consistency: bulkSynchronous)
      plan.workers = 3
      plan.computeTime = .milliseconds(200)
      plan.stoppingRule = StoppingRule()
      let report = expectCorrect(Simulation(seed: seed, plan: plan, faults: faults))
      #expect(
        report.counts.serverStarts + report.counts.workerStarts == 4 + report.counts.rejoins,
        "seed \(seed): \(report.endings)")
      #expect(report.endings.allSatisfy { $0.status == .success }, "\(report.endings)")
      rejoins += report.counts.rejoins
    }
    #expect(rejoins >= 200)
  }
}
