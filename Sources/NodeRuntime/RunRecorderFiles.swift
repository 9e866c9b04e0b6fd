import Checkpoints
import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import Reporting
import RunConfiguration

/// The files in the directory of a run that a start begins or continues.
extension RunRecorder {
  /// The process with the command line of the start.
  static func owner(_ options: NodeOptions) -> Int32 { options.diesWithParent ? getppid() : getpid() }

  /// A file that did not change is not written. Comments say what its settings do not repeat.
  static func writeConfiguration(
    _ settings: ResolvedSettings, _ start: RunStart, _ paths: RunPaths
  ) throws(Failure) {
    let former = try? FileSystem().text(of: paths.configuration)
    var comments = start.weights.map { ["# The run began with the weights of \($0.phrase)."] } ?? []
    let until = "# Until step "
    comments += former?.split(separator: "\n").filter { $0.hasPrefix(until) }.map(String.init) ?? []
    let file = former.flatMap { try? ConfigurationFile(text: $0, path: paths.configuration) }
    let epochs = (file.flatMap { try? ResolvedSettings.resolve(file: $0) })?.scheduleLength
    if let epochs, let new = settings.scheduleLength, epochs != new {
      comments.append("\(until)\(start.state.step) the schedule was one of \(epochs) epochs.")
    }
    let lines = settings.yaml(workingDirectory: NodeProcess.workingDirectory)
    let text = comments.map { $0 + "\n" }.joined() + lines
    guard text != former else { return }
    try FileSystem().replace(paths.configuration, with: text)
  }

  /// In the order in which they receive each event. `run.json` comes after them: its status says whether they are on disk.
  static func observers(
    _ job: TrainingJob, _ start: RunStart, _ paths: RunPaths, _ options: NodeOptions, _ latest: MetricsRecord,
    _ kernel: KernelVariant
  ) throws(Failure) -> [any RunObserver] {
    let (totalSteps, step) = (job.plan.totalSteps, start.state.step)
    let records: [any RunObserver] = [
      ProgressDisplay(
        style: options.progressStyle, on: TerminalFeatures(environment: NodeProcess.environment),
        isVerbose: options.isVerbose, latest, totalSteps: totalSteps, totalEpochs: job.epochs(totalSteps),
        workers: job.settings.workers),
      try MetricsWriter(path: paths.metrics, startingAt: step),
      try WorkersWriter(path: paths.workers, startingAt: step),
      ConfusionFile(path: paths.confusion, classNames: job.training.classNames, startingAt: step),
      ResultFile(path: paths.result),
    ]
    guard job.settings.eventFiles == .on else { return records }
    let events = try EventRecorder(
      EventContents(job: job, kernel: kernel), path: paths.eventFiles, command: options.arguments, startingAt: step,
      isResumed: start.isResumed)
    return records + [events]
  }

  static func runFile(
    _ job: TrainingJob, _ start: RunStart, _ paths: RunPaths, _ options: NodeOptions, _ process: NodeProcess,
    _ name: String
  ) throws(Failure) -> RunFileWriter {
    // The command line is that of the parent where this process was started by `descent train`.
    let newStart = RunFile.Start(
      command: options.arguments, time: .now(), host: NodeProcess.host,
      pid: owner(options), resumedFrom: start.beginsWithWeights ? nil : start.checkpoint)
    var file = RunFile(
      run: start.runIdentifier, seed: job.plan.seed, datasetFingerprint: job.training.fingerprint, start: newStart)
    file.startedFrom = start.weights
    file.pid = getpid()
    file.cores = Processors.count
    file.versions.kernel = process.kernel.rawValue
    (file.settings, file.origins) = (job.settings.values, job.settings.origins)
    return try RunFileWriter(
      file, path: paths.runFile, isResumed: start.isResumed, process: name, formerExit: options.formerExit
    ) { [signals = process.signals] in signals.received.map { signalName($0) } }
  }
}
