import Checkpoints
import Cluster
import Datasets
import Diagnostics
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

  private let lock: File
  private let observers: [any RunObserver]
  /// Training time of the run until the clock was started last.
  private var secondsBefore: Double
  private var clockStart: Instant?
  /// What the display shows; `step` and `examples` never fall.
  private var latest: MetricsRecord
  /// How the run ended; nil before.
  private(set) var ending: RunEnding?
  private var rateSample: (examples: UInt64, seconds: Double)

  /// Creates or resumes the run: decides where it starts, and brings the files to that state.
  ///
  /// - Parameter role: "coordinator", or "train" without workers.
  /// - Throws: what `RunStart` throws; `cannotCreate` and `inputOutput` for the files.
  init(job: TrainingJob, options: NodeOptions, role: String, process: NodeProcess) throws(Failure) {
    let newIdentifier = options.launch ?? RunIdentifier.draw()
    let paths = RunPaths(directory: job.settings.runDirectory ?? RunPaths.defaultDirectory(newIdentifier))
    // Before anything is created, so that a rejected start leaves no trace, and again under the lock.
    _ = try RunStart(job: job, paths: paths, newIdentifier: newIdentifier)
    try FileSystem().makeDirectories(paths.directory, remedy: "Choose a writable place with --run-dir")
    lock = try paths.lockDirectory()
    let start = try RunStart(job: job, paths: paths, newIdentifier: newIdentifier)
    SocketDirectory.removeLeftover(
      of: paths, runIdentifier: start.runIdentifier, environment: NodeProcess.environment, isOver: false)
    store = CheckpointStore(runDirectory: paths.directory)
    try store.prepareForWriting()
    try FileSystem().makeDirectories(paths.logs)
    try FileSystem().replace(paths.configuration, with: job.settings.yaml)
    latest = MetricsRecord(step: start.state.step, examples: start.state.snapshot.totals.examples)
    let name = NodeProcess.fullName(role)
    let observers =
      try Self.observers(job, start, paths, options, latest)
      + [try Self.runFile(job, start, paths, options, process, name)]
    log = NodeLog(
      file: try LogFile(path: paths.log(name), run: start.runIdentifier, role: role, name: name),
      show: { level, message in for observer in observers { observer.logged(level.loggerLevel, message) } })
    secondsBefore = start.seconds
    rateSample = (start.state.snapshot.totals.examples, start.seconds)
    (self.job, self.start, self.paths, self.observers) = (job, start, paths, observers)
    log.step = latest.step
    linkLatest()
    announce()
  }

  /// In the order in which they receive each event. `run.json` comes after them: its status says whether they are on disk.
  private static func observers(
    _ job: TrainingJob, _ start: RunStart, _ paths: RunPaths, _ options: NodeOptions, _ latest: MetricsRecord
  ) throws(Failure) -> [any RunObserver] {
    let totalSteps = job.plan.totalSteps
    return [
      ProgressDisplay(
        style: options.progressStyle, latest, totalSteps: totalSteps, totalEpochs: job.epochs(totalSteps)),
      try MetricsWriter(path: paths.metrics, startingAt: start.state.step),
      ResultFile(path: paths.result),
    ]
  }

  private static func runFile(
    _ job: TrainingJob, _ start: RunStart, _ paths: RunPaths, _ options: NodeOptions, _ process: NodeProcess,
    _ name: String
  ) throws(Failure) -> RunFileWriter {
    // The command line is that of the parent where this process was started by `descent train`.
    let newStart = RunFile.Start(
      command: options.arguments, time: .now(), host: NodeProcess.host,
      pid: options.diesWithParent ? getppid() : getpid(), resumedFrom: start.checkpoint)
    var file = RunFile(
      run: start.runIdentifier, seed: job.plan.seed, datasetFingerprint: job.training.fingerprint, start: newStart)
    file.pid = getpid()
    file.cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    file.versions.kernel = process.kernel.rawValue
    (file.settings, file.origins) = (job.settings.values, job.settings.origins)
    return try RunFileWriter(
      file, path: paths.runFile, isResumed: start.isResumed, process: name, formerExit: options.formerExit
    ) { [signals = process.signals] in signals.received.map { signalName($0) } }
  }

  /// Points `latest` to a run directory with a default name, so that its name need not be typed. A directory that
  /// `--run-dir` names has no such link. Failing to create it is no error.
  private func linkLatest() {
    guard let slash = paths.directory.lastIndex(of: "/"),
      paths.directory[paths.directory.index(after: slash)...] == start.runIdentifier
    else { return }
    try? FileSystem().replaceSymbolicLink("\(paths.directory[..<slash])/latest", target: start.runIdentifier)
  }

  private func announce() {
    for warning in start.warnings { log.note(.warning, event: "checkpoint_damaged", warning) }
    if let checkpoint = start.checkpoint {
      log.note(.info, event: "resumed", "resuming from \(checkpoint)")
    } else {
      log.note(.info, event: "started", "run \(start.runIdentifier) in \(paths.directory)")
    }
    if job.training.isSynthetic {
      log.note(
        .warning, event: "synthetic_data", "the data set is synthetic: its accuracies say nothing about CIFAR-10")
    }
  }

  // MARK: Time

  /// Starts the clock of the training time, unless it is running.
  func trainingBegins() {
    if clockStart == nil { clockStart = .now }
  }

  /// Stops it: the last step is done, and only evaluation and saving follow.
  func trainingEnds() { (secondsBefore, clockStart) = (seconds, nil) }

  /// Training time of the run, interruptions excluded.
  var seconds: Double { secondsBefore + (clockStart.map { Instant.now.since($0).seconds } ?? 0) }

  // MARK: Events

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

  func progress(step: UInt64, examples: UInt64, loss: Double, workers: Int) {
    latest.step = max(latest.step, step)
    latest.examples = max(latest.examples, examples)
    latest.epoch = job.epochs(latest.step)
    latest.trainLoss = loss
    latest.workers = workers
    log.step = latest.step
    for observer in observers { observer.progressed(latest) }
  }

  func evaluated(_ row: EvaluatedStep) {
    let examples = row.snapshot.totals.examples
    if row.validation.statistics.examples > 0 { latest.validationAccuracy = row.validation.score.accuracy }
    progress(step: row.step, examples: examples, loss: row.train.meanLoss, workers: row.workers)
    let now = seconds
    let elapsed = now - rateSample.seconds
    let rate = elapsed > 0 ? Double(examples - min(examples, rateSample.examples)) / elapsed : nil
    rateSample = (examples, now)
    var record = MetricsRecord(step: row.step, examples: examples)
    (record.epoch, record.seconds, record.workers) = (job.epochs(row.step), now, row.workers)
    record.learningRate = Double(job.plan.learningRate.rate(at: row.step))
    (record.trainLoss, record.gradientNorm, record.imagesPerSecond) = (row.train.meanLoss, row.gradientNorm, rate)
    (record.validationLoss, record.validationAccuracy) = (row.validation.score.meanLoss, row.validation.score.accuracy)
    tell { (observer) throws(Failure) in try observer.evaluated(record, row.snapshot) }
  }

  /// A record that cannot be written does not stop the training. `finished` reports what is missing at the end.
  private func tell(_ event: (any RunObserver) throws(Failure) -> Void) {
    for observer in observers {
      do throws(Failure) {
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
    let result = result(of: outcome)
    var ending = RunEnding(status: outcome.status, reason: outcome.message, result: result)
    for observer in observers {
      do throws(Failure) {
        try observer.finished(result, ExitReason(status: ending.status, reason: ending.reason))
      } catch {
        ending.add(unsaved: error)  // defence: record-errors
      }
    }
    log.note(ending.status.noteLevel, event: "finished", ending.reason, step: outcome.state.step)
    self.ending = ending
    return ending
  }

  private func result(of outcome: RunOutcome) -> RunResult {
    let state = outcome.state
    let (totals, before) = (state.snapshot.totals, start.state.snapshot.totals)
    let elapsed = seconds - start.seconds
    let processed = totals.examples - min(totals.examples, before.examples)
    var result = RunResult(run: start.runIdentifier, runDirectory: paths.directory, stopReason: outcome.reason)
    (result.steps, result.epochs, result.examples) = (state.step, job.epochs(state.step), totals.examples)
    result.seconds = seconds
    result.imagesPerSecond = elapsed > 0 ? Double(processed) / elapsed : nil
    result.trainLoss = state.trainLoss
    (result.validationLoss, result.validationAccuracy) = (state.validation?.meanLoss, state.validation?.accuracy)
    (result.testLoss, result.testAccuracy) = (outcome.test?.meanLoss, outcome.test?.accuracy)
    result.weightsSHA256 = SHA256.hexDigest(of: state.snapshot.state.parameterBytes(of: job.plan.shape))
    result.checkpoint = outcome.checkpoint
    (result.stepSeconds.p50, result.stepSeconds.p99) = (outcome.stepSecondsP50, outcome.stepSecondsP99)
    // Without the zeros at the end, but never empty.
    result.staleness = Array(totals.staleness[...(totals.staleness.lastIndex { $0 != 0 } ?? 0)])
    (result.workers, result.slowestWorker) = (outcome.workers, outcome.slowestWorker)
    return result
  }

  // MARK: Checkpoints

  func checkpoint(_ state: RunState) -> Checkpoint {
    Checkpoint(run: state, origin: job.origin(start.runIdentifier), seconds: seconds)
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
