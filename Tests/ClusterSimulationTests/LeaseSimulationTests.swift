import ClusterSimulation
import TestSupport
import Testing

@Suite("Leases") struct LeaseSimulationTests {
  /// Seeds of each run of the tests: a second of a processor.
  private static let seeds: UInt64 = 2000

  @Test func `processes of several hosts want one lease: no two of them write, and one goes on`() throws {
    var total = LeaseSimulation.Report()
    for seed in 0..<Self.seeds {
      var simulation = LeaseSimulation(seed: seed)
      let report = simulation.run()
      #expect(report.wrongWrites == 0, "seed \(seed): \(report)")
      #expect(report.holders <= 1, "seed \(seed): \(report)")
      total.writes += report.writes
      total.successors += report.successors
      total.losses += report.losses
      total.refusals += report.refusals
      total.recoveries += report.recoveries
      if report.isHeld { total.holders += 1 }
    }
    // Each kind of thing has happened.
    #expect(total.writes > 100_000 && total.successors > 1000 && total.losses > 100, "\(total)")
    #expect(total.refusals > 1000 && total.recoveries > 1000, "\(total)")
    try Evidence.add(
      .simulation, "\(total.writes) writes", times: Int(Self.seeds),
      observed: "none beside another holder; \(total.successors) took over, \(total.losses) lost the lease")
  }

  @Test func `the same seed gives the same report`() {
    var (first, second) = (LeaseSimulation(seed: 7), LeaseSimulation(seed: 7))
    #expect(first.run() == second.run())
  }
}
