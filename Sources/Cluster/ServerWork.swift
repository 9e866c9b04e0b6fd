import Messaging
import Optimization

/// The data plane of the server: who computes what, and which pushes count.
extension ServerMachine {
  // MARK: Membership

  /// Takes note of a newer assignment. It takes effect at once if the open step lacks a shard of a worker
  /// that is no longer a member (nobody else would compute it), otherwise when the step is complete.
  mutating func receive(
    _ assignment: Message.Assignment, epoch: MembershipEpoch, at now: Instant,
    into actions: inout [Action]
  ) {
    guard epoch > newestAssignment, let store else { return }
    guard assignment.covers(store.plan.shardCount) else {  // defence: assignment
      note(.error, "assignment_refused", "an assignment does not cover the shards once", &actions)
      return
    }
    newestAssignment = epoch
    pending = (epoch, assignment)
    if !store.plan.consistency.appliesWholeSteps || members.isEmpty
      || openStepNeedsNewOwners(assignment, store)
    {
      adoptPending()
    }
    handOut(at: now, into: &actions)
  }

  private func openStepNeedsNewOwners(_ assignment: Message.Assignment, _ store: ParameterStore) -> Bool {
    let staying = Set(assignment.members.map(\.incarnation))
    return members.contains { !staying.contains($0.incarnation) && store.lacks($0.shards) }
  }

  /// Every ticket of the older epoch is void from here on; `handOut` issues new ones.
  private mutating func adoptPending() {
    guard let (epoch, assignment) = pending else { return }
    pending = nil
    self.epoch = epoch
    members = assignment.members.map { [members, memberIndex] in
      Member(
        incarnation: $0.incarnation, shards: $0.shards, ticket: nil,
        refusedPushes: memberIndex[$0.incarnation].map { members[$0].refusedPushes } ?? 0)
    }
    memberIndex = Dictionary(
      uniqueKeysWithValues: members.enumerated().map { ($1.incarnation, $0) })
  }

  // MARK: Handing out work

  /// Gives every member that has none the work it may start on.
  mutating func handOut(at now: Instant, into actions: inout [Action]) {
    for index in members.indices where members[index].ticket == nil {
      handOut(to: index, at: now, into: &actions)
    }
  }

  private mutating func handOut(to index: Int, at now: Instant, into actions: inout [Action]) {
    guard phase == .running, snapshots.count < Self.maximumOutstandingSnapshots, members[index].isTrusted,
      let work = store?.nextWork(on: members[index].shards), let parameters = store?.parameters()
    else { return }
    tickets += 1
    members[index].ticket = Ticket(number: tickets, work: work, issued: now, parameters: parameters)
    sendWork(to: index, into: &actions)
  }

  private mutating func sendWork(to index: Int, into actions: inout [Action]) {
    // A message that was lost is made up for by the newest weights.
    guard let parameters = store?.parameters() else { return }
    members[index].ticket?.parameters = parameters
    guard let ticket = members[index].ticket else { return }
    let work = Message.Work(ticket: ticket.number, shards: ticket.work.shards, parameters: ticket.parameters)
    actions.append(
      .send(
        .work(work), to: .node(.worker, members[index].incarnation),
        Addressing(run: run, membershipEpoch: epoch, step: ticket.work.clock)))
  }

  // MARK: Workers' messages

  /// A worker that has nothing to do asks: its work again if that message was lost, or new work.
  mutating func receiveHello(_ envelope: Envelope, at now: Instant, into actions: inout [Action]) {
    guard let index = memberIndex[envelope.incarnation] else {
      answerStranger(envelope, into: &actions)
      return
    }
    if let ticket = members[index].ticket, ticket.work.clock >= step || !isWholeStepped {
      sendWork(to: index, into: &actions)
    } else {
      // What it held was for a step that is over: it will not be pushed, or not count.
      members[index].ticket = nil
      handOut(to: index, at: now, into: &actions)
    }
    if members[index].ticket == nil { send(.wait, to: envelope.incarnation, into: &actions) }
  }

  private var isWholeStepped: Bool { store?.plan.consistency.appliesWholeSteps ?? true }

  /// Not a member: a newcomer whose assignment is on its way here waits, one of an older epoch is fenced.
  private mutating func answerStranger(_ envelope: Envelope, into actions: inout [Action]) {
    let isPending = pending?.assignment.members.contains { $0.incarnation == envelope.incarnation } ?? false
    if isPending || envelope.membershipEpoch > newestAssignment {  // defence: fencing holds
      send(.wait, to: envelope.incarnation, into: &actions)
    } else {
      let reason =
        "membership epoch \(newestAssignment) has other workers for the shards of this one (epoch "
        + "\(envelope.membershipEpoch))"
      send(.refusal(Message.Ending(status: .fenced, reason: reason)), to: envelope.incarnation, into: &actions)
    }
  }

