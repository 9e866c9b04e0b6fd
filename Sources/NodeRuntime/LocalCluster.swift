import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import Reporting
import RunConfiguration
import Transport

/// Processes of one run on this host: all of its roles for `descent train`, or workers of a run that is led elsewhere for
/// `descent join`. Performs what a `Supervisor` or a `JoinSupervisor` decides.
public struct LocalCluster {
  /// The command line of a process, without the name of the executable. It must contain `--die-with-parent`.
  public typealias Arguments = (ProcessName, _ formerExit: String?) -> [String]

  private let spawner: ProcessSpawner
  private let signals: Descriptor
  private let warning: WarningSignal
  private let arguments: Arguments
  /// Of the run that this process owns; nil where it joins one.
  private let own: OwnRun?
  private var log: SupervisorLog
  private var supervisor: any ProcessSupervisor
  private var children: [(name: ProcessName, process: ProcessSpawner.Child)] = []
  /// How the newest process of each name ended.
  private var exits: [ProcessName: ProcessExit] = [:]
  private var exitCode: Int32?

  /// Call it on the main thread before any other thread exists.
  ///
  /// - Parameters:
  ///   - workers: of this host.
  ///   - settings: of the run.
  ///   - arguments: A coordinator that takes the place of one that ended resumes the run.
  /// - Throws: `internalError` when the system has no descriptors left.
  public init(
    workers: Int, settings: ResolvedSettings, paths: RunPaths, arguments: @escaping Arguments
  ) throws(Failure) {
    try RunLimits.require(runOf: workers)
    try self.init(
      Supervisor(
        workers: workers, timing: Timing(settings), host: NodeProcess.host,
        resumeHint: "Resume with: \(paths.resumption())"),
      settings, own: OwnRun(paths), log: SupervisorLog(opening: { paths.openLogOfStart() }), arguments)
  }

  /// Workers of a run that is led elsewhere.
  ///
  /// - Parameters:
  ///   - first: the number of the first one.
  ///   - settings: of the workers.
  ///   - logDirectory: where the log goes, once there is such a directory.
  /// - Throws: `internalError` when the system has no descriptors left.
  public init(
    joining workers: Int, first: Int, settings: ResolvedSettings, logDirectory: String, arguments: @escaping Arguments
  ) throws(Failure) {
    let log = SupervisorLog(opening: {
      let name = NodeProcess.fullName("join")
      guard FileSystem().exists(logDirectory) else { return nil }
      return try? LogFile(path: RunPaths.log(name, in: logDirectory), run: "", role: "join", name: name)
    })
    try self.init(
      JoinSupervisor(workers: workers, first: first, timing: Timing(settings), host: NodeProcess.host),
      settings, own: nil, log: log, arguments)
  }

  private init(
    _ supervisor: any ProcessSupervisor, _ settings: ResolvedSettings, own: OwnRun?, log: SupervisorLog,
    _ arguments: @escaping Arguments
  ) throws(Failure) {
    let suspending = TerminationSignals.isIgnored(SIGTSTP) ? [] : [SIGTSTP]
    signals = try .signals(TerminationSignals.numbers + [SIGCHLD] + suspending)
    spawner = try ProcessSpawner()
    warning = settings.warningSignal
    (self.supervisor, self.own, self.log, self.arguments) = (supervisor, own, log, arguments)
  }

  /// Starts everything, and returns when every process has ended.
  ///
  /// - Returns: the coordinator's exit code, or 128 and the signal's number after a second signal; and the result, if
  ///   this run has written one.
  public mutating func run() -> (exitCode: Int32, result: RunResult?) {
    deliver(.begin)
    while true {
      if let exitCode {
        own?.concludeRecord(exitCode)
        if exitCode != 0 { StandardError.clearRedrawnLine() }
        return (exitCode, own?.newResult)
      }
      var item = pollfd(fd: signals.number, events: Int16(POLLIN), revents: 0)
      let next = [supervisor.nextDeadline, log.nextTry].compactMap(\.self).min()
      poll(&item, 1, next.map { Int32(clamping: $0.millisecondsFromNow) } ?? -1)
      for (number, sender) in signals.takeSignals(exceptOfKernel: TerminationSignals.foreign)
      where number != SIGCHLD {
        take(number, from: sender)
      }
      for (process, exit) in spawner.reap() {
        guard let index = children.firstIndex(where: { $0.process.processID == process.processID }) else { continue }
        let name = children.remove(at: index).name
        exits[name] = exit
        let text = "\(NodeProcess.fullName("\(name)")) (pid \(process.processID)) \(exit.phrase)"
        log.note(.info, "process_ended", text)
        deliver(.exited(name, own?.meaning(of: exit, of: name) ?? exit))
      }
      log.write()
      if let deadline = supervisor.nextDeadline, Instant.now >= deadline { deliver(.deadline) }
    }
  }

