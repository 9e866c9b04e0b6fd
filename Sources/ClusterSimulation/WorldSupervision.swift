import Cluster
import Diagnostics
import Messaging

/// The supervisor of a simulated run, and the processes that it has started.
struct Supervision {
  /// A process from its start to its exit.
  struct Child {
    enum State {
      /// The system loads it; signals end it.
      case starting
      /// A server or worker: waits for the address of the coordinator.
      case seeking
      /// Runs its role: the newest simulated process of this name.
      case running
      case exited
    }

    var state = State.starting
    /// Counts the starts, so that what was planned for an earlier process does not reach its replacement.
    var serial: Int
    var began: UInt64
    /// Lives in a row that ended before they had lasted.
    var shortLives = 0
  }

  enum Occurrence {
    case supervise
    case event(Supervisor.Event)
    case wake
    case started(ProcessName, serial: Int)
    case seekingTimedOut(ProcessName, serial: Int)
    case signalled(process: Int, Int32)
  }

  var supervisor: Supervisor
  let clock: SimulatedClock
  var children: [ProcessName: Child] = [:]
  var nextWake = UInt64.max
  /// A person has asked for the run to stop, and resumes it afterwards.
  var isSignalled = false
  var exitCode: Int32?
}

/// The shell around the supervisor: what `LocalCluster` does with real processes.
extension World {
  func supervise() {
    supervision = Supervision(
      supervisor: Supervisor(workers: plan.workers, timing: plan.timing, host: "host", resumeHint: "Resume it."),
      clock: anyClock())
    supervisorHandles(.begin)
  }

  func happen(_ occurrence: Supervision.Occurrence) {
    switch occurrence {
    case .supervise: supervise()
    case .event(let event): supervisorHandles(event)
    case .wake: wakeSupervisor()
    case .started(let name, let serial):
      guard let child = supervision?.children[name], child.serial == serial else { return }
      childStarted(name, child)
    case .seekingTimedOut(let name, let serial):
      guard let child = supervision?.children[name], child.serial == serial, case .seeking = child.state else { return }
      tell("\(name)", "finds no coordinator")
      childExited(name, .status(ExitStatus.unavailable.rawValue))
    case .signalled(let index, let number): signalled(processes[index], number, occurrence)
    }
  }

  private func supervisorHandles(_ event: Supervisor.Event) {
    guard let supervision, supervision.exitCode == nil else { return }
    tell("supervisor", "\(event)")
    var actions: [Supervisor.Action] = []
    self.supervision?.supervisor.handle(event, at: supervision.clock.reading(at: now), into: &actions)
    for action in actions { perform(action) }
    scheduleSupervisor()
  }

  private func scheduleSupervisor() {
    guard let supervision, let deadline = supervision.supervisor.nextDeadline else { return }
    let time = max(supervision.clock.time(of: deadline), now + 1)
    guard time < supervision.nextWake else { return }
    self.supervision?.nextWake = time
    queue.insert(.supervision(.wake), at: time)
  }

  private func wakeSupervisor() {
    guard let supervision, supervision.nextWake == now else { return }
    self.supervision?.nextWake = .max
    if let deadline = supervision.supervisor.nextDeadline, supervision.clock.time(of: deadline) <= now {
      supervisorHandles(.deadline)
    } else {
      scheduleSupervisor()
    }
  }

  private func perform(_ action: Supervisor.Action) {
    switch action {
    case .start(let name, _): startChild(name)
    case .signal(let name, let number): signalChild(name, number)
    case .killAll:
      // In a fixed order: what a dictionary gives is another one in every process.
      for name in [.coordinator, .server(.first)] + (0..<plan.workers).map(ProcessName.worker) { signalChild(name, 9) }
    case .note(_, _, let text): tell("supervisor", text)
    case .removeSockets: break
    case .stop(let exitCode): supervisorStopped(exitCode)
    }
  }

  // MARK: Children

  private func startChild(_ name: ProcessName) {
    var child = Supervision.Child(serial: 1, began: now)
    if let former = supervision?.children[name] {
      report.counts.restarts += 1
      child.serial = former.serial + 1
      let hasLasted = now - former.began >= RestartPolicy.minimumUptime.nanoseconds
      child.shortLives = hasLasted ? 0 : former.shortLives + 1
      if child.shortLives > RestartPolicy.delays.count {
        checker.note("the \(name) was restarted \(child.shortLives) times in a row")
      }
    }
    supervision?.children[name] = child
    let time = random.interval(from: .milliseconds(20), to: .milliseconds(400))
    queue.insert(.supervision(.started(name, serial: child.serial)), at: now + time.nanoseconds)
  }

