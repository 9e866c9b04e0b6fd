/// Which examples are held out and which shard trains on which, as a function of the seed.
///
/// One permutation of all examples: the first `validationCount` are the validation split, the rest is dealt to the
/// shards one at a time, so their sizes differ by at most one and a data set sorted by class does no harm.
public struct DataSplit: Sendable {
  public let validation: [UInt32]
  /// `shards[s]` are the examples of shard s, in the order they were dealt.
  public let shards: [[UInt32]]

  /// `exampleCount` ≤ 2³² − 1, `validationCount` < `exampleCount`, `shardCount` ≥ 1: `TrainingPlan.validate`.
  public init(exampleCount: Int, validationCount: Int, shardCount: Int, seed: UInt64) {
    var order = [UInt32](0..<UInt32(exampleCount))
    var random = RandomSequence(Philox4x64(seed: seed, stream: .dataSplit))
    random.shuffle(&order)
    validation = Array(order[..<validationCount])
    let training = order[validationCount...]
    shards = (0..<shardCount).map { shard in
      stride(from: training.startIndex + shard, to: training.endIndex, by: shardCount).map { training[$0] }
    }
  }

  public init(plan: TrainingPlan) {
    self.init(
      exampleCount: plan.exampleCount, validationCount: plan.validationCount, shardCount: plan.shardCount,
      seed: plan.seed)
  }

  /// All training examples, shard after shard.
  public var training: [UInt32] { Array(shards.joined()) }
}
