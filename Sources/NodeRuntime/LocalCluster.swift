import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Reporting
import ZeroMQTransport

/// All roles of one run as processes of this host, for `descent train`: performs what a `Supervisor` decides.
public struct LocalCluster {
  /// The command lines, without the name of the executable. Each must contain `--die-with-parent`.
  public struct Arguments: Sendable {
    public var coordinator: [String]
    /// Of a coordinator that resumes the run of one that was killed.
    public var successor: [String]
    public var server: [String]
    public var worker: [String]

    public init(coordinator: [String], successor: [String], server: [String], worker: [String]) {
      self.coordinator = coordinator
      self.successor = successor
      self.server = server
      self.worker = worker
    }
  }

  /// How the cluster ended.
  public struct Outcome: Sendable {
    /// For this process: the coordinator's, or 128 and the signal's number after a second signal.
    public var exitCode: Int32
    /// The coordinator's `result.json`, a line of JSON, if this run has written one.
    public var resultJSON: String?
  }

  private let spawner: ProcessSpawner
  private let signals: SignalDescriptor
  private let arguments: Arguments
  private let paths: RunPaths
  private let formerResult: FileStatus?
  private var supervisor: Supervisor
  private var children: [(name: ProcessName, process: ProcessSpawner.Child)] = []
  private var exitCode: Int32?

  /// Call it on the main thread before any other thread exists.
  ///
  /// - Throws: `internalError` when the system has no descriptors left.
  public init(workers: Int, arguments: Arguments, timing: Timing, paths: RunPaths) throws(Failure) {
    signal(SIGPIPE, SIG_IGN)
    signals = try SignalDescriptor([SIGINT, SIGTERM, SIGCHLD])
    spawner = try ProcessSpawner()
    self.arguments = arguments
    self.paths = paths
    formerResult = FileSystem().status(of: paths.result)
    supervisor = Supervisor(
      workers: workers, timing: timing, resumeHint: "Resume with --resume must --run-dir \(paths.directory)")
  }

  /// Starts everything, and returns when every process has ended.
  public mutating func run() -> Outcome {
    deliver(.begin)
    while true {
      if let exitCode { return Outcome(exitCode: exitCode, resultJSON: newResult) }
      waitForSignal(until: supervisor.nextDeadline)
      for number in signals.take() where number != SIGCHLD { deliver(.stopRequested(signal: number)) }
      for (process, exit) in spawner.reap() {
        guard let index = children.firstIndex(where: { $0.process.processID == process.processID }) else { continue }
        deliver(.exited(children.remove(at: index).name, exit))
      }
      if let deadline = supervisor.nextDeadline, MonotonicClock.now() >= deadline { deliver(.deadline) }
    }
  }

  private func waitForSignal(until deadline: Instant?) {
    var item = pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)
    poll(&item, 1, deadline.map { Int32(clamping: MonotonicClock.milliseconds(until: $0)) } ?? -1)
  }

  private mutating func deliver(_ event: Supervisor.Event) {
    var actions: [Supervisor.Action] = []
    supervisor.handle(event, at: MonotonicClock.now(), into: &actions)
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
    case .start(let name, let isRestart): try start(name, isRestart: isRestart)
    case .signal(let name, let number):
      if let process = children.first(where: { $0.name == name })?.process { spawner.send(number, to: process) }
    case .killAll: spawner.killAll()
    case .note(let text): StandardError.write("descent: \(text)\n")
    case .removeSockets: removeSockets()
    case .stop(let exitCode): self.exitCode = exitCode
    }
  }

  private mutating func start(_ name: ProcessName, isRestart: Bool) throws(Failure) {
    let (executable, arguments) =
      switch name {
      case .coordinator: ("descent-coordinator", isRestart ? arguments.successor : arguments.coordinator)
      case .server: ("descent-server", arguments.server)
      case .worker: ("descent-worker", arguments.worker)
      }
    children.append((name, try spawner.start(executable, arguments)))
  }

  private func removeSockets() {
    guard let run = try? RunFile(readingFrom: paths.runFile).run else { return }
    SocketDirectory.removeLeftover(of: paths, runIdentifier: run, environment: NodeProcess.environment, isOver: true)
  }

  /// A coordinator that could not begin leaves the result of an earlier run as it was.
  private var newResult: String? {
    guard FileSystem().status(of: paths.result) != formerResult else { return nil }
    return try? FileSystem().text(of: paths.result)
  }
}
