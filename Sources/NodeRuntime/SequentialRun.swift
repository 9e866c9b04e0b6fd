import Cluster
import Diagnostics
import Messaging
import Optimization
import Reporting
import RunConfiguration
import Transport

/// Trains in this process, without workers: the same run directory, evaluations, checkpoints and result as with them, and
/// under `bsp` the same bits.
///
/// - Throws: what kept it from beginning; how the run ended otherwise is the result.
package func runSequentially(_ options: NodeOptions) throws(Failure) -> RunEnding {
  let process = try NodeProcess(options)
  try RunLimits.require(runOf: 0)
  let job = try TrainingJob(settings: options.settings)
  let recorder = try RunRecorder.begin(job: job, options: options, role: "train", process: process)
  do throws(Failure) {
    let trace = options.traceRecorder(
      nil, name: NodeProcess.fullName("train"), .draw(), in: recorder.paths.directory,
      tracks: [SequentialRun.trackName], spansPerStep: 4, log: recorder.log)
    var run = try SequentialRun(recorder: recorder, process: process, trace: trace?.track(SequentialRun.trackName))
    let ending = run.run()
    recorder.log.note(trace)
    recorder.concludeStart(ending.status)
    return ending
  } catch {
    recorder.concludeStart(error.status)
    throw error
  }
}

/// The loop: compute a step, now and then evaluate and save, until the controller stops the run.
struct SequentialRun {
  /// Steps between two updates of the progress display.
  private static let progressSteps: UInt64 = 16

  static let trackName = "training"

  private let job: TrainingJob
  private let recorder: RunRecorder
  private let process: NodeProcess
  private let trace: TraceTrack?
  private var controller: RunController
  private var trainer: SequentialTrainer
  private var totals: RunTotals
  private var interval = MinibatchStatistics.zero
  private var durations = LatencyHistogram()
  private var gradientNorm = Double.nan
  private var nextTimedCheckpoint: Instant?
  private var nextLookAtData: Instant

  init(recorder: RunRecorder, process: NodeProcess, trace: TraceTrack?) throws(Failure) {
    let (job, start) = (recorder.job, recorder.start)
    guard let state = TrainingState(start.state.snapshot, plan: job.plan) else {
      throw Failure(.internalError, "the initial state does not fit the plan")
    }
    self.job = job
    self.recorder = recorder
    (self.process, self.trace) = (process, trace)
    controller = RunController(
      plan: job.plan, rule: job.stoppingRule, initial: start.state, checkpoint: start.checkpoint, best: start.best,
      isFork: start.checkpoint != nil && !start.isResumed, evaluatesTest: job.settings.test == .end)
    trainer = SequentialTrainer(
      plan: job.plan, examples: job.training.examples, meanImage: job.meanImage, state: state,
      kernel: process.kernel)
    nextLookAtData = .now + Timing(job.settings).heartbeat
    totals = start.state.snapshot.totals
  }

  mutating func run() -> RunEnding {
    process.signals.watch(recorder.recordEnd)
    var outcome = step == 0 || controller.isOver ? evaluate() : nil
    recorder.trainingBegins()
    scheduleTimedCheckpoint()
    while outcome == nil { outcome = advance() }
    recorder.trainingEnds()
    return finish(outcome ?? controller.interrupted())
  }

  private var step: UInt64 { trainer.state.step }

  private var snapshot: TrainingSnapshot {
    TrainingSnapshot(
      step: step, shardClocks: Array(repeating: step, count: job.plan.shardCount), totals: totals,
      state: OptimizerState(trainer.state), scale: job.plan.hasProvenScale ? nil : trainer.state.scale)
  }