  private func send(_ message: Message, to incarnation: Incarnation, into actions: inout [Action]) {
    actions.append(
      .send(
        message, to: .node(.worker, incarnation),
        Addressing(run: run, membershipEpoch: newestAssignment, step: step)))
  }

  /// Applies or drops a push. What is dropped is not answered with work: the worker asks for that itself
  /// when it has none, so a duplicated message can never breed further ones.
  mutating func receive(
    _ push: Message.Push, _ envelope: Envelope, at now: Instant, into actions: inout [Action]
  ) {
    guard let index = memberIndex[envelope.incarnation] else {
      stalePushes += 1
      answerStranger(envelope, into: &actions)
      return
    }
    guard phase == .running, let ticket = members[index].ticket, ticket.work.shards == push.shards,
      ticket.number == push.ticket,  // defence: tickets
      ticket.work.clock == envelope.step,  // defence: tickets
      envelope.membershipEpoch == epoch  // defence: tickets
    else {
      stalePushes += 1
      return
    }
    members[index].ticket = nil
    if let objection = store?.objection(to: push, computedAt: ticket.parameters) {
      refuse(objection, from: index, at: now, into: &actions)
      return
    }
    guard push.statistics.isFinite else {
      note(.error, "diverged", "the loss of step \(ticket.work.clock) is not finite", &actions)
      phase = .holding
      takeSnapshot(.diverged, at: now, into: &actions)
      return
    }
    if store?.apply(push, answering: ticket.work) == .steppedForward {
      steppedForward(at: now, into: &actions)
    } else if isWholeStepped {
      // Nobody else has become free to start by this; looking at everybody would cost workers² in every step.
      handOut(to: index, at: now, into: &actions)
      return
    }
    handOut(at: now, into: &actions)
  }

  /// The worker is asked for the same again under a new ticket, until it has been wrong too often: then the coordinator is
  /// told, at once and with every heartbeat, and gives the shards to others.
  private mutating func refuse(
    _ objection: ParameterStore.Objection, from index: Int, at now: Instant, into actions: inout [Action]
  ) {
    refusedPushes += 1
    members[index].refusedPushes += 1
    note(
      .warning, "push_refused",
      "worker \(members[index].incarnation) pushed what cannot be at step \(step) (\(members[index].refusedPushes) of "
        + "\(Self.maximumRefusedPushes)): \(objection)", &actions)
    if members[index].isTrusted {
      handOut(to: index, at: now, into: &actions)
    } else {
      heartbeat(at: now, into: &actions)
    }
  }

  /// The weights stand at a new step: the place where membership changes and snapshots are taken.
  private mutating func steppedForward(at now: Instant, into actions: inout [Action]) {
    noteSlowness(now.since(stepBegan), into: &actions)
    stepDurations.record(nanoseconds: now.since(stepBegan).nanoseconds)
    stepBegan = now
    if stepDurations.count == 1 { note(.info, "first_step", "the first step is applied", &actions) }
    adoptPending()
    guard let plan = store?.plan else { return }
    let isEvaluationStep = plan.isEvaluationStep(step)
    if store?.isComplete == true {
      takeSnapshot(.final, at: now, into: &actions)
    } else if isEvaluationStep || plan.isCheckpointStep(step) {
      takeSnapshot(.interval, at: now, into: &actions)
    }
    if isEvaluationStep { store?.beginInterval() }
  }

  /// How much longer than usual a step must take, and that it must be felt, to be worth a line.
  private static let slowFactor = 8.0

  private func noteSlowness(_ duration: Interval, into actions: inout [Action]) {
    guard duration >= timing.heartbeat, let usual = stepDurations.seconds(atQuantile: 0.5),
      duration.seconds > Self.slowFactor * usual
    else { return }
    note(
      .info, "slow_step",
      "step \(step) took \(duration), the median is \(Interval.seconds(usual).nanoseconds / 1000) µs",
      &actions)
  }

  func note(_ level: NoteLevel, _ event: String, _ text: String, _ actions: inout [Action]) {
    actions.append(.note(level, event: event, text))
  }
}

extension Message.Assignment {
  /// Whether the sets of shards are disjoint and together 0..<shardCount; an assignment to nobody is fine.
  func covers(_ shardCount: Int) -> Bool {
    guard !members.isEmpty else { return true }
    var seen = ShardSet()
    for member in members {
      guard seen.isDisjoint(with: member.shards) else { return false }
      seen = seen.union(member.shards)
    }
    return seen == ShardSet(range: 0..<shardCount)
      && Set(members.map(\.incarnation)).count == members.count
  }
}
