import Cluster
import Diagnostics
import Messaging
import Optimization

/// The cluster while it is simulated: processes, and what is going to happen to them.
final class World {
  enum Occurrence {
    case arrival(Packet)
    case wake(process: Int)
    case computed(process: Int, WorkItem, parameters: Payload)
    case evaluated(process: Int, serial: UInt64, EvaluationSplit, parameters: Payload)
    case saved(process: Int, RunState)
    case launch(ProcessName)
    case supervision(Supervision.Occurrence)
    case fault(Fault)
  }

  /// Many times what a schedule takes: messages that breed messages are found by it.
  var mostEvents: Int { max(200_000, 3_000 * plan.workers) }

  let simulation: Simulation
  let backend: any SimulatedBackend
  let checker: Checker
  let storage: SimulatedStorage
  var plan: SimulationPlan { simulation.plan }
  var faults: FaultPlan { simulation.faults }

  var now: UInt64 = 0
  var queue = EventQueue<Occurrence>()
  var network: SimulatedNetwork
  var random: SeededRandom
  var clocks: SeededRandom
  var processes: [SimulatedProcess] = []
  /// Those of `processes` that listen as servers.
  var servers: [SimulatedProcess] = []
  var processOfIncarnation: [Incarnation: Int] = [:]
  /// The newest coordinator, and when it began.
  var coordinator: (process: SimulatedProcess, since: UInt64)?
  /// Of a plan with one, while it runs.
  var supervision: Supervision?
  /// Roles whose next process will be silent from its start.
  var silentRoles: [NodeRole] = []
  /// When something was done to a process.
  var faultTimes: [UInt64] = []
  /// Workers that will not come back, by place.
  var hasDeparted: [Bool] = []
  var hasCeased = false
  var diskIsFullUntil: UInt64 = 0
  var lastWriteFailed = false
  /// When the run was over; an interrupted one is not.
  var resultTime: UInt64?
  var report: Report

  init(_ simulation: Simulation) {
    self.simulation = simulation
    let (seed, plan) = (simulation.seed, simulation.plan)
    let fingerprints = Fingerprints(parameterCount: plan.training.shape.parameterCount)
    switch plan.computation {
    case .synthetic: backend = SyntheticBackend(plan: plan.training, fingerprints: fingerprints)
    case .kernel: backend = SyntheticRecordsBackend(plan: plan.training, kernel: plan.kernel)
    }
    checker = Checker(plan: plan, backend: backend, fingerprints: fingerprints)
    storage = SimulatedStorage(
      seed: seed, plan: plan, ignoresSynchronize: simulation.sabotage.ignoresSynchronize)
    network = SimulatedNetwork(seed: seed, faults: simulation.faults)
    random = SeededRandom(seed: seed, purpose: .processes)
    clocks = SeededRandom(seed: seed, purpose: .clocks)
    report = Report(seed: seed)
    processes.reserveCapacity(64)
  }

  func run() {
    begin()
    while let next = queue.nextTime, !hasEnded {
      guard next <= limit, report.counts.events < mostEvents else { break }
      guard let (time, occurrence) = queue.removeFirst() else { break }
      now = time
      report.counts.events += 1
      happen(occurrence)
      if !checker.broken.isEmpty { checker.takeBroken().forEach(note) }
      // The first broken rule is the story; what follows from it is noise.
      if !report.violations.isEmpty { break }
    }
    conclude()
  }

  var isOver: Bool { resultTime != nil }

  private var hasEnded: Bool {
    plan.isSupervised ? supervision?.exitCode != nil : isOver && !processes.contains(where: \.isAlive)
  }

  /// A result is due some time after the last fault, and the end of all processes some time after that.
  private var limit: UInt64 {
    guard let resultTime else { return faults.cease.nanoseconds + Simulation.patience(plan).nanoseconds }
    return max(resultTime, faults.cease.nanoseconds) + Simulation.farewell(plan).nanoseconds
  }

  var seconds: Double { Double(now) / 1e9 }

