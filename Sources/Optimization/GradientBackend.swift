import CKernels

/// Computes the gradients of one plan. Not thread safe; may be moved between threads.
public protocol GradientBackend: AnyObject {
  /// The gradient of the data loss, summed over `shards`' examples of `step`, in units of 1 / `plan.fixedPointScale`.
  /// A function of its arguments alone.
  /// - Parameters:
  ///   - parameters: [parameterCount].
  ///   - shards: some of the plan's shards; their order does not matter.
  ///   - sum: [parameterCount], overwritten.
  func gradient(
    parameters: UnsafePointer<Float>, step: UInt64, shards: ShardSet, into sum: UnsafeMutablePointer<Int32>
  ) -> MinibatchStatistics
}

/// The gradients of the data: draws the minibatch of a step and lets the kernels sum the gradient of the data loss over
/// it. Owns the memory it works in and allocates nothing once every shard was asked for.
///
/// The result is exact in this sense: each shard's gradient is rounded to integers on its own
/// (`TrainingPlan.fixedPointScale`), and integers may be added in any grouping and order. So the sum over all shards
/// has the same bits however they were spread over workers, and whichever variant of the kernel computed them.
public final class KernelBackend: GradientBackend {
  private let plan: TrainingPlan
  private let examples: ExampleTable
  private let workspace: KernelWorkspace
  private var sampler: MinibatchSampler
  /// The records of the minibatch, shard after shard, [B].
  private let records: UnsafeMutablePointer<UnsafePointer<UInt8>?>

  /// - Parameters:
  ///   - plan: one that passed `validate()`, of the CIFAR-10 shape.
  ///   - examples: the training files, `plan.exampleCount` examples.
  ///   - meanImage: [D], in pixel units.
  public init(plan: TrainingPlan, examples: ExampleTable, meanImage: [Float], kernel: KernelVariant) {
    precondition(examples.count == plan.exampleCount, "the plan is for \(plan.exampleCount) examples")
    self.plan = plan
    self.examples = examples
    workspace = KernelWorkspace(
      shape: plan.shape, meanImage: meanImage, capacity: plan.batchSize, kernel: kernel)
    sampler = MinibatchSampler(plan: plan)
    records = .allocate(capacity: plan.batchSize)
  }

  deinit { records.deallocate() }

  public func gradient(
    parameters: UnsafePointer<Float>, step: UInt64, shards: ShardSet, into sum: UnsafeMutablePointer<Int32>
  ) -> MinibatchStatistics {
    var count = 0
    // Shards in rising order.
    for shard in 0..<plan.shardCount where shards.contains(shard) {
      for index in sampler.minibatch(shard: shard, step: step) {
        records[count] = examples.record(at: Int(index))
        count += 1
      }
    }
    var statistics = descent_statistics()
    workspace.kernel.pointee.gradient(
      workspace.pointer, parameters, records, count / plan.examplesPerShard, plan.examplesPerShard,
      plan.loss.kernelLoss, plan.fixedPointScale, sum, &statistics)
    return MinibatchStatistics(examples: count, statistics)
  }
}
