import Messaging
import Optimization

/// A whole cluster with its faults, in one thread, from one seed: the real state machines of all roles, every message
/// really encoded and decoded, the real checkpoint store, and clocks, a network, processes and a disk that are drawn
/// from the seed. The same seed and plans give the same report to the last bit, on every machine.
///
/// ```swift
/// let report = Simulation(seed: 7, consistency: .bsp(backup: 0)).run()
/// ```
///
/// After every event the checker compares the server with its own account of what was counted: no (step, shard)
/// twice, no push of an older epoch, no work beyond the staleness bound, weights bit for bit those of the counted
/// gradients, every queue within its bound, nothing announced as durable that a power cut could take away or that was
/// never reached, no announced step lost when the run is resumed, the best model on the disk and on the test split, and
/// under `bsp` the result of the sequential trainer.
/// Once faults cease the run must finish within `patience`.
public struct Simulation {
  public let seed: UInt64
  public let plan: SimulationPlan
  public let faults: FaultPlan
  /// Whether to tell every event in the report's trace.
  public var recordsTrace: Bool
  package var sabotage = Sabotage()

  public init(seed: UInt64, plan: SimulationPlan, faults: FaultPlan, recordsTrace: Bool = false) {
    self.seed = seed
    self.plan = plan
    self.faults = faults
    self.recordsTrace = recordsTrace
  }

  /// The schedule that `descent simulate --seed` replays: plan and faults are drawn from the seed as well.
  /// - Parameter workers: 1 to `SimulationPlan.mostWorkers`; nil for 1 to 6, drawn from the seed.
  public init(
    seed: UInt64, consistency: ConsistencyModel, workers: Int? = nil, kernel: KernelVariant = .best,
    recordsTrace: Bool = false
  ) {
    var plan = SimulationPlan(seed: seed, consistency: consistency)
    var faults = FaultPlan(seed: seed)
    if let workers {
      plan = SimulationPlan(seed: seed, consistency: consistency, workers: workers)
      faults = FaultPlan(seed: seed, workers: workers)
    }
    plan.kernel = kernel
    self.init(seed: seed, plan: plan, faults: faults, recordsTrace: recordsTrace)
  }

  /// A run of one host under a supervisor; plan and faults are drawn from the seed as well.
  public init(supervisedSeed seed: UInt64, recordsTrace: Bool = false) {
    let plan = SimulationPlan(supervisedSeed: seed)
    self.init(
      seed: seed, plan: plan, faults: FaultPlan(supervisedSeed: seed, timing: plan.timing), recordsTrace: recordsTrace)
  }

  /// Simulated time in which a run must finish once faults have ceased: every lease and back-off once, the
  /// coordinator's wait for workers that do not come, and every step once more, each with one gradient at its slowest, or
  /// two where its scale may have to change.
  public static func patience(_ plan: SimulationPlan) -> Interval {
    let slowest = plan.slowness == [1] ? 1 : Double(plan.workers) * Double(plan.slowness.max() ?? 1)
    let stepSeconds =
      (2 * plan.computeTime.seconds * slowest + 0.01) * (plan.training.hasProvenScale ? 1 : 2)
    let waits = plan.timing.lease.seconds * 2 + plan.timing.rendezvous.seconds + plan.timing.shutdownGrace.seconds + 10
    return .seconds(waits + stepSeconds * Double(plan.training.totalSteps))
  }

  /// Simulated time after the result (or the last fault) in which every process must have ended: a process that
  /// the coordinator's stop does not reach gives up by itself.
  public static func farewell(_ plan: SimulationPlan) -> Interval {
    let timing = plan.timing
    let members = timing.rendezvous.seconds + timing.shutdownGrace.seconds + timing.lease.seconds
    return .seconds(plan.isSupervised ? members + timing.exitGrace.seconds + 2 * timing.killDelay.seconds : members)
  }

  public func run() -> Report {
    let world = World(self)
    world.run()
    return world.report
  }
}
