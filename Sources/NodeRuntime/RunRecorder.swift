import Checkpoints
import Cluster
import Datasets
import Diagnostics
import Dispatch
import Files
import Glibc
import Messaging
import Optimization
import Reporting
import RunConfiguration
import Transport

/// How a run ended: its exit status, the reason, and the numbers of the result.
public struct RunEnding: Sendable {
  public var status: ExitStatus
  public var reason: String
  public var result: RunResult
}

/// Owns the directory of a run, with or without workers: takes what happens in the run, adds what only the run knows, and
/// hands it to the observers. One thread only, except where stated.
final class RunRecorder {
  let job: TrainingJob
  let start: RunStart
  let paths: RunPaths
  let store: CheckpointStore
  let log: NodeLog
  private let logPath: String
  private let signals: TerminationSignals

  /// Of the directory.
  let lock: RunLock
  private let rollback: StartRollback
  /// Of a start by `descent train`, which removes a start that failed when all processes have ended.
  private let isSupervised: Bool
  private let isLaunched: Bool
  private let isTrial: Bool
  private let observers: [any RunObserver]
  /// Training time of the run until the clock was started last.
  private var secondsBefore: Double
  private var clockStart: Instant?
  /// What the display shows; `step` and `examples` never fall.
  private var latest: MetricsRecord
  /// How the run ended; nil before.
  private(set) var ending: RunEnding?
  /// Where the newest rate in the metrics was measured to.
  private var rateSample: (examples: UInt64, seconds: Double)
  /// Rates over shorter times, in seconds, say little.
  private static let shortestRateInterval = 1.0
  /// The command that resumes the run.
  private let resumption: String
  /// Whether `runs/latest` names the run: from the first step on, because a start that failed leaves no run.
  private var isNewest = false

  /// Creates or resumes the run: decides where it starts, and brings the files to that state.
  ///
  /// - Parameter role: "coordinator", or "train" without workers.
  /// - Throws: what `RunStart` throws; `cannotCreate` and `inputOutput` for the files.
  static func begin(
    job: TrainingJob, options: NodeOptions, role: String, process: NodeProcess
  ) throws(Failure) -> RunRecorder {
    let newIdentifier = options.launch ?? RunIdentifier.draw()
    let paths = RunPaths(directory: job.settings.runDirectory ?? RunPaths.defaultDirectory(newIdentifier))
    // Before anything is created, so that a rejected start leaves no trace, and again under the lock.
    _ = try RunStart(job: job, paths: paths, newIdentifier: newIdentifier)
    try RunLimits.require(job, paths)
    let rollback = StartRollback(of: paths)
    var lock: RunLock?
    do throws(Failure) {
      try FileSystem().makeDirectories(paths.directory, remedy: RunPaths.remedy)
      let held = try paths.lockForStart(options.timing.directoryLease, process.signals) { text in
        if !options.isQuiet { StandardError.write(message: "\(options.launch == nil ? role : "descent"): \(text)") }
      }
      lock = held
      FileSystem().removeUnfinished(paths.ownFiles)
      let start = try RunStart(job: job, paths: paths, newIdentifier: newIdentifier)
      return try RunRecorder(start, rollback, held, job: job, options: options, role: role, process: process)
    } catch {
      let file = try? RunFile(readingFrom: paths.runFile)
      if !options.diesWithParent, file?.isNewestStart(of: Self.owner(options), on: NodeProcess.host) ?? true {
        rollback.removeStart(of: file, holding: lock, log: paths.log(NodeProcess.fullName(role)))
      }
      throw error
    }
  }

