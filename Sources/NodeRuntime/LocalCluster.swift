import Diagnostics
import Files
import Glibc
import Messaging
import Reporting
import ZeroMQTransport

/// All roles of one run as processes of this host, for `descent train`: starts them, starts again whoever is killed, passes
/// signals on, waits for the end, and leaves none behind.
public struct LocalCluster {
  /// The command lines, without the name of the executable. Each is to contain `--die-with-parent`.
  public struct Arguments: Sendable {
    public var coordinator: [String]
    /// Of a coordinator that goes on with the run of one that was killed.
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
  public struct Ending: Sendable {
    /// For this process: the coordinator's, or 128 and the signal's number after a second signal.
    public var exitCode: Int32
    /// The coordinator's `result.json`, a line of JSON, where the run came that far.
    public var resultJSON: String?
  }

  /// What the others have to end by themselves once the coordinator has. It has waited for all whom it knew, so who takes
  /// longer has come too late to be told.
  private static let farewell = Interval.seconds(1)
  /// From SIGTERM to SIGKILL.
  private static let patience = Interval.seconds(1)
  /// From the end of the last worker until the coordinator is told, if it does not end by itself.
  private static let aloneLimit = Interval.seconds(1)
  /// Two that give up within this time have the same reason to.
  private static let commonCause = Interval.seconds(5)
  private static let pollMilliseconds = 100

  private let spawner: ProcessSpawner
  private let signals: SignalDescriptor
  private let arguments: Arguments
  private let paths: RunPaths
  private let formerResult: FileStatus?
  private var coordinator: ProcessSpawner.Child
  private var policies: [String: RestartPolicy] = [:]
  /// Who is to be started again, and when; the earliest first.
  private var restarts: [(name: String, time: Instant)] = []
  /// When servers and workers gave up waiting for a word from the coordinator.
  private var unheard: [Instant] = []
  /// Since when all workers have left by themselves.
  private var aloneSince: Instant?
  private var signalsSeen = 0
  private var coordinatorExit: ProcessSpawner.Exit?
  /// Why a worker or the server could not do its part, the first time.
  private var firstFailure: ExitStatus?
  private var deadline: Instant?
  private var hasTerminated = false

  /// Starts everything. Call it on the main thread before any other thread exists.
  ///
  /// - Throws: `internalError` when a process cannot be started; those that were are ended then.
  public init(workers: Int, arguments: Arguments, paths: RunPaths) throws(Failure) {
    signal(SIGPIPE, SIG_IGN)
    signals = try SignalDescriptor([SIGINT, SIGTERM, SIGCHLD])
    spawner = try ProcessSpawner()
    self.arguments = arguments
    self.paths = paths
    formerResult = FileSystem().status(of: paths.result)
    coordinator = try spawner.start("descent-coordinator", arguments.coordinator, name: "coordinator")
    try spawner.start("descent-server", arguments.server, name: "server")
    for rank in 0..<workers { try spawner.start("descent-worker", arguments.worker, name: "worker \(rank)") }
    let now = MonotonicClock.now()
    for child in spawner.running { policies[child.name] = RestartPolicy(began: now) }
  }

  /// Waits for the end of the run.
  public mutating func run() -> Ending {
    while !spawner.running.isEmpty || !restarts.isEmpty {
      waitForSignal(milliseconds: Self.pollMilliseconds)
      for number in signals.take() where number != SIGCHLD {
        if let code = passOn(number) { return Ending(exitCode: code, resultJSON: nil) }
      }
      for (child, exit) in spawner.reap() { ended(child, exit) }
      restartWhoIsDue()
      hurry()
    }
    if case .signal = coordinatorExit {
      removeSockets()
      if !wasStoppedFromHere {
        StandardError.write(
          "descent: error: the coordinator ended with \(coordinatorExit.map(String.init(describing:)) ?? "nothing"); "
            + "go on with --resume must --run-dir \(paths.directory)\n")
      }
    }
    return Ending(exitCode: exitCode, resultJSON: newResult)
  }

