import Cluster
import Diagnostics
import Messaging
import Optimization

/// What is done to the cluster at a moment drawn from the seed.
enum Fault {
  case crash(NodeRole)
  case simultaneousCrash
  case powerCut
  case stopSignal
  case silence(NodeRole)
  case pause(NodeRole, Interval)
  case suspend(Interval)
  case joinLate
  case departWorker
  case secondServer
  case partition(Interval, isTwoWay: Bool)
  case swizzle(Interval)
  case fullDisk(Interval)
  case cease
}

extension World {
  func planFaults() {
    var random = SeededRandom(seed: simulation.seed, purpose: .faultTimes)
    func plan(_ count: Int, _ fault: (inout SeededRandom) -> Fault) {
      for _ in 0..<count {
        let time = random.interval(from: .milliseconds(0), to: faults.span)
        queue.insert(.fault(fault(&random)), at: time.nanoseconds)
      }
    }
    func span(_ random: inout SeededRandom, _ longest: Interval) -> Interval {
      random.interval(from: .milliseconds(50), to: longest)
    }
    let faults = faults
    plan(faults.workerCrashes) { _ in .crash(.worker) }
    plan(faults.serverCrashes) { _ in .crash(.server) }
    plan(faults.coordinatorCrashes) { _ in .crash(.coordinator) }
    plan(faults.simultaneousCrashes) { _ in .simultaneousCrash }
    plan(faults.powerCuts) { _ in .powerCut }
    plan(faults.stopSignals) { _ in .stopSignal }
    plan(faults.workerPauses) { .pause(.worker, span(&$0, faults.longestPause)) }
    plan(faults.workerStalls) { .pause(.worker, span(&$0, faults.longestStall)) }
    plan(faults.serverPauses) { .pause(.server, span(&$0, faults.longestPause)) }
    plan(faults.coordinatorPauses) { .pause(.coordinator, span(&$0, faults.longestPause)) }
    plan(faults.lateJoiners) { _ in .joinLate }
    plan(faults.departures) { _ in .departWorker }
    plan(faults.secondServers) { _ in .secondServer }
    plan(faults.oneWayPartitions) { .partition(span(&$0, faults.longestPartition), isTwoWay: false) }
    plan(faults.twoWayPartitions) { .partition(span(&$0, faults.longestPartition), isTwoWay: true) }
    plan(faults.swizzles) { .swizzle(span(&$0, faults.longestPartition)) }
    plan(faults.fullDisks) { .fullDisk(span(&$0, faults.longestFullDisk)) }
    plan(faults.suspensions) { .suspend(span(&$0, faults.longestSuspension)) }
    for _ in 0..<faults.silences {
      let role = random.element(of: [NodeRole.coordinator, .server, .worker])
      let time = random.happens(0.5) ? .milliseconds(0) : random.interval(from: .milliseconds(0), to: faults.span)
      queue.insert(.fault(.silence(role)), at: time.nanoseconds)
    }
    queue.insert(.fault(.cease), at: faults.cease.nanoseconds)
  }

  func strike(_ fault: Fault) {
    switch fault {
    case .crash(let role): if let process = anyLiving(role) { crashSoon(process) }
    case .simultaneousCrash: crashAll()
    case .powerCut: cutPower()
    case .stopSignal:
      if plan.isSupervised { return interruptSupervisor() }
      guard let process = anyLiving(.coordinator) else { return }
      signal(process)
    case .silence(let role):
      guard let process = anyLiving(role) else { return silentRoles.append(role) }
      silence(process)
    case .pause(let role, let time): if let process = anyLiving(role) { pause(process, time) }
    case .suspend(let time): suspend(time)
    case .joinLate:
      hasDeparted.append(false)
      launch(.worker(hasDeparted.count - 1))
    case .departWorker: departWorker()
    case .secondServer:
      if anyLiving(.server) != nil {
        launch(.server(.first), endpoint: "ipc://server-\(report.counts.serverStarts + 1)")
      }
    case .partition(let time, let isTwoWay): partition(time, isTwoWay: isTwoWay)
    case .swizzle(let time): swizzle(time)
    case .fullDisk(let time):
      diskIsFullUntil = now + time.nanoseconds
      tell("", "the disk is full for \(time.seconds) s")
    case .cease: cease()
    }
  }

  private func cease() {
    tell("", "faults cease")
    hasCeased = true
    // No fault begins after this: a silence that no process took is void.
    silentRoles.removeAll()
    network.heal()
    for process in processes where process.isAlive { process.actionsLeft = nil }
  }

  // MARK: Processes

  func anyLiving(_ role: NodeRole) -> SimulatedProcess? {
    guard role == .worker else { return processes.last { $0.isAlive && $0.role == role } }
    let living = processes.filter { $0.isAlive && $0.role == .worker }
    return living.isEmpty ? nil : random.element(of: living)
  }

  /// At once, or in the middle of what it does next.
  private func crashSoon(_ process: SimulatedProcess) {
    if random.happens(0.5) {
      process.actionsLeft = random.index(below: 4)
    } else {
      crash(process)
    }
  }

