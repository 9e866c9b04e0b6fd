import Cluster
import Diagnostics
import Messaging
import Optimization

/// The events that every role has: a server has no other.
typealias SimulatedEvent = NodeEvent<Never>

extension NodeEvent {
  init(_ event: SimulatedEvent) {
    switch event {
    case .begin: self = .begin
    case .received(let message, let envelope): self = .received(message, envelope)
    case .deadline: self = .deadline
    case .stopRequested: self = .stopRequested
    case .saveRequested: self = .saveRequested
    }
  }
}

/// What the shell around a role does: it hands the role events and performs the actions.
extension World {
  /// - Parameter origin: of a push, as `Packet.origin`.
  func handle(_ event: SimulatedEvent, _ process: SimulatedProcess, origin: Payload? = nil) {
    tell(process.name, event.summary(name))
    switch process.place {
    case .coordinator: coordinatorHandles(CoordinatorMachine.Event(sabotaged(event, process)), process)
    case .server: serverHandles(event, process, origin: origin)
    case .worker: workerHandles(WorkerMachine.Event(event), process)
    }
  }

  func coordinatorHandles(_ event: CoordinatorMachine.Event, _ process: SimulatedProcess) {
    var actions: [CoordinatorMachine.Action] = []
    process.coordinator?.handle(event, at: process.clock.reading(at: now), into: &actions)
    checker.coordinatorHandled(process, actions: actions)
    perform(actions, process) { perform($0, process) }
  }

  private func serverHandles(_ event: SimulatedEvent, _ process: SimulatedProcess, origin: Payload?) {
    let before = process.server?.dataPlane.map { SchedulerPosition($0.scheduler) }
    // Before the server is accessed for writing: sabotage reads it.
    let heard = sabotaged(event, process)
    var actions: [ServerMachine.Action] = []
    process.server?.handle(heard, at: process.clock.reading(at: now), into: &actions)
    checker.serverHandled(event, origin: origin, before: before, process: process, actions: actions)
    perform(actions, process) { perform($0, process) }
  }

  func workerHandles(_ event: WorkerMachine.Event, _ process: SimulatedProcess) {
    var actions: [WorkerMachine.Action] = []
    process.worker?.handle(event, at: process.clock.reading(at: now), into: &actions)
    checker.workerHandled(process, actions: actions)
    perform(actions, process) { perform($0, process) }
  }

  private func perform<Request>(
    _ actions: [NodeAction<Request>], _ process: SimulatedProcess, _ perform: (Request) -> Void
  ) {
    for action in actions {
      if let left = process.actionsLeft {
        guard left > 0 else { return crash(process) }
        process.actionsLeft = left - 1
      }
      switch action {
      case .send(let message, let receiver, let addressing): send(message, to: receiver, addressing, from: process)
      case .note(let level, let event, let text): tell(process.name, "\(level) \(event): \(text)")
      case .request(let request): perform(request)
      case .stop(let status, let reason): stop(process, status, reason)
      }
    }
    scheduleWake(process)
  }

  private func sabotaged(_ event: SimulatedEvent, _ process: SimulatedProcess) -> SimulatedEvent {
    guard case .received(let message, let envelope) = event else { return event }
    if let change = simulation.sabotage.serverReceives, let server = process.server {
      let (changed, changedEnvelope) = change(message, envelope, server.dataPlane?.scheduler)
      return .received(changed, changedEnvelope)
    }
    if let change = simulation.sabotage.coordinatorReceives, process.coordinator != nil {
      let (changed, changedEnvelope) = change(message, envelope)
      return .received(changed, changedEnvelope)
    }
    return event
  }

  private func perform(_ request: CoordinatorMachine.Request, _ process: SimulatedProcess) {
    switch request {
    case .evaluate(let serial, let split, let state, _):
      process.evaluations += 1
      let duration = random.interval(from: .milliseconds(1), to: .milliseconds(300))
      queue.insert(
        .evaluated(process: process.index, serial: serial, split, parameters: state.payload),
        at: now + duration.nanoseconds)
    case .write(let state, _): write(state, process)
    // Files do not change here.
    case .verifyData(let thoroughly): coordinatorHandles(.outcome(.dataVerified(nil, thoroughly: thoroughly)), process)
    case .observe(let observation): observe(observation, process)
    }
  }

  private func perform(_ request: MemberRequest, _ process: SimulatedProcess) {
    switch request {
    // Addresses do not change here.
    case .seekCoordinator: break
    case .rejoin(let reason): rejoin(process, reason)
    }
  }

