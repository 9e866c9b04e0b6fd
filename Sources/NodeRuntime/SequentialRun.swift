import Cluster
import Diagnostics
import Messaging
import Optimization
import Reporting
import RunConfiguration

/// Trains in this process, without workers: the same run directory, evaluations, checkpoints and result as with them, and
/// under `bsp` the same bits.
///
/// - Throws: what kept it from beginning; how the run ended otherwise is the result.
public func runSequentially(settings: ResolvedSettings, options: RunOptions) throws(Failure) -> RunEnding {
  try runSequentially(settings: settings, options: options, in: NodeProcess(diesWithParent: options.diesWithParent))
}

package func runSequentially(
  settings: ResolvedSettings, options: RunOptions, in process: NodeProcess
) throws(Failure) -> RunEnding {
  let job = try TrainingJob(settings: settings)
  let recorder = try RunRecorder(job: job, options: options, role: "train")
  var run = try SequentialRun(job: job, recorder: recorder, process: process)
  return run.run()
}

/// The loop: step, now and then evaluate and save, until a reason to stop.
struct SequentialRun {
  /// Between two looks at the clock and the progress, in steps.
  private static let progressSteps: UInt64 = 16

  private let job: TrainingJob
  private let recorder: RunRecorder
  private let interruptions: Interruptions
  private let evaluators: Evaluators
  private var trainer: SequentialTrainer
  private var monitor: ConvergenceMonitor
  private var totals: RunTotals
  private var interval = MinibatchStatistics.zero
  private var durations = LatencyHistogram()
  private var validation: Evaluation?
  private var trainLoss: Double?
  private var gradientNorm = Double.nan
  /// What the run came to if it diverges: the state of the newest evaluation or checkpoint, as with workers.
  private var kept: (step: UInt64, totals: RunTotals, state: Payload)
  private var checkpoint: String?
  private var saveFailure: Failure?
  private var nextTimedCheckpoint: Instant?

  init(job: TrainingJob, recorder: RunRecorder, process: NodeProcess) throws(Failure) {
    let initial = recorder.opening.initial
    guard let state = TrainingState(plan: job.plan, step: initial.step, payload: initial.state) else {
      throw Failure(.internalError, "the state to begin with does not fit the plan")
    }
    self.job = job
    self.recorder = recorder
    interruptions = process.interruptions
    evaluators = Evaluators(job, kernel: process.kernel)
    trainer = SequentialTrainer(
      plan: job.plan, examples: job.training.examples, meanImage: job.meanImage, state: state,
      kernel: process.kernel)
    monitor = initial.monitor
    totals = initial.totals
    kept = (initial.step, initial.totals, initial.state)
    trainLoss = initial.trainLoss
    checkpoint = initial.checkpoint
  }

  mutating func run() -> RunEnding {
    recorder.trainingBegins()
    scheduleTimedCheckpoint()
    var stopped: (reason: StopReason, status: ExitStatus)?
    // A run that was killed between its decision and its result has nothing more to train.
    if isComplete || monitor.verdict != nil { stopped = decide() }
    while stopped == nil { stopped = advance() }
    recorder.trainingEnds()
    let (reason, status) = stopped ?? (.stopped, .internalError)
    return finish(reason, status)
  }

  private var step: UInt64 { trainer.state.step }
  private var isComplete: Bool { step >= job.plan.totalSteps }

  /// One step and what is due after it.
  private mutating func advance() -> (StopReason, ExitStatus)? {
    if interruptions.poll() { return (.stopped, .stoppedBySignal) }
    let began = MonotonicClock.now()
    let statistics = trainer.step()
    guard statistics.minibatch.isFinite else { return (.diverged, .internalError) }
    durations.record(nanoseconds: MonotonicClock.now().since(began).nanoseconds)
    interval += statistics.minibatch
    gradientNorm = statistics.gradientNorm
    totals.examples += UInt64(statistics.minibatch.examples)
    totals.staleness[0] += 1
    if step % Self.progressSteps == 0 { showProgress(loss: statistics.minibatch.meanLoss) }
    if isComplete || job.plan.isEvaluationStep(step) || job.plan.isCheckpointStep(step) { return decide() }
    if let due = nextTimedCheckpoint, MonotonicClock.now() >= due { save() }
    return nil
  }