  func crash(_ process: SimulatedProcess) {
    tell(process.name, "crashes")
    kill(process)
  }

  private func kill(_ process: SimulatedProcess) {
    report.counts.crashes += 1
    faultTimes.append(now)
    die(process)
    exited(process.place, .signal(9))
  }

  private func killAll() {
    tell("", "all processes are killed")
    for process in processes where process.isAlive { kill(process) }
  }

  private func crashAll() {
    // A run that is over does not begin again.
    if !isOver { killAll() }
  }

  private func cutPower() {
    guard !isOver else { return }
    tell("", "the coordinator's host loses power")
    report.counts.powerCuts += 1
    if let process = anyLiving(.coordinator) { kill(process) }
    storage.disk.losePower()
    if random.happens(0.5) { killAll() }
  }

  private func pause(_ process: SimulatedProcess, _ time: Interval) {
    faultTimes.append(now)
    // A second pause does not end the first one early: messages would overtake those that wait for its end.
    process.pausedUntil = max(process.pausedUntil, min(now + time.nanoseconds, faults.cease.nanoseconds))
    report.counts.pauses += 1
    tell(process.name, "is stopped for \(time.seconds) s")
  }

  /// Once all are started: a shell or a scheduler would stop those that come as well.
  private func suspend(_ time: Interval) {
    guard !isOver else { return }
    let living = processes.filter(\.isAlive)
    guard Set(living.map(\.place)).isSuperset(of: places) else {
      return queue.insert(.fault(.suspend(time)), at: now + Interval.milliseconds(100).nanoseconds)
    }
    for process in living { pause(process, time + random.interval(from: .milliseconds(0), to: .milliseconds(50))) }
  }

  /// The process lives and works, but from now on it is not heard, or hears nothing.
  func silence(_ process: SimulatedProcess) {
    faultTimes.append(now)
    report.counts.silences += 1
    if random.happens(0.5) { process.isMute = true } else { process.isDeaf = true }
    tell(process.name, process.isMute ? "is mute" : "is deaf")
  }

  private func departWorker() {
    guard let process = anyLiving(.worker), case .worker(let number) = process.place, process.pausedUntil <= now
    else { return }
    let others = hasDeparted.indices.contains { $0 != number && !hasDeparted[$0] }
    // Without a worker the supervisor ends the run.
    guard others || !plan.isSupervised else { return }
    hasDeparted[number] = others
    faultTimes.append(now)
    signal(process)
  }

  func signal(_ process: SimulatedProcess) {
    tell("", "SIGTERM to \(process.name)")
    process.isSignalled = true
    handle(.stopRequested, process)
  }

  // MARK: Partitions

  /// With more workers than this, a cut is between a worker and one of the two that it talks to.
  private static let mostAnyWays = 16

  private var places: [ProcessName] { [.coordinator, .server(.first)] + hasDeparted.indices.map { .worker($0) } }

  private func partition(_ time: Interval, isTwoWay: Bool) {
    var places = places
    var from = places.remove(at: random.index(below: places.count))
    var to = random.element(of: places)
    if plan.workers > Self.mostAnyWays {
      // Between any two of a thousand workers no message goes.
      to = random.element(of: [.coordinator, .server(.first)])
      if random.happens(0.5) { (from, to) = (to, from) }
    }
    let isHolding = random.happens(0.5)
    cut(from: from, to: to, from: now, for: time, isHolding: isHolding)
    if isTwoWay { cut(from: to, to: from, from: now, for: time, isHolding: isHolding) }
    report.counts.partitions += 1
    tell(
      "",
      "nothing gets from \(from) to \(to)\(isTwoWay ? ", nor back," : "") for \(time.seconds) s; "
        + "it is \(isHolding ? "late" : "lost")")
  }

  private func cut(from: ProcessName?, to: ProcessName?, from begins: UInt64, for time: Interval, isHolding: Bool) {
    network.add(
      SimulatedNetwork.Cut(from: from, to: to, begins: begins, ends: begins + time.nanoseconds, isHolding: isHolding))
  }

  /// Places are cut off one after the other and come back one after the other in another order, so that for a while
  /// each sees another part of the cluster.
  private func swizzle(_ time: Interval) {
    report.counts.swizzles += 1
    let isHolding = random.happens(0.5)
    for place in places where random.happens(0.5) {
      let gone = random.interval(from: .milliseconds(0), to: time / 2)
      let length = random.interval(from: .milliseconds(10), to: time)
      let ways = random.integer(below: 3)
      if ways != 0 { cut(from: place, to: nil, from: now + gone.nanoseconds, for: length, isHolding: isHolding) }
      if ways != 1 { cut(from: nil, to: place, from: now + gone.nanoseconds, for: length, isHolding: isHolding) }
      let what = ["what is sent to", "what is sent from", "all to and from"][Int(ways)]
      tell("", "\(what) \(place) is \(isHolding ? "late" : "lost") in \(gone.seconds) s for \(length.seconds) s")
    }
  }
}
