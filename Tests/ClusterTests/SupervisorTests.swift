import Cluster
import Messaging
import Testing

// Testing has one as well.
import enum Diagnostics.ExitStatus

private let killed = ProcessExit.signal(9)
private let timedOut = ProcessExit.status(ExitStatus.unavailable.rawValue)

private func exited(_ status: ExitStatus) -> ProcessExit { .status(status.rawValue) }

/// A supervisor with its clock and the processes that it takes for running.
private struct SupervisorStage: SupervisionStage {
  var supervisor: Supervisor
  var now = Instant(nanoseconds: 5_000_000_000)
  var timing: Timing

  /// Everything has been started.
  init(workers: Int = 2, timing: Timing = Timing()) {
    self.timing = timing
    supervisor = Supervisor(workers: workers, timing: timing, host: "host", resumeHint: "Resume with …")
    let actions = happens(.begin)
    #expect(actions.count == 2 + workers)
  }

  mutating func exits(_ name: ProcessName, _ exit: ProcessExit) -> [Supervisor.Action] { happens(.exited(name, exit)) }
}

extension [Supervisor.Action] {
  /// The processes that are started, and whether it is for the first time.
  fileprivate var starts: [ProcessName] {
    compactMap { if case .start(let name, _) = $0 { name } else { nil } }
  }

  fileprivate var signals: [Supervisor.Action] { filter { if case .signal = $0 { true } else { false } } }

  fileprivate var exitCode: Int32? {
    compactMap { if case .stop(let code) = $0 { code } else { nil } }.last
  }

  fileprivate var notes: String {
    compactMap { if case .note(_, _, let text) = $0 { text } else { nil } }.joined(separator: "\n")
  }
}

@Suite struct RestartPolicyTests {
  @Test func `a process is restarted at once, and then with growing delays, until it has failed too often`() {
    var policy = RestartPolicy()
    let delays = (0..<6).map { _ in policy.recordExit(uptime: .seconds(9)) }
    #expect(delays == [.seconds(0), .seconds(0.25), .seconds(0.5), .seconds(1), .seconds(2), nil])
  }

  @Test func `a failure after long work is the first of a row`() {
    var policy = RestartPolicy()
    for _ in 0..<5 { _ = policy.recordExit(uptime: .seconds(0)) }
    #expect(policy.recordExit(uptime: .seconds(10)) == .seconds(0))
    #expect(policy.recordExit(uptime: .seconds(0)) == .seconds(0.25))
  }
}

@Suite struct SupervisorTests {
  // MARK: Starts and restarts

