import Cluster
import Messaging
import Optimization

/// The checker's own account of one server: what was handed out, what was counted, and the weights that must
/// have come of it. It computes every gradient itself from the weights that were handed out and never looks at what a
/// push carried.
final class Ledger {
  struct Issue {
    var item: WorkItem
    var worker: Incarnation
    var staleness: UInt64
    /// More than one if the work was sent again after an update (`ssp`, `asp`).
    var weights: [Payload]
  }

  private let plan: TrainingPlan
  private let rule: UpdateRule
  private let backend: any GradientBackend
  private let kernel: KernelVariant
  private var sum: [Int32]
  /// The newest gradient.
  private var addend: [Int32]
  private var norm: GradientNorm
  private var openStatistics = MinibatchStatistics.zero
  private var appliedShards: UInt64

  private(set) var state: TrainingState
  private(set) var clocks: [UInt64]
  private(set) var received = ShardSet()
  /// Of the work that may be handed out.
  private(set) var scale: FixedPointScale
  private(set) var examples: UInt64
  private(set) var issues: [Issue] = []
  private var epoch = MembershipEpoch(0)
  private var verifiedWeights: Payload?

  init?(plan: TrainingPlan, kernel: KernelVariant, backend: any GradientBackend, start: TrainingSnapshot) {
    guard let state = TrainingState(start, plan: plan) else { return nil }
    self.plan = plan
    self.backend = backend
    self.kernel = kernel
    self.state = state
    rule = UpdateRule(plan: plan, kernel: kernel)
    (clocks, scale) = (start.shardClocks, start.scale ?? plan.firstScale)
    appliedShards = clocks.reduce(0, +)
    examples = start.totals.examples
    sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
    addend = sum
    norm = GradientNorm(of: sum.indices)
  }

  var fingerprint: UInt64 { state.fingerprint }

  private var isWholeSteps: Bool { if case .bsp = plan.consistency { true } else { false } }
  private var backupShards: Int { if case .bsp(let backup) = plan.consistency { backup } else { 0 } }

  // MARK: What the server hands out

  /// Nil if the server may do so, otherwise the rule it breaks.
  func handedOut(_ work: Message.Work, to worker: Incarnation, epoch: MembershipEpoch) -> String? {
    let item = work.item
    if epoch != self.epoch {
      guard epoch > self.epoch else { return "work of epoch \(epoch) was handed out after epoch \(self.epoch)" }
      self.epoch = epoch
      issues.removeAll()
    }
    if work.parameters !== verifiedWeights {
      guard work.parameters == Payload(concatenating: state.parameters.values) else {
        return "the weights handed out for step \(item.step) are not those of the updates so far"
      }
      verifiedWeights = work.parameters
    }
    if let index = issues.firstIndex(where: { $0.item.id == item.id }) {
      guard issues[index].worker == worker, issues[index].item == item else {
        return "work item \(item.id) was handed out twice with different contents"
      }
      if issues[index].weights.last !== work.parameters { issues[index].weights.append(work.parameters) }
      return nil
    }
    return issue(work, to: worker)
  }

  private func issue(_ work: Message.Work, to worker: Incarnation) -> String? {
    let (clock, shards) = (work.item.step, work.item.shards)
    issues.removeAll { $0.worker == worker }
    for shard in shards {
      guard shard < clocks.count, clocks[shard] == clock, !received.contains(shard) else {
        return "step \(clock) of shard \(shard) was handed out although it has been counted or is not next"
      }
    }
    let staleness = clock - (clocks.min() ?? clock)
    if case .ssp(let bound) = plan.consistency, staleness > UInt64(bound) {
      return "work was handed out \(staleness) clocks ahead of the slowest shard, more than \(bound)"
    }
    guard work.item.scale == scale else { return "work of step \(clock) was handed out at another scale" }
    if isWholeSteps, staleness > 0 { return "work of step \(clock) was handed out before the step was open" }
    issues.append(
      Issue(item: work.item, worker: worker, staleness: staleness, weights: [work.parameters]))
    return nil
  }

  // MARK: What the server counts

  enum Judgement {
    case counted(staleness: UInt64)
    /// It does not count: it is computed again at another scale.
    case corrected
    case broken(String)
  }

