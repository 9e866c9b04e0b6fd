import Cluster
import Diagnostics
import Messaging
import Optimization

/// Watches every event of a simulation and notes every rule that does not hold.
final class Checker {
  private let plan: SimulationPlan
  private let backend: any SimulatedBackend
  let fingerprints: Fingerprints
  private let isSequential: Bool
  private var ledgers: [Incarnation: Ledger] = [:]
  private var highestSerial: [Incarnation: UInt64] = [:]
  var history: History
  var membership = MembershipAccount()
  var newestEvaluatedStep: UInt64?
  /// Of the state that was evaluated on the test split last.
  var testedFingerprint: UInt64?
  /// Where the newest coordinator found the run on the disk.
  var resumedStep: UInt64?
  var newestEpoch = MembershipEpoch(0)
  private lazy var reference = isSequential ? sequentialResult() : nil

  private(set) var broken: [String] = []
  private(set) var staleness = [UInt64](repeating: 0, count: RunTotals.stalenessBuckets)
  private(set) var pushesCounted = 0
  private(set) var pushesRefused = 0
  private(set) var corrections = 0
  private(set) var takenOverShards = 0
  private(set) var lateShards = 0

  init(plan: SimulationPlan, backend: any SimulatedBackend, fingerprints: Fingerprints) {
    self.plan = plan
    self.fingerprints = fingerprints
    self.backend = backend
    isSequential = plan.training.consistency == .bsp(backup: 0)
    history = History(totalSteps: plan.training.totalSteps)
    let initial = TrainingState(plan: plan.training)
    reach(initial.step, initial.fingerprint)
  }

  func note(_ rule: String?) {
    if let rule { broken.append(rule) }
  }

  func takeBroken() -> [String] {
    defer { broken.removeAll() }
    return broken
  }

  func reach(_ step: UInt64, _ fingerprint: UInt64) {
    note(history.reach(step, fingerprint, isUnique: isSequential))
  }

  func isReached(_ snapshot: TrainingSnapshot) -> Bool {
    history.isReached(snapshot.step, fingerprints.state(of: snapshot.state.payload))
  }

  // MARK: The server

  /// - Parameters:
  ///   - event: as it came from the network.
  ///   - origin: of a push, as `Packet.origin`.
  ///   - before: of the server before the event; nil before its start.
  func serverHandled(
    _ event: SimulatedEvent, origin: Payload?, before: SchedulerPosition?, process: SimulatedProcess,
    actions: [ServerMachine.Action]
  ) {
    guard let server = process.server else { return }
    checkBounds(server, actions)
    guard let after = server.dataPlane?.scheduler else { return }
    if ledgers[process.incarnation] == nil { open(event, process.incarnation) }
    guard let ledger = ledgers[process.incarnation] else { return }
    if let before, case .received(.push(let push), let envelope) = event {
      pushed(push, envelope, origin, before, after, ledger)
    }
    if let before {
      takenOverShards += Int(after.totals.takenOverShards - before.takenOverShards)
      lateShards += Int(after.totals.lateShards - before.lateShards)
    }
    note(ledger.disagreement(with: after))
    if before?.step != after.step || before?.shardClocks != after.shardClocks {
      note(server.trainingState.flatMap(ledger.disagreement))
      if isSequential { reach(ledger.state.step, ledger.fingerprint) }
    }
    for case .send(let message, let destination, let addressing) in actions {
      serverSent(message, to: destination, addressing, process.incarnation, ledger)
    }
    if let before { checkTakeOvers(before, after) }
  }

  private func open(_ event: SimulatedEvent, _ incarnation: Incarnation) {
    guard case .received(.start(let start), _) = event,
      let ledger = Ledger(plan: plan.training, kernel: plan.kernel, backend: backend, start: start)
    else { return note("a server began without a state to begin with") }
    if !history.isReached(start.step, ledger.fingerprint) {
      note("a server began at step \(start.step) with weights that were never reached")
    }
    ledgers[incarnation] = ledger
  }

  private func pushed(
    _ push: Message.Push, _ envelope: Envelope, _ origin: Payload?, _ before: SchedulerPosition,
    _ after: WorkScheduler, _ ledger: Ledger
  ) {
    let isCounted =
      before.shardClocks != after.shardClocks || before.received != after.received
      || before.corrections != after.corrections
    guard isCounted else {
      pushesRefused += 1
      return
    }
    pushesCounted += 1
    if before.corrections != after.corrections { corrections += 1 }
    switch ledger.counted(push, envelope, origin: origin, epoch: before.epoch) {
    case .counted(let clocks): staleness[Int(min(clocks, UInt64(staleness.count - 1)))] += 1
    case .corrected: break
    case .broken(let rule): note(rule)
    }
  }

  /// Shards that are handed out while another member holds an item of them that may still count are those taken over.
  private func checkTakeOvers(_ before: SchedulerPosition, _ after: WorkScheduler) {
    let takenOver = Int(after.totals.takenOverShards - before.takenOverShards)
    // Items are numbered in the order in which they are handed out.
    let shared = after.newestItem > before.newestItem ? sharedShards(of: after, since: before.newestItem) : 0
    if shared != takenOver { note("\(shared) shards were handed out that others hold, and \(takenOver) taken over") }
  }

  private func sharedShards(of server: WorkScheduler, since newest: WorkItem.ID) -> Int {
    func mayCount(_ item: WorkItem) -> Bool {
      (!isSequential || item.scale == server.scale) && item.shards.isDisjoint(with: server.received)
        && item.shards.allSatisfy { server.shardClocks[$0] == item.step }
    }
    var holders = [Int](repeating: 0, count: server.shardClocks.count)
    for member in server.members {
      guard let item = member.outstanding?.item, mayCount(item) else { continue }
      for shard in item.shards { holders[shard] += 1 }
    }
    var shared = 0
    for member in server.members {
      guard let item = member.outstanding?.item, item.id > newest else { continue }
      let own = mayCount(item) ? 1 : 0
      for shard in item.shards where holders[shard] > own { shared += 1 }
    }
    return shared
  }

