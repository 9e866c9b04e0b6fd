import Cluster
import Diagnostics
import Messaging
import Optimization

/// The cluster while it is simulated: processes, and what is going to happen to them.
final class World {
  enum Occurrence {
    case arrival(Packet)
    case wake(process: Int)
    case computed(process: Int, GradientTask)
    case evaluated(process: Int, serial: UInt64, EvaluationSplit, parameters: Payload)
    case written(process: Int, CheckpointRequest, isKept: Bool)
    case launch(Place)
    case fault(Fault)
  }

  static let mostEvents = 2_000_000

  let simulation: Simulation
  let initial: InitialState
  let source: any GradientSource
  let checker: Checker
  private let fingerprints: Fingerprints
  var plan: SimulationPlan { simulation.plan }
  var faults: FaultPlan { simulation.faults }

  var now: UInt64 = 0
  var queue = EventQueue<Occurrence>()
  var network: SimulatedNetwork
  var chance: Chance
  var processes: [SimulatedProcess] = []
  var processOfIncarnation: [Incarnation: Int] = [:]
  /// By worker's place: the process that sits there, and whether one will come back.
  var workerPlaces: [(process: Int?, isDeserted: Bool)] = []
  var actions: [Action] = []
  var hasCeased = false
  var lastWriteFailed = false
  private var resultTime: UInt64?
  var report: Report

  init(_ simulation: Simulation) {
    self.simulation = simulation
    let plan = simulation.plan
    let fingerprints = Fingerprints(parameterCount: plan.training.shape.parameterCount)
    self.fingerprints = fingerprints
    source =
      plan.computation == .synthetic
      ? SyntheticGradients(plan: plan.training, fingerprints: fingerprints) : KernelGradients(plan: plan.training)
    initial =
      simulation.resuming ?? InitialState(plan: plan.training, stoppingRule: plan.stoppingRule)
    checker = Checker(plan: plan, source: source, fingerprints: fingerprints, initial: initial)
    network = SimulatedNetwork(seed: simulation.seed, faults: simulation.faults)
    chance = Chance(seed: simulation.seed, purpose: .processes)
    report = Report(seed: simulation.seed)
    processes.reserveCapacity(64)
  }

  func run() {
    begin()
    while let next = queue.nextTime, processes.contains(where: \.isAlive) || hasFutureStarts {
      guard next <= limit, report.counts.events < Self.mostEvents else { break }
      guard let (time, occurrence) = queue.removeFirst() else { break }
      now = time
      report.counts.events += 1
      happen(occurrence)
      for rule in checker.takeBroken() { note(rule) }
      // The first broken rule is the story; what follows from it is noise.
      if !report.violations.isEmpty { break }
    }
    conclude()
  }

  /// A result is due some time after the last fault, and everybody's end some time after the result.
  private var limit: UInt64 {
    guard let resultTime else { return faults.cease.nanoseconds + Simulation.patience(plan).nanoseconds }
    return max(resultTime, faults.cease.nanoseconds) + Simulation.farewell(plan).nanoseconds
  }

  var seconds: Double { Double(now) / 1e9 }

  private var hasFutureStarts: Bool { report.outcome == nil && faults.killEverything == nil }

  private func conclude() {
    report.seconds = seconds
    report.staleness = checker.staleness
    report.counts.pushesCounted = checker.pushesCounted
    report.counts.pushesRefused = checker.pushesRefused
    report.resultFingerprint = report.outcome.map { fingerprints.state(of: $0.state) }
    guard report.violations.isEmpty else { return }
    let left = processes.filter(\.isAlive).map(\.name)
    if report.outcome == nil, faults.killEverything == nil {
      note("no result \(seconds - faults.cease.seconds) s after faults ceased; left: \(left)")
    } else if !left.isEmpty {
      note("the run is over and these have not ended: \(left)")
    }
  }

  private func note(_ rule: String) {
    report.violations.append(Report.Violation(seconds: seconds, rule: rule))
    tell("VIOLATION \(rule)")
  }

  /// A line for the trace.
  func tell(_ text: @autoclosure () -> String) {
    guard simulation.recordsTrace else { return }
    let micros = String(now / 1_000 % 1_000_000)
    let fraction = String(repeating: "0", count: 6 - micros.count) + micros
    report.trace.append("\(now / 1_000_000_000).\(fraction)  \(text())")
  }