  /// A coordinator that was killed could not do it.
  private func removeSockets() {
    guard let run = try? RunFile(readingFrom: paths.runFile).run else { return }
    SocketDirectory.removeLeftover(of: paths, runIdentifier: run, environment: NodeProcess.environment, isOver: true)
  }

  private func waitForSignal(milliseconds: Int) {
    var item = pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)
    poll(&item, 1, Int32(milliseconds))
  }

  private var exitCode: Int32 {
    switch coordinatorExit {
    case _ where wasStoppedFromHere: firstFailure?.rawValue ?? ExitStatus.stoppedBySignal.rawValue
    case .status(let code): code
    case .signal, nil: ExitStatus.internalError.rawValue
    }
  }

  /// The others had failed, and the coordinator was told to stop; perhaps before it had got to the point of listening to
  /// signals, so that it simply ended.
  private var wasStoppedFromHere: Bool {
    guard signalsSeen == 0 else { return false }
    if coordinatorExit == .status(ExitStatus.stoppedBySignal.rawValue) { return true }
    return firstFailure != nil && coordinatorExit == .signal(SIGTERM)
  }

  /// A coordinator that could not begin leaves the result of an earlier run as it was.
  private var newResult: String? {
    guard FileSystem().status(of: paths.result) != formerResult else { return nil }
    return try? FileSystem().text(of: paths.result)
  }

  /// The first signal asks the coordinator to save and stop; the second ends everything at once.
  private mutating func passOn(_ number: Int32) -> Int32? {
    signalsSeen += 1
    spawner.send(number, to: coordinator)
    guard signalsSeen > 1 else { return nil }  // defence: second-signal fails
    // Its second one as well: it takes its sockets away and ends. Nobody waits for more than that.
    let limit = MonotonicClock.now() + Interval.milliseconds(500)
    while spawner.running.contains(where: { $0.processID == coordinator.processID }), MonotonicClock.now() < limit {
      waitForSignal(milliseconds: 10)
      _ = spawner.reap()
      _ = signals.take()
    }
    spawner.killAll(waitMilliseconds: 1000)
    return Interruptions.exitCode(ofSignal: number)
  }

  private mutating func ended(_ child: ProcessSpawner.Child, _ exit: ProcessSpawner.Exit) {
    let isCoordinator = child.processID == coordinator.processID
    guard coordinatorExit == nil, exit != .status(0) else {
      if isCoordinator { coordinatorEnded(exit) }
      return
    }
    if exit == .status(ExitStatus.unavailable.rawValue), !isCoordinator { memberGaveUp() }
    // defence: restart
    if Self.isRecoverable(exit, isCoordinator: isCoordinator), signalsSeen == 0, firstFailure == nil,
      let time = policies[child.name]?.died(at: MonotonicClock.now())
    {
      restarts.append((child.name, time))
      restarts.sort { $0.time < $1.time }
      StandardError.write("descent: \(child.name) ended with \(exit) and is started again\n")
      return
    }
    if isCoordinator {
      coordinatorEnded(exit)
    } else {
      memberEnded(child, exit)
    }
  }

  private mutating func coordinatorEnded(_ exit: ProcessSpawner.Exit) {
    coordinatorExit = exit
    restarts.removeAll()
    deadline = MonotonicClock.now() + Self.farewell
    // A coordinator that could not begin, or was killed, has told nobody to stop.
    if exit != .status(0) { terminate() }
  }

