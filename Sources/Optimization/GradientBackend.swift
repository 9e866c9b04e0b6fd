import CKernels

/// Computes the gradients of one plan. Not thread safe; may be moved between threads.
public protocol GradientBackend: AnyObject {
  /// The gradient of the data loss, summed over `shards`' examples of `step`, in units of `scale`. A function of its
  /// arguments alone. If the plan's scale is not proven, the statistics have the peaks, which tell whether the sum counts.
  /// - Parameters:
  ///   - parameters: [parameterCount].
  ///   - shards: some of the plan's shards; their order does not matter.
  ///   - sum: [parameterCount], overwritten.
  func gradient(
    parameters: UnsafePointer<Float>, step: UInt64, shards: ShardSet, scale: FixedPointScale,
    into sum: UnsafeMutablePointer<Int32>
  ) -> MinibatchStatistics
}

/// The gradients of the data: draws the minibatch of a step and lets the kernels sum the gradient of the data loss over
/// it. Owns the memory it works in and allocates nothing once every shard was asked for.
///
/// The result is exact in this sense: each shard's gradient is rounded to integers on its own
/// (`FixedPointScale`), and integers may be added in any grouping and order. So the sum over all shards
/// has the same bits however they were spread over workers, and whichever variant of the kernel computed them.
public final class KernelBackend: GradientBackend {
  private let plan: TrainingPlan
  private let examples: ExampleTable
  private let workspace: KernelWorkspace
  private var sampler: MinibatchSampler
  /// The records of the minibatch, shard after shard, [B].
  private let records: UnsafeMutablePointer<UnsafePointer<UInt8>?>
  /// Their numbers in the data set, [B].
  private let indices: UnsafeMutablePointer<UInt32>
  /// What the kernels read and write for each block of the parameters.
  private let scales: UnsafeMutablePointer<Float>
  private let peaks: UnsafeMutablePointer<Int8>
  /// Nil without dropout.
  private var dropout: UnsafeMutablePointer<descent_dropout>?

  /// - Parameters:
  ///   - plan: one that passed `validate()`.
  ///   - examples: the training files, `plan.exampleCount` examples of the plan's shape.
  ///   - meanImage: [D], in pixel units.
  public init(plan: TrainingPlan, examples: ExampleTable, meanImage: [Float], kernel: KernelVariant) {
    precondition(examples.count == plan.exampleCount, "the plan is for \(plan.exampleCount) examples")
    self.plan = plan
    self.examples = examples
    workspace = KernelWorkspace(
      shape: plan.shape, meanImage: meanImage, capacity: plan.batchSize, kernel: kernel)
    sampler = MinibatchSampler(plan: plan)
    records = .allocate(capacity: plan.batchSize)
    indices = .allocate(capacity: plan.batchSize)
    scales = .allocate(capacity: plan.shape.blockCount)
    peaks = .allocate(capacity: plan.shape.blockCount)
    if plan.dropout > 0 {
      dropout = .allocate(capacity: 1)
      dropout?.initialize(to: DropoutMask(plan: plan).kernelDropout(examples: indices))
    }
  }

  deinit {
    records.deallocate()
    indices.deallocate()
    scales.deallocate()
    peaks.deallocate()
    dropout?.deallocate()
  }

  public func gradient(
    parameters: UnsafePointer<Float>, step: UInt64, shards: ShardSet, scale: FixedPointScale,
    into sum: UnsafeMutablePointer<Int32>
  ) -> MinibatchStatistics {
    var count = 0
    // Shards in rising order.
    for shard in 0..<plan.shardCount where shards.contains(shard) {
      for index in sampler.minibatch(shard: shard, step: step) {
        records[count] = examples.record(at: Int(index))
        indices[count] = index
        count += 1
      }
    }
    for block in 0..<plan.shape.blockCount { scales[block] = scale.unitsPerOne(inBlock: block) }
    dropout?.pointee.step = step
    var statistics = descent_statistics()
    workspace.kernel.pointee.gradient(
      workspace.pointer, parameters, records, count / plan.examplesPerShard, plan.examplesPerShard,
      plan.loss.kernelLoss, plan.margin, dropout, scales, sum, &statistics, plan.hasProvenScale ? nil : peaks)
    var result = MinibatchStatistics(examples: count, statistics)
    if !plan.hasProvenScale {
      for block in 0..<plan.shape.blockCount { result.peaks.bits[block] = peaks[block] }
    }
    return result
  }
}
