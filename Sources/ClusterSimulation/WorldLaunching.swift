import Cluster
import Diagnostics
import Messaging
import Optimization

/// Starting processes, and starting them again: what the supervisor does, or a person by hand.
extension World {
  private static let run = RunID(0x52_554E)

  func begin() {
    hasDeparted = Array(repeating: false, count: plan.workers)
    if plan.isSupervised {
      // First: a fault may strike a process at its start.
      planFaults()
      return queue.insert(.supervision(.supervise), at: 1)
    }
    launch(.coordinator)
    queue.insert(.launch(.server(.first)), at: random.integer(below: 300_000_000))
    for number in 0..<plan.workers {
      queue.insert(.launch(.worker(number)), at: random.integer(below: 1_000_000_000))
    }
    planFaults()
  }

  /// - Parameter endpoint: where a server listens.
  func launch(_ place: ProcessName, endpoint: String = "ipc://server") {
    // No process is started for a run that is over, nor a second one in a place that is taken.
    guard !isOver || plan.isSupervised else { return }
    switch place {
    case .coordinator:
      if anyLiving(.coordinator) == nil { launchCoordinator() }
    case .server:
      guard !servers.contains(where: { $0.isAlive && $0.boundEndpoint == endpoint }) else { return }
      report.counts.serverStarts += 1
      start(place, "server#\(report.counts.serverStarts)") {
        $0.boundEndpoint = endpoint
        $0.server = ServerMachine(
          incarnation: $0.incarnation, endpoint: endpoint, processID: 2, host: "host", resumeHint: "Resume it",
          timing: memberTiming, processors: plan.processors ?? .max, kernel: plan.kernel)
      }
    case .worker(let number):
      guard plan.isSupervised || !hasDeparted[number],
        !processes.contains(where: { $0.isAlive && $0.place == place })
      else { return }
      report.counts.workerStarts += 1
      start(place, "worker@\(number)#\(report.counts.workerStarts)") {
        $0.worker = WorkerMachine(
          incarnation: $0.incarnation, name: "\(place)", processID: 3 + Int32(number), host: "host",
          datasetFingerprint: SyntheticRecords.fingerprint, resumeHint: "Resume it", timing: memberTiming)
      }
    }
  }

  private var memberTiming: Timing { simulation.sabotage.memberTiming?(plan.timing) ?? plan.timing }

  private func launchCoordinator() {
    report.counts.coordinatorStarts += 1
    let name = "coordinator#\(report.counts.coordinatorStarts)"
    let found: (initial: RunState?, checkpoint: String?, best: RunState?, damaged: [String])
    do throws(Failure) {
      found = try storage.open(diskFaults())
    } catch {
      tell(name, "cannot begin: \(error)")
      exited(.coordinator, .status(error.status.rawValue))
      return
    }
    let initial = simulation.sabotage.forgetsCheckpoints ? nil : found.initial
    report.counts.damagedCheckpoints += found.damaged.count
    for path in found.damaged { tell(name, "passes over \(path)") }
    if let initial {
      report.counts.resumptions += 1
      tell(name, "resumes from step \(initial.step)")
    }
    checker.coordinatorStarts(resuming: initial)
    lastWriteFailed = false
    let machine = CoordinatorMachine(
      Self.run,
      controller: RunController(
        plan: plan.training, rule: plan.stoppingRule, initial: initial ?? RunState(beginning: plan.training),
        checkpoint: initial == nil ? nil : found.checkpoint, best: found.best),
      timing: plan.timing, expectedWorkers: plan.workers, datasetFingerprint: SyntheticRecords.fingerprint,
      meanImage: Payload(
        concatenating: plan.computation == .kernel ? SyntheticRecords.meanImage(of: plan.training.shape) : []),
      checkpointInterval: .seconds(3))
    start(.coordinator, name) { $0.coordinator = machine }
  }

  private func start(_ place: ProcessName, _ name: String, _ prepare: (SimulatedProcess) -> Void) {
    let process = SimulatedProcess(
      index: processes.count, place: place, name: name, incarnation: Incarnation(random.word() | 1), clock: anyClock())
    prepare(process)
    processes.append(process)
    if process.boundEndpoint != nil { servers.append(process) }
    processOfIncarnation[process.incarnation] = process.index
    if place == .coordinator { coordinator = (process, now) }
    if let index = silentRoles.firstIndex(of: place.role) {
      silentRoles.remove(at: index)
      silence(process)
    }
    handle(.begin, process)
  }

  func anyClock() -> SimulatedClock {
    let origin = 1_000_000_000 + clocks.integer(below: 1 << 40)
    let drift = Int64(clocks.integer(below: 2 * faults.largestClockDrift + 1)) - Int64(faults.largestClockDrift)
    return SimulatedClock(origin: origin, drift: drift)
  }

  /// What ends before the run is over is restarted: by the supervisor, or after a while, as by hand.
  func exited(_ place: ProcessName, _ exit: ProcessExit) {
    if plan.isSupervised { return childExited(place, exit) }
    let pause = random.interval(from: .milliseconds(100), to: .seconds(hasCeased ? 1 : 3))
    queue.insert(.launch(place), at: now + pause.nanoseconds)
  }
}
