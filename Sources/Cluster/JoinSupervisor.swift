import Diagnostics
import Messaging

/// Starts workers of one host that join a run which is led elsewhere, restarts those that fail, passes termination signals on,
/// and leaves no process behind.
///
/// The coordinator decides how the run ends, and tells the workers. The exit status is that of the run: `success` once a
/// worker has learned that it has finished, `stoppedBySignal` where it was interrupted or a signal came here. Otherwise it is
/// that of the first worker that failed for good.
public struct JoinSupervisor: ProcessSupervisor {
  public typealias Event = Supervisor.Event
  public typealias Action = Supervisor.Action

  private struct Process {
    let name: ProcessName
    var state = ProcessState.ended
    var restarts = RestartPolicy()
    var hasStarted = false
    /// Whether its predecessor heard nothing of the coordinator.
    var hasTimedOut = false

    var isRunning: Bool { if case .running = state { true } else { false } }
  }

  private enum Stage {
    case running
    /// The run has finished: the other workers are about to learn it. Nothing is restarted.
    case leaving(until: Instant)
    /// They were sent the signal that came here.
    case stopping(until: Instant)
    /// A deliberate second signal has come.
    case aborting(exitCode: Int32, until: Instant)
    case killing(exitCode: Int32?, until: Instant)
    case ended
  }

  private let timing: Timing
  private let host: String
  private var turn = Turn<Action>()
  private var stage = Stage.running
  private var processes: [Process]
  private var hasFinished = false
  private var wasInterrupted = false
  /// Workers that failed for good, the first one first.
  private var failures: [(name: ProcessName, exit: ProcessExit)] = []
  private var stopRequests = StopRequests()

  /// - Parameters:
  ///   - workers: at least 1.
  ///   - first: the number of the first one.
  ///   - host: for the full names of the processes: "worker-1@host".
  public init(workers: Int, first: Int = 0, timing: Timing, host: String) {
    self.timing = timing
    self.host = host
    processes = (first..<first + workers).map { Process(name: .worker($0)) }
  }

  public var nextDeadline: Instant? { due.map { $0 + turn.absence } }

  /// In the time of `turn`. While a stage has a deadline, the supervisor looks often enough to notice an absence.
  private var due: Instant? {
    let waiting = processes.compactMap { if case .waiting(let time) = $0.state { time } else { nil } }
    let stageDeadline: Instant? =
      switch stage {
      case .leaving(let time), .stopping(let time), .aborting(_, let time), .killing(_, let time): time
      case .running, .ended: nil
      }
    return (waiting + [stageDeadline.map { min($0, turn.now + timing.heartbeat) }].compactMap(\.self)).min()
  }

  public mutating func handle(_ event: Event, at now: Instant, into actions: inout [Action]) {
    if case .ended = stage { return }
    turn.begin(at: now, due: due, allowance: timing.heartbeat, into: &actions)
    defer { turn.end(into: &actions) }
    switch event {
    case .begin: for index in processes.indices { start(index) }
    case .exited(let name, let exit):
      if let index = index(of: name), case .running(let began) = processes[index].state {
        exited(index, exit, began: began)
      }
    case .startFailed(let name):
      if let index = index(of: name) { fail(index, .status(ExitStatus.internalError.rawValue)) }
    case .stopRequested(let signal, let isWarning): stopRequested(signal, isWarning: isWarning)
    case .deadline: deadlinePassed()
    }
    stopIfNoneIsLeft()
  }

  private func index(of name: ProcessName) -> Int? { processes.firstIndex { $0.name == name } }

  private mutating func start(_ index: Int) {
    turn.append(.start(processes[index].name, isRestart: processes[index].hasStarted))
    processes[index].state = .running(since: turn.now)
    processes[index].hasStarted = true
  }

  // MARK: Exits

  private mutating func exited(_ index: Int, _ exit: ProcessExit, began: Instant) {
    processes[index].state = .ended
    switch exit {
    case .status(ExitStatus.success.rawValue): finished()
    case .status(ExitStatus.stoppedBySignal.rawValue): wasInterrupted = true
    default:
      guard case .running = stage else { return }
      if !restart(index, after: exit, began: began) { fail(index, exit) }
    }
  }

