import Cluster
import ClusterSimulation
import Messaging
import Optimization
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

func expectCorrect(
  seeds: Range<UInt64>, _ consistency: ConsistencyModel, _ computation: SimulationPlan.Computation = .synthetic,
  sourceLocation: SourceLocation = #_sourceLocation
) -> [Report] {
  seeds.map { seed in
    let plan = SimulationPlan(seed: seed, consistency: consistency, computation: computation)
    return expectCorrect(
      Simulation(seed: seed, plan: plan, faults: FaultPlan(seed: seed)), sourceLocation: sourceLocation)
  }
}

@Suite struct FaultToleranceTests {
  static let bulkSynchronous = ConsistencyModel.bsp(backup: 0)

  @Test(arguments: [0, 100, 200, 300] as [UInt64])
  func bulkSynchronousRunsEndWithTheBitsOfTheSequentialTrainer(first: UInt64) {
    let reports = expectCorrect(seeds: first..<(first + 100), Self.bulkSynchronous)
    #expect(reports.allSatisfy { $0.outcome?.reason != .stopped }, "a run stopped that nobody had asked to")
    // The schedules do what they are meant to do.
    #expect(reports.reduce(0) { $0 + $1.counts.crashes } > 100)
    #expect(reports.reduce(0) { $0 + $1.counts.pushesRefused } > 100)
    #expect(reports.reduce(0) { $0 + $1.counts.refused } > 100)
    #expect(reports.contains { $0.counts.serverStarts > 2 })
  }

  @Test func withTheRealKernelTheyDoToo() {
    let reports = expectCorrect(seeds: 1_000..<1_012, Self.bulkSynchronous, .kernel)
    #expect(reports.allSatisfy { $0.outcome != nil })
  }

  @Test func backupShardsAreCountedOnceOrNotAtAll() {
    let reports = expectCorrect(seeds: 2_000..<2_080, .bsp(backup: 1))
    #expect(reports.contains { ($0.outcome?.totals.lateShards ?? 0) > 0 })
  }

  @Test func staleSynchronousRunsKeepTheirBound() {
    let reports = expectCorrect(seeds: 3_000..<3_080, .ssp(3))
    for report in reports { #expect(report.staleness[4...].allSatisfy { $0 == 0 }) }
    #expect(reports.contains { $0.staleness[3] > 0 }, "the bound is never reached")
  }

  @Test func asynchronousRunsApplyEveryPushOnce() {
    _ = expectCorrect(seeds: 4_000..<4_080, .asp)
  }

  /// Schedules that found bugs, kept.
  @Test func theBugsOfThePastStayFixed() {
    // Tickets of a restarted server were taken for old ones.
    _ = expectCorrect(seeds: 19..<20, Self.bulkSynchronous)
    // The old refusal of a server that had been let in since ended the run.
    _ = expectCorrect(seeds: 83..<84, Self.bulkSynchronous)
    // After a departure, a restarted server waited for workers that would not come.
    _ = expectCorrect(seeds: 135..<136, Self.bulkSynchronous)
    // A worker that lost the word of the server's new endpoint held up every step until it was evicted.
    _ = expectCorrect(seeds: 20_503..<20_504, .asp)
  }

  @Test func theBitsDoNotDependOnTheNumberOfWorkersNorOnTheFaults() throws {
    var plan = SimulationPlan(seed: 5_000, consistency: Self.bulkSynchronous)
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

  @Test func theSameSeedTellsTheSameStory() {
    let plan = SimulationPlan(seed: 6_000, consistency: .ssp(3))
    let simulation = Simulation(seed: 6_000, plan: plan, faults: FaultPlan(seed: 6_000), recordsTrace: true)
    let (first, second) = (simulation.run(), simulation.run())
    #expect(first.trace == second.trace)
    #expect(first.trace.count > 100)
    #expect(first.counts == second.counts)
  }
}

@Suite struct InterruptionTests {
  /// What the run ends with when nothing happens to it.
  private func undisturbed(_ plan: SimulationPlan) throws -> UInt64 {
    let report = expectCorrect(Simulation(seed: 1, plan: plan, faults: .none))
    return try #require(report.resultFingerprint)
  }

  @Test func aSignalledRunGoesOnToTheSameBits() throws {
    let resumed = try (0..<20 as Range<UInt64>).filter(signalledRunGoesOn)
    // Otherwise the signals come too late to show anything.
    #expect(resumed.count >= 10)
  }

  /// False where the run was over before the signal, or had nothing to save.
  private func signalledRunGoesOn(seed: UInt64) throws -> Bool {
    let plan = SimulationPlan(seed: seed, consistency: .bsp(backup: 0))
    var faults = FaultPlan(seed: seed)
    faults.diskFailures = 0
    faults.stopSignal = .milliseconds(600 + 150 * seed)
    let interrupted = expectCorrect(Simulation(seed: seed, plan: plan, faults: faults))
    let outcome = try #require(interrupted.outcome)
    guard outcome.reason == .stopped else { return false }
    #expect(outcome.status == .stoppedBySignal)
    guard let checkpoint = interrupted.checkpoints.last else {
      #expect(outcome.step == 0)
      return false
    }
    #expect(checkpoint.step == outcome.step)
    var resumed = plan
    resumed.workers = 1 + (plan.workers + 2) % 6
    let report = expectCorrect(
      Simulation(
        seed: seed, plan: resumed, faults: FaultPlan(seed: seed + 100),
        resuming: InitialState(resuming: checkpoint, path: "checkpoint")))
    #expect(try report.resultFingerprint == undisturbed(plan))
    return true
  }

  @Test func whatIsKilledAtAnyTimeGoesOnToTheSameBits() throws {
    let resumed = try (0..<20 as Range<UInt64>).filter(killedRunGoesOn)
    #expect(resumed.count >= 8)
  }

  /// Whatever is killed when the result is known goes on to it again. False where nothing was saved yet.
  private func killedRunGoesOn(seed: UInt64) throws -> Bool {
    let plan = SimulationPlan(seed: seed, consistency: .bsp(backup: 0))
    var faults = FaultPlan(seed: seed)
    // Up to the moment it is killed, the run is the one that was not: so that moment lies inside of it.
    let whole = expectCorrect(Simulation(seed: seed, plan: plan, faults: faults))
    faults.killEverything = .seconds(whole.seconds * Double(seed + 1) / 21)
    let killed = expectCorrect(Simulation(seed: seed, plan: plan, faults: faults))
    guard let checkpoint = killed.checkpoints.last else { return false }
    let report = expectCorrect(
      Simulation(
        seed: seed, plan: plan, faults: FaultPlan(seed: seed + 100),
        resuming: InitialState(resuming: checkpoint, path: "checkpoint")))
    #expect(try report.resultFingerprint == undisturbed(plan))
    return true
  }
}