  private init(
    _ start: RunStart, _ rollback: StartRollback, _ lock: RunLock, job: TrainingJob, options: NodeOptions, role: String,
    process: NodeProcess
  ) throws(Failure) {
    var start = start
    let paths = rollback.paths
    if let replaced = start.replacedRun {
      SocketDirectory.removeLeftover(
        of: paths, runIdentifier: replaced, environment: NodeProcess.environment, isOver: false)
      StartRollback.removeRun(in: paths)
    }
    SocketDirectory.removeLeftover(
      of: paths, runIdentifier: start.runIdentifier, environment: NodeProcess.environment, isOver: false)
    store = CheckpointStore(runDirectory: paths.directory, disk: LeasedDisk(lock: lock))
    try store.prepareForWriting(resuming: start.isResumed ? start.state : nil)
    if start.beginsWithWeights {
      // First of all: what resumes the run must not begin with other weights.
      let origin = job.origin(start.runIdentifier, start.weights)
      start.checkpoint = try store.save(Checkpoint(run: start.state, origin: origin, seconds: start.seconds))
    }
    try FileSystem().makeDirectories(paths.logs)
    try Self.writeConfiguration(job.settings, start, paths)
    latest = MetricsRecord(step: start.state.step, examples: start.state.snapshot.totals.examples)
    let name = NodeProcess.fullName(role)
    let observers =
      try Self.observers(job, start, paths, options, latest, process.kernel)
      + [try Self.runFile(job, start, paths, options, process, name)]
    logPath = paths.log(name)
    log = NodeLog(
      file: try LogFile(path: logPath, run: start.runIdentifier, role: role, name: name),
      show: { level, message in for observer in observers { observer.logged(level.loggerLevel, message) } })
    secondsBefore = start.seconds
    rateSample = (start.state.snapshot.totals.examples, start.seconds)
    (self.job, self.start, self.paths, self.observers) = (job, start, paths, observers)
    signals = process.signals
    (self.lock, self.rollback) = (lock, rollback)
    (isSupervised, isLaunched, isTrial) = (options.diesWithParent, options.launch != nil, options.isTrial)
    resumption = paths.resumption(program: options.launch == nil ? ["descent-coordinator"] : ["descent", "train"])
    log.step = latest.step
    for warning in paths.shortcomings(lock) { log.note(.warning, event: "file_system", warning) }
    announce()
    // The coordinator that this one replaces has said so.
    for sentence in options.formerExit == nil ? job.settings.withoutEffect(in: job.plan) : [] {
      log.note(.warning, event: "setting_without_effect", sentence)
    }
  }

  private func announce() {
    for warning in start.warnings { log.note(.warning, event: "checkpoint_damaged", warning) }
    log.note(job.training.isSynthetic ? .warning : .notice, event: "data", job.dataDescription)
    if job.training.isCopied {
      log.note(
        .warning, event: "file_system",
        "\(job.training.directory) is on a file system that maps no files: each process holds a copy of the data")
    }
    for remark in job.dataRemarks { log.note(.warning, event: "data_remark", "\(job.training.directory): \(remark)") }
    log.note(.notice, event: "plan", job.planDescription)
    if !start.beginsWithWeights, let checkpoint = start.checkpoint {
      log.note(.notice, event: "resumed", "resuming from \(checkpoint)")
    } else {
      let source = start.beginsWithWeights ? start.weights.map { ", from \($0.path ?? "") (\($0.phrase))" } : nil
      log.note(.info, event: "started", "run \(start.runIdentifier) in \(paths.directory)\(source ?? "")")
    }
    if start.assumesMeanImage, start.beginsWithWeights {
      log.note(
        .warning, event: "mean_image_assumed",
        "\(start.weights?.path ?? "") has no mean_image: assuming that of this run's training examples")
    }
  }

  // MARK: Time

  /// Starts the clock of the training time, unless it is running.
  func trainingBegins() {
    guard clockStart == nil else { return }
    clockStart = .now
    guard !isNewest, !isTrial else { return }
    isNewest = true
    for warning in paths.pointLatest(isLaunched: isLaunched) {
      log.note(.warning, event: "latest_not_set", warning)
    }
  }

  /// Stops it: the last step is done, and only evaluation and saving follow.
  func trainingEnds() { (secondsBefore, clockStart) = (seconds, nil) }

  /// Training time of the run, interruptions excluded.
  var seconds: Double { secondsBefore + (clockStart.map { Instant.now.since($0).seconds } ?? 0) }

  // MARK: Events

  /// The others connect to this address.
  func listening(at endpoint: String) {
    tell { (observer) throws(Failure) in try observer.listening(at: endpoint) }
  }

  /// Training begins or continues with these workers.
  func membership(_ epoch: MembershipEpoch, step: UInt64, workers: Int) {
    trainingBegins()
    // defence: leak
    log.note(
      .info, event: "membership", "training with \(Display.workers(workers)) (membership \(epoch), step \(step))")
    tell { (observer) throws(Failure) in
      try observer.membershipChanged(epoch: epoch.value, step: step, workers: workers)
    }
  }

  func restarted(_ name: String, formerExit: String) {
    log.note(.info, event: "replaced", "\(name) takes the place of one that \(formerExit)")
    tell { (observer) throws(Failure) in try observer.restarted(name, formerExit: formerExit) }
  }