  private func happen(_ occurrence: Occurrence) {
    switch occurrence {
    case .arrival(let packet): arrive(packet)
    case .wake(let index):
      let process = processes[index]
      guard process.isAlive, process.nextWake == now else { return }
      process.nextWake = .max
      guard !postpone(occurrence, process) else {
        process.nextWake = process.pausedUntil
        return
      }
      if let deadline = process.nextDeadline, deadline <= now {
        handle(.deadline, process)
      } else {
        scheduleWake(process)
      }
    case .computed(let index, let task): computed(task, processes[index], occurrence)
    case .evaluated(let index, let serial, let split, let parameters):
      let process = processes[index]
      guard process.isAlive, !postpone(occurrence, process) else { return }
      handle(.evaluated(serial: serial, split, source.evaluate(split, parameters: parameters)), process)
    case .written(let index, let request, let isKept): written(request, isKept, processes[index], occurrence)
    case .launch(let place): launch(place)
    case .fault(let fault): strike(fault)
    }
  }

  /// A process that is paused finds everything that happened when it goes on.
  private func postpone(_ occurrence: Occurrence, _ process: SimulatedProcess) -> Bool {
    guard process.pausedUntil > now else { return false }
    queue.insert(occurrence, at: process.pausedUntil)
    return true
  }

  private func arrive(_ packet: Packet) {
    let process = processes[packet.destination]
    guard process.isAlive, !postpone(.arrival(packet), process) else { return }
    do {
      let (message, envelope) = try packet.decoded()
      handle(.received(message, envelope), process)
    } catch {
      report.counts.refused += 1
      tell("\(process.name) refuses a message: \(error)")
    }
  }

  private func computed(_ task: GradientTask, _ process: SimulatedProcess, _ occurrence: Occurrence) {
    guard process.isAlive, !postpone(occurrence, process) else { return }
    let result = source.gradient(
      step: task.step, shards: task.shards, parameters: task.parameters,
      count: plan.training.shape.parameterCount)
    let gradient = simulation.sabotage.gradient?(task, result.gradient) ?? result.gradient
    handle(
      .gradientReady(ComputedGradient(ticket: task.ticket, statistics: result.statistics, gradient: gradient)), process)
  }

  private func written(
    _ request: CheckpointRequest, _ isKept: Bool, _ process: SimulatedProcess, _ occurrence: Occurrence
  ) {
    // The disk does not care whether the process still lives; only the news of it does.
    if process.pausedUntil <= now, isKept { keep(request) }
    guard process.isAlive, !postpone(occurrence, process) else { return }
    lastWriteFailed = !isKept
    if isKept {
      checker.announced(request, isDurable: true)
      handle(.checkpointWritten(step: request.step, .success("step-\(request.step)")), process)
    } else {
      let failure = Failure(.inputOutput, "the simulated disk is full")
      handle(.checkpointWritten(step: request.step, .failure(failure)), process)
    }
  }

  private func keep(_ request: CheckpointRequest) {
    report.counts.checkpoints += 1
    report.checkpoints.append(request)
  }

  // MARK: Events and actions

  func handle(_ event: Event, _ process: SimulatedProcess) {
    tell("\(process.name) \(event.summary)")
    actions.removeAll(keepingCapacity: true)
    if let before = process.server?.inspection {
      process.handle(sabotaged(event, process), at: now, into: &actions)
      checker.serverHandled(event, before: before, process: process, actions: actions)
    } else {
      process.handle(event, at: now, into: &actions)
      if process.coordinator != nil { checker.coordinatorHandled(process, actions: actions) }
    }
    for action in actions {
      if let left = process.actionsLeft {
        guard left > 0 else { return crash(process) }
        process.actionsLeft = left - 1
      }
      perform(action, process)
    }
    scheduleWake(process)
  }

  private func sabotaged(_ event: Event, _ process: SimulatedProcess) -> Event {
    guard let change = simulation.sabotage.serverReceives, case .received(let message, let envelope) = event,
      let server = process.server
    else { return event }
    let (changed, changedEnvelope) = change(message, envelope, server.openTickets)
    return .received(changed, changedEnvelope)
  }

  func scheduleWake(_ process: SimulatedProcess) {
    guard process.isAlive, let deadline = process.nextDeadline else { return }
    let time = max(deadline, now + 1)
    guard time < process.nextWake else { return }
    process.nextWake = time
    queue.insert(.wake(process: process.index), at: time)
  }