  private func childStarted(_ name: ProcessName, _ child: Supervision.Child) {
    switch child.state {
    case .running, .exited: return
    case .starting, .seeking: break
    }
    if name != .coordinator, anyLiving(.coordinator) == nil {
      if case .starting = child.state {
        supervision?.children[name]?.state = .seeking
        queue.insert(
          .supervision(.seekingTimedOut(name, serial: child.serial)), at: now + plan.timing.rendezvous.nanoseconds)
      }
      return
    }
    supervision?.children[name]?.state = .running
    launch(name)
    guard name == .coordinator else { return }
    for member in [.server(.first)] + (0..<plan.workers).map(ProcessName.worker) {
      guard let child = supervision?.children[member], case .seeking = child.state else { continue }
      let time = random.interval(from: .milliseconds(0), to: .milliseconds(10))
      queue.insert(.supervision(.started(member, serial: child.serial)), at: now + time.nanoseconds)
    }
  }

  /// The system tells the supervisor a moment later.
  func childExited(_ name: ProcessName, _ exit: ProcessExit) {
    supervision?.children[name]?.state = .exited
    let time = random.interval(from: .milliseconds(0), to: .milliseconds(2))
    queue.insert(.supervision(.event(.exited(name, exit))), at: now + time.nanoseconds)
  }

  private func signalChild(_ name: ProcessName, _ number: Int32) {
    let isKill = number == 9
    switch supervision?.children[name]?.state {
    case nil, .exited: break
    case .starting: childExited(name, .signal(number))
    case .seeking:
      childExited(name, isKill ? .signal(number) : .status(ExitStatus.stoppedBySignal.rawValue))
    case .running:
      guard let process = processes.last(where: { $0.isAlive && $0.place == name }) else { return }
      if isKill {
        die(process)
        childExited(name, .signal(number))
      } else {
        queue.insert(.supervision(.signalled(process: process.index, number)), at: now)
      }
    }
  }

  private func signalled(_ process: SimulatedProcess, _ number: Int32, _ occurrence: Supervision.Occurrence) {
    guard process.isAlive, !postpone(.supervision(occurrence), process) else { return }
    guard !process.isSignalled else {
      tell(process.name, "ends at once: a second signal")
      die(process)
      childExited(process.place, .status(128 + number))
      return
    }
    signal(process)
  }

  // MARK: The end

  /// A person stops the run, and resumes it after a while.
  func interruptSupervisor() {
    guard supervision?.exitCode == nil else { return }
    supervision?.isSignalled = true
    faultTimes.append(now)
    supervisorHandles(.stopRequested(signal: 15))
  }

  private func supervisorStopped(_ exitCode: Int32) {
    supervision?.exitCode = exitCode
    report.exitCode = exitCode
    tell("supervisor", "ends with \(exitCode)")
    let left = processes.filter(\.isAlive).map(\.name)
    if !left.isEmpty { checker.note("the supervisor ended before \(left)") }
    switch exitCode {
    case 0: if resultTime == nil { checker.note("the supervisor ended with 0, and there is no result") }
    case ExitStatus.stoppedBySignal.rawValue, 128 + 15:
      guard supervision?.isSignalled == true else {
        return checker.note("the supervisor ended with \(exitCode), and there was no signal")
      }
      let pause = random.interval(from: .milliseconds(100), to: .seconds(1))
      queue.insert(.supervision(.supervise), at: now + pause.nanoseconds)
      supervision = nil
    default:
      let failures = [ExitStatus.unavailable, .internalError].map(\.rawValue)
      if !failures.contains(exitCode) { checker.note("the supervisor ended with \(exitCode)") }
      if !hasSeveralFaults { checker.note("the supervisor ended with \(exitCode) after a single fault") }
    }
  }

  /// Whether more than one thing has happened within the time that one takes: a silent process gives up, its lease
  /// expires, the coordinator waits for the next one, and stops the run.
  var hasSeveralFaults: Bool {
    let timing = plan.timing
    let waits = [
      timing.coordinatorTimeout, timing.lease, timing.rendezvous, timing.shutdownGrace, timing.lastWorkerGrace,
    ]
    let recovery = waits.reduce(0) { $0 + $1.nanoseconds }
    return faultTimes.count { now - $0 <= recovery } > 1
  }
}
