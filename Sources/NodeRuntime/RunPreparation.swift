import Checkpoints
import Cluster
import Diagnostics
import Files
import Optimization
import Reporting
import RunConfiguration
import Transport

/// The settings of the run that a start continues: those of its `config.yaml`, or, where there is none, those that the
/// checkpoint records. Empty for a start that continues none.
///
/// - Throws: what reading them does, `missingInput` for a run that must be there, or a checkpoint, and is not.
public func settingsOfRun(_ policy: ResumePolicy, _ runDirectory: String?) throws(Failure) -> [SettingLine] {
  var paths = runDirectory.map { RunPaths(directory: $0) }
  var checkpoint: StoredCheckpoint?
  switch policy {
  case .never: return []
  case .auto, .must: break
  case .checkpoint(let selector):
    checkpoint = try CheckpointStore.load(CheckpointStore.locate(selector))
    paths = checkpoint.flatMap { RunPaths(ofCheckpoint: $0.path) }
  }
  if let paths, FileSystem().exists(paths.configuration) {
    return try ConfigurationFile(readingFrom: paths.configuration).lines
  }
  if checkpoint == nil, let paths {
    checkpoint = try CheckpointStore(runDirectory: paths.directory).newestValid().newest
  }
  guard let checkpoint else {
    guard policy != .must else {
      throw Failure(
        .missingInput, runDirectory.map { "\($0) contains no run to resume" } ?? "--resume must requires --run-dir",
        remedy: "Name the directory of the run with --run-dir")
    }
    return []
  }
  return checkpoint.checkpoint.origin.settings.map { ($0.key, $0.value, .checkpoint(checkpoint.path)) }
}

/// The result of a run that has ended, if these settings resume it and give it nothing to train. Changes nothing.
///
/// - Throws: what the start of the run would.
package func finishedRun(_ settings: ResolvedSettings) throws(Failure) -> RunEnding? {
  guard settings.resume != .never, let directory = settings.runDirectory else { return nil }
  let paths = RunPaths(directory: directory)
  guard let file = try? RunFile(readingFrom: paths.runFile), file.status == .finished,
    let json = try? FileSystem().text(of: paths.result), let result = try? RunResult(json: json, source: paths.result)
  else { return nil }
  let job = try TrainingJob(settings: settings)
  let start = try RunStart(job: job, paths: paths, newIdentifier: file.run)
  let controller = RunController(plan: job.plan, rule: job.stoppingRule, initial: start.state, checkpoint: nil)
  guard start.isResumed, let reason = controller.endOfRun else { return nil }
  let (done, flags) = job.whatEnded(reason, start.state.step)
  return RunEnding(
    status: .success,
    reason: "\(directory) is finished: \(done). To train further: \(paths.resumption(flags))", result: result)
}

extension TrainingJob {
  /// What ended the run, and the flags with which it trains further.
  fileprivate func whatEnded(_ reason: StopReason, _ step: UInt64) -> (done: String, flags: [String]) {
    let further = "\(2 * settings.epochs)"
    switch reason {
    case .epochs:
      let schedule = settings.schedule == .cosine ? ["--schedule-epochs", further] : []
      return (
        "\(step / plan.stepsPerEpoch) of \(settings.epochs) epochs (\(grouped(step)) steps)",
        ["--epochs", further] + schedule
      )
    case .targetAccuracy: return ("the target accuracy was reached", ["--target-accuracy", "0"])
    case .gradientNorm: return ("the gradient norm fell below its limit", ["--gradient-norm", "0"])
    case .converged: return ("no improvement in \(settings.patience) evaluations", ["--patience", "0"])
    case .steps, .diverged, .signal, .data, .serverLost, .noServer, .noWorker, .inputOutput, .takenOver, .killed:
      return ("\(grouped(step)) of \(grouped(plan.totalSteps)) steps", ["--max-steps", "0"])
    }
  }
}

/// A start up to its first change: what a run would be, and where it would begin.
package struct Rehearsal {
  package let job: TrainingJob
  package let start: RunStart
  /// Nil if the run would get a new directory in `runs`.
  package let directory: String?

  /// - Throws: what a run with these options would throw before it trains.
  package init(_ options: NodeOptions) throws(Failure) {
    let settings = options.settings
    try RunLimits.require(runOf: settings.workers)
    if settings.workers > 0 { try Self.checkAddress(options) }
    let job = try TrainingJob(settings: settings)
    let paths = RunPaths(directory: settings.runDirectory ?? RunPaths.defaultDirectory(RunIdentifier.draw()))
    start = try RunStart(job: job, paths: paths, newIdentifier: "")
    try RunLimits.require(job, paths)
    try paths.requireUsableDirectory()
    (self.job, directory) = (job, settings.runDirectory)
  }

  private static func checkAddress(_ options: NodeOptions) throws(Failure) {
    // `descent train` makes keys in a directory that is not there.
    let hasKeys = options.settings.keys.map { KeyDirectory(path: $0).exists } ?? true
    let security: ConnectionSecurity =
      hasKeys ? try options.openSecurity(as: .coordinator, isRehearsal: true) : .plaintext(beyondThisHost: true)
    guard let address = try options.tcpAddress(port: options.settings.port, security) else { return }
    let transport = NodeTransport(
      role: .coordinator, incarnation: .draw(),
      context: try MessagingContext(security: security, lease: options.timing.lease))
    _ = try transport.listen(at: address.listening, advertising: address.advertised)
    transport.close()
  }
}
