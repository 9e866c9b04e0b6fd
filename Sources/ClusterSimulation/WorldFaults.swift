import Cluster
import Diagnostics
import Messaging
import Optimization

/// What is done to the cluster at a moment drawn from the seed.
enum Fault {
  case crashWorker
  case crashServer
  case pause(NodeRole, Interval)
  case partition(Interval)
  case joinLate
  case departWorker
  case secondServer
  case stopSignal
  case killEverything
  case cease
}

/// Starting, killing, pausing and bringing back processes.
extension World {
  private static let dataset: UInt64 = 0x00D1_61E5
  private static let run = RunID(0x52_554E)

  func begin() {
    startCoordinator()
    queue.insert(.launch(.server), at: chance.integer(below: 300_000_000))
    for place in 0..<plan.workers {
      workerPlaces.append((nil, false))
      queue.insert(.launch(.worker(place)), at: chance.integer(below: 1_000_000_000))
    }
    planFaults()
  }

  private func planFaults() {
    var chance = Chance(seed: simulation.seed, purpose: .faultTimes)
    func plan(_ count: Int, _ fault: (inout Chance) -> Fault) {
      for _ in 0..<count {
        let time = chance.interval(from: .milliseconds(0), to: faults.span)
        queue.insert(.fault(fault(&chance)), at: time.nanoseconds)
      }
    }
    let pause = { [faults] (role: NodeRole) in
      { (chance: inout Chance) in
        Fault.pause(role, chance.interval(from: .milliseconds(50), to: faults.longestPause))
      }
    }
    plan(faults.workerCrashes) { _ in .crashWorker }
    plan(faults.serverCrashes) { _ in .crashServer }
    plan(faults.workerPauses, pause(.worker))
    plan(faults.serverPauses, pause(.server))
    plan(faults.coordinatorPauses, pause(.coordinator))
    plan(faults.partitions) { [faults] in
      .partition($0.interval(from: .milliseconds(50), to: faults.longestPartition))
    }
    plan(faults.lateJoiners) { _ in .joinLate }
    plan(faults.departures) { _ in .departWorker }
    plan(faults.secondServers) { _ in .secondServer }
    if let time = faults.stopSignal { queue.insert(.fault(.stopSignal), at: time.nanoseconds) }
    if let time = faults.killEverything { queue.insert(.fault(.killEverything), at: time.nanoseconds) }
    queue.insert(.fault(.cease), at: faults.cease.nanoseconds)
  }

  // MARK: Starting

  private func startCoordinator() {
    let configuration = CoordinatorConfiguration(
      run: Self.run, plan: plan.training, stoppingRule: plan.stoppingRule, timing: plan.timing,
      expectedWorkers: plan.workers, datasetFingerprint: Self.dataset,
      meanImage: plan.computation == .kernel ? SyntheticRecords.meanImage : [], checkpointInterval: .seconds(3),
      initial: initial)
    start(.coordinator, "coordinator") {
      .coordinator(CoordinatorMachine(configuration: configuration, incarnation: $0))
    }
  }

  /// - Parameter endpoint: where a server listens; the usual place if nil.
  func launch(_ place: Place, endpoint: String = "ipc://server") {
    // Nobody starts a process for a run that is over.
    guard report.outcome == nil, processes[0].isAlive else { return }
    switch place {
    case .coordinator: break
    case .server:
      guard !processes.contains(where: { $0.isAlive && $0.boundEndpoint == endpoint }) else { return }
      report.counts.serverStarts += 1
      start(.server, "server#\(report.counts.serverStarts)", boundEndpoint: endpoint) { [plan] in
        .server(
          ServerMachine(incarnation: $0, endpoint: endpoint, processID: 2, host: "host", timing: plan.timing))
      }
    case .worker(let number):
      report.counts.workerStarts += 1
      workerPlaces[number].process = processes.count
      start(.worker(number), "worker@\(number)#\(report.counts.workerStarts)") { [plan] in
        .worker(
          WorkerMachine(
            incarnation: $0, processID: 3 + Int32(number), host: "host", datasetFingerprint: Self.dataset,
            timing: plan.timing))
      }
    }
  }