  /// Workers that were killed, fenced or found no coordinator try again: one may be on its way. One that has found none twice
  /// in a row does not, nor where others have learned that the run was interrupted.
  /// - Returns: whether it will.
  private mutating func restart(_ index: Int, after exit: ProcessExit, began: Instant) -> Bool {
    let isTimeout = exit == .status(ExitStatus.unavailable.rawValue)
    guard isTimeout || exit.isSignal || exit == .status(ExitStatus.fenced.rawValue) else { return false }
    let uptime = turn.now.since(began)
    let hasWorked = uptime >= timing.longestJoin
    if isTimeout, wasInterrupted || processes[index].hasTimedOut && !hasWorked { return false }
    processes[index].hasTimedOut = isTimeout
    let counted = isTimeout && !hasWorked ? .seconds(0) : uptime
    guard let delay = processes[index].restarts.recordExit(uptime: counted) else { return false }
    processes[index].state = .waiting(until: turn.now + min(delay, timing.longestRestartDelay))
    turn.append(
      .note(
        .warning, event: "process_restarted", "\(processes[index].name)@\(host) \(exit.phrase); restarting it"))
    return true
  }

  private mutating func fail(_ index: Int, _ exit: ProcessExit) {
    processes[index].state = .ended
    failures.append((processes[index].name, exit))
  }

  /// A worker has learned that the run has finished.
  private mutating func finished() {
    hasFinished = true
    cancelRestarts()
    if case .running = stage { stage = .leaving(until: turn.now + timing.lastWorkerGrace) }
  }

  private mutating func cancelRestarts() {
    for index in processes.indices {
      if case .waiting = processes[index].state { processes[index].state = .ended }
    }
  }

  // MARK: The end

  private mutating func stopRequested(_ signal: Int32, isWarning: Bool) {
    if case .copy = stopRequests.received(isWarning: isWarning, at: turn.now) { return }
    switch stage {
    case .running, .leaving:
      wasInterrupted = true
      cancelRestarts()
      sendToAll(signal)
      stage = .stopping(until: turn.now + timing.stopTimeout)
    case .stopping:
      sendToAll(signal)
      stage = .aborting(exitCode: Supervisor.exitCode(ofSignal: signal), until: turn.now + timing.abortGrace)
    case .aborting, .killing, .ended: break
    }
  }

  private mutating func sendToAll(_ signal: Int32) {
    for process in processes where process.isRunning { turn.append(.signal(process.name, signal)) }
  }

  private mutating func stopIfNoneIsLeft() {
    guard processes.allSatisfy({ $0.state == .ended }) else { return }
    switch stage {
    case .aborting(let code, _), .killing(let code?, _): stop(code)
    case .killing(nil, _), .running, .leaving, .stopping: stop(exitCode)
    case .ended: break
    }
  }

  private var exitCode: Int32 {
    if hasFinished { return ExitStatus.success.rawValue }
    if wasInterrupted { return ExitStatus.stoppedBySignal.rawValue }
    guard case .status(let code)? = failures.first?.exit else { return ExitStatus.internalError.rawValue }
    return code
  }

  private mutating func stop(_ exitCode: Int32) {
    stage = .ended
    if let first = failures.first, exitCode != 0 {
      let others = failures.count == 1 ? "" : ", the first of \(failures.count) workers to fail"
      turn.append(.note(.error, event: "worker_failed", "\(first.name)@\(host)\(others), \(first.exit.explanation)"))
    }
    turn.append(.stop(exitCode: exitCode))
  }

  // MARK: Time

  private mutating func deadlinePassed() {
    for index in processes.indices {
      if case .waiting(let time) = processes[index].state, turn.now >= time { start(index) }
    }
    switch stage {
    case .leaving(let deadline) where turn.now >= deadline:
      sendToAll(Supervisor.terminate)
      stage = .stopping(until: turn.now + timing.killDelay)
    case .stopping(let deadline) where turn.now >= deadline: killAll(nil)
    case .aborting(let exitCode, let deadline) where turn.now >= deadline: killAll(exitCode)
    case .killing(let code, let deadline) where turn.now >= deadline: stop(code ?? exitCode)
    case .running, .leaving, .stopping, .aborting, .killing, .ended: break
    }
  }

  private mutating func killAll(_ exitCode: Int32?) {
    stage = .killing(exitCode: exitCode, until: turn.now + timing.killDelay)
    turn.append(.killAll)
  }
}

extension ProcessExit {
  /// "exited with status 66 (missing input)".
  fileprivate var explanation: String {
    guard case .status(let code) = self, let status = ExitStatus(rawValue: code) else { return phrase }
    return "\(phrase) (\(status.phrase))"
  }
}
