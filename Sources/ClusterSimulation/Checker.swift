import Cluster
import Diagnostics
import Messaging
import Optimization

/// Watches every event of a simulation and notes every rule that does not hold.
final class Checker {
  private let plan: SimulationPlan
  private let source: any GradientSource
  private let fingerprints: Fingerprints
  private let isSequential: Bool
  private var ledgers: [Incarnation: Ledger] = [:]
  /// Fingerprints of states that were reached, by step. Under `bsp` there is only one for each.
  private var reached: [UInt64: [UInt64]] = [:]
  private var newestEvaluatedStep: UInt64?
  private var newestEpoch = MembershipEpoch(0)
  private var highestSerial: [Incarnation: UInt64] = [:]

  private(set) var broken: [String] = []
  private(set) var staleness = [UInt64](repeating: 0, count: RunTotals.stalenessBuckets)
  private(set) var pushesCounted = 0
  private(set) var pushesRefused = 0

  init(plan: SimulationPlan, source: any GradientSource, fingerprints: Fingerprints, initial: InitialState) {
    self.plan = plan
    self.fingerprints = fingerprints
    self.source = source
    isSequential = plan.training.consistency == .bsp(backup: 0)
    reached[initial.step] = [fingerprints.state(of: initial.state)]
    newestEpoch = initial.membershipEpoch
  }

  func takeBroken() -> [String] {
    defer { broken.removeAll() }
    return broken
  }

  // MARK: The server

  /// - Parameters:
  ///   - event: as it came from the network.
  ///   - before: the server before the event.
  func serverHandled(
    _ event: Event, before: ServerInspection, process: SimulatedProcess, actions: [Action]
  ) {
    guard let server = process.server else { return }
    let after = server.inspection
    if ledgers[process.incarnation] == nil, after.isStarted { open(event, process.incarnation) }
    guard let ledger = ledgers[process.incarnation] else { return }
    if case .received(.push(let push), let envelope) = event {
      pushed(push, envelope, before, after, ledger)
    }
    note(ledger.disagreement(with: after))
    if before.step != after.step || before.shardClocks != after.shardClocks {
      note(server.trainingState.flatMap(ledger.disagreement))
      if isSequential { reach(ledger.state.step, ledger.fingerprint) }
    }
    for case .send(let message, let destination, let stamp) in actions {
      serverSent(message, to: destination, stamp, process.incarnation, ledger)
    }
    checkBounds(after)
  }

  private func open(_ event: Event, _ incarnation: Incarnation) {
    guard case .received(.start(let start), let envelope) = event,
      let ledger = Ledger(plan: plan.training, source: source, start: start, step: envelope.step)
    else { return note("a server began without a state to begin with") }
    if reached[envelope.step]?.contains(ledger.fingerprint) != true {
      note("a server began at step \(envelope.step) with weights that were never reached")
    }
    ledgers[incarnation] = ledger
  }

  private func pushed(
    _ push: Message.Push, _ envelope: Envelope, _ before: ServerInspection, _ after: ServerInspection,
    _ ledger: Ledger
  ) {
    let isCounted = before.shardClocks != after.shardClocks || before.received != after.received
    guard isCounted else {
      pushesRefused += 1
      return
    }
    pushesCounted += 1
    switch ledger.counted(push, envelope, epoch: before.epoch) {
    case .counted(let clocks): staleness[Int(min(clocks, UInt64(staleness.count - 1)))] += 1
    case .broken(let rule): note(rule)
    }
  }

  private func serverSent(
    _ message: Message, to destination: Destination, _ stamp: Stamp, _ server: Incarnation, _ ledger: Ledger
  ) {
    switch (message, destination) {
    case (.work(let work), .node(_, let worker)):
      note(ledger.handedOut(work, to: worker, clock: stamp.step, epoch: stamp.membershipEpoch))
    case (.snapshot(let snapshot), _) where snapshot.serial > highestSerial[server] ?? 0:
      highestSerial[server] = snapshot.serial
      note(ledger.disagreement(with: snapshot, step: stamp.step))
      reach(stamp.step, fingerprints.state(of: snapshot.state))
    default: break
    }
  }

  private func checkBounds(_ server: ServerInspection) {
    // Work that is out when the bound is reached may still complete a step, and the coordinator may ask for one more.
    let bound = ServerMachine.snapshotBound + 2
    if server.outstandingSnapshots > bound {
      note("the server keeps \(server.outstandingSnapshots) snapshots, more than \(bound)")
    }
  }

  private func reach(_ step: UInt64, _ fingerprint: UInt64) {
    let known = reached[step] ?? []
    guard !known.contains(fingerprint) else { return }
    if isSequential, !known.isEmpty { note("step \(step) was reached with two different sets of weights") }
    reached[step] = known + [fingerprint]
  }

  // MARK: The coordinator

  func coordinatorHandled(_ process: SimulatedProcess, actions: [Action]) {
    guard let coordinator = process.coordinator else { return }
    if coordinator.queuedSnapshots > CoordinatorMachine.queueBound {
      note("the coordinator keeps \(coordinator.queuedSnapshots) snapshots")
    }
    if coordinator.membershipEpoch < newestEpoch { note("the membership epoch fell") }
    newestEpoch = coordinator.membershipEpoch
    for action in actions {
      switch action {
      case .observe(.evaluated(let row)):
        if let newest = newestEvaluatedStep, row.step <= newest {
          note("step \(row.step) was evaluated after step \(newest)")
        }
        newestEvaluatedStep = row.step
      case .write(let request):
        if !isReached(request) { note("a checkpoint of step \(request.step) holds weights that were never reached") }
      default: break
      }
    }
  }

  /// The disk says that this is durable: it must be a state the training has been in.
  func announced(_ request: CheckpointRequest, isDurable: Bool) {
    if !isReached(request) { note("step \(request.step) was announced with weights that were never reached") }
    if !isDurable { note("step \(request.step) was announced before it was durable") }
  }

  private func isReached(_ request: CheckpointRequest) -> Bool {
    reached[request.step]?.contains(fingerprints.state(of: request.state)) ?? false
  }

  // MARK: The end

  func finished(_ outcome: RunOutcome, reference: SequentialReference?, lastWriteFailed: Bool) {
    let fingerprint = fingerprints.state(of: outcome.state)
    if reached[outcome.step]?.contains(fingerprint) != true {
      note("the result of step \(outcome.step) has weights that were never reached")
    }
    if lastWriteFailed, outcome.status == .success { note("success although the last checkpoint was not saved") }
    guard let reference, outcome.reason != .stopped else { return }
    if outcome.reason != reference.reason || outcome.step != reference.step {
      note(
        "ended at step \(outcome.step) (\(outcome.reason.rawValue)), the sequential trainer at step \(reference.step) "
          + "(\(reference.reason.rawValue))")
    } else if fingerprint != reference.fingerprint {
      note("the result's weights are not those of the sequential trainer")
    }
  }

  func note(_ rule: String?) {
    if let rule { broken.append(rule) }
  }
}
