import Cluster
import Glibc
import Messaging
import Optimization

/// The evaluators of both splits. Unchecked because one thread at a time uses them: that of the coordinator's queue of
/// evaluations, or the sequential run's only one.
final class Evaluators: @unchecked Sendable {
  private let count: Int
  private let validation: (evaluator: Evaluator, indices: [UInt32])
  private let test: (evaluator: Evaluator, indices: [UInt32])

  init(_ job: TrainingJob, kernel: KernelVariant) {
    let (shape, loss) = (job.plan.shape, job.plan.loss)
    count = shape.parameterCount
    validation = (
      Evaluator(
        shape: shape, loss: loss, examples: job.training.examples, meanImage: job.meanImage, kernel: kernel),
      // In the order of the file: the pages of neighbours are fetched together, and the sums are of integers.
      job.split.validation.sorted()
    )
    test = (
      Evaluator(
        shape: shape, loss: loss, examples: job.test.examples, meanImage: job.meanImage, kernel: kernel),
      Array(0..<UInt32(job.test.count))
    )
  }

  /// Yields the processor between parts of the work, so that the workers of this host are not held up.
  /// - Parameter state: one that fits the plan.
  func evaluate(_ split: EvaluationSplit, _ state: OptimizerState) -> Evaluation {
    let (evaluator, indices) = split == .validation ? validation : test
    return state.payload.withFloats(count: count) {
      evaluator.evaluate(parameters: $0, indices: indices) { sched_yield() }
    }
  }
}
