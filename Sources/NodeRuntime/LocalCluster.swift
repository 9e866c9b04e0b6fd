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
  private let arguments: (ProcessName, _ isRestart: Bool) -> [String]
  private let paths: RunPaths
  private let formerResult: FileStatus?
  private var supervisor: Supervisor
  private var children: [(name: ProcessName, process: ProcessSpawner.Child)] = []
  private var exitCode: Int32?

  /// Call it on the main thread before any other thread exists.
  ///
  /// - Parameter arguments: the command line of a process, without the name of the executable. It must contain
  ///   `--die-with-parent`. A coordinator that is started again resumes the run.
  /// - Throws: `internalError` when the system has no descriptors left.
  public init(
    workers: Int, timing: Timing, paths: RunPaths, arguments: @escaping (ProcessName, _ isRestart: Bool) -> [String]
  ) throws(Failure) {
    signals = try .signals(TerminationSignals.numbers + [SIGCHLD])
    spawner = try ProcessSpawner()
    self.arguments = arguments
    self.paths = paths
    formerResult = FileSystem().status(of: paths.result)
    supervisor = Supervisor(
      workers: workers, timing: timing, resumeHint: "Resume with --resume must --run-dir \(paths.directory)")
  }

  /// Starts everything, and returns when every process has ended.
  ///
  /// - Returns: the coordinator's exit code, or 128 and the signal's number after a second signal; and the result, if
  ///   this run has written one.
  public mutating func run() -> (exitCode: Int32, result: RunResult?) {
    deliver(.begin)
    while true {
      if let exitCode { return (exitCode, newResult) }
      var item = pollfd(fd: signals.number, events: Int16(POLLIN), revents: 0)
      poll(&item, 1, supervisor.nextDeadline.map { Int32(clamping: $0.millisecondsFromNow) } ?? -1)
      for number in signals.takeSignals() where number != SIGCHLD { deliver(.stopRequested(signal: number)) }
      for (process, exit) in spawner.reap() {
        guard let index = children.firstIndex(where: { $0.process.processID == process.processID }) else { continue }
        deliver(.exited(children.remove(at: index).name, exit))
      }
      if let deadline = supervisor.nextDeadline, Instant.now >= deadline { deliver(.deadline) }
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
        StandardError.write("descent: error: \(error)\n")
        if case .start(let name, _) = action { failed.append(name) }
      }
    }
    for name in failed { deliver(.startFailed(name)) }
  }

  private mutating func perform(_ action: Supervisor.Action) throws(Failure) {
    switch action {
    case .start(let name, let isRestart):
      children.append((name, try spawner.start("descent-\(name.role)", arguments(name, isRestart))))
    case .signal(let name, let number):
      if let process = children.first(where: { $0.name == name })?.process { spawner.send(number, to: process) }
    case .killAll: spawner.killAll()
    case .note(let text): StandardError.write("descent: \(text)\n")
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
