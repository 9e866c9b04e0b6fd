import Diagnostics
import Messaging

/// Decides on the processes of one host.
public protocol ProcessSupervisor: Role where Event == Supervisor.Event, Action == Supervisor.Action {}

/// Starts the processes of one run on one host, restarts those that fail, passes termination signals on, and leaves no
/// process behind.
///
/// The coordinator decides how the run ends; the supervisor's exit status is the coordinator's. A member (the server or a
/// worker) that hears nothing from the coordinator exits with `unavailable` and is restarted; if two do, the coordinator is
/// at fault and is replaced.
public struct Supervisor: ProcessSupervisor {
  public enum Event: Sendable {
    /// First of all, once.
    case begin
    case exited(ProcessName, ProcessExit)
    /// A `start` action could not be performed.
    case startFailed(ProcessName)
    /// A signal that stops the run, by its number.
    case stopRequested(signal: Int32, isWarning: Bool = false)
    case deadline
  }

  public enum Action: Sendable, Equatable {
    /// A coordinator that is restarted resumes the run of its predecessor.
    case start(ProcessName, isRestart: Bool)
    case signal(ProcessName, Int32)
    /// SIGKILL to every process that is left, and to the processes that it has started.
    case killAll
    /// A line for the terminal and the log. `event` is a stable name for scripts.
    case note(NoteLevel, event: String, String)
    /// A coordinator that was killed could not do it.
    case removeSockets
    /// The last action.
    case stop(exitCode: Int32)
  }

  private struct Process {
    let name: ProcessName
    var state = ProcessState.ended
    var restarts = RestartPolicy()
    var hasStarted = false
    /// It may have spent so much of its life waiting for the coordinator, or unheard.
    var idleTime = Interval.seconds(0)

    var isRunning: Bool { if case .running = state { true } else { false } }
  }

  private enum Stage {
    /// What fails is restarted. All workers have ended if there is a deadline: until then the coordinator may end by
    /// itself.
    case running(until: Instant?)
    /// The coordinator has been asked to stop. Nothing is restarted.
    case stopping(isBySignal: Bool, until: Instant?)
    /// A deliberate second signal has come: the coordinator removes its sockets and exits, or is killed.
    case aborting(exitCode: Int32, until: Instant)
    /// The coordinator has ended. The others exit by themselves, then by SIGTERM, then by SIGKILL.
    case ending(exitCode: Int32, Pressure, until: Instant)
    case ended
  }

  private enum Pressure { case none, terminated, killed }

  private let timing: Timing
  private let host: String
  private let resumeHint: String
  private var turn = Turn<Action>()
  private var stage = Stage.running(until: nil)
  /// The coordinator, the server, then the workers.
  private var processes: [Process]
  /// The newest timeout of each member that has given up waiting for the coordinator.
  private var timeouts: [(name: ProcessName, time: Instant)] = []
  /// The exit status of the first member that failed for good.
  private var failure: ExitStatus?
  /// How the newest coordinator ended.
  private var coordinatorWasKilled = false
  private var stopRequests = StopRequests()

  /// - Parameters:
  ///   - workers: at least 1.
  ///   - host: for the full names of the processes: "worker-1@host".
  ///   - resumeHint: how to continue the run, for the message about a coordinator that cannot be restarted.
  public init(workers: Int, timing: Timing, host: String, resumeHint: String) {
    self.timing = timing
    self.host = host
    self.resumeHint = resumeHint
    processes = ([.coordinator, .server(.first)] + (0..<workers).map { .worker($0) }).map { Process(name: $0) }
  }

  public var nextDeadline: Instant? { due.map { $0 + turn.absence } }

  /// In the time of `turn`. While a stage has a deadline, the supervisor looks often enough to notice an absence.
  private var due: Instant? {
    let waiting = processes.compactMap { if case .waiting(let time) = $0.state { time } else { nil } }
    let stageDeadline: Instant? =
      switch stage {
      case .running(let time), .stopping(_, let time): time
      case .aborting(_, let time), .ending(_, _, let time): time
      case .ended: nil
      }
    return (waiting + [stageDeadline.map { min($0, turn.now + timing.heartbeat) }].compactMap(\.self)).min()
  }

  public mutating func handle(_ event: Event, at now: Instant, into actions: inout [Action]) {
    if case .ended = stage { return }
    turn.begin(at: now, due: due, allowance: timing.heartbeat, into: &actions)
    defer { turn.end(into: &actions) }
    switch event {
    case .begin: for index in processes.indices { start(index) }
    case .exited(let name, let exit): exited(name, exit)
    case .startFailed(let name): startFailed(name)
    case .stopRequested(let signal, let isWarning): stopRequested(signal, isWarning: isWarning)
    case .deadline: deadlinePassed()
    }
    stopIfNoneIsLeft()
  }

  // MARK: Starting

