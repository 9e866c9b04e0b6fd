import Dispatch
import Optimization

/// The gradients of the data by several threads: each computes some of the shards, and their sums are added as
/// integers, so the bits are those of one thread (`KernelBackend`).
package final class ParallelBackend: GradientBackend {
  /// What one thread works with.
  private struct Part {
    let backend: KernelBackend
    let shards: ShardSet
    /// [parameterCount].
    let sum: UnsafeMutableBufferPointer<Int32>
  }

  private let parts: [Part]
  private let kernel: KernelVariant

  /// - Parameters:
  ///   - plan: one that passed `validate()`.
  ///   - examples: the training files, `plan.exampleCount` examples of the plan's shape.
  ///   - meanImage: [D], in pixel units.
  ///   - threads: at least 1; no more are used than there are shards.
  package init(plan: TrainingPlan, examples: ExampleTable, meanImage: [Float], kernel: KernelVariant, threads: Int) {
    let count = min(threads, plan.shardCount)
    self.kernel = kernel
    parts = (0..<count).map { index in
      Part(
        backend: KernelBackend(plan: plan, examples: examples, meanImage: meanImage, kernel: kernel),
        shards: ShardSet(range: plan.shardCount * index / count..<plan.shardCount * (index + 1) / count),
        sum: .allocate(capacity: plan.shape.parameterCount))
    }
  }

  deinit { for part in parts { part.sum.deallocate() } }

  package func gradient(
    parameters: UnsafePointer<Float>, step: UInt64, shards: ShardSet, scale: FixedPointScale,
    into sum: UnsafeMutablePointer<Int32>
  ) -> MinibatchStatistics {
    var results = [MinibatchStatistics](repeating: .zero, count: parts.count)
    results.withUnsafeMutableBufferPointer { results in
      // Each thread writes its own element and its own sum.
      nonisolated(unsafe) let (results, parts, parameters) = (results, parts, parameters)
      DispatchQueue.concurrentPerform(iterations: parts.count) { index in
        let part = parts[index]
        guard let target = part.sum.baseAddress else { return }
        results[index] = part.backend.gradient(
          parameters: parameters, step: step, shards: part.shards.intersection(shards), scale: scale, into: target)
      }
    }
    let total = UnsafeMutableBufferPointer(start: sum, count: parts[0].sum.count)
    _ = total.update(fromContentsOf: parts[0].sum)
    for part in parts.dropFirst() {
      guard let addend = part.sum.baseAddress else { continue }
      kernel.add(sum, addend, into: total)
    }
    return results.reduce(.zero, +)
  }
}