  @Test func `the coordinator is started first`() {
    var supervisor = Supervisor(workers: 2, timing: Timing(), host: "host", resumeHint: "")
    var actions: [Supervisor.Action] = []
    supervisor.handle(.begin, at: Instant(nanoseconds: 1), into: &actions)
    #expect(
      actions
        == [.coordinator, .server(.first), .worker(0), .worker(1)].map { Supervisor.Action.start($0, isRestart: false) }
    )
    #expect(supervisor.nextDeadline == nil)
  }

  @Test(arguments: [ProcessName.coordinator, .server(.first), .worker(1)])
  func `what is killed is restarted alone`(name: ProcessName) {
    var stage = SupervisorStage()
    #expect(
      stage.exits(name, killed) == [
        .note(.warning, event: "process_restarted", "\(name)@host was killed by signal 9; restarting it")
      ])
    #expect(stage.passes(.seconds(0)) == [.start(name, isRestart: true)])
    #expect(stage.passes(.seconds(1_000)).isEmpty)
  }

  @Test(arguments: [ExitStatus.fenced, .unavailable])
  func `a member that was away or heard nothing is restarted`(status: ExitStatus) {
    var stage = SupervisorStage()
    for name in [ProcessName.server(.first), .worker(0)] {
      #expect(stage.exits(name, exited(status)).notes.contains("\(name)@host exited with status \(status.rawValue)"))
      #expect(stage.passes(.seconds(0)).starts == [name])
    }
  }

  @Test func `delays grow with failures in a row and are shorter than the rendezvous allows`() {
    var timing = Timing()
    timing.rendezvous = .seconds(3)
    for timing in [Timing(), timing] {
      var stage = SupervisorStage(timing: timing)
      for delay in RestartPolicy.delays.map({ min($0, timing.longestRestartDelay) }) {
        _ = stage.exits(.worker(0), killed)
        #expect(stage.supervisor.nextDeadline == stage.now + delay)
        #expect(stage.passes(delay).starts == [.worker(0)])
      }
    }
  }

  @Test func `a coordinator that keeps failing ends the run`() {
    var stage = SupervisorStage()
    for _ in RestartPolicy.delays {
      _ = stage.exits(.coordinator, killed)
      #expect(stage.passes(.seconds(2)).starts == [.coordinator])
    }
    let actions = stage.exits(.coordinator, killed)
    #expect(actions.notes == "error: the coordinator was killed by signal 9. Resume with …")
    #expect(actions.signals == [.server(.first), .worker(0), .worker(1)].map { .signal($0, 15) })
    for name in [ProcessName.server(.first), .worker(0)] { #expect(stage.exits(name, killed).isEmpty) }
    #expect(stage.exits(.worker(1), killed) == [.removeSockets, .stop(exitCode: 70)])
    #expect(stage.supervisor.nextDeadline == nil)
  }

  @Test func `a server that keeps failing stops the run`() {
    var stage = SupervisorStage()
    for _ in RestartPolicy.delays {
      _ = stage.exits(.server(.first), timedOut)
      #expect(stage.passes(.seconds(2)).starts == [.server(.first)])
    }
    #expect(stage.exits(.server(.first), timedOut) == [.signal(.coordinator, 15)])
    // The coordinator saves and stops; what it did not stop is stopped.
    #expect(stage.exits(.coordinator, exited(.stoppedBySignal)).signals.count == 2)
    _ = stage.exits(.worker(0), exited(.stoppedBySignal))
    #expect(stage.exits(.worker(1), exited(.stoppedBySignal)).exitCode == ExitStatus.unavailable.rawValue)
  }

  @Test func `a worker that keeps failing leaves the run to the others`() {
    var stage = SupervisorStage()
    for _ in RestartPolicy.delays {
      _ = stage.exits(.worker(0), killed)
      _ = stage.passes(.seconds(2))
    }
    #expect(stage.exits(.worker(0), killed).isEmpty)
    #expect(stage.exits(.server(.first), killed).notes.contains("restarting"))
    _ = stage.passes(.seconds(1))
    #expect(stage.exits(.worker(1), exited(.badConfiguration)) == [.signal(.coordinator, 15)])
  }

  @Test func `waiting for the coordinator is no work`() {
    var stage = SupervisorStage()
    for _ in RestartPolicy.delays {
      _ = stage.passes(stage.timing.longestJoin)
      _ = stage.exits(.server(.first), timedOut)
      #expect(stage.passes(.seconds(2)).starts == [.server(.first)])
    }
    _ = stage.passes(stage.timing.longestJoin)
    #expect(stage.exits(.server(.first), timedOut).signals == [.signal(.coordinator, 15)])
  }

  // MARK: A silent coordinator

  @Test func `two members that hear nothing indicate a silent coordinator`() {
    var stage = SupervisorStage()
    _ = stage.passes(stage.timing.coordinatorTimeout)
    #expect(stage.exits(.worker(0), timedOut).signals.isEmpty)
    #expect(stage.exits(.server(.first), timedOut).signals == [.signal(.coordinator, 9)])
    #expect(stage.exits(.worker(1), timedOut).signals.isEmpty)
    #expect(stage.exits(.coordinator, killed).notes.contains("coordinator@host was killed by signal 9; restarting it"))
    #expect(stage.passes(.seconds(0)).starts == [.coordinator, .server(.first), .worker(0), .worker(1)])
  }

  @Test func `one member that hears nothing has failed itself`() {
    var stage = SupervisorStage()
    for _ in 0..<4 {
      _ = stage.passes(stage.timing.coordinatorTimeout)
      #expect(stage.exits(.worker(0), timedOut).signals.isEmpty)
    }
  }

  @Test func `timeouts far apart have different causes`() {
    var stage = SupervisorStage()
    _ = stage.passes(stage.timing.coordinatorTimeout)
    _ = stage.exits(.worker(0), timedOut)
    _ = stage.passes(stage.timing.correlationWindow)
    #expect(stage.exits(.server(.first), timedOut).signals.isEmpty)
  }

  @Test func `a coordinator is not blamed for a silence from before its start`() {
    var stage = SupervisorStage()
    _ = stage.passes(stage.timing.coordinatorTimeout)
    _ = stage.exits(.coordinator, killed)
    _ = stage.passes(.seconds(1))
    for name in [ProcessName.server(.first), .worker(0), .worker(1)] {
      #expect(stage.exits(name, timedOut).signals.isEmpty)
    }
  }

  @Test func `a coordinator that is always silent ends the run`() {
    var stage = SupervisorStage()
    var actions: [Supervisor.Action] = []
    for _ in 0...RestartPolicy.delays.count {
      _ = stage.passes(stage.timing.longestJoin)
      _ = stage.exits(.server(.first), timedOut)
      #expect(stage.exits(.worker(0), timedOut).signals.first == .signal(.coordinator, 9))
      actions = stage.exits(.coordinator, killed)
    }
    #expect(actions.notes.contains("error: the coordinator was killed"))
  }

  // MARK: The end

  @Test func `what is left after the coordinator is asked to stop and then killed`() {
    var stage = SupervisorStage()
    #expect(stage.exits(.coordinator, exited(.success)).isEmpty)
    #expect(stage.exits(.worker(0), exited(.success)).isEmpty)
    // Nothing is restarted any more.
    #expect(stage.exits(.worker(1), killed).isEmpty)
    #expect(stage.passes(stage.timing.exitGrace) == [.signal(.server(.first), 15)])
    #expect(stage.passes(stage.timing.killDelay) == [.killAll])
    #expect(stage.exits(.server(.first), killed) == [.stop(exitCode: 0)])
  }

  @Test func `what cannot be killed is not waited for`() {
    var stage = SupervisorStage()
    _ = stage.exits(.coordinator, exited(.success))
    let grace = stage.timing.exitGrace.seconds + 2 * stage.timing.killDelay.seconds
    #expect(stage.passes(.seconds(grace)).exitCode == 0)
  }

  @Test(arguments: [ExitStatus.unavailable, .internalError, .inputOutput, .cannotCreate, .badData])
  func `a coordinator that fails ends the others at once with its status`(status: ExitStatus) {
    var stage = SupervisorStage(workers: 1)
    _ = stage.exits(.worker(0), killed)
    #expect(stage.exits(.coordinator, exited(status)) == [.signal(.server(.first), 15)])
    #expect(stage.exits(.server(.first), killed) == [.stop(exitCode: status.rawValue)])
  }

  @Test func `the run stops when all workers have ended`() {
    var stage = SupervisorStage()
    #expect(stage.exits(.worker(1), exited(.stoppedBySignal)).isEmpty)
    #expect(stage.supervisor.nextDeadline == nil)
    #expect(stage.exits(.worker(0), exited(.stoppedBySignal)).isEmpty)
    // The coordinator may have stopped them: until then its answer counts.
    #expect(stage.passes(.seconds(stage.timing.shutdownGrace.seconds)).isEmpty)
    #expect(
      stage.passes(stage.timing.exitGrace)
        == [
          .note(.warning, event: "no_workers", "all workers have ended; stopping the run"), .signal(.coordinator, 15),
        ])
    _ = stage.exits(.coordinator, exited(.stoppedBySignal))
    #expect(stage.exits(.server(.first), exited(.stoppedBySignal)).exitCode == ExitStatus.stoppedBySignal.rawValue)
  }

  @Test func `a coordinator that reports the same failure is not interrupted`() {
    var stage = SupervisorStage(workers: 1)
    #expect(stage.exits(.worker(0), exited(.badData)).isEmpty)
    _ = stage.exits(.coordinator, exited(.badData))
    #expect(stage.exits(.server(.first), exited(.stoppedBySignal)).exitCode == ExitStatus.badData.rawValue)
  }

  /// SIGTERM came before the coordinator could handle signals.
  @Test func `the first failure is the status of a run that it stops`() {
    var stage = SupervisorStage(workers: 1)
    #expect(stage.exits(.worker(0), exited(.refused)) == [.signal(.coordinator, 15)])
    let actions = stage.exits(.coordinator, .signal(15))
    #expect(actions.notes.isEmpty)
    #expect(
      stage.exits(.server(.first), .signal(15)) == [.removeSockets, .stop(exitCode: ExitStatus.refused.rawValue)])
  }

  @Test func `a coordinator that does not stop is killed`() {
    var stage = SupervisorStage(workers: 1)
    _ = stage.exits(.worker(0), exited(.refused))
    #expect(stage.passes(stage.timing.stopTimeout).signals == [.signal(.coordinator, 9)])
    _ = stage.exits(.coordinator, killed)
    #expect(stage.exits(.server(.first), killed).exitCode == ExitStatus.internalError.rawValue)
  }

  @Test func `a process that cannot be started ends the run`() {
    var stage = SupervisorStage(workers: 1)
    #expect(stage.happens(.startFailed(.server(.first))) == [.signal(.coordinator, 15)])
    _ = stage.exits(.coordinator, .signal(15))
    #expect(stage.exits(.worker(0), .signal(15)).exitCode == ExitStatus.internalError.rawValue)
    var other = SupervisorStage(workers: 1)
    #expect(other.happens(.startFailed(.coordinator)).signals.count == 2)
  }

  // MARK: Signals

  @Test func `a signal is passed on once and ends all restarts`() {
    var stage = SupervisorStage(workers: 1)
    #expect(stage.happens(.stopRequested(signal: 2)) == [.signal(.coordinator, 2)])
    #expect(stage.exits(.server(.first), killed).isEmpty)
    #expect(stage.passes(.seconds(1_000)).isEmpty, "the coordinator has the time that it takes to save")
    _ = stage.exits(.coordinator, exited(.stoppedBySignal))
    #expect(stage.exits(.worker(0), exited(.stoppedBySignal)).exitCode == ExitStatus.stoppedBySignal.rawValue)
  }

  @Test func `a second signal gives the coordinator a moment and kills the rest`() {
    var stage = SupervisorStage(workers: 1)
    _ = stage.happens(.stopRequested(signal: 2))
    #expect(stage.passes(Timing.copyWindow).isEmpty)
    #expect(stage.happens(.stopRequested(signal: 15)) == [.signal(.coordinator, 15)])
    #expect(stage.passes(stage.timing.abortGrace) == [.killAll])
    for name in [ProcessName.coordinator, .server(.first)] { #expect(stage.exits(name, killed).isEmpty) }
    #expect(stage.exits(.worker(0), killed) == [.removeSockets, .stop(exitCode: 143)])
  }

  @Test func `a coordinator that has removed its sockets is not waited for`() {
    var stage = SupervisorStage(workers: 1)
    _ = stage.happens(.stopRequested(signal: 2))
    _ = stage.passes(Timing.copyWindow)
    _ = stage.happens(.stopRequested(signal: 2))
    #expect(stage.exits(.coordinator, .status(130)) == [.killAll])
    _ = stage.exits(.server(.first), killed)
    #expect(stage.exits(.worker(0), killed) == [.stop(exitCode: 130)])
  }

  @Test func `a signal while the coordinator waits for its restart ends the run`() {
    var stage = SupervisorStage(workers: 1)
    _ = stage.exits(.coordinator, killed)
    #expect(stage.happens(.stopRequested(signal: 15)).signals.count == 2)
    _ = stage.exits(.server(.first), exited(.stoppedBySignal))
    #expect(
      stage.exits(.worker(0), exited(.stoppedBySignal))
        == [.removeSockets, .stop(exitCode: ExitStatus.stoppedBySignal.rawValue)])
  }

  /// The coordinator would take it for a second one, and not save.
  @Test func `a signal while the run stops is not passed on`() {
    var stage = SupervisorStage(workers: 1)
    _ = stage.exits(.worker(0), exited(.refused))
    #expect(stage.happens(.stopRequested(signal: 2)).isEmpty)
    _ = stage.passes(Timing.copyWindow)
    #expect(stage.happens(.stopRequested(signal: 2)).signals == [.signal(.coordinator, 2)])
  }

  /// Of a signal that a launcher forwards although the whole group has received it.
  @Test func `copies of a signal change nothing`() {
    var stage = SupervisorStage(workers: 1)
    #expect(stage.happens(.stopRequested(signal: 15)) == [.signal(.coordinator, 15)])
    for signal: Int32 in [15, 2, 1] {
      #expect(stage.happens(.stopRequested(signal: signal)).isEmpty)
      _ = stage.passes(.milliseconds(300))
    }
    _ = stage.exits(.coordinator, exited(.stoppedBySignal))
    _ = stage.exits(.server(.first), exited(.stoppedBySignal))
    #expect(stage.exits(.worker(0), exited(.stoppedBySignal)).exitCode == ExitStatus.stoppedBySignal.rawValue)
  }

  @Test func `a failure while the coordinator stops is not a second signal`() {
    var stage = SupervisorStage(workers: 1)
    _ = stage.happens(.stopRequested(signal: 15))
    #expect(stage.exits(.server(.first), exited(.internalError)).isEmpty)
    #expect(stage.exits(.worker(0), killed).isEmpty)
  }
}

