import Messaging
import Optimization

/// W, the optimizer's state and the clocks of the shards: what the server does to the numbers, apart from
/// whom it talks to. Consistency is a matter of two questions: may work start on a clock (`nextWork`), and
/// is a push applied at once (`ssp`, `asp`) or when the step's shards are in (`bsp`).
struct ParameterStore {
  /// Shards to compute at one clock, `staleness` clocks ahead of the slowest shard of all.
  struct Work: Equatable {
    var clock: UInt64
    var shards: ShardSet
    var staleness: UInt64
  }

  /// What a push led to.
  enum Effect: Equatable {
    /// Its step was complete without it (`bsp:backup=b`).
    case late
    case applied
    /// The weights stand at a new step.
    case steppedForward
  }

  let plan: TrainingPlan
  let kernel: KernelVariant
  private let rule: UpdateRule
  private(set) var state: TrainingState
  /// Steps applied for each shard; under `bsp` all equal the state's step.
  private(set) var shardClocks: [UInt64]
  private(set) var totals: RunTotals
  /// Since the last multiple of the evaluation interval.
  private(set) var interval = MinibatchStatistics.zero
  private(set) var newestLoss = Double.nan
  /// ‖g‖₂ of the newest update.
  private(set) var gradientNorm = Double.nan

  /// The open step of `bsp`: the shards that are in, their sum, and their statistics. The first push is kept as it came;
  /// only a third one needs a sum to be written down before the update reads it.
  private(set) var received = ShardSet()
  private var firstPush: Payload?
  private var sum: [Int32]
  private var openStatistics = MinibatchStatistics.zero
  private var appliedShards: UInt64
  /// The current weights as sent to workers, made when first needed after an update.
  private var encodedParameters: Payload?
  private let pool: PayloadPool
  /// Weights of different steps that one worker may still be reading: as many as can be under way to it.
  private static let weightsPerWorker = 4

  /// Nil if the state does not fit the plan.
  init?(
    plan: TrainingPlan, start: TrainingSnapshot, kernel: KernelVariant, makePool: (Int, Int) -> PayloadPool
  ) {
    guard let state = TrainingState(start, plan: plan) else { return nil }
    self.plan = plan
    self.state = state
    self.kernel = kernel
    rule = UpdateRule(plan: plan, kernel: kernel)
    shardClocks = start.shardClocks
    totals = start.totals
    sum = Array(repeating: 0, count: plan.shape.parameterCount)
    appliedShards = shardClocks.reduce(0, &+)
    self.state.step = appliedShards / UInt64(plan.shardCount)
    pool = makePool(
      plan.shape.parameterCount * MemoryLayout<Float>.stride, plan.shardCount * Self.weightsPerWorker + 2)
  }

  var step: UInt64 { state.step }

  /// A copy of where training stands.
  var snapshot: TrainingSnapshot {
    TrainingSnapshot(step: step, shardClocks: shardClocks, totals: totals, state: OptimizerState(state))
  }

  /// Every step of the plan has been applied.
  var isComplete: Bool { step >= plan.totalSteps }

  /// Float32 [parameters], shared by all workers that are sent the same weights.
  mutating func parameters() -> Payload {
    if let encodedParameters { return encodedParameters }
    let encoded = pool.make { target in
      state.parameters.values.withUnsafeBytes { target.copyMemory(from: $0) }
    }
    encodedParameters = encoded
    return encoded
  }

  // MARK: Which work may start

  /// Those of the shards that are still to be computed and furthest behind, if the consistency model lets
  /// them be that far ahead of the slowest shard of all.
  func nextWork(on shards: ShardSet) -> Work? {
    let missing = shards.subtracting(received)
    guard let clock = lowestClock(of: missing), clock < plan.totalSteps,
      let slowest = shardClocks.min(), plan.consistency.mayStart(aheadBy: clock - slowest)
    else { return nil }
    var work = Work(clock: clock, shards: ShardSet(), staleness: clock - slowest)
    for shard in missing where shardClocks[shard] == clock { work.shards.insert(shard) }
    return work
  }

  /// A loop, because the closure of a lazy map would be allocated each time.
  private func lowestClock(of shards: ShardSet) -> UInt64? {
    var lowest: UInt64?
    for shard in shards { lowest = min(lowest ?? .max, shardClocks[shard]) }
    return lowest
  }

  /// Whether the open step still lacks one of the shards.
  func lacks(_ shards: ShardSet) -> Bool { !shards.isSubset(of: received) }

