import Cluster
import Datasets
import Files
import Reporting

extension RunResult {
  init(_ outcome: RunOutcome, _ recorder: RunRecorder) {
    let (job, opening) = (recorder.job, recorder.opening)
    let elapsed = recorder.seconds - opening.seconds
    let processed = outcome.totals.examples - min(outcome.totals.examples, opening.initial.totals.examples)
    let parameterBytes = job.plan.shape.parameterCount * MemoryLayout<Float>.stride
    self.init(
      run: opening.runIdentifier, runDirectory: recorder.paths.directory, stopReason: outcome.reason,
      steps: outcome.step, epochs: job.epochs(outcome.step), examples: outcome.totals.examples,
      seconds: recorder.seconds, imagesPerSecond: elapsed > 0 ? Double(processed) / elapsed : nil,
      trainLoss: outcome.trainLoss, validationLoss: outcome.validation?.meanLoss,
      validationAccuracy: outcome.validation?.accuracy, testLoss: outcome.test?.meanLoss,
      testAccuracy: outcome.test?.accuracy,
      weightsSHA256: SHA256.hexDigest(of: UnsafeRawBufferPointer(rebasing: outcome.state.bytes[..<parameterBytes])),
      checkpoint: outcome.checkpoint,
      stepSeconds: StepSeconds(p50: outcome.stepSecondsP50, p99: outcome.stepSecondsP99),
      staleness: outcome.totals.staleness.trimmed, workers: outcome.workers)
  }
}

extension [UInt64] {
  /// Without the zeros at the end, but never empty.
  fileprivate var trimmed: [UInt64] { Array(self[...(lastIndex { $0 != 0 } ?? 0)]) }
}
