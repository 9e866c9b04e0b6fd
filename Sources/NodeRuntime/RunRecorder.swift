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

/// Owns the directory of a run: everything that is written there, and what is shown meanwhile, passes through here,
/// whether the run has workers or not. One thread only, except where it says so.
final class RunRecorder {
  let job: TrainingJob
  let start: RunStart
  let paths: RunPaths
  let store: CheckpointStore
  private(set) var log: NodeLog

  private let lock: RunLock
  private let metrics: MetricsWriter
  private var runFile: RunFile
  private let meter: ShownProgress
  private var clock: TrainingClock
  private var shown: Progress
  private var newestMetric: UInt64?
  private var rateSample: (examples: UInt64, seconds: Double)
  private(set) var result: RunResult?
  /// Of each record that is not whole, the first reason.
  private var unsaved: [Record: Failure] = [:]

  /// Creates or resumes the run: decides where it begins, and brings the files to that state.
  ///
  /// - Throws: what `RunStart` throws; `cannotCreate` and `inputOutput` for the files.
  init(job: TrainingJob, options: NodeOptions, role: String) throws(Failure) {
    let newIdentifier = options.launch ?? RunIdentifier.draw()
    let paths = RunPaths(directory: job.settings.runDirectory ?? RunPaths.defaultDirectory(newIdentifier))
    // Looked at before anything is made, so that what is refused leaves no trace, and again under the lock.
    _ = try RunStart(job: job, paths: paths, newIdentifier: newIdentifier)
    try FileSystem().makeDirectories(paths.directory, remedy: "Choose a writable place with --run-dir")
    lock = try RunLock(paths)
    start = try RunStart(job: job, paths: paths, newIdentifier: newIdentifier)
    SocketDirectory.removeLeftover(
      of: paths, runIdentifier: start.runIdentifier, environment: NodeProcess.environment, isOver: false)
    self.job = job
    self.paths = paths
    store = CheckpointStore(runDirectory: paths.directory)
    try store.prepareForWriting()
    try FileSystem().makeDirectories(paths.logs)
    try? FileSystem().unlink(paths.result)
    metrics = try MetricsWriter(path: paths.metrics)
    try metrics.truncate(after: start.state.step)
    runFile = try Self.runFile(job, start, paths, arguments: options.arguments)
    try FileSystem().replace(paths.configuration, with: job.settings.yaml)
    let meter = ShownProgress(style: options.progressStyle)
    self.meter = meter
    log = NodeLog(
      file: try LogFile(
        path: paths.log(role: role), identity: LogIdentity(run: start.runIdentifier, role: role)),
      show: { level, message in if level > .debug { meter.note(message) } })
    clock = TrainingClock(before: start.seconds)
    newestMetric = start.state.step > 0 ? start.state.step : nil
    rateSample = (start.state.snapshot.totals.examples, start.seconds)
    shown = Progress(
      step: start.state.step, totalSteps: job.plan.totalSteps, epoch: 0,
      totalEpochs: job.epochs(job.plan.totalSteps), examples: start.state.snapshot.totals.examples, loss: nil,
      accuracy: nil, workers: 0)
    try saveRunFile()
    linkLatest()
    announce()
  }

  /// `latest` beside the directories of runs that were given their names, so that people need not type them. It is
  /// for convenience: a directory that somebody chose has no such neighbour, and failing to make it harms nothing.
  private func linkLatest() {
    guard let slash = paths.directory.lastIndex(of: "/"),
      paths.directory[paths.directory.index(after: slash)...] == start.runIdentifier
    else { return }
    try? FileSystem().replaceSymbolicLink("\(paths.directory[..<slash])/latest", target: start.runIdentifier)
  }

  private func announce() {
    for warning in start.warnings { log.note(.warning, event: "checkpoint_damaged", warning) }
    if let checkpoint = start.checkpoint {
      log.note(.info, event: "resumed", "resuming from \(checkpoint)", step: start.state.step)
    } else {
      log.note(.info, event: "begun", "run \(start.runIdentifier) in \(paths.directory)", step: 0)
    }
    if job.training.isSynthetic {
      log.note(.warning, event: "synthetic_data", "the data set is synthetic: accuracies say nothing about CIFAR-10")
    }
  }

  // MARK: run.json

