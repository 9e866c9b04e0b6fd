import Cluster
import Datasets
import Files
import Messaging
import Optimization
import Reporting

extension RunResult {
  init(_ outcome: RunOutcome, _ recorder: RunRecorder) {
    let (job, start, state) = (recorder.job, recorder.start, outcome.state)
    let (totals, before) = (state.snapshot.totals, start.state.snapshot.totals)
    let elapsed = recorder.seconds - start.seconds
    let processed = totals.examples - min(totals.examples, before.examples)
    self.init(run: start.runIdentifier, runDirectory: recorder.paths.directory, stopReason: outcome.reason)
    (steps, epochs, examples) = (state.step, job.epochs(state.step), totals.examples)
    seconds = recorder.seconds
    imagesPerSecond = elapsed > 0 ? Double(processed) / elapsed : nil
    trainLoss = state.trainLoss
    (validationLoss, validationAccuracy) = (state.validation?.meanLoss, state.validation?.accuracy)
    (testLoss, testAccuracy) = (outcome.test?.meanLoss, outcome.test?.accuracy)
    weightsSHA256 = SHA256.hexDigest(of: state.snapshot.state.parameterBytes(of: job.plan.shape))
    checkpoint = outcome.checkpoint
    (stepSeconds.p50, stepSeconds.p99) = (outcome.stepSecondsP50, outcome.stepSecondsP99)
    staleness = totals.staleness.trimmed
    workers = outcome.workers
  }
}

extension [UInt64] {
  /// Without the zeros at the end, but never empty.
  fileprivate var trimmed: [UInt64] { Array(self[...(lastIndex { $0 != 0 } ?? 0)]) }
}