  private func conclude() {
    report.seconds = seconds
    report.secondsAfterFaults = resultTime.map { Double($0) / 1e9 - faults.cease.seconds }
    report.staleness = checker.staleness
    report.counts.pushesCounted = checker.pushesCounted
    report.counts.pushesRefused = checker.pushesRefused
    report.counts.corrections = checker.corrections
    report.counts.takenOverShards = checker.takenOverShards
    report.counts.lateShards = checker.lateShards
    report.counts.evictions = checker.membership.evictions
    report.counts.readmissions = checker.membership.readmissions
    report.counts.diskFailures = storage.disk.failures
    report.resultFingerprint = report.outcome.map { checker.fingerprints.state(of: $0.state.snapshot.state.payload) }
    guard report.violations.isEmpty else { return }
    let alive = processes.filter(\.isAlive).map(\.name)
    let left = alive.count <= 16 ? "\(alive)" : "\(alive.count) processes, among them \(alive.prefix(8))"
    if plan.isSupervised {
      if supervision?.exitCode == nil { note("the supervisor has not ended; left: \(left)") }
    } else if report.counts.events >= mostEvents {
      note("\(report.counts.events) events and no end; left: \(left)")
    } else if !isOver {
      note("no result \(seconds - faults.cease.seconds) s after faults ceased; left: \(left)")
    } else if !alive.isEmpty {
      note("the run is over and these have not ended: \(left)")
    }
  }

  private func note(_ rule: String) {
    report.violations.append(Report.Violation(seconds: seconds, rule: rule))  // defence: checker
    tell("", "VIOLATION \(rule)")
  }

  private func happen(_ occurrence: Occurrence) {
    switch occurrence {
    case .arrival(let packet): arrive(packet)
    case .wake(let index): wake(processes[index])
    case .computed(let index, let item, let parameters): computed(item, parameters, processes[index], occurrence)
    case .evaluated(let index, let serial, let split, let parameters):
      let process = processes[index]
      guard process.isAlive, !postpone(occurrence, process) else { return }
      process.evaluations -= 1
      tell(process.name, "has evaluated snapshot \(serial) on the \(split) split")
      let evaluation = backend.evaluate(split, parameters: parameters)
      coordinatorHandles(.outcome(.evaluated(serial: serial, split, evaluation)), process)
    case .saved(let index, let state): saved(state, processes[index], occurrence)
    case .launch(let place): launch(place)
    case .supervision(let occurrence): happen(occurrence)
    case .fault(let fault): strike(fault)
    }
  }

  /// A process that is paused finds everything that happened when it continues.
  func postpone(_ occurrence: Occurrence, _ process: SimulatedProcess) -> Bool {
    guard process.pausedUntil > now else { return false }
    queue.insert(occurrence, at: process.pausedUntil)
    return true
  }

  private func wake(_ process: SimulatedProcess) {
    guard process.isAlive, process.nextWake == now else { return }
    process.nextWake = .max
    guard !postpone(.wake(process: process.index), process) else {
      process.nextWake = process.pausedUntil
      return
    }
    if let deadline = process.nextDeadline, deadline <= now {
      handle(.deadline, process)
    } else {
      scheduleWake(process)
    }
  }

  func scheduleWake(_ process: SimulatedProcess) {
    guard process.isAlive, let deadline = process.nextDeadline else { return }
    let time = max(deadline, now + 1)
    guard time < process.nextWake else { return }
    process.nextWake = time
    queue.insert(.wake(process: process.index), at: time)
  }

  private func computed(
    _ item: WorkItem, _ parameters: Payload, _ process: SimulatedProcess, _ occurrence: Occurrence
  ) {
    guard process.isAlive, !postpone(occurrence, process) else { return }
    process.computations -= 1
    let result = backend.gradient(
      item, parameters: parameters, count: plan.training.shape.parameterCount)
    let gradient = simulation.sabotage.gradient?(item, result.gradient) ?? result.gradient
    tell(process.name, "has computed item \(item.id)")
    workerHandles(
      .outcome(.gradientReady(Message.Push(item: item, statistics: result.statistics, gradient: gradient))), process)
  }

  // MARK: The story

  /// A line for the trace: the time, the process, and what happens to it.
  func tell(_ process: @autoclosure () -> String, _ what: @autoclosure () -> String) {
    guard simulation.recordsTrace else { return }
    let micros = String(now / 1_000 % 1_000_000)
    let time = "\(now / 1_000_000_000).\(String(repeating: "0", count: 6 - micros.count))\(micros)"
    let name = process()
    report.trace.append(
      String(repeating: " ", count: max(0, 10 - time.utf8.count)) + time + "  " + name
        + String(repeating: " ", count: max(0, 15 - name.utf8.count)) + what())
  }

  /// For the trace: what people call a process.
  func name(of incarnation: Incarnation) -> String {
    processOfIncarnation[incarnation].map { processes[$0].name } ?? "\(incarnation)"
  }
}
