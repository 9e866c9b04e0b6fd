import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Reporting
import Transport

/// All roles of one run as processes of this host, for `descent train`: performs what a `Supervisor` decides.
public struct LocalCluster {
  private let spawner: ProcessSpawner
  private let signals: Descriptor
  private let arguments: (ProcessName, _ formerExit: String?) -> [String]
  private let paths: RunPaths
  private let rollback: StartRollback
  private var log: SupervisorLog
  private let formerResult: FileStatus?
  private var supervisor: Supervisor
  private var children: [(name: ProcessName, process: ProcessSpawner.Child)] = []
  /// How the newest process of each name ended.
  private var exits: [ProcessName: ProcessExit] = [:]
  private var exitCode: Int32?

  /// Call it on the main thread before any other thread exists.
  ///
  /// - Parameter arguments: the command line of a process, without the name of the executable. It must contain
  ///   `--die-with-parent`. A coordinator that takes the place of one that ended resumes the run.
  /// - Throws: `internalError` when the system has no descriptors left.
  public init(
    workers: Int, timing: Timing, paths: RunPaths, arguments: @escaping (ProcessName, _ formerExit: String?) -> [String]
  ) throws(Failure) {
    try RunLimits.require(runOf: workers)
    let suspending = TerminationSignals.isIgnored(SIGTSTP) ? [] : [SIGTSTP]
    signals = try .signals(TerminationSignals.numbers + [SIGCHLD] + suspending)
    spawner = try ProcessSpawner()
    self.arguments = arguments
    self.paths = paths
    rollback = StartRollback(of: paths)
    log = SupervisorLog(paths: paths)
    formerResult = FileSystem().status(of: paths.result)
    supervisor = Supervisor(
      workers: workers, timing: timing, host: NodeProcess.host, resumeHint: "Resume with: \(paths.resumption())")
  }

  /// Starts everything, and returns when every process has ended.
  ///
  /// - Returns: the coordinator's exit code, or 128 and the signal's number after a second signal; and the result, if
  ///   this run has written one.
  public mutating func run() -> (exitCode: Int32, result: RunResult?) {
    deliver(.begin)
    while true {
      if let exitCode {
        concludeRecord(exitCode)
        if exitCode != 0 { StandardError.clearRedrawnLine() }
        return (exitCode, newResult)
      }
      var item = pollfd(fd: signals.number, events: Int16(POLLIN), revents: 0)
      let next = [supervisor.nextDeadline, log.nextTry].compactMap(\.self).min()
      poll(&item, 1, next.map { Int32(clamping: $0.millisecondsFromNow) } ?? -1)
      for (number, sender) in signals.takeSignals(exceptOfKernel: TerminationSignals.foreign)
      where number != SIGCHLD {
        if number == SIGTSTP {
          spawner.suspend()
          continue
        }
        log.note(.info, "signal_received", "\(signalName(number)) from process \(sender): stopping the run")
        deliver(.stopRequested(signal: number, isWarning: TerminationSignals.isWarning(number)))
      }
      for (process, exit) in spawner.reap() {
        guard let index = children.firstIndex(where: { $0.process.processID == process.processID }) else { continue }
        let name = children.remove(at: index).name
        exits[name] = exit
        let text = "\(NodeProcess.fullName("\(name)")) (pid \(process.processID)) \(exit.phrase)"
        log.note(.info, "process_ended", text)
        deliver(.exited(name, exit))
      }
      log.write()
      if let deadline = supervisor.nextDeadline, Instant.now >= deadline { deliver(.deadline) }
    }
  }