  private func perform(_ request: WorkerMachine.Request, _ process: SimulatedProcess) {
    switch request {
    case .member(let request): perform(request, process)
    case .connect(let server, let endpoint, _): process.serverEndpoints[server] = endpoint
    case .prepare: break
    case .compute(let item, let parameters):
      process.computations += 1
      process.weights = parameters
      let worker = if case .worker(let number) = process.place { number } else { 0 }
      let time = plan.computeTime(of: worker, shards: item.shards.count)
      let duration = random.interval(from: time, to: time * 2)
      queue.insert(.computed(process: process.index, item, parameters: parameters), at: now + duration.nanoseconds)
    }
  }

  private func observe(_ observation: Observation, _ process: SimulatedProcess) {
    switch observation {
    case .membership(let epoch, let step, let workers):
      tell(process.name, "begins epoch \(epoch) at step \(step) with \(workers) workers")
    case .restarted(let name, let formerExit): tell(process.name, "\(name) replaces one that \(formerExit)")
    case .evaluated(let row):
      tell(process.name, "evaluated step \(row.step): accuracy \(row.validation.score.accuracy)")
    case .progress: break
    case .finished(let outcome):
      tell(process.name, "finished at step \(outcome.state.step): \(outcome.reason.rawValue), \(outcome.message)")
      report.outcome = outcome
      if outcome.isOfTheTraining { resultTime = now }
      checker.finished(
        outcome, process, lastWriteFailed: lastWriteFailed, mayGiveUp: plan.isSupervised ? hasSeveralFaults : !hasCeased
      )
      checker.finished(outcome, bestOnDisk: storage.best)
    }
  }

  /// The same process continues as a new incarnation.
  private func rejoin(_ process: SimulatedProcess, _ reason: String) {
    tell(process.name, "rejoins: \(reason)")
    process.isAlive = false
    report.counts.rejoins += 1
    launch(process.place, endpoint: process.boundEndpoint ?? "")
  }

  private func stop(_ process: SimulatedProcess, _ status: ExitStatus, _ reason: String) {
    tell(process.name, "ends with \(status.rawValue): \(reason)")
    process.isAlive = false
    checker.ended(process, status, isDecided: isDecided, mayGiveUp: mayGiveUp(process))
    let wasEvicted = checker.membership.isEvicted(process.incarnation)
    if wasEvicted, status == .fenced { report.counts.fenced += 1 }
    report.endings.append(
      Report.Ending(
        process: process.name, role: process.role, status: status, reason: reason, seconds: seconds,
        wasEvicted: wasEvicted))
    exited(process.place, .status(status.rawValue))
  }

  /// Whether a coordinator has decided how the run ends. One that dies before it has saved that may have sent it to others.
  private var isDecided: Bool { processes.contains { $0.coordinator?.hasDecided ?? false } }

  /// Whether a member that times out may do so: within the last two leases, for a time, there was no coordinator that it
  /// could reach. A coordinator that it reaches answers within that time: it admits, keeps or refuses the member.
  private func mayGiveUp(_ process: SimulatedProcess) -> Bool {
    // The coordinator gives its own reason to the members that it stops.
    guard hasCeased, !process.isSilent, report.outcome?.status != .unavailable, let coordinator,
      coordinator.process.isAlive, !coordinator.process.isSilent
    else { return true }
    let longestSilence = 2 * plan.timing.lease.seconds * (1 + Double(faults.largestClockDrift) / 1e6)
    return seconds - max(Double(coordinator.since) / 1e9, faults.cease.seconds) <= longestSilence
  }

  // MARK: The disk

  private func write(_ state: RunState, _ process: SimulatedProcess) {
    if process.saving != nil { checker.note("a checkpoint is to be written while another one is") }
    process.saving = state
    let duration = random.interval(from: .milliseconds(1), to: .milliseconds(random.happens(0.1) ? 3_000 : 50))
    queue.insert(.saved(process: process.index, state), at: now + duration.nanoseconds)
  }

  /// The save, at the moment it ends. One whose process dies before that is made up to a call (`die`).
  func saved(_ state: RunState, _ process: SimulatedProcess, _ occurrence: Occurrence) {
    guard process.isAlive, !postpone(occurrence, process) else { return }
    process.saving = nil
    if simulation.sabotage.announcesEarly {
      announce(state, .success("announced early"), process)
    } else {
      announce(state, storage.save(sabotaged(state), diskFaults()), process)
    }
  }

  private func sabotaged(_ state: RunState) -> RunState {
    simulation.sabotage.checkpoint?(state) ?? state
  }