  /// One step and what is due after it.
  /// - Returns: nil if the run continues.
  private mutating func advance() -> RunOutcome? {
    if let loss = recorder.lock.loss { return controller.takenOver(loss) }
    if process.signals.hasRequest {
      if let outcome = lookAtData() { return outcome }
      controller.keep(snapshot)
      return controller.interrupted()
    }
    if process.signals.takeSaveRequest() {
      recorder.log.note(.info, event: "save_requested", "saving a checkpoint, as a signal asks (step \(step))")
      if let outcome = lookAtData() { return outcome }
      controller.keep(snapshot)
      save()
    }
    let began = Instant.now
    let statistics = trainer.step()
    guard statistics.minibatch.isFinite else { return lookAtData() ?? controller.diverged(at: step - 1) }
    let ended = Instant.now
    trace?.record(.compute, step: step, from: began, to: ended)
    durations.record(nanoseconds: ended.since(began).nanoseconds)
    interval += statistics.minibatch
    gradientNorm = statistics.gradientNorm
    totals.examples += UInt64(statistics.minibatch.examples)
    totals.staleness[0] += 1
    if step % Self.progressSteps == 0 {
      recorder.progress(step: step, examples: totals.examples, loss: statistics.minibatch.meanLoss, workers: 0)
    }
    if step >= job.plan.totalSteps || job.plan.isEvaluationStep(step) { return evaluate() }
    if job.plan.isCheckpointStep(step) || nextTimedCheckpoint.map({ Instant.now >= $0 }) ?? false {
      if let outcome = lookAtData() { return outcome }
      controller.keep(snapshot)
      save()
    } else if began >= nextLookAtData {
      return lookAtData()
    }
    return nil
  }

  /// Whether the data are still those of the start, so that everything up to this step comes from them.
  /// - Returns: nil if they are.
  private mutating func lookAtData() -> RunOutcome? {
    nextLookAtData = .now + Timing(job.settings).heartbeat
    if let failure = job.dataFailure() { return controller.dataFailed(failure) }  // defence: data-watch
    controller.confirm(snapshot)
    return nil
  }

  private mutating func evaluate() -> RunOutcome? {
    let snapshot = snapshot
    let validation = trace.recording(.evaluate, step: snapshot.step) {
      job.evaluate(.validation, snapshot.state, process.kernel)
    }
    if let outcome = lookAtData() { return outcome }
    let row = EvaluatedStep(
      snapshot: snapshot, train: interval, validation: validation, gradientNorm: gradientNorm, workers: 0)
    recorder.evaluated(row)
    if job.plan.isEvaluationStep(step) { interval = .zero }
    switch controller.evaluated(row) {
    case .continue: return nil
    case .save:
      save()
      return nil
    case .stop(let outcome): return outcome
    }
  }

  private mutating func save() {
    scheduleTimedCheckpoint()
    for state in controller.takeUnsaved() {
      let result = trace.recording(.save, step: state.step) {
        RunRecorder.save(recorder.checkpoint(state), in: recorder.store, keepLast: job.settings.keepLast)
      }
      let note = controller.saved(state.step, result)
      recorder.log.note(note.level, event: note.event, note.text)
      if controller.lacksBest { break }
    }
  }

  private mutating func scheduleTimedCheckpoint() {
    nextTimedCheckpoint = job.settings.checkpointSeconds.map { Instant.now + Interval.seconds($0) }
  }

  private mutating func finish(_ outcome: RunOutcome) -> RunEnding {
    if controller.mustSave(outcome) { save() }
    if let loss = recorder.lock.loss { return recorder.finished(controller.takenOver(loss)) }
    var outcome = controller.concluded(outcome)
    if let tested = controller.snapshotToTest(outcome) {
      outcome.testStep = tested.step
      outcome.test = trace.recording(.evaluate, step: tested.step) {
        job.evaluate(.test, tested.state, process.kernel).score
      }
      if let failed = lookAtData() { outcome = controller.concluded(failed) }
    }
    outcome.stepSecondsP50 = durations.seconds(atQuantile: 0.5) ?? .nan
    outcome.stepSecondsP99 = durations.seconds(atQuantile: 0.99) ?? .nan
    return recorder.finished(outcome)
  }
}