  /// All processes have ended. A run that was killed is not left as a running one, nor is the address of its coordinator,
  /// and a start that failed leaves no run.
  private func concludeRecord(_ exitCode: Int32) {
    let file = try? RunFile(readingFrom: paths.runFile)
    guard file == nil || file?.isNewestStart(of: getpid(), on: NodeProcess.host) == true else { return }
    let isInterrupted = exitCode == ExitStatus.stoppedBySignal.rawValue || exitCode > 128
    if exitCode != 0, !isInterrupted, rollback.removeStart(of: file) { return }
    paths.recordEnd(exitCode > 128 ? signalName(exitCode - 128) : nil)  // defence: recorded-end
    // A coordinator that was killed did not withdraw its address; one that has come since holds the directory.
    if let lock = try? paths.lockDirectory() {
      withExtendedLifetime(lock) { try? FileSystem().unlink(paths.coordinatorEndpoint) }
    }
  }

  private mutating func deliver(_ event: Supervisor.Event) {
    var actions: [Supervisor.Action] = []
    supervisor.handle(event, at: .now, into: &actions)
    var failed: [ProcessName] = []
    for action in actions {
      do throws(Failure) {
        try perform(action)
      } catch {
        StandardError.write(message: "descent: error: \(error)")
        if case .start(let name, _) = action { failed.append(name) }
      }
    }
    for name in failed { deliver(.startFailed(name)) }
  }

  private mutating func perform(_ action: Supervisor.Action) throws(Failure) {
    switch action {
    case .start(let name, let isRestart):
      let process = try spawner.start(
        "descent-\(name.role)", arguments(name, isRestart ? exits[name]?.phrase : nil),
        holding: TerminationSignals.numbers)
      children.append((name, process))
      log.note(.info, "process_started", "started \(NodeProcess.fullName("\(name)")) (pid \(process.processID))")
    case .signal(let name, let number):
      if let process = children.first(where: { $0.name == name })?.process { spawner.send(number, to: process) }
    case .killAll: spawner.killAll()
    case .note(let level, let event, let text):
      StandardError.write(message: "descent: \(text)")
      log.note(level, event, text)
    case .removeSockets: removeSockets()
    case .stop(let exitCode): self.exitCode = exitCode
    }
  }

  private func removeSockets() {
    guard let run = try? RunFile(readingFrom: paths.runFile).run else { return }
    SocketDirectory.removeLeftover(of: paths, runIdentifier: run, environment: NodeProcess.environment, isOver: true)
  }

  /// A coordinator that could not begin leaves the result of an earlier run as it was.
  private var newResult: RunResult? {
    guard FileSystem().status(of: paths.result) != formerResult,
      let json = try? FileSystem().text(of: paths.result)
    else { return nil }
    return try? RunResult(json: json, source: paths.result)
  }
}

/// The log of `descent train`: the starts and ends of its processes. They begin before the directory of the run is known to
/// be this run's and not that of an earlier one, for which the coordinator may refuse to start; until then the lines wait.
private struct SupervisorLog {
  private static let pause = Interval.milliseconds(200)
  private static let waitingLimit = 1000

  private let paths: RunPaths
  private var waiting: [(time: UTCTime, level: NoteLevel, event: String, text: String)] = []
  private var file: LogFile?
  /// When to look at the directory again; nil while no line waits.
  private(set) var nextTry: Instant?

  init(paths: RunPaths) { self.paths = paths }

  mutating func note(_ level: NoteLevel, _ event: String, _ text: String) {
    if waiting.count < Self.waitingLimit { waiting.append((.now(), level, event, text)) }
    write()
  }

  /// Writes the lines that wait, if the log can be opened.
  mutating func write() {
    guard !waiting.isEmpty else { return }
    file = file ?? open()
    guard let file else {
      nextTry = .now + Self.pause
      return
    }
    for line in waiting {
      let handler = JSONLinesLogHandler(file: file) { line.time }
      NodeLog(handler).note(line.level, event: line.event, line.text)
    }
    waiting.removeAll()
    nextTry = nil
  }

  /// Nil before the coordinator of this process has begun the run.
  private func open() -> LogFile? {
    guard let run = try? RunFile(readingFrom: paths.runFile), run.isNewestStart(of: getpid(), on: NodeProcess.host)
    else { return nil }
    let name = NodeProcess.fullName("train")
    return try? LogFile(path: paths.log(name), run: run.run, role: "train", name: name)
  }
}
