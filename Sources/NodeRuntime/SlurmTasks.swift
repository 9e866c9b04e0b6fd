import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Reporting
import RunConfiguration
import Transport

/// The tasks of a run that `srun` starts on each node, for a batch script that calls `descent train --launcher slurm`.
public struct SlurmTasks {
  /// How long `srun` may take once the run has ended: it waits for a node that was lost for as long as Slurm does.
  private static let grace = Interval.seconds(10)
  private static let pauseMilliseconds = 1000

  private let spawner: ProcessSpawner
  private let child: ProcessSpawner.Child
  private let signals: Descriptor
  private let paths: RunPaths
  private let job: String
  private let warning: WarningSignal
  /// The starts of the run before this one.
  private let formerStarts: Int
  private var requests = StopRequests()

  /// Starts one task on each node. Call it on the main thread before any other thread exists.
  ///
  /// - Parameters:
  ///   - command: the command line of the tasks, with the path of the program.
  ///   - paths: of the run.
  ///   - warning: the signal that stops the run besides those that always do.
  /// - Throws: `missingInput` where `srun` is not found; `internalError` when the system has no descriptors left.
  public init(
    _ command: [String], in allocation: SlurmAllocation, paths: RunPaths, warning: WarningSignal
  ) throws(Failure) {
    guard let srun = Self.find("srun") else {
      throw Failure(.missingInput, "there is no srun in PATH", remedy: "--launcher slurm needs the programs of Slurm")
    }
    signals = try .signals(TerminationSignals.numbers + [SIGCHLD])
    spawner = try ProcessSpawner(directory: FileSystem.split(srun).directory)
    (self.paths, job, self.warning) = (paths, allocation.job, warning)
    formerStarts = (try? RunFile(readingFrom: paths.runFile))?.starts.count ?? 0
    let nodes = "\(allocation.nodes)"
    // A node or a worker that is lost costs its own work only, and each task may use all processors of its node.
    child = try spawner.start(
      "srun",
      ["--nodes=\(nodes)", "--ntasks=\(nodes)", "--ntasks-per-node=1", "--no-kill", "--kill-on-bad-exit=0", "--wait=0"]
        + ["--cpu-bind=none"] + command,
      keepsOutput: true)
  }

  private static func find(_ name: String) -> String? {
    let places = NodeProcess.environment["PATH"]?.split(separator: ":").map(String.init) ?? []
    return places.map { "\($0)/\(name)" }.first { $0.hasPrefix("/") && access($0, X_OK) == 0 }
  }

  /// Waits for the end of the run.
  ///
  /// - Returns: the exit status of the run.
  public mutating func run() -> Int32 {
    var deadline: Instant?
    var isTerminated = false
    while true {
      _ = Descriptor.wait(for: [signals], milliseconds: Self.pauseMilliseconds)
      for (number, sender) in signals.takeSignals(exceptOfKernel: TerminationSignals.foreign) where number != SIGCHLD {
        pass(number, from: sender)
      }
      for (process, exit) in spawner.reap() where process.processID == child.processID { return status(after: exit) }
      if deadline == nil, ending != nil { deadline = .now + Self.grace }
      if let due = deadline, Instant.now >= due {
        if isTerminated { spawner.killAll() } else { spawner.send(SIGTERM, to: child) }
        (isTerminated, deadline) = (true, .now + Self.grace)
      }
    }
  }

  /// The newest start of the run, if it came after this process.
  private var start: RunFile? {
    guard let file = try? RunFile(readingFrom: paths.runFile), file.starts.count > formerStarts else { return nil }
    return file
  }

  private var ending: RunFile.Status? { start.flatMap { $0.status == .running ? nil : $0.status } }

  /// `srun` passes no signal on with time to save: it kills its tasks. So the task that leads gets it.
  private mutating func pass(_ signal: Int32, from sender: Int32) {
    if !TerminationSignals.saves(signal, warning: warning) {
      if case .copy = requests.received(isWarning: TerminationSignals.isWarning(signal), at: .now) { return }
    }
    if let leader = start?.starts.last, leader.host == NodeProcess.host, kill(leader.pid, signal) == 0 { return }
    // It is not on this host, or has not begun: all steps of the job, and not the batch script.
    _ = try? spawner.start("scancel", ["--signal=\(signal)", job])
  }

  private func status(after exit: ProcessExit) -> Int32 {
    switch (ending, exit) {
    case (.finished, _): return ExitStatus.success.rawValue
    case (.interrupted, _): return ExitStatus.stoppedBySignal.rawValue
    case (_, .status(let code)): return code == 0 && ending == .failed ? ExitStatus.internalError.rawValue : code
    case (_, .signal(let number)): return Supervisor.exitCode(ofSignal: number)
    }
  }
}