  private mutating func start(_ index: Int) {
    turn.append(.start(processes[index].name, isRestart: processes[index].hasStarted))
    processes[index].state = .running(since: turn.now)
    processes[index].idleTime = .seconds(0)
    processes[index].hasStarted = true
  }

  private mutating func startFailed(_ name: ProcessName) {
    guard let index = index(of: name) else { return }
    processes[index].state = .ended
    failure = failure ?? .internalError
    switch stage {
    case .running where name == .coordinator, .stopping where name == .coordinator:
      coordinatorEnded(.status(ExitStatus.internalError.rawValue))
    case .running: stopCoordinator()
    case .stopping, .aborting, .ending, .ended: break
    }
  }

  private mutating func note(_ level: NoteLevel, _ event: String, _ text: String) {
    turn.append(.note(level, event: event, text))
  }

  private func index(of name: ProcessName) -> Int? { processes.firstIndex { $0.name == name } }

  private var coordinator: Process { processes[0] }

  private mutating func cancelRestarts() {
    for index in processes.indices {
      if case .waiting = processes[index].state { processes[index].state = .ended }
    }
  }

  // MARK: Exits

  private mutating func exited(_ name: ProcessName, _ exit: ProcessExit) {
    guard let index = index(of: name), case .running(let began) = processes[index].state else { return }
    processes[index].state = .ended
    if name == .coordinator {
      coordinatorWasKilled = exit.isSignal
      timeouts.removeAll()
    }
    switch stage {
    case .running, .stopping:
      if name == .coordinator {
        coordinatorExited(exit, began: began)
      } else {
        memberExited(index, exit, began: began)
      }
    case .aborting(let exitCode, _):
      if name == .coordinator { killAll(exitCode) }
    case .ending, .ended: break
    }
  }

  private mutating func coordinatorExited(_ exit: ProcessExit, began: Instant) {
    // SIGTERM ends a coordinator that does not handle signals yet.
    if exit.isSignal, exit != .signal(Self.terminate), restart(0, after: exit, began: began) { return }
    coordinatorEnded(exit)
  }

  private mutating func memberExited(_ index: Int, _ exit: ProcessExit, began: Instant) {
    let isTimeout = exit == .status(ExitStatus.unavailable.rawValue)
    if isTimeout {
      processes[index].idleTime = timing.longestJoin
      memberTimedOut(processes[index].name)
    }
    // defence: told-to-stop
    let isRecoverable = isTimeout || exit.isSignal || exit == .status(ExitStatus.fenced.rawValue)
    if isRecoverable, restart(index, after: exit, began: began) { return }
    memberEnded(processes[index].name, exit)
  }

  /// - Returns: whether the process will be restarted.
  private mutating func restart(_ index: Int, after exit: ProcessExit, began: Instant) -> Bool {
    let uptime = turn.now.since(began + processes[index].idleTime)
    guard case .running = stage else { return false }  // defence: restart fails
    guard let delay = processes[index].restarts.recordExit(uptime: uptime) else { return false }
    let pause = min(delay, timing.longestRestartDelay)  // defence: restart-pause
    processes[index].state = .waiting(until: turn.now + pause)
    note(.warning, "process_restarted", "\(processes[index].name)@\(host) \(exit.phrase); restarting it")
    return true
  }

  /// A server or worker that is not restarted.
  private mutating func memberEnded(_ name: ProcessName, _ exit: ProcessExit) {
    let isLastWorker = !processes.contains { $0.name.isWorker && $0.state != .ended }
    let status: ExitStatus? = if case .status(let code) = exit { ExitStatus(rawValue: code) } else { nil }
    if let status, status == .success || ExitStatus.reportedByCoordinator.contains(status) {
      // The coordinator has stopped it, or reports the same failure. SIGTERM now would be the coordinator's second one,
      // or keep it from its report.
      if status != .success, status != .stoppedBySignal { failure = failure ?? status }
      if isLastWorker, case .running(nil) = stage { stage = .running(until: turn.now + timing.lastWorkerGrace) }
      return
    }
    failure = failure ?? status ?? .internalError
    if isLastWorker || name.role == .server { stopCoordinator() }
  }

  /// One member that hears nothing may be deaf or mute itself. If two different ones time out, the coordinator is, unless
  /// it is younger than the silence.
  private mutating func memberTimedOut(_ name: ProcessName) {
    guard case .running(let began) = coordinator.state, turn.now.since(began) >= timing.coordinatorTimeout else {
      return
    }
    timeouts.removeAll { $0.name == name || turn.now.since($0.time) >= timing.correlationWindow }
    timeouts.append((name, turn.now))
    guard timeouts.count == 2 else { return }
    processes[0].idleTime = timing.longestJoin
    note(.warning, "coordinator_silent", "the coordinator is running but silent; killing it")
    turn.append(.signal(.coordinator, Self.kill))
  }

  // MARK: The end