  func progress(step: UInt64, examples: UInt64, loss: Double, workers: Int, slowWorker: String? = nil) {
    latest.step = max(latest.step, step)
    latest.examples = max(latest.examples, examples)
    latest.epoch = job.epochs(latest.step)
    latest.trainDataLoss = loss
    (latest.workers, latest.slowWorker) = (workers, slowWorker)
    log.step = latest.step
    for observer in observers { observer.progressed(latest) }
  }

  func evaluated(_ row: EvaluatedStep) {
    let examples = row.snapshot.totals.examples
    if row.validation.statistics.examples > 0 { latest.validationAccuracy = row.validation.score.accuracy }
    progress(
      step: row.step, examples: examples, loss: row.train.meanLoss, workers: row.workers, slowWorker: latest.slowWorker)
    let now = seconds
    let elapsed = now - rateSample.seconds
    var record = MetricsRecord(step: row.step, examples: examples)
    (record.epoch, record.seconds, record.workers) = (job.epochs(row.step), now, row.workers)
    record.learningRate = Double(job.plan.learningRate.rate(at: row.step))
    record.penalty = job.penalty(row.snapshot.state)
    (record.trainDataLoss, record.trainAccuracy) = (row.train.meanLoss, row.train.accuracy)
    record.gradientNorm = row.gradientNorm
    if elapsed >= Self.shortestRateInterval {
      record.imagesPerSecond = Double(examples - min(examples, rateSample.examples)) / elapsed
      rateSample = (examples, now)
    }
    let validation = row.validation.score
    (record.validationDataLoss, record.validationAccuracy) = (validation.meanLoss, validation.accuracy)
    tell { (observer) throws(Failure) in try observer.evaluated(record, row.snapshot, row.validation) }
    tell(row.workersStatus, at: row.snapshot, seconds: now)
  }

  private func tell(_ status: WorkersStatus, at snapshot: TrainingSnapshot, seconds: Double) {
    var record = WorkersRecord(snapshot, seconds: seconds)
    record.members = status.members.map {
      WorkersRecord.Member(
        name: $0.name, incarnation: $0.incarnation, shards: $0.shards, pace: $0.pace, shareAwaited: $0.shareAwaited)
    }
    (record.rejectedPushes, record.unsolicitedPushes) = (status.rejectedPushes, status.unsolicitedPushes)
    tell { (observer) throws(Failure) in try observer.workersMeasured(record) }
  }

  /// A record that cannot be written does not stop the training. `finished` reports what is missing at the end.
  private func tell(_ event: (any RunObserver) throws(Failure) -> Void) {
    guard lock.loss == nil else { return }
    for observer in observers {
      do throws(Failure) {
        try lock.confirm()
        try event(observer)
      } catch {
        log.note(.error, event: "\(observer.name)_failed", error.description)
      }
    }
  }

  /// The end of the run: `inputOutput` instead of success if a record is not on disk as a whole.
  @discardableResult
  func finished(_ outcome: RunOutcome) -> RunEnding {
    trainingEnds()
    let outcome = ifStillOurs(outcome)
    tell(outcome.workersStatus, at: outcome.state.snapshot, seconds: seconds)
    let result = result(of: outcome)
    var ending = RunEnding(status: outcome.status, reason: outcome.message, result: result)
    let isBegun = start.isResumed || outcome.state.step > start.state.step
    if !outcome.isOfTheTraining, outcome.reason != .takenOver, outcome.checkpoint != nil, isBegun {
      ending.reason += ". Resume with: \(resumption)"
    }
    for observer in observers where outcome.reason != .takenOver {
      do throws(Failure) {
        try observer.finished(result, ExitReason(status: ending.status, reason: ending.reason))
      } catch {
        ending.add(unsaved: error)  // defence: record-errors
      }
    }
    log.note(
      ending.status.noteLevel, event: "finished", ending.reason, step: outcome.state.step,
      isShown: ending.status == .success)
    self.ending = ending
    return ending
  }

  /// The outcome, or that another coordinator has the directory.
  private func ifStillOurs(_ outcome: RunOutcome) -> RunOutcome {
    do throws(Failure) {
      try lock.confirm()
    } catch {
      guard error.status == .fenced, outcome.reason != .takenOver else { return outcome }
      var lost = outcome
      (lost.reason, lost.status) = (.takenOver, .fenced)
      lost.message = "stopped at step \(outcome.state.step): \(error)"
      return lost
    }
    return outcome
  }