  private func announce(
    _ state: RunState, _ result: Result<String, Failure>, _ process: SimulatedProcess
  ) {
    switch result {
    case .success(let path):
      report.counts.checkpoints += 1
      lastWriteFailed = false
      checker.announced(state, isDurable: storage.disk.isDurable(path))
      tell(process.name, "step \(state.step) is durable: \(path)")
    case .failure(let failure):
      lastWriteFailed = true
      tell(process.name, "step \(state.step) is not saved: \(failure)")
    }
    coordinatorHandles(.outcome(.checkpointWritten(step: state.step, result)), process)
  }

  func diskFaults() -> DiskFaults {
    if hasCeased { return DiskFaults() }
    if diskIsFullUntil > now { return DiskFaults { $0.isFull = true } }
    return random.happens(faults.diskFailures) ? storage.failing() : DiskFaults()
  }

  /// Everything that a process does comes to an end in the middle.
  func die(_ process: SimulatedProcess) {
    process.isAlive = false
    if let state = process.saving { _ = storage.save(sabotaged(state), storage.dying()) }
    process.saving = nil
  }

  // MARK: Messages

  /// What a socket keeps for one peer at most; what is more is lost.
  private static let queueLimit = 32

  private func send(
    _ message: Message, to destination: Destination, _ addressing: Addressing, from process: SimulatedProcess
  ) {
    report.counts.messagesSent += 1
    guard let (address, place) = address(of: destination, from: process), isHeard(message), !process.isMute
    else {
      report.counts.messagesLost += 1
      return
    }
    process.sequence += 1
    var envelope = Envelope(
      type: message.type, run: addressing.run, membershipEpoch: addressing.membershipEpoch,
      incarnation: process.incarnation, step: addressing.step, sequence: process.sequence)
    let fields = message.encodeFields()
    message.seal(&envelope, fields: fields)
    let header = [UInt8](unsafeUninitializedCapacity: Envelope.byteCount) { buffer, count in
      envelope.encode(into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: Envelope.byteCount))
      count = Envelope.byteCount
    }
    var packet = Packet(
      address: address, sender: process.index, slot: place.slot, header: header, fields: fields,
      payload: message.payload)
    if case .push = message { packet.origin = process.weights }
    route(packet, message, from: process, to: place)
  }

  private func route(_ packet: Packet, _ message: Message, from process: SimulatedProcess, to place: ProcessName) {
    while process.inFlight.count <= place.slot { process.inFlight.append(0) }
    var packet = packet
    let arrivals = network.route(&packet, from: process.place, to: place, at: now)
    guard !arrivals.isEmpty, process.inFlight[place.slot] < Self.queueLimit else {
      report.counts.messagesLost += 1
      tell(process.name, "→ \(place): \(message.summary(name)), lost")
      return
    }
    process.inFlight[place.slot] += arrivals.count
    report.counts.messagesRepeated += arrivals.count - 1
    for arrival in arrivals { queue.insert(.arrival(packet), at: arrival) }
  }

  private func isHeard(_ message: Message) -> Bool {
    switch message {
    case .refusal, .notAMember: return !simulation.sabotage.losesRefusals
    default: return true
    }
  }

  private func address(
    of destination: Destination, from process: SimulatedProcess
  ) -> (Packet.Address, ProcessName)? {
    switch destination {
    case .coordinator: return (.coordinator, .coordinator)
    case .server(let index):
      return process.serverEndpoints[index].map { (.server(endpoint: $0), .server(index)) }
    case .node(let role, let incarnation):
      guard let index = processOfIncarnation[incarnation], processes[index].role == role else { return nil }
      return (.process(index), processes[index].place)
    }
  }

  private func receiver(of packet: Packet) -> SimulatedProcess? {
    switch packet.address {
    case .coordinator: coordinator?.process
    case .server(let endpoint): servers.last { $0.isAlive && $0.boundEndpoint == endpoint }
    case .process(let index): processes[index]
    }
  }

  func arrive(_ packet: Packet) {
    let process = receiver(of: packet)
    if let process, process.isAlive, postpone(.arrival(packet), process) { return }
    processes[packet.sender].inFlight[packet.slot] -= 1
    guard let process, process.isAlive, !process.isDeaf else { return }
    do throws(CodecError) {
      var (message, envelope) = try packet.decoded()
      if plan.processors != nil { envelope.written = process.clock.reading(at: now) }
      handle(.received(message, envelope), process, origin: packet.origin)
    } catch {
      report.counts.messagesRefused += 1
      tell(process.name, "refuses a message of \(processes[packet.sender].name): \(error)")
    }
  }
}
