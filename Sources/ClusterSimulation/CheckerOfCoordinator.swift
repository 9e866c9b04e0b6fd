import Cluster
import Diagnostics
import Messaging
import Optimization

/// The members by the coordinator's account, and those that are none any more.
struct MembershipAccount {
  private var members: [Incarnation] = []
  private var evicted: Set<Incarnation> = []
  private(set) var evictions = 0
  private(set) var readmissions = 0

  /// Another coordinator knows no member yet, so that those of its predecessor are out.
  mutating func reset() { update([], hasEvicted: true) }

  /// - Parameter hasEvicted: the missing ones were silent for too long, and have not left by themselves.
  mutating func update(_ newMembers: [Incarnation], hasEvicted: Bool) {
    guard newMembers != members else { return }
    if hasEvicted {
      for member in members where !newMembers.contains(member) {
        evicted.insert(member)
        evictions += 1
      }
    }
    for member in newMembers where evicted.remove(member) != nil { readmissions += 1 }
    members = newMembers
  }

  func isEvicted(_ incarnation: Incarnation) -> Bool { evicted.contains(incarnation) }
}

/// The rules that concern the coordinator, checkpoints and membership.
extension Checker {
  /// - Parameter initial: what the run resumes from; nil for its beginning.
  func coordinatorStarts(resuming initial: RunState?) {
    note(history.disagreement(withResuming: initial))
    membership.reset()
    resumedStep = initial?.step
    newestEvaluatedStep = nil
    newestEpoch = initial?.membershipEpoch ?? MembershipEpoch(0)
  }

  func coordinatorHandled(_ process: SimulatedProcess, actions: [CoordinatorMachine.Action]) {
    guard let coordinator = process.coordinator else { return }
    checkBounds(coordinator, process, actions)
    let epoch = coordinator.run.state.membershipEpoch
    if epoch < newestEpoch { note("the membership epoch fell") }
    newestEpoch = epoch
    var hasEvicted = false
    for action in actions {
      switch action {
      case .request(.observe(.evaluated(let row))): evaluated(row)
      case .request(.evaluate(_, .test, let state, _)): testedFingerprint = fingerprints.state(of: state.payload)
      case .note(_, let event, _): hasEvicted = hasEvicted || Self.evictions.contains(event)
      case .request(.write(let state, _)):
        history.requested(state)
        if !isReached(state.snapshot) {
          note("a checkpoint of step \(state.step) holds weights that were never reached")
        }
      default: break
      }
    }
    membership.update(coordinator.memberIncarnations, hasEvicted: hasEvicted)
  }

  private static let evictions = ["worker_evicted", "server_lost"]

  private func evaluated(_ row: EvaluatedStep) {
    if let newest = newestEvaluatedStep, row.step <= newest {
      note("step \(row.step) was evaluated after step \(newest)")
    }
    newestEvaluatedStep = row.step
  }

  private func checkBounds(
    _ coordinator: CoordinatorMachine, _ process: SimulatedProcess, _ actions: [CoordinatorMachine.Action]
  ) {
    let queues = [
      ("snapshots", coordinator.pipeline.waiting.count, SnapshotPipeline.capacity),
      ("workers", coordinator.workers.count, CoordinatorMachine.maximumWorkers),
      ("untrusted workers", coordinator.untrusted.count, CoordinatorMachine.maximumUntrusted),
      ("lost servers", coordinator.lostServers.count, CoordinatorMachine.maximumLostServers),
      // One of the validation split and, at the end, one of the test split.
      ("evaluations", process.evaluations, 2),
    ]
    for (name, count, bound) in queues where count > bound { note("the coordinator keeps \(count) \(name)") }
    let sends = actions.count { if case .send = $0 { true } else { false } }
    checkSends(sends, members: coordinator.workers.count + 1)
  }

  /// A coordinator says how the run ended. With success the best model is on the disk.
  func finished(_ outcome: RunOutcome, bestOnDisk: RunState?) {
    let best = outcome.state.best
    if outcome.status == .success, bestOnDisk?.step != best?.step || bestOnDisk?.best != best {
      note("the best model is of step \(best?.step ?? 0), and the one on the disk of step \(bestOnDisk?.step ?? 0)")
    }
    guard outcome.isResult else { return }
    if outcome.testStep != (outcome.reason == .converged ? best?.step : outcome.state.step) {
      note("step \(outcome.testStep ?? 0) was evaluated on the test split")
    }
    if let testStep = outcome.testStep, !history.isReached(testStep, testedFingerprint ?? 0) {
      note("the model of step \(testStep) was evaluated on the test split with weights that were never reached")
    }
  }

  /// The coordinator says that the step is durable.
  ///
  /// - Parameter isDurable: whether any power cut from now on would leave it on the disk.
  func announced(_ state: RunState, isDurable: Bool) {
    if !isReached(state.snapshot) {
      note("step \(state.step) was announced with weights that were never reached")
    }
    if !isDurable { note("step \(state.step) was announced before it was durable") }
    history.announced(state.step)
  }

  /// A process ends of its own will.
  ///
  /// - Parameters:
  ///   - isDecided: whether a coordinator has decided how the run ends.
  ///   - mayGiveUp: whether it may give up waiting for one.
  func ended(_ process: SimulatedProcess, _ status: ExitStatus, isDecided: Bool, mayGiveUp: Bool) {
    if status == .success, !isDecided { note("\(process.name) ended as if the run were over") }
    if status == .unavailable, !mayGiveUp { note("\(process.name) gave up although there is a coordinator") }
  }
}