  /// Ends `run.json` of a run that ends at once. For any thread; it takes no longer than a moment, whatever the disk does.
  var recordEnd: @Sendable () -> Void {
    { [paths, signals, lock] in
      guard lock.loss == nil else { return }
      let isDone = DispatchSemaphore(value: 0)
      DispatchQueue.global().async {
        paths.recordEnd(signals.received.map { signalName($0) })
        StandardError.clearRedrawnLine()
        isDone.signal()
      }
      _ = isDone.wait(timeout: .now() + .milliseconds(300))
    }
  }

  /// This process is about to end: it gives the directory back, and a start that failed before the first step leaves no run.
  /// That a trial diverged is its result.
  func concludeStart(_ status: ExitStatus) {
    defer { lock.release() }
    let isResult = isTrial && ending?.result.stopReason == .diverged
    guard !isSupervised, !isResult, lock.loss == nil, status != .success, status != .stoppedBySignal else { return }
    rollback.removeStart(of: try? RunFile(readingFrom: paths.runFile), holding: lock, log: logPath)
  }

  private func result(of outcome: RunOutcome) -> RunResult {
    let state = outcome.state
    let (totals, before) = (state.snapshot.totals, start.state.snapshot.totals)
    let elapsed = seconds - start.seconds
    let processed = totals.examples - min(totals.examples, before.examples)
    var result = RunResult(run: start.runIdentifier, runDirectory: paths.directory, stopReason: outcome.reason)
    (result.steps, result.epochs, result.examples) = (state.step, job.epochs(state.step), totals.examples)
    result.seconds = seconds
    result.imagesPerSecond = elapsed >= Self.shortestRateInterval ? Double(processed) / elapsed : nil
    let penalty = job.penalty(state.snapshot.state)
    result.penalty = penalty
    (result.trainDataLoss, result.trainAccuracy) = (state.train?.meanLoss, state.train?.accuracy)
    result.trainObjective = state.train.map { $0.meanLoss + penalty }
    (result.validationDataLoss, result.validationAccuracy) = (state.validation?.meanLoss, state.validation?.accuracy)
    result.validationObjective = state.validation.map { $0.meanLoss + penalty }
    (result.bestStep, result.bestValidationDataLoss) = (state.best?.step, state.best?.score.meanLoss)
    result.bestValidationAccuracy = state.best?.score.accuracy
    result.testStep = outcome.testStep
    (result.testDataLoss, result.testAccuracy) = (outcome.test?.meanLoss, outcome.test?.accuracy)
    result.synthetic = job.training.isSynthetic
    result.weightsSHA256 = SHA256.hexDigest(of: state.snapshot.state.parameterBytes(of: job.plan.shape))
    result.checkpoint = outcome.checkpoint
    (result.stepSeconds.p50, result.stepSeconds.p99) = (outcome.stepSecondsP50, outcome.stepSecondsP99)
    result.staleness = totals.shownStaleness
    (result.takenOverShards, result.lateShards) = (totals.takenOverShards, totals.lateShards)
    (result.workers, result.slowestWorker) = (outcome.workers, outcome.slowestWorker)
    if result.workers < job.settings.workers {
      log.note(
        .notice, event: "workers_missing",
        "the run ended with \(Display.workers(result.workers)) of \(job.settings.workers): the others had not joined, or had "
          + "ended")
    }
    return result
  }

  // MARK: Checkpoints

  func checkpoint(_ state: RunState) -> Checkpoint {
    Checkpoint(run: state, origin: job.origin(start.runIdentifier, start.weights), seconds: seconds)
  }

  /// Saves, then prunes. For any thread, one call at a time.
  static func save(
    _ checkpoint: Checkpoint, in store: CheckpointStore, keepLast: Int
  ) -> Result<String, Failure> {
    do throws(Failure) {
      let path = try store.save(checkpoint)
      // A checkpoint that cannot be removed takes up space only; the next save tries again.
      _ = try? store.prune(keepLast: keepLast)
      return .success(path)
    } catch {
      return .failure(error)  // defence: save-errors
    }
  }
}

extension RunEnding {
  fileprivate mutating func add(unsaved failure: Failure) {
    if status == .success { status = .inputOutput }
    reason += "; not everything was saved: \(failure)"
  }
}