  private mutating func take(_ signal: Int32, from sender: Int32) {
    if signal == SIGTSTP { return spawner.suspend() }
    let isSave = TerminationSignals.saves(signal, warning: warning)
    let purpose = isSave ? "saving a checkpoint" : "stopping \(own == nil ? "the workers" : "the run")"
    log.note(.info, "signal_received", "\(signalName(signal)) from process \(sender): \(purpose)")
    guard isSave else {
      return deliver(.stopRequested(signal: signal, isWarning: TerminationSignals.isWarning(signal)))
    }
    // The coordinator, or a worker, which passes it on. A process that starts holds the signal until it can.
    guard let process = children.first?.process else {
      return StandardError.write(message: "descent: \(signalName(signal)) is ignored: no process of the run is running")
    }
    spawner.send(signal, to: process)
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
      children.sort { $0.name.order < $1.name.order }
      log.note(.info, "process_started", "started \(NodeProcess.fullName("\(name)")) (pid \(process.processID))")
    case .signal(let name, let number):
      if let process = children.first(where: { $0.name == name })?.process { spawner.send(number, to: process) }
    case .killAll: spawner.killAll()
    case .note(let level, let event, let text):
      StandardError.write(message: "descent: \(text)")
      log.note(level, event, text)
    case .removeSockets: own?.removeSockets()
    case .stop(let exitCode): self.exitCode = exitCode
    }
  }
}

/// The run of `descent train`, as its files show it.
private struct OwnRun {
  private let paths: RunPaths
  private let rollback: StartRollback
  private let formerResult: FileStatus?

  init(_ paths: RunPaths) {
    self.paths = paths
    rollback = StartRollback(of: paths)
    formerResult = FileSystem().status(of: paths.result)
  }

  /// All processes have ended. A run that was killed is not left as a running one, nor is the address of its coordinator,
  /// and a start that failed leaves no run.
  func concludeRecord(_ exitCode: Int32) {
    let file = try? RunFile(readingFrom: paths.runFile)
    guard file == nil || file?.isNewestStart(of: getpid(), on: NodeProcess.host) == true else { return }
    // Another host has the directory.
    guard exitCode != ExitStatus.fenced.rawValue else { return }
    let isInterrupted = exitCode == ExitStatus.stoppedBySignal.rawValue || exitCode > 128
    if exitCode != 0, !isInterrupted, rollback.removeStart(of: file) { return }
    paths.recordEnd(exitCode > 128 ? signalName(exitCode - 128) : nil)  // defence: recorded-end
    // A coordinator that was killed did not withdraw its address; one that has come since holds the directory.
    if let lock = try? paths.lockDirectory() {
      withExtendedLifetime(lock) { try? FileSystem().unlink(paths.coordinatorEndpoint) }
    }
  }

  /// A server or worker ends with 69 when it hears nothing, and where the run gave up, of which it was told. In the second
  /// case the end of the run has been recorded, no process is silent, and there is nothing to restart.
  func meaning(of exit: ProcessExit, of name: ProcessName) -> ProcessExit {
    guard name != .coordinator, exit == .status(ExitStatus.unavailable.rawValue),
      let file = try? RunFile(readingFrom: paths.runFile), let reason = file.ended?.reason,
      [StopReason.noServer, .serverLost, .noWorker].contains(reason),
      file.isNewestStart(of: getpid(), on: NodeProcess.host)
    else { return exit }
    return .status(ExitStatus.stoppedBySignal.rawValue)
  }

  func removeSockets() {
    guard let run = try? RunFile(readingFrom: paths.runFile).run else { return }
    SocketDirectory.removeLeftover(of: paths, runIdentifier: run, environment: NodeProcess.environment, isOver: true)
  }

  /// A coordinator that could not begin leaves the result of an earlier run as it was.
  var newResult: RunResult? {
    guard FileSystem().status(of: paths.result) != formerResult,
      let json = try? FileSystem().text(of: paths.result)
    else { return nil }
    return try? RunResult(json: json, source: paths.result)
  }
}

/// The log of `descent train` or `descent join`: the starts and ends of its processes. They begin before the directory of the
/// run is known to be this run's and not that of an earlier one, for which the coordinator may refuse to start; until then the
/// lines wait.
private struct SupervisorLog {
  private static let pause = Interval.milliseconds(200)
  private static let waitingLimit = 1000

  /// Nil as long as it cannot be opened.
  private let open: () -> LogFile?
  private var waiting: [(time: UTCTime, level: NoteLevel, event: String, text: String)] = []
  private var file: LogFile?
  /// When to look at the directory again; nil while no line waits.
  private(set) var nextTry: Instant?

  init(opening open: @escaping () -> LogFile?) { self.open = open }

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
}

extension RunPaths {
  /// Nil before the coordinator of this process has begun the run.
  fileprivate func openLogOfStart() -> LogFile? {
    guard let run = try? RunFile(readingFrom: runFile), run.isNewestStart(of: getpid(), on: NodeProcess.host)
    else { return nil }
    let name = NodeProcess.fullName("train")
    return try? LogFile(path: log(name), run: run.run, role: "train", name: name)
  }
}

extension ProcessName {
  /// The coordinator is the first.
  fileprivate var order: Int {
    switch self {
    case .coordinator: -2
    case .server: -1
    case .worker(let number): number
    }
  }
}