  /// The server has counted this push: it must have been allowed to. Enters it into the account.
  /// - Parameter origin: the weights that the worker computed its gradient from.
  func counted(
    _ push: Message.Push, _ envelope: Envelope, origin: Payload?, epoch: MembershipEpoch
  ) -> Judgement {
    guard envelope.membershipEpoch == epoch else {
      return .broken("a push of epoch \(envelope.membershipEpoch) was counted in epoch \(epoch)")
    }
    guard let index = issues.firstIndex(where: { $0.item.id == push.item.id && $0.worker == envelope.incarnation })
    else { return .broken("a push of item \(push.item.id) was counted that \(envelope.incarnation) did not hold") }
    let issue = issues.remove(at: index)
    guard issue.item == push.item else {
      return .broken("a push was counted for other work than its item's")
    }
    let (clock, shards) = (issue.item.step, issue.item.shards)
    for shard in shards where clocks[shard] != clock || received.contains(shard) {
      return .broken("step \(clock) of shard \(shard) was counted twice")
    }
    // Another server may number items and epochs alike; it cannot hand out the very same payload.
    guard let weights = issue.weights.first(where: { $0 === origin }) else {
      return .broken("a push was counted whose gradient is of none of the weights handed out for it")
    }
    let statistics = backend.gradient(
      parameters: weights.elements(of: Float.self, count: sum.count), step: clock, shards: shards,
      scale: issue.item.scale, into: &addend)
    if !isWholeSteps, let corrected = plan.correction(of: issue.item.scale, for: statistics.peaks) {
      scale = corrected
      return .corrected
    }
    sum.withUnsafeMutableBufferPointer {
      kernel.add(UnsafeRawPointer($0.baseAddress.unsafelyUnwrapped), addend, into: $0)
    }
    if isWholeSteps {
      addToStep(shards, statistics)
    } else {
      applyFraction(issue.item, statistics)
    }
    return .counted(staleness: issue.staleness)
  }

  private func addToStep(_ shards: ShardSet, _ statistics: MinibatchStatistics) {
    received = received.union(shards)
    openStatistics += statistics
    guard received.count >= plan.shardCount - backupShards else { return }
    defer {
      openStatistics = .zero
      received = ShardSet()
      clearSum()
    }
    if let corrected = plan.correction(of: scale, for: openStatistics.peaks) {
      scale = corrected
      issues.removeAll()
      return
    }
    sum.withUnsafeBufferPointer {
      rule.apply(
        $0.baseAddress.unsafelyUnwrapped, scale: scale, examples: openStatistics.examples, learningRate: state.step,
        to: &state, norm: &norm)
    }
    scale = plan.scale(after: scale, openStatistics.peaks)
    state.step += 1
    for shard in clocks.indices { clocks[shard] += 1 }
    examples += UInt64(openStatistics.examples)
  }

  private func applyFraction(_ item: WorkItem, _ statistics: MinibatchStatistics) {
    let shards = item.shards
    sum.withUnsafeBufferPointer {
      rule.apply(
        $0.baseAddress.unsafelyUnwrapped, scale: item.scale, shards: shards.count, learningRate: state.step, to: &state,
        norm: &norm)
    }
    scale = plan.scale(after: item.scale, statistics.peaks)
    for shard in shards { clocks[shard] += 1 }
    appliedShards += UInt64(shards.count)
    state.step = appliedShards / UInt64(plan.shardCount)
    examples += UInt64(statistics.examples)
    clearSum()
  }

  private func clearSum() {
    sum.withUnsafeMutableBufferPointer { $0.update(repeating: 0) }
  }

  // MARK: Comparing

  /// The rule the server breaks by standing elsewhere than this account, or nil.
  func disagreement(with server: WorkScheduler) -> String? {
    if server.scale != scale { return "the server's scale is not that of the gradients it counted" }
    if server.step != state.step { return "the server stands at step \(server.step), not \(state.step)" }
    if server.shardClocks != clocks { return "the server's clocks are not those of the pushes it counted" }
    if server.received != received { return "the server's open step has other shards than it counted" }
    if server.totals.examples != examples {
      return "the server counts \(server.totals.examples) examples, not \(examples)"
    }
    return nil
  }

  func disagreement(with server: TrainingState) -> String? {
    OptimizerState(server) == OptimizerState(state)
      ? nil : "the server's weights after step \(state.step) are not those of the gradients it counted"
  }

  /// Whether a snapshot that the server sends for the first time holds its state.
  func disagreement(with snapshot: Message.Snapshot, step: UInt64) -> String? {
    let training = snapshot.training
    guard step == state.step, training.step == step, training.shardClocks == clocks,
      training.totals.examples == examples, training.state == OptimizerState(state),
      training.scale == (plan.hasProvenScale ? nil : scale)
    else { return "the snapshot of step \(step) is not the state of the server" }
    return nil
  }
}
