import Messaging
import Optimization

/// The data plane of a server, from its start on: hands out work, takes gradients, applies updates and takes snapshots.
package struct DataPlane {
  /// Snapshots that the coordinator has not acknowledged; the training pauses rather than queue more.
  package static let maximumOutstandingSnapshots = 2

  enum Activity: Equatable {
    case running
    /// No work is handed out any more.
    case holding
    /// The same after a signal; the server ends then.
    case leaving(at: Instant)
  }

  private let run: RunID
  private let timing: Timing
  private let kernel: KernelVariant
  private var turn = Turn<ServerMachine.Action>()

  private(set) var activity = Activity.running
  package private(set) var scheduler: WorkScheduler
  private(set) var store: ParameterStore
  /// Since the server's start: pushes that cannot have been computed, and that answer no item.
  private var rejectedPushes: UInt64 = 0
  private var stalePushes: UInt64 = 0
  private var knownBounds = KnownBounds()

  package private(set) var snapshots: [(snapshot: Message.Snapshot, sent: Instant)] = []
  private var snapshotSerial: UInt64 = 0
  private var stepDurations = LatencyHistogram()
  private var stepBegan: Instant

  /// Nil if the state does not fit the plan, or is not that of the range.
  init?(
    run: RunID, plan: TrainingPlan, range: Range<Int>, start: TrainingSnapshot, server: Incarnation, timing: Timing,
    processors: Int, kernel: KernelVariant, makePool: (Int, Int) -> PayloadPool, runPieces: @escaping PieceRunner,
    in turn: inout Turn<ServerMachine.Action>
  ) {
    guard var state = TrainingState(start, plan: plan), state.parameters.count == range.count else { return nil }
    self.run = run
    self.timing = timing
    self.kernel = kernel
    scheduler = WorkScheduler(
      plan: plan, start: start, lastItem: WorkItem.ID(server.value << 32), processors: processors)
    state.step = scheduler.step
    store = ParameterStore(
      plan: plan, range: range, state: state, kernel: kernel, makePool: makePool, runPieces: runPieces)
    stepBegan = turn.now
    if scheduler.isComplete { act(in: &turn) { $0.takeSnapshot(.final) } }
  }

  /// Lends the turn that is under way.
  mutating func act(in turn: inout Turn<ServerMachine.Action>, _ body: (inout DataPlane) -> Void) {
    swap(&self.turn, &turn)
    body(&self)
    swap(&self.turn, &turn)
  }

  var step: UInt64 { scheduler.step }

  func heartbeat(at now: Instant) -> Message.Heartbeat {
    var slowest: (worker: Incarnation, since: Instant)?
    for member in scheduler.members {
      guard let issued = member.outstanding?.issued, issued < slowest?.since ?? now else { continue }
      slowest = (member.incarnation, issued)
    }
    return Message.Heartbeat(isReady: true) {
      $0.assignmentEpoch = scheduler.newestAssignment
      $0.examples = scheduler.totals.examples
      $0.loss = scheduler.newestLoss
      if let (worker, since) = slowest {
        $0.waitingFor = worker
        $0.waitingMilliseconds = UInt32(clamping: now.since(since).nanoseconds / 1_000_000)
      }
      $0.rejectedPushes = rejectedPushes
      $0.stalePushes = stalePushes
      $0.takenOverShards = scheduler.totals.takenOverShards
      $0.lateShards = scheduler.totals.lateShards
      if let member = scheduler.members.first(where: { !$0.isTrusted }) { $0.untrusted = member.incarnation }
      $0.paces = scheduler.members.compactMap { $0.pace(at: now) }
    }
  }

  // MARK: The coordinator

  mutating func receive(_ assignment: Message.Assignment, epoch: MembershipEpoch) {
    guard epoch > scheduler.newestAssignment else { return }
    guard assignment.covers(scheduler.plan.shardCount) else {  // defence: assignment
      turn.note(.error, "assignment_rejected", "assignment of epoch \(epoch) must cover every shard exactly once")
      return
    }
    scheduler.receive(assignment, epoch: epoch, at: turn.now)
    handOut()
  }

  mutating func acknowledge(_ serial: UInt64) {
    snapshots.removeAll { $0.snapshot.serial <= serial }
    handOut()
  }

  mutating func requestSnapshot(hold: Bool) {
    if hold, activity == .running { activity = .holding }
    if !snapshots.contains(where: { $0.snapshot.occasion == .requested && $0.snapshot.training.step == step }) {
      takeSnapshot(.requested)
    }
  }

  /// A signal to the server alone: takes the snapshot that the coordinator needs for a checkpoint.
  mutating func leave() {
    activity = .leaving(at: turn.now + timing.shutdownGrace + Timing.transfer(of: scheduler.plan))
    takeSnapshot(.requested)  // defence: last-snapshot
  }

  mutating func repeatSnapshots() {
    for index in snapshots.indices where turn.now.since(snapshots[index].sent) >= timing.retry {
      snapshots[index].sent = turn.now
      sendToCoordinator(.snapshot(snapshots[index].snapshot), step: snapshots[index].snapshot.training.step)
    }
  }

  private mutating func takeSnapshot(_ occasion: Message.Snapshot.Occasion) {
    snapshotSerial += 1
    let snapshot = Message.Snapshot(
      serial: snapshotSerial, occasion: occasion,
      training: TrainingSnapshot(
        step: step, shardClocks: scheduler.shardClocks, totals: scheduler.totals, state: OptimizerState(store.state),
        scale: scheduler.plan.hasProvenScale ? nil : scheduler.scale),
      interval: scheduler.interval, gradientNorm: store.gradientNorm,
      stepSecondsP50: stepDurations.seconds(atQuantile: 0.5) ?? .nan,
      stepSecondsP99: stepDurations.seconds(atQuantile: 0.99) ?? .nan)
    snapshots.append((snapshot, turn.now))
    sendToCoordinator(.snapshot(snapshot), step: step)
  }

  private mutating func sendToCoordinator(_ message: Message, step: UInt64) {
    turn.send(
      message, to: .coordinator, Addressing(run: run, membershipEpoch: scheduler.newestAssignment, step: step))
  }

  // MARK: Handing out work

  /// Gives every member that holds no item the work it may start on.
  private mutating func handOut() {
    // With `bsp` members without a share of the step wait for the second pass: what is left then is in no other's share. To look
    // at the shares of all others instead would cost workers² in every step. With the other models the second pass is for
    // members to which a later one has left a part of its work.
    let ownFirst = scheduler.plan.consistency.appliesWholeSteps
    for pass in (scheduler.hasHandedOutAll ? 1 : 0)..<2 {
      var hasIdleMember = false
      for index in scheduler.members.indices where scheduler.members[index].isPresent {
        if pass > 0 || !ownFirst || scheduler.hasOwnShards(index) { handOut(to: index) }
        guard scheduler.members[index].isPresent else { continue }
        // What the first idle member does not get, the others do not get either.
        if pass > 0, scheduler.hasHandedOutAll { return }
        hasIdleMember = true
      }
      if !hasIdleMember { return scheduler.forgetIdleMembers() }
    }
  }

  private mutating func handOut(to index: Int) {
    guard activity == .running, snapshots.count < Self.maximumOutstandingSnapshots,
      let next = scheduler.nextItem(for: index, at: turn.now)
    else { return }
    let parameters = store.parameters()
    scheduler.issue(next, to: index, at: turn.now, parameters: parameters)
    send(next.item, parameters, to: index)
  }

  /// Until when members without work wait for those that are late.
  var takeOver: Instant? { scheduler.takeOver }

  /// Lets members without work take over what others are late with.
  mutating func takeOverLateWork() {
    guard let due = takeOver, turn.now >= due else { return }
    scheduler.forgetIdleMembers()
    handOut()
  }

  private mutating func send(_ item: WorkItem, _ parameters: Payload, to index: Int) {
    turn.send(
      .work(Message.Work(item: item, parameters: parameters)),
      to: .node(.worker, scheduler.members[index].incarnation),
      Addressing(run: run, membershipEpoch: scheduler.epoch, step: item.step))
  }

  // MARK: Workers' messages

  /// A worker without work asks for some: it gets its item again if that message was lost, or a new one.
  mutating func receiveRequest(_ envelope: Envelope) {
    guard let index = scheduler.index(of: envelope.incarnation) else { return answerNonmember(envelope) }
    if scheduler.holdsOpenItem(index), let item = scheduler.members[index].outstanding?.item {
      // With the newest weights, which make up for the lost ones.
      let parameters = store.parameters()
      scheduler.renew(index, parameters: parameters)
      send(item, parameters, to: index)
    } else {
      handOut(to: index)
    }
    if scheduler.members[index].outstanding == nil { answer(.noWorkYet, envelope.incarnation) }
  }

  /// A newcomer whose assignment is still under way has to wait; a worker of an older epoch is fenced.
  private mutating func answerNonmember(_ envelope: Envelope) {
    let worker = envelope.incarnation
    if scheduler.isPending(worker) || envelope.membershipEpoch > scheduler.newestAssignment {  // defence: fencing holds
      answer(.noWorkYet, worker)
    } else {
      let reason =
        "this worker's shards belong to other workers since membership epoch \(scheduler.newestAssignment) (its own is "
        + "\(envelope.membershipEpoch))"
      answer(.refusal(ExitReason(status: .fenced, reason: reason)), worker)
    }
  }

  private mutating func answer(_ message: Message, _ worker: Incarnation) {
    turn.send(
      message, to: .node(.worker, worker),
      Addressing(run: run, membershipEpoch: scheduler.newestAssignment, step: step))
  }

  /// Applies or drops a push. A dropped one is not answered with work: the worker requests that itself when it has none,
  /// so a repeated message never leads to further ones.
  mutating func receive(_ push: Message.Push, _ envelope: Envelope) {
    guard let index = scheduler.index(of: envelope.incarnation) else {
      stalePushes += 1
      return answerNonmember(envelope)
    }
    guard activity == .running,
      let outstanding = scheduler.takeItem(answeredBy: push, from: index, epoch: envelope.membershipEpoch)
    else {
      stalePushes += 1
      return
    }
    do throws(PushRejection) {
      try scheduler.plan.validate(
        push, of: store.range, computedAt: outstanding.parameters, &knownBounds, outstanding.item.scale, kernel)
    } catch {
      return reject(error, from: index)
    }
    let overflows = scheduler.plan.overflows(at: outstanding.item.scale, push.statistics.peaks)
    guard push.statistics.isFinite, !overflows else {
      // defence: push-divergence
      guard scheduler.believesDivergence(reportedBy: index) else { return reject(.unconfirmedDivergence, from: index) }
      turn.note(.error, "diverged", "the loss of step \(push.item.step) is not finite")
      activity = .holding
      return takeSnapshot(.diverged)
    }
    count(push, outstanding, from: index, written: envelope.written)
  }

  private mutating func count(
    _ push: Message.Push, _ outstanding: WorkScheduler.Outstanding, from index: Int, written: Instant?
  ) {
    let (before, scale) = (scheduler.position, outstanding.item.scale)
    switch scheduler.count(outstanding, push.statistics, from: index, written: written, at: turn.now) {
    case .late: break
    case .added: store.add(push.gradient)
    case .completed(let examples): store.applyStep(adding: push.gradient, examples: examples, scale: scale)
    case .appliedAtOnce:
      store.applyFraction(push.gradient, scale: scale, shards: push.item.shards.count, leadingTo: step)
    case .corrected:
      store.dropSum()
      // With `bsp` all members compute the step again.
      return handOut()
    }
    if step > before.step { steppedForward() }
    // Looking at all members after each push would cost workers² in every step.
    if scheduler.mayOthersStart(since: before, at: turn.now) { handOut() } else { handOut(to: index) }
  }

  /// The worker computes the same again as a new item. After too many rejections the coordinator gives its shards to other
  /// workers: it learns of them at once and with every heartbeat.
  private mutating func reject(_ rejection: PushRejection, from index: Int) {
    rejectedPushes += 1
    scheduler.recordRejection(of: index)
    let member = scheduler.members[index]
    turn.note(
      .warning, "push_rejected",
      "rejected a push of \(member.name) at step \(step) (\(member.rejectedPushes) of "
        + "\(WorkScheduler.maximumRejectedPushes)): \(rejection)")
    if member.isTrusted {
      handOut(to: index)
    } else {
      sendToCoordinator(.heartbeat(heartbeat(at: turn.now)), step: step)
    }
  }

  // MARK: Steps

  /// The weights stand at a new step, at which snapshots are taken.
  private mutating func steppedForward() {
    knownBounds.forget()
    let duration = turn.now.since(stepBegan)
    noteSlowness(duration)
    stepDurations.record(nanoseconds: duration.nanoseconds)
    stepBegan = turn.now
    if stepDurations.count == 1 { turn.note(.info, "first_step", "applied the first step") }
    let isEvaluationStep = scheduler.plan.isEvaluationStep(step)
    if scheduler.isComplete {
      takeSnapshot(.final)
    } else if isEvaluationStep || scheduler.plan.isCheckpointStep(step) {
      takeSnapshot(.interval)
    }
    if isEvaluationStep { scheduler.beginInterval() }
  }

  /// A step is worth a line if it takes this many times the median, and at least a heartbeat.
  private static let slowFactor = 8.0

  private mutating func noteSlowness(_ duration: Interval) {
    guard duration >= timing.heartbeat, let usual = stepDurations.seconds(atQuantile: 0.5),
      duration.seconds > Self.slowFactor * usual
    else { return }
    let last = scheduler.index(of: scheduler.newestCompletion).map { ", waiting for \(scheduler.members[$0].name)" }
    turn.note(
      .info, "slow_step",
      "step \(step) took \(duration)\(last ?? ""); the median is \(Interval.seconds(usual).nanoseconds / 1000) µs")
  }
}
