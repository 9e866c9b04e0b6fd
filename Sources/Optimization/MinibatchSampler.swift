/// Which examples are held out and which shard trains on which, as a function of the seed.
///
/// One permutation of all examples: those at the positions `validation` are the validation split, the rest is dealt to the
/// shards one at a time, so their sizes differ by at most one and a data set sorted by class does no harm. The folds of a
/// cross-validation are successive positions of the same permutation.
public struct DataSplit: Sendable {
  public let validation: [UInt32]
  /// `shards[s]` are the examples of shard s, in the order they were dealt.
  public let shards: [[UInt32]]

  /// `exampleCount` ≤ 2³² − 1, `validation` a part of 0 ..< `exampleCount`, `shardCount` ≥ 1: `TrainingPlan.validate`.
  public init(exampleCount: Int, validation: Range<Int>, shardCount: Int, seed: UInt64) {
    var order = [UInt32](0..<UInt32(exampleCount))
    var random = RandomSequence(Philox4x64(seed: seed, stream: .dataSplit))
    random.shuffle(&order)
    self.validation = Array(order[validation])
    order.removeSubrange(validation)
    let training = order
    shards = (0..<shardCount).map { shard in
      stride(from: training.startIndex + shard, to: training.endIndex, by: shardCount).map { training[$0] }
    }
  }

  public init(plan: TrainingPlan) {
    self.init(
      exampleCount: plan.exampleCount, validation: plan.validationPositions, shardCount: plan.shardCount,
      seed: plan.seed)
  }

  /// All training examples, shard after shard.
  public var training: [UInt32] { Array(shards.joined()) }
}

/// Draws the minibatches: b examples of a shard for a step, without replacement within an epoch, in an order that is
/// a function of (seed, epoch, shard). There is no generator state to save, and every caller, in any order,
/// gives the same answer.
public struct MinibatchSampler: Sendable {
  private let plan: TrainingPlan
  private let split: DataSplit
  /// The order of the epoch each shard was last asked for.
  private var orders: [(epoch: UInt64, examples: [UInt32])?]

  /// - Parameter plan: one that passed `validate()`.
  public init(plan: TrainingPlan) {
    self.plan = plan
    split = DataSplit(plan: plan)
    orders = Array(repeating: nil, count: plan.shardCount)
  }

  /// The b examples of `shard` in `step`. Allocates only the first time a shard is asked for; a new epoch shuffles in
  /// place, provided that no slice of the old one is still held.
  public mutating func minibatch(shard: Int, step: UInt64) -> ArraySlice<UInt32> {
    let epoch = step / plan.stepsPerEpoch
    if orders[shard]?.epoch != epoch { shuffle(shard: shard, epoch: epoch) }
    let start = Int(step % plan.stepsPerEpoch) * plan.examplesPerShard
    return orders[shard].unsafelyUnwrapped.examples[start..<(start + plan.examplesPerShard)]
  }

  /// Always from the order of the split, never from that of another epoch: only so is it independent of the calls
  /// made before.
  private mutating func shuffle(shard: Int, epoch: UInt64) {
    var examples = orders[shard]?.examples ?? []
    orders[shard] = nil
    examples.removeAll(keepingCapacity: true)
    examples.append(contentsOf: split.shards[shard])
    var random = RandomSequence(
      Philox4x64(seed: plan.seed, stream: .minibatchOrder), epoch: epoch, shard: UInt64(shard))
    random.shuffle(&examples)
    orders[shard] = (epoch, examples)
  }
}