  private mutating func coordinatorEnded(_ exit: ProcessExit) {
    cancelRestarts()
    let exitCode = exitCode(after: exit)
    if exit.isSignal, exitCode == ExitStatus.internalError.rawValue {
      note(.error, "coordinator_lost", "error: the coordinator \(exit.phrase). \(resumeHint)")
    }
    if exit == .status(ExitStatus.success.rawValue) {
      stage = .ending(exitCode: exitCode, .none, until: turn.now + timing.exitGrace)
    } else {
      // A coordinator that could not begin, or was killed, has stopped no member.
      terminateAll(exitCode)
    }
  }

  private func exitCode(after exit: ProcessExit) -> Int32 {
    let isBySignal: Bool? = if case .stopping(let isBySignal, _) = stage { isBySignal } else { nil }
    switch exit {
    case .status(let code) where code != ExitStatus.stoppedBySignal.rawValue: return code
    case .signal(let number) where isBySignal == nil || ![Self.interrupt, Self.terminate].contains(number):
      return ExitStatus.internalError.rawValue
    case .status, .signal:
      // The supervisor stops a run because of a failure, if not of a signal.
      return (isBySignal == true ? .stoppedBySignal : failure ?? .stoppedBySignal).rawValue
    }
  }

  /// The run cannot continue: the coordinator saves and stops it.
  private mutating func stopCoordinator() {
    guard case .running = stage else { return }
    requestStop(signal: Self.terminate, isBySignal: false)
  }

  private mutating func stopRequested(_ signal: Int32, isWarning: Bool) {
    if case .copy = stopRequests.received(isWarning: isWarning, at: turn.now) { return }
    switch stage {
    case .running: requestStop(signal: signal, isBySignal: true)
    case .stopping(isBySignal: false, _):
      // The coordinator is stopping already, and would take this for a second signal.
      stage = .stopping(isBySignal: true, until: nil)
    case .stopping(isBySignal: true, _):
      turn.append(.signal(.coordinator, signal))
      stage = .aborting(exitCode: Self.exitCode(ofSignal: signal), until: turn.now + timing.abortGrace)
    case .ending(let exitCode, .none, _): terminateAll(exitCode)
    case .ending(let exitCode, .terminated, _): killAll(exitCode)
    case .ending(_, .killed, _), .aborting, .ended: break
    }
  }

  private mutating func requestStop(signal: Int32, isBySignal: Bool) {
    stage = .stopping(isBySignal: isBySignal, until: isBySignal ? nil : turn.now + timing.stopTimeout)
    if coordinator.isRunning {
      cancelRestarts()
      turn.append(.signal(.coordinator, signal))
    } else {
      coordinatorEnded(.status(ExitStatus.stoppedBySignal.rawValue))
    }
  }

  private mutating func terminateAll(_ exitCode: Int32) {
    stage = .ending(exitCode: exitCode, .terminated, until: turn.now + timing.killDelay)
    for process in processes where process.isRunning { turn.append(.signal(process.name, Self.terminate)) }
  }

  private mutating func killAll(_ exitCode: Int32) {
    stage = .ending(exitCode: exitCode, .killed, until: turn.now + timing.killDelay)
    turn.append(.killAll)
  }

  private mutating func stopIfNoneIsLeft() {
    guard case .ending(let exitCode, _, _) = stage, processes.allSatisfy({ $0.state == .ended }) else { return }
    stop(exitCode)
  }

  private mutating func stop(_ exitCode: Int32) {
    stage = .ended
    if coordinatorWasKilled { turn.append(.removeSockets) }
    turn.append(.stop(exitCode: exitCode))
  }

  // MARK: Time

  private mutating func deadlinePassed() {
    restartDue()
    switch stage {
    case .running(let deadline?) where turn.now >= deadline:
      note(.warning, "no_workers", "all workers have ended; stopping the run")
      stopCoordinator()
    case .stopping(let isBySignal, let deadline?) where turn.now >= deadline:
      note(.warning, "coordinator_silent", "the coordinator does not stop; killing it")
      turn.append(.signal(.coordinator, Self.kill))
      stage = .stopping(isBySignal: isBySignal, until: nil)
    case .aborting(let exitCode, let deadline) where turn.now >= deadline: killAll(exitCode)
    case .ending(let exitCode, let pressure, let deadline) where turn.now >= deadline:
      switch pressure {
      case .none: terminateAll(exitCode)
      case .terminated: killAll(exitCode)
      case .killed: stop(exitCode)
      }
    case .running, .stopping, .aborting, .ending, .ended: break
    }
  }

  private mutating func restartDue() {
    for index in processes.indices {
      if case .waiting(let time) = processes[index].state, turn.now >= time { start(index) }
    }
  }
}

extension Supervisor {
  // The numbers that every POSIX system gives these signals.
  private static let interrupt: Int32 = 2
  private static let kill: Int32 = 9
  static let terminate: Int32 = 15

  /// What a shell shows for a process that this signal ended.
  package static func exitCode(ofSignal number: Int32) -> Int32 { 128 + number }
}