  private func serverSent(
    _ message: Message, to destination: Destination, _ addressing: Addressing, _ server: Incarnation, _ ledger: Ledger
  ) {
    switch (message, destination) {
    case (.work(let work), .node(_, let worker)):
      note(ledger.handedOut(work, to: worker, epoch: addressing.membershipEpoch))
    case (.snapshot(let snapshot), _) where snapshot.serial > highestSerial[server] ?? 0:
      highestSerial[server] = snapshot.serial
      note(ledger.disagreement(with: snapshot, step: addressing.step))
      reach(addressing.step, fingerprints.state(of: snapshot.training.state.payload))
    default: break
    }
  }

  private func checkBounds(_ server: ServerMachine, _ actions: [ServerMachine.Action]) {
    // Work that is out when the bound is reached may still complete a step, and the coordinator may ask for one more.
    let bound = DataPlane.maximumOutstandingSnapshots + 2
    let snapshots = server.dataPlane?.snapshots.count ?? 0
    if snapshots > bound { note("the server keeps \(snapshots) snapshots, more than \(bound)") }
    let members = server.dataPlane?.scheduler.members.count ?? 0
    if members > Message.Assignment.maximumMembers { note("the server has \(members) members") }
    checkSends(actions.count { if case .send = $0 { true } else { false } }, members: members)
  }

  /// One event leads to a bounded number of messages: a message to each member twice, and a few answers.
  func checkSends(_ sends: Int, members: Int) {
    if sends > 2 * members + 4 { note("one event led to \(sends) messages among \(members) members") }
  }

  // MARK: The worker

  func workerHandled(_ process: SimulatedProcess, actions: [WorkerMachine.Action]) {
    if process.computations > 1 { note("\(process.name) computes \(process.computations) gradients at a time") }
    checkSends(actions.count { if case .send = $0 { true } else { false } }, members: 1)
  }

  // MARK: The end

  /// What must come out under `bsp`: the sequential trainer on the same gradients, with the coordinator's decisions.
  private func sequentialResult() -> (reason: StopReason, step: UInt64, fingerprint: UInt64, best: RunState.Best?) {
    let training = plan.training
    var trainer = SequentialTrainer(
      plan: training, backend: backend, state: TrainingState(plan: training), kernel: plan.kernel)
    var monitor = ConvergenceMonitor()
    var reason = plan.stoppingRule.endOfPlan
    var best: RunState.Best?
    while trainer.state.step < training.totalSteps {
      let norm = trainer.step().gradientNorm
      let step = trainer.state.step
      guard training.isEvaluationStep(step) || step == training.totalSteps else { continue }
      let validation = backend.evaluate(.validation, parameters: OptimizerState(trainer.state).payload)
      if validation.score.meanLoss < best?.score.meanLoss ?? .infinity {
        best = RunState.Best(step: step, score: validation.score)
      }
      guard training.isEvaluationStep(step) else { continue }
      if let met = monitor.observe(validation: validation, gradientNorm: norm, rule: plan.stoppingRule) {
        reason = met
        break
      }
    }
    return (reason, trainer.state.step, trainer.state.fingerprint, best)
  }

  /// A coordinator says how the run ended; one that was interrupted is resumed.
  func finished(_ outcome: RunOutcome, _ process: SimulatedProcess, lastWriteFailed: Bool, mayGiveUp: Bool) {
    let step = outcome.state.step
    let fingerprint = fingerprints.state(of: outcome.state.snapshot.state.payload)
    if !history.isReached(step, fingerprint) {
      note("the result of step \(step) has weights that were never reached")
    }
    if lastWriteFailed, outcome.status == .success { note("success although the last checkpoint was not saved") }
    let isSaved = max(history.announcedStep ?? 0, resumedStep ?? 0) >= step
    if !isSaved, !lastWriteFailed { note("the run ended at step \(step), which was not saved") }
    if outcome.status == .stoppedBySignal, !process.isSignalled {
      note("the run was stopped by a signal that was not sent")
    }
    if !mayGiveUp, outcome.status == .unavailable { note("the coordinator gave up although it need not") }
    guard outcome.isOfTheTraining, let reference else { return }
    if outcome.reason != reference.reason || step != reference.step {
      note(
        "ended at step \(step) (\(outcome.reason.rawValue)), the sequential trainer at step \(reference.step) "
          + "(\(reference.reason.rawValue))")
    } else if fingerprint != reference.fingerprint {
      note("the result's weights are not those of the sequential trainer")
    } else if outcome.state.best != reference.best {
      note("the best evaluation is not that of the sequential trainer")
    }
  }
}

/// Where a server's scheduler stands before an event, to be compared with where it stands afterwards. Not all of it: a
/// copy of its members, which change with every event, would have to be made each time.
struct SchedulerPosition {
  let epoch: MembershipEpoch
  let step: UInt64
  let shardClocks: [UInt64]
  let received: ShardSet
  let corrections: UInt64
  let newestItem: WorkItem.ID
  let takenOverShards: UInt64
  let lateShards: UInt64

  init(_ scheduler: WorkScheduler) {
    (epoch, step, shardClocks) = (scheduler.epoch, scheduler.step, scheduler.shardClocks)
    (received, corrections, newestItem) = (scheduler.received, scheduler.corrections, scheduler.newestItem)
    (takenOverShards, lateShards) = (scheduler.totals.takenOverShards, scheduler.totals.lateShards)
  }
}
