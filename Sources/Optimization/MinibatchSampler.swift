/// Draws the minibatches: b examples of a shard for a step, without replacement within an epoch, in an order that is
/// a function of (seed, epoch, shard). There is no generator state to save, and every caller, in any order,
/// gives the same answer.
public struct MinibatchSampler: Sendable {
  /// ⌊smallest shard / b⌋, the same for all shards so that they pass from epoch to epoch together.
  public let stepsPerEpoch: UInt64

  private let split: DataSplit
  private let examplesPerShard: Int
  private let seed: UInt64
  /// The order of the epoch each shard was last asked for.
  private var orders: [(epoch: UInt64, examples: [UInt32])?]

  /// - Parameter batchSize: B, a multiple of the number of shards, at most S times the smallest shard.
  public init(split: DataSplit, batchSize: Int, seed: UInt64) {
    self.split = split
    self.seed = seed
    examplesPerShard = batchSize / split.shards.count
    let smallestShard = split.shards.map(\.count).min() ?? 0
    precondition((1...max(smallestShard, 1)).contains(examplesPerShard), "the plan was not validated")
    stepsPerEpoch = UInt64(smallestShard / examplesPerShard)
    orders = Array(repeating: nil, count: split.shards.count)
  }

  public func epoch(ofStep step: UInt64) -> UInt64 { step / stepsPerEpoch }

  /// The b examples of `shard` in `step`. Allocates only the first time a shard is asked for; a new epoch shuffles in
  /// place, provided that no slice of the old one is still held.
  public mutating func minibatch(shard: Int, step: UInt64) -> ArraySlice<UInt32> {
    let epoch = epoch(ofStep: step)
    if orders[shard]?.epoch != epoch { shuffle(shard: shard, epoch: epoch) }
    let start = Int(step % stepsPerEpoch) * examplesPerShard
    return orders[shard].unsafelyUnwrapped.examples[start..<(start + examplesPerShard)]
  }

  /// Always from the order of the split, never from that of another epoch: only so is it independent of the calls
  /// made before.
  private mutating func shuffle(shard: Int, epoch: UInt64) {
    var examples = orders[shard]?.examples ?? []
    orders[shard] = nil
    examples.removeAll(keepingCapacity: true)
    examples.append(contentsOf: split.shards[shard])
    var random = RandomSequence(
      Philox4x64(seed: seed, stream: .minibatchOrder), epoch: epoch, shard: UInt64(shard))
    random.shuffle(&examples)
    orders[shard] = (epoch, examples)
  }
}