  // MARK: Applying pushes

  /// Takes a push that nothing is to be said against and that answers the given work.
  mutating func apply(_ push: Message.Push, answering work: Work) -> Effect {
    plan.consistency.appliesWholeSteps
      ? addToOpenStep(push, answering: work) : applyAtOnce(push, answering: work)
  }

  /// `bsp`: the sum grows until all shards of the step are in, or all but the backup ones.
  private mutating func addToOpenStep(_ push: Message.Push, answering work: Work) -> Effect {
    guard work.clock == step else {
      totals.lateShards += UInt64(push.shards.count)
      return .late
    }
    let isFirst = received.isEmpty
    received = received.union(push.shards)
    openStatistics += push.statistics
    totals.recordStaleness(work.staleness)
    if received.count >= plan.shardCount - plan.consistency.backupShards {
      applyOpenStep(with: push.gradient, isFirst: isFirst)
      return .steppedForward
    }
    if isFirst {
      firstPush = push.gradient
    } else {
      add(push.gradient)
    }
    return .applied
  }

  private mutating func add(_ gradient: Payload) {
    let addend = gradient.bytes.baseAddress.unsafelyUnwrapped
    sum.withUnsafeMutableBufferPointer { sum in
      kernel.add(
        firstPush?.bytes.baseAddress ?? UnsafeRawPointer(sum.baseAddress.unsafelyUnwrapped), addend, into: sum)
    }
    firstPush = nil
  }

  /// The last push of a step is added, applied and made into the weights that workers are sent in one pass.
  private mutating func applyOpenStep(with last: Payload, isFirst: Bool) {
    let gradient = last.bytes.baseAddress.unsafelyUnwrapped
    let examples = openStatistics.examples
    encodedParameters = pool.make { [rule, firstPush] target in
      let copy = target.assumingMemoryBound(to: Float.self).baseAddress
      let step = state.step
      gradientNorm = sum.withUnsafeBytes { sum in
        let others = firstPush?.bytes.baseAddress ?? sum.baseAddress.unsafelyUnwrapped
        return isFirst
          ? rule.apply(gradient, examples: examples, learningRate: step, to: &state, copy: copy)
          : rule.apply(others, adding: gradient, examples: examples, learningRate: step, to: &state, copy: copy)
      }
    }
    firstPush = nil
    account(for: openStatistics)
    state.step += 1
    appliedShards += UInt64(plan.shardCount)
    for shard in shardClocks.indices { shardClocks[shard] += 1 }
    received = ShardSet()
    openStatistics = .zero
  }

  /// `ssp` and `asp`: a push of k shards is k/S of a step, applied as it comes.
  private mutating func applyAtOnce(_ push: Message.Push, answering work: Work) -> Effect {
    let gradient = push.gradient.bytes.baseAddress.unsafelyUnwrapped
    encodedParameters = pool.make { [rule] target in
      gradientNorm = rule.applyFraction(
        gradient, shards: push.shards.count, learningRateStep: state.step, to: &state,
        copy: target.assumingMemoryBound(to: Float.self).baseAddress)
    }
    account(for: push.statistics)
    totals.recordStaleness(work.staleness)
    for shard in push.shards { shardClocks[shard] += 1 }
    appliedShards += UInt64(push.shards.count)
    let before = step
    state.step = appliedShards / UInt64(plan.shardCount)
    return step > before ? .steppedForward : .applied
  }

  private mutating func account(for statistics: MinibatchStatistics) {
    totals.examples += UInt64(statistics.examples)
    interval += statistics
    newestLoss = statistics.meanLoss
  }

  /// The next interval of the training loss begins.
  mutating func beginInterval() { interval = .zero }
}

extension RunTotals {
  mutating func recordStaleness(_ clocks: UInt64) {
    staleness[Int(min(clocks, UInt64(Self.stalenessBuckets - 1)))] += 1
  }
}

extension ConsistencyModel {
  /// Whether updates wait for the shards of a whole step.
  var appliesWholeSteps: Bool {
    if case .bsp = self { true } else { false }
  }

  /// Shards a step does not wait for.
  var backupShards: Int {
    if case .bsp(let backup) = self { backup } else { 0 }
  }

  /// Whether work may start that is this many clocks ahead of the slowest shard.
  func mayStart(aheadBy clocks: UInt64) -> Bool {
    switch self {
    case .bsp: clocks == 0
    case .ssp(let bound): clocks <= UInt64(bound)
    case .asp: true
    }
  }
}