  private func perform(_ action: Action, _ process: SimulatedProcess) {
    switch action {
    case .send(let message, let destination, let stamp): send(message, to: destination, stamp, from: process)
    case .connect(let endpoint, _): process.serverEndpoint = endpoint
    case .prepare: break
    case .compute(let task):
      let time = plan.computeTime
      let duration = chance.interval(from: time, to: Interval(nanoseconds: time.nanoseconds * 2))
      queue.insert(.computed(process: process.index, task), at: now + duration.nanoseconds)
    case .evaluate(let serial, let split, let parameters):
      let duration = chance.interval(from: .milliseconds(1), to: .milliseconds(300))
      queue.insert(
        .evaluated(process: process.index, serial: serial, split, parameters: parameters),
        at: now + duration.nanoseconds)
    case .write(let request): write(request, process)
    case .observe(let observation): observe(observation, process)
    case .stop(let status, let reason): stop(process, status, reason)
    }
  }

  private func write(_ request: CheckpointRequest, _ process: SimulatedProcess) {
    let duration = chance.interval(from: .milliseconds(1), to: .milliseconds(chance.happens(0.1) ? 3_000 : 50))
    let isKept = hasCeased || !chance.happens(faults.diskFailures)
    let kept = simulation.sabotage.checkpoint?(request) ?? request
    if simulation.sabotage.announcesEarly { checker.announced(kept, isDurable: false) }
    queue.insert(.written(process: process.index, kept, isKept: isKept), at: now + duration.nanoseconds)
  }

  private func observe(_ observation: Observation, _ process: SimulatedProcess) {
    switch observation {
    case .note(let level, let event, let text): tell("\(process.name) \(level) \(event): \(text)")
    case .membership(let epoch, let step, let workers):
      tell("\(process.name) epoch \(epoch) at step \(step): \(workers) workers")
    case .evaluated(let row): tell("\(process.name) evaluated step \(row.step): \(row.validation.accuracy)")
    case .progress: break
    case .finished(let outcome):
      tell("\(process.name) finished at step \(outcome.step): \(outcome.reason.rawValue), \(outcome.message)")
      report.outcome = outcome
      resultTime = now
      let isSequential = plan.training.consistency == .bsp(backup: 0)
      let reference =
        isSequential ? SequentialReference(plan: plan, source: source, initial: initial) : nil
      checker.finished(outcome, reference: reference, lastWriteFailed: lastWriteFailed)
    }
  }

  private func stop(_ process: SimulatedProcess, _ status: ExitStatus, _ reason: String) {
    tell("\(process.name) ends with \(status.rawValue): \(reason)")
    process.isAlive = false
    report.endings.append(
      Report.Ending(process: process.name, role: process.role, status: status, reason: reason, seconds: seconds))
    bringBack(process)
  }

  // MARK: Messages

  private func send(
    _ message: Message, to destination: Destination, _ stamp: Stamp, from process: SimulatedProcess
  ) {
    report.counts.sent += 1
    guard let target = target(of: destination, from: process) else {
      report.counts.lost += 1
      return
    }
    process.sequence += 1
    var envelope = Envelope(
      type: message.type, run: stamp.run, membershipEpoch: stamp.membershipEpoch,
      incarnation: process.incarnation, step: stamp.step, sequence: process.sequence)
    let fields = message.encodeFields()
    message.seal(&envelope, fields: fields)
    var packet = Packet(
      destination: target.index, header: [UInt8](repeating: 0, count: Envelope.byteCount), fields: fields,
      bulk: message.bulk)
    packet.header.withUnsafeMutableBytes { envelope.encode(into: $0) }
    let arrivals = network.route(&packet, from: process.place, to: target.place, at: now)
    if arrivals.isEmpty {
      report.counts.lost += 1
      tell("lost: \(process.name) → \(target.name) \(message.summary)")
    }
    report.counts.repeated += max(0, arrivals.count - 1)
    for time in arrivals { queue.insert(.arrival(packet), at: time) }
  }

  private func target(of destination: Destination, from process: SimulatedProcess) -> SimulatedProcess? {
    switch destination {
    case .coordinator: return processes.first
    case .server:
      return processes.last { $0.boundEndpoint == process.serverEndpoint && $0.isAlive }
    case .node(let role, let incarnation):
      guard let index = processOfIncarnation[incarnation], processes[index].role == role else { return nil }
      return processes[index]
    }
  }
}
