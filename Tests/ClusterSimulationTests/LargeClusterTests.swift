import Cluster
import ClusterSimulation
import Diagnostics
import Messaging
import Optimization
import TestSupport
import Testing

/// A thousand workers, as `descent simulate --workers 1000` plays them: faults of the existing kinds, as many more of them
/// as there are more workers.
@Suite struct LargeClusterTests {
  private static let workers = 1_000

  @Test(arguments: [0, 1, 2, 3] as [UInt64])
  func `a thousand workers with faults under bsp: the run ends with the bits of the sequential trainer`(
    seed: UInt64
  ) throws {
    let report = expectCorrect(Simulation(seed: seed, consistency: bulkSynchronous, workers: Self.workers))
    let outcome = try #require(report.outcome)
    #expect(outcome.status == .success || report.counts.diskFailures > 0)
    #expect(report.counts.workerStarts >= Self.workers)
    #expect(report.counts.pushesCounted >= Int(outcome.state.step) * Self.workers / 4)
    try Evidence.add(
      .simulation, "1,000 workers, one schedule for each seed; seconds are simulated",
      observed: "all invariants held", recovery: [max(0, report.secondsAfterFaults ?? 0)])
  }

  @Test func `a thousand workers with faults under asp: every push is applied once`() throws {
    let report = expectCorrect(Simulation(seed: 0, consistency: .asp, workers: Self.workers))
    #expect(try #require(report.outcome).isOfTheTraining)
    #expect(report.counts.pushesCounted > Self.workers)
  }

  @Test func `the bits of a thousand workers with faults are those of one without`() throws {
    var plan = SimulationPlan(seed: 7, consistency: bulkSynchronous, workers: Self.workers)
    plan.stoppingRule = StoppingRule()
    plan.slowness = [1]
    let many = expectCorrect(Simulation(seed: 7, plan: plan, faults: FaultPlan(seed: 7, workers: Self.workers)))
    plan.workers = 1
    let one = expectCorrect(Simulation(seed: 8, plan: plan, faults: .none))
    #expect(many.counts.faults > 0 && one.counts.faults == 0)
    let fingerprint = try #require(many.resultFingerprint)
    #expect(fingerprint == one.resultFingerprint)
  }

  @Test func `more workers than a run can have come: those beyond are refused, and the run ends`() {
    var plan = SimulationPlan(seed: 9, consistency: bulkSynchronous, workers: SimulationPlan.mostWorkers)
    plan.computeTime = .milliseconds(200)
    plan.stoppingRule = StoppingRule()
    var faults = FaultPlan.none
    faults.lateJoiners = 8
    faults.span = .seconds(2)
    let report = expectCorrect(Simulation(seed: 9, plan: plan, faults: faults))
    #expect(report.outcome?.status == .success)
    let refused = report.endings.filter { $0.status == .refused }
    #expect(!refused.isEmpty && refused.allSatisfy { $0.reason.contains("1024 workers") })
  }

  @Test func `the same seed of a large cluster gives the same counts`() {
    let simulation = Simulation(seed: 11, consistency: bulkSynchronous, workers: 100)
    #expect(expectCorrect(simulation).counts == simulation.run().counts)
  }
}

extension Report.Counts {
  /// Processes and messages that something was done to.
  fileprivate var faults: Int { crashes + pauses + partitions + swizzles + powerCuts + silences + diskFailures }
}