  private static func runFile(
    _ job: TrainingJob, _ start: RunStart, _ paths: RunPaths, arguments: [String]
  ) throws(Failure) -> RunFile {
    let settings = job.settings.entries.map { entry in
      RunFile.Setting(key: entry.setting.name, value: entry.text, origin: entry.origin.description)
    }
    let fingerprint = job.training.fingerprint
    if start.isResumed, var file = try? RunFile(readingFrom: paths.runFile) {
      file.status = .running
      file.stopReason = nil
      file.arguments = arguments
      file.settings = settings
      file.datasetFingerprint = hexadecimal(fingerprint)
      file.host = NodeProcess.hostName
      file.processIdentifier = getpid()
      return file
    }
    return RunFile(
      run: start.runIdentifier, arguments: arguments, settings: settings, seed: job.plan.seed,
      datasetFingerprint: fingerprint, host: NodeProcess.hostName, cores: Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))),
      processIdentifier: getpid(), started: .now())
  }

  private func saveRunFile() throws(Failure) {
    try runFile.save(to: paths.runFile, at: .now())
  }

  /// A membership epoch has begun. The first one is when the workers are given work.
  func membership(_ epoch: Messaging.MembershipEpoch, step: UInt64, workers: Int) {
    trainingBegins()
    note(.info, event: "epoch", "membership epoch \(epoch) at step \(step), workers: \(workers)")  // defence: leak
    runFile.append(
      RunFile.MembershipEpoch(epoch: epoch.value, step: step, workers: workers, time: UTCTime.now().timestamp))
    attempt(.runFile) { () throws(Failure) in try saveRunFile() }
  }

  // MARK: Time

  /// The training goes on from here; does nothing while it does.
  func trainingBegins() { clock.start() }
  /// The steps of the result are done: what follows is evaluation and saving.
  func trainingEnds() { clock.stop() }
  /// Training time over all resumptions.
  var seconds: Double { clock.seconds }

  // MARK: Observations

  func note(_ level: NoteLevel, event: String, _ text: String) {
    log.note(level, event: event, text, step: shown.step)
  }

  /// Where the run stands, for people.
  func progress(step: UInt64, examples: UInt64, loss: Double, workers: Int) {
    shown.loss = loss.isFinite ? loss : nil
    shown.workers = workers
    show(step: step, examples: examples)
  }

  private func show(step: UInt64, examples: UInt64) {
    shown.step = max(shown.step, step)
    shown.examples = max(shown.examples, examples)
    shown.epoch = job.epochs(shown.step)
    meter.update(shown)
  }

  /// A line of the metrics.
  func evaluated(_ row: EvaluatedStep) {
    let examples = row.snapshot.totals.examples
    if row.validation.examples > 0 { shown.accuracy = row.validation.accuracy }
    shown.loss = row.train.meanLoss.isFinite ? row.train.meanLoss : nil
    shown.workers = row.workers
    show(step: row.step, examples: examples)
    // A run that resumes at its end is evaluated there once more; the line is written already.
    guard newestMetric.map({ row.step > $0 }) ?? true else { return }
    newestMetric = row.step
    let now = seconds
    let elapsed = now - rateSample.seconds
    let rate = elapsed > 0 ? Double(examples - min(examples, rateSample.examples)) / elapsed : nil
    rateSample = (examples, now)
    let record = MetricsRecord(
      step: row.step, epoch: job.epochs(row.step), seconds: now, examples: examples, workers: row.workers,
      learningRate: Double(job.plan.learningRate.rate(at: row.step)), trainLoss: row.train.meanLoss,
      gradientNorm: row.gradientNorm, imagesPerSecond: rate, validationLoss: row.validation.meanLoss,
      validationAccuracy: row.validation.accuracy)
    attempt(.metrics) { () throws(Failure) in try metrics.append(record) }
  }

  /// What a run writes besides checkpoints.
  private enum Record: String {
    case metrics, result
    case runFile = "run_file"
  }

  /// A file for people could not be written: the training is worth more than its log, and goes on. The end of the run
  /// tells of it.
  private func attempt(_ record: Record, _ body: () throws(Failure) -> Void) {
    do {
      try body()
      // Written anew as a whole, except for the metrics: a line that is missing there stays missing.
      if record != .metrics { unsaved[record] = nil }
    } catch {
      unsaved[record] = unsaved[record] ?? error  // defence: record-errors
      log.note(.error, event: "\(record.rawValue)_failed", error.description)
    }
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
      // What could not be removed takes up space and harms nothing; the next save tries again.
      _ = try? store.prune(keepLast: keepLast)
      return .success(path)
    } catch {
      return .failure(error)  // defence: save-errors
    }
  }

  // MARK: The end

  /// Writes the result, and says in `run.json` how the run ended.
  ///
  /// - Returns: the same, or `inputOutput` for a run that went well and is not on the disk as a whole.
  func finished(_ outcome: RunOutcome) -> (status: ExitStatus, reason: String) {
    trainingEnds()
    let result = RunResult(outcome, self)
    self.result = result
    let snapshot = outcome.state.snapshot
    (shown.step, shown.examples, shown.epoch) = (snapshot.step, snapshot.totals.examples, result.epochs ?? 0)
    meter.finish(shown)
    attempt(.result) { () throws(Failure) in try FileSystem().replace(paths.result, with: result.json) }
    runFile.stopReason = outcome.reason.rawValue
    runFile.status = runStatus(after: ending(outcome).status)
    attempt(.runFile) { () throws(Failure) in try saveRunFile() }
    let ending = ending(outcome)
    log.note(ending.status == .success ? .info : .error, event: "finished", ending.reason, step: snapshot.step)
    return ending
  }

  private func ending(_ outcome: RunOutcome) -> (status: ExitStatus, reason: String) {
    // In a fixed order.
    let failures = [Record.metrics, .result, .runFile].compactMap { unsaved[$0] }
    guard !failures.isEmpty else { return (outcome.status, outcome.message) }
    return (
      outcome.status == .success ? .inputOutput : outcome.status,
      outcome.message + failures.map { "; not everything was saved: \($0)" }.joined()
    )
  }

  private func runStatus(after status: ExitStatus) -> RunFile.Status {
    switch status {
    case .success: .finished
    case .stoppedBySignal: .interrupted
    default: .failed
    }
  }
}