  private func start(
    _ place: Place, _ name: String, boundEndpoint: String? = nil,
    _ machine: (Incarnation) -> SimulatedProcess.Machine
  ) {
    let incarnation = Incarnation(chance.word() | 1)
    let process = SimulatedProcess(
      index: processes.count, place: place, name: name, incarnation: incarnation,
      clockOrigin: 1_000_000_000 + chance.integer(below: 1 << 40), machine: machine(incarnation))
    process.boundEndpoint = boundEndpoint
    processes.append(process)
    processOfIncarnation[incarnation] = process.index
    handle(.begin, process)
  }

  /// Whoever looks after the processes starts one that ended before the run was over, after a while.
  func bringBack(_ process: SimulatedProcess) {
    switch process.place {
    case .coordinator: return
    case .server:
      if liveServer() != nil { return }
    case .worker(let number):
      if workerPlaces[number].isDeserted { return }
    }
    let pause = chance.interval(from: .milliseconds(100), to: .seconds(hasCeased ? 1 : 3))
    queue.insert(.launch(process.place), at: now + pause.nanoseconds)
  }

  // MARK: Faults

  func strike(_ fault: Fault) {
    switch fault {
    case .crashWorker: if let process = anyWorker() { crashSoon(process) }
    case .crashServer: if let process = liveServer() { crashSoon(process) }
    case .pause(let role, let time): pause(role, time)
    case .partition(let time): partition(time)
    case .joinLate:
      workerPlaces.append((nil, false))
      launch(.worker(workerPlaces.count - 1))
    case .departWorker: departWorker()
    case .secondServer:
      if liveServer() != nil { launch(.server, endpoint: "ipc://server-\(report.counts.serverStarts + 1)") }
    case .stopSignal:
      tell("SIGTERM to the coordinator")
      handle(.stopRequested, processes[0])
    case .killEverything:
      tell("everything is killed")
      for process in processes { process.isAlive = false }
    case .cease: cease()
    }
  }

  private func anyWorker() -> SimulatedProcess? {
    let living = processes.filter { $0.isAlive && $0.role == .worker }
    return living.isEmpty ? nil : living[Int(chance.integer(below: UInt64(living.count)))]
  }

  private func liveServer() -> SimulatedProcess? {
    processes.last { $0.isAlive && $0.role == .server }
  }

  /// At once, or in the middle of what it does next.
  private func crashSoon(_ process: SimulatedProcess) {
    if chance.happens(0.5) {
      process.actionsLeft = Int(chance.integer(below: 4))
    } else {
      crash(process)
    }
  }

  func crash(_ process: SimulatedProcess) {
    tell("\(process.name) crashes")
    report.counts.crashes += 1
    process.isAlive = false
    bringBack(process)
  }

  private func pause(_ role: NodeRole, _ time: Interval) {
    let process =
      switch role {
      case .coordinator: processes[0].isAlive ? processes[0] : nil
      case .server: liveServer()
      case .worker, .observer: anyWorker()
      }
    guard let process else { return }
    process.pausedUntil = min(now + time.nanoseconds, faults.cease.nanoseconds)
    report.counts.pauses += 1
    tell("\(process.name) is paused for \(time.seconds) s")
  }

  private func partition(_ time: Interval) {
    var places: [Place] = [.coordinator, .server]
    places += workerPlaces.indices.map { .worker($0) }
    let from = places.remove(at: Int(chance.integer(below: UInt64(places.count))))
    let to = places[Int(chance.integer(below: UInt64(places.count)))]
    network.cut(from: from, to: to, until: now + time.nanoseconds)
    report.counts.partitions += 1
    tell("nothing gets from \(from) to \(to) for \(time.seconds) s")
  }

  private func departWorker() {
    guard let process = anyWorker(), case .worker(let number) = process.place,
      process.pausedUntil <= now
    else { return }
    let staying = workerPlaces.indices.contains { $0 != number && !workerPlaces[$0].isDeserted }
    workerPlaces[number].isDeserted = staying
    tell("SIGTERM to \(process.name)")
    handle(.stopRequested, process)
  }

  private func cease() {
    tell("faults cease")
    hasCeased = true
    network.heal()
    for process in processes where process.isAlive { process.actionsLeft = nil }
  }
}