  private func showProgress(loss: Double) {
    recorder.progress(step: step, examples: totals.examples, loss: loss, workers: 0)
  }

  /// Evaluates, reports, saves, and says whether this is the end: what the coordinator does with a snapshot.
  private mutating func decide() -> (StopReason, ExitStatus)? {
    var reason: StopReason?
    if interval.examples > 0 { trainLoss = interval.meanLoss }
    let evaluation = evaluators.evaluate(.validation, state)
    validation = evaluation
    recorder.evaluated(
      EvaluatedStep(
        step: step, train: interval, validation: evaluation, gradientNorm: gradientNorm, examples: totals.examples,
        workers: 0))
    if job.plan.isEvaluationStep(step), interval.examples > 0 {
      reason = monitor.observe(validation: evaluation, gradientNorm: gradientNorm)
    }
    if reason != .diverged { kept = (step, totals, state) }
    if job.plan.isEvaluationStep(step) { interval = .zero }
    reason = reason ?? monitor.verdict ?? (isComplete ? job.stoppingRule.endOfPlan : nil)
    if let reason { return (reason, reason == .diverged ? .internalError : .success) }
    if job.plan.isCheckpointStep(step) { save() }
    return nil
  }

  private var state: Payload { trainer.state.payload }

  private mutating func save() {
    scheduleTimedCheckpoint()
    let snapshot = CheckpointRequest(
      step: step, membershipEpoch: recorder.opening.initial.membershipEpoch,
      shardClocks: Array(repeating: step, count: job.plan.shardCount), totals: totals, monitor: monitor,
      validation: validation, trainLoss: trainLoss, state: state)
    switch RunRecorder.save(
      recorder.checkpoint(snapshot), in: recorder.store, keepLast: job.settings.keepLast)
    {
    case .success(let path):
      checkpoint = path
      saveFailure = nil
      recorder.note(.info, event: "checkpoint", "step \(step) is durable: \(path)")
    case .failure(let failure):
      saveFailure = failure
      recorder.note(.error, event: "checkpoint_failed", "step \(step) was not saved: \(failure)")
    }
  }

  private mutating func scheduleTimedCheckpoint() {
    nextTimedCheckpoint = job.settings.checkpointSeconds.map { MonotonicClock.now() + Interval.seconds($0) }
  }

  private mutating func finish(_ reason: StopReason, _ status: ExitStatus) -> RunEnding {
    var (status, message) = (status, "stopped at step \(step): \(reason.rawValue)")
    switch reason {
    case .diverged:
      let good = checkpoint.map { "the last good checkpoint is \($0)" } ?? "there is no checkpoint yet"
      message = "diverged: the loss of step \(step - 1) is not finite; \(good). Try a lower learning rate"
    case .stopped:
      message = "stopped by a signal at step \(step); go on with --resume must"
      save()
    default:
      if checkpoint == nil || step > recorder.opening.initial.step { save() }
    }
    if let saveFailure {
      if status == .success { status = .inputOutput }
      message += "; the last checkpoint was not saved: \(saveFailure)"
    }
    if reason != .diverged { kept = (step, totals, state) }
    let hasModel = reason != .diverged && reason != .stopped
    let ending = recorder.finished(
      RunOutcome(
        reason: reason, status: status, message: message, step: kept.step, totals: kept.totals, trainLoss: trainLoss,
        validation: validation, test: hasModel ? evaluators.evaluate(.test, state) : nil, checkpoint: checkpoint,
        stepSecondsP50: durations.seconds(atQuantile: 0.5) ?? .nan,
        stepSecondsP99: durations.seconds(atQuantile: 0.99) ?? .nan, workers: 0, state: kept.state))
    return RunEnding(status: ending.status, reason: ending.reason, result: recorder.result)
  }
}
