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
  /// Worker n takes this many times as long for a shard as the fastest: element n, from the beginning again after the last.
  public var slowness: [UInt64] = [1]
  /// Of the host that all workers share with the server, if they share memory with it.
  public var processors: Int?
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

  /// Four and six blocks of parameters, each with a scale of its own.
  private static let networks = [
    ModelShape(classes: 2, pixels: 5, hidden: [3]),
    ModelShape(classes: 3, pixels: 4, hidden: [4, 2], activation: .elu(alpha: 0.5)),
  ]

  /// A small run: 16 shards of 2 examples a step, 24 steps. The seed draws the number of workers (1 to 6), the optimizer,
  /// the intervals of evaluation and checkpoints, how long a gradient takes, in three of ten runs how much slower some
  /// workers are, how many checkpoints are kept, whether there
  /// is a target accuracy, and in three of ten runs a loss without a bound or a network, where the scale of sums follows
  /// the gradients.
  public init(seed: UInt64, consistency: ConsistencyModel, computation: Computation = .synthetic) {
    var random = SeededRandom(seed: seed, purpose: .plan)
    var optimizers = SeededRandom(seed: seed, purpose: .optimizer)
    // As often without a vector of state as with one and with two.
    let optimizer: Optimizer =
      switch random.integer(below: 3) {
      case 0: Optimizer(.sgd)
      case 1: Optimizer(optimizers.element(of: [.momentum, .nesterov, .adagrad, .rmsprop]), [.momentum: 0.5])
      default: Optimizer(optimizers.element(of: [.adam, .adamw]))
      }
    let steps: UInt64 = 24
    var training = TrainingPlan(exampleCount: 640, batchSize: 32, shardCount: 16, totalSteps: steps) {
      $0.shape = computation.shape
      $0.l2 = 0.0625
      $0.seed = seed
      $0.learningRate.base = 0.125
      $0.optimizer = optimizer
      $0.validationCount = 64
      $0.evaluateEvery = 2 + random.integer(below: 5)
      $0.checkpointEvery = 1 + random.integer(below: 6)
      $0.consistency = consistency
    }
    let target: Double? = random.happens(0.3) ? 0.9 : nil
    var scale = SeededRandom(seed: seed, purpose: .scale)
    if computation == .synthetic, scale.happens(0.3) {
      let isNetwork = scale.happens(0.5)
      if isNetwork {
        training.shape = scale.element(of: Self.networks)
        training.initialStandardDeviation = 0.5
        training.dropout = scale.element(of: [0, 0.5])
      }
      training.loss = scale.element(
        of: Loss.allCases.filter { isNetwork || $0.largestScoreDerivative(classes: computation.shape.classes) == nil })
    }
    self.init(
      training: training, workers: 1 + random.index(below: 6),
      computeTime: .milliseconds(random.element(of: [10, 50, 200])))
    stoppingRule = StoppingRule(targetAccuracy: target)
    self.computation = computation
    keepLast = 1 + random.index(below: 3)
    var speeds = SeededRandom(seed: seed, purpose: .speeds)
    if speeds.happens(0.3) { slowness = (0..<5).map { _ in speeds.element(of: [1, 1, 2, 3, 8]) } }
    var hosts = SeededRandom(seed: seed, purpose: .hosts)
    if hosts.happens(0.3) { processors = 1 + hosts.index(below: 3) }
  }

  /// The most workers that a run can have.
  public static let mostWorkers = Message.Assignment.maximumMembers

  /// The same with so many workers, 1 to `mostWorkers`: where the 16 shards are too few, there is one at least for each
  /// worker, in a power of two, with 2 examples a step as before.
  public init(seed: UInt64, consistency: ConsistencyModel, workers: Int) {
    self.init(seed: seed, consistency: consistency)
    self.workers = workers
    guard workers > training.shardCount else { return }
    // So many have hosts of their own.
    processors = nil
    while training.shardCount < workers { training.shardCount *= 2 }
    training.batchSize = 2 * training.shardCount
    training.exampleCount = 20 * training.batchSize
  }

  /// How long a worker takes for some shards, at its fastest; each time up to twice as long.
  func computeTime(of worker: Int, shards: Int) -> Interval {
    if slowness == [1] { return computeTime }
    let share = Double(shards * workers) / Double(training.shardCount)
    return .seconds(computeTime.seconds * Double(slowness[worker % slowness.count]) * share)
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
