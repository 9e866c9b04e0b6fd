import Cluster
import Messaging
import Optimization

/// What is simulated besides the faults.
public struct SimulationPlan: Sendable, Equatable {
  /// Where gradients and evaluations come from.
  public enum Computation: Sendable, Equatable {
    /// Integers drawn from (step, shard, bits of the weights): cheap, and any gradient that is counted twice, missed,
    /// or computed from the wrong weights changes every later bit.
    case synthetic
    /// The real kernel on a small synthetic set of records.
    case kernel

    /// The server never knows the model: where no kernel computes, 32 parameters show what 30,730 do.
    var shape: ModelShape { self == .kernel ? .cifar10 : ModelShape(classes: 2, pixels: 15) }
  }

  public var training: TrainingPlan
  public var stoppingRule = StoppingRule()
  public var timing = Timing()
  /// Workers that are started with the cluster.
  public var workers: Int
  /// A gradient takes this long, and up to twice as long.
  public var computeTime: Interval
  public var computation = Computation.synthetic
  /// Checkpoints that are kept, besides the best one.
  public var keepLast = 2
  /// What adds and applies gradients, and computes them where they are not synthetic.
  public var kernel = KernelVariant.best
  /// Whether a `Supervisor` starts and restarts the processes, as on one host. Otherwise each that ends is restarted after
  /// a while, as by hand.
  public var isSupervised = false

  public init(training: TrainingPlan, workers: Int, computeTime: Interval) {
    self.training = training
    self.workers = workers
    self.computeTime = computeTime
  }

  /// A small run: 16 shards of 2 examples a step, 24 steps. The seed draws the number of workers (1 to 6), momentum,
  /// the intervals of evaluation and checkpoints, how long a gradient takes, how many checkpoints are kept, and whether
  /// there is a target accuracy.
  public init(seed: UInt64, consistency: ConsistencyModel, computation: Computation = .synthetic) {
    var random = SeededRandom(seed: seed, purpose: .plan)
    let momentum: Momentum =
      switch random.integer(below: 3) {
      case 0: .off
      case 1: Momentum(coefficient: 0.5, kind: .polyak)
      default: Momentum(coefficient: 0.5, kind: .nesterov)
      }
    let steps: UInt64 = 24
    let training = TrainingPlan(exampleCount: 640, batchSize: 32, shardCount: 16, totalSteps: steps) {
      $0.shape = computation.shape
      $0.l2 = 0.0625
      $0.seed = seed
      $0.learningRate.base = 0.125
      $0.momentum = momentum
      $0.validationCount = 64
      $0.evaluateEvery = 2 + random.integer(below: 5)
      $0.checkpointEvery = 1 + random.integer(below: 6)
      $0.consistency = consistency
    }
    let target: Double? = random.happens(0.3) ? 0.9 : nil
    self.init(
      training: training, workers: 1 + random.index(below: 6),
      computeTime: .milliseconds(random.element(of: [10, 50, 200])))
    stoppingRule = StoppingRule(targetAccuracy: target)
    self.computation = computation
    keepLast = 1 + random.index(below: 3)
  }

  /// The same under a supervisor. The seed draws the waits as well: the default ones, or those of an impatient run.
  public init(supervisedSeed seed: UInt64) {
    self.init(seed: seed, consistency: .bsp(backup: 0))
    var random = SeededRandom(seed: seed, purpose: .supervision)
    isSupervised = true
    workers = 1 + random.index(below: 3)
    computeTime = .milliseconds(random.element(of: [50, 200, 400]))
    if random.happens(0.5) {
      timing.heartbeat = .seconds(0.2)
      timing.lease = .seconds(0.6)
      timing.rendezvous = .seconds(3)
    }
  }
}