@Suite struct TimingTests {
  /// The rows of the table in `Timing`, with what they leave for starting a process.
  @Test(arguments: [(0.5, 2.0, 30.0), (0.2, 0.6, 3), (0.2, 0.6, 10), (0.2, 1, 6), (0.5, 10, 40), (0.01, 0.05, 0.2)])
  func `what waits outlives what it waits for`(heartbeat: Double, lease: Double, rendezvous: Double) {
    var timing = Timing()
    timing.heartbeat = .seconds(heartbeat)
    timing.lease = .seconds(lease)
    timing.rendezvous = .seconds(rendezvous)
    let start = rendezvous / 10
    #expect(timing.coordinatorTimeout.seconds >= 2 * lease)
    #expect(timing.coordinatorTimeout.seconds > timing.longestRestartDelay.seconds + start)
    #expect(rendezvous > timing.coordinatorTimeout.seconds + timing.longestRestartDelay.seconds + lease + start)
    #expect(
      timing.correlationWindow.seconds
        > timing.coordinatorTimeout.seconds + timing.longestRestartDelay.seconds + heartbeat + start)
    #expect(timing.straggler.seconds >= 2 * lease)
    #expect(timing.lastWorkerGrace > timing.shutdownGrace)
    #expect(timing.stopTimeout.seconds > 2 * timing.shutdownGrace.seconds)
    for grace in [timing.exitGrace, timing.killDelay] { #expect(grace > .seconds(1)) }
  }
}