  /// A server or worker that will not be started again.
  private mutating func memberEnded(_ child: ProcessSpawner.Child, _ exit: ProcessSpawner.Exit) {
    let isAlone = !(spawner.running.map(\.name) + restarts.map(\.name)).contains { $0.hasPrefix("worker") }
    let status: ExitStatus? = if case .status(let code) = exit { ExitStatus(rawValue: code) } else { nil }
    // If the coordinator told it to stop, that ends soon, and a signal more would be its second. If the data are wrong,
    // the coordinator finds so too, and is the one that says it: a signal before would leave everybody silent.
    if let status, ExitStatus.reportedByCoordinator.contains(status) {
      if status != .stoppedBySignal { firstFailure = firstFailure ?? status }
      if isAlone { aloneSince = aloneSince ?? MonotonicClock.now() }
      return
    }
    firstFailure = firstFailure ?? status
    // Nobody is left to train: the coordinator need not wait for its deadline to find out.
    if isAlone || child.name == "server" { spawner.send(SIGTERM, to: coordinator) }
  }

  /// One that hears nothing may be deaf or mute itself; when it happens to two at about the same time, it is the
  /// coordinator, and the next one does better.
  private mutating func memberGaveUp() {
    let now = MonotonicClock.now()
    unheard.removeAll { now.since($0) >= Self.commonCause }
    unheard.append(now)
    guard unheard.count >= 2 else { return }
    unheard.removeAll()
    StandardError.write("descent: the coordinator is up but says nothing, and is killed\n")
    spawner.send(SIGKILL, to: coordinator)
  }

  /// Killed, or away for so long that others took its place, or without a word from the coordinator: a new one can do its
  /// work. A coordinator is never away in that way, and SIGTERM that ends it is ours, from before it had got to the point
  /// of listening to signals.
  private static func isRecoverable(_ exit: ProcessSpawner.Exit, isCoordinator: Bool) -> Bool {
    switch exit {
    case .signal(let number): !isCoordinator || number != SIGTERM
    case .status(let code):
      !isCoordinator && [ExitStatus.fenced, .unavailable].map(\.rawValue).contains(code)  // defence: told-to-stop
    }
  }

  private mutating func restartWhoIsDue() {
    // Who was told to stop meanwhile does not want anybody back.
    if signalsSeen > 0, !restarts.isEmpty {
      let isWithoutCoordinator = restarts.contains { $0.name == coordinator.name }
      restarts.removeAll()
      if isWithoutCoordinator { coordinatorEnded(.status(ExitStatus.stoppedBySignal.rawValue)) }
    }
    while let next = restarts.first, MonotonicClock.now() >= next.time {
      restarts.removeFirst()
      policies[next.name]?.restarted(at: MonotonicClock.now())
      start(next.name)
    }
  }

  /// The coordinator lets a server in as soon as the lease of the one before has run out.
  private mutating func start(_ name: String) {
    do {
      switch name {
      case coordinator.name:
        coordinator = try spawner.start("descent-coordinator", arguments.successor, name: name)
      case "server": try spawner.start("descent-server", arguments.server, name: name)
      default: try spawner.start("descent-worker", arguments.worker, name: name)
      }
    } catch {
      StandardError.write("descent: \(error)\n")
      if name == coordinator.name {
        coordinatorEnded(.status(ExitStatus.internalError.rawValue))
      } else {
        spawner.send(SIGTERM, to: coordinator)
      }
    }
  }

  /// Ends what does not end by itself.
  private mutating func hurry() {
    if let since = aloneSince, coordinatorExit == nil, signalsSeen == 0,
      MonotonicClock.now().since(since) >= Self.aloneLimit
    {
      aloneSince = nil
      StandardError.write("descent: all workers have left: the run stops\n")
      spawner.send(SIGTERM, to: coordinator)
    }
    guard let deadline, MonotonicClock.now() >= deadline else { return }
    if hasTerminated {
      spawner.killAll(waitMilliseconds: 1000)
    } else {
      terminate()
    }
  }

  private mutating func terminate() {
    hasTerminated = true
    deadline = MonotonicClock.now() + Self.patience
    for child in spawner.running { spawner.send(SIGTERM, to: child) }
  }
}

extension ExitStatus {
  /// Failures of a process that `descent train` has started which its coordinator reports as well: it was told to
  /// stop, or the data, which both read, are wrong.
  package static let reportedByCoordinator: Set<ExitStatus> = [.stoppedBySignal, .missingInput, .badData]
}
