import Messaging
import Optimization

/// Membership, work items and consistency: which worker computes which shards next, and which pushes count. It does not
/// know the weights, which `ParameterStore` updates.
///
/// Each member holds at most one item. A push counts if it answers the item that its worker holds under the current
/// membership epoch, so every (step, shard) counts exactly once, whichever worker computed it and however often it
/// arrives.
package struct WorkScheduler {
  /// After this many rejected pushes a worker gets no more work. One may be a flipped bit: the worker is asked for the
  /// same item again. The count belongs to the incarnation and never falls.
  package static let maximumRejectedPushes = 3

  /// An item that a member holds.
  package struct Outstanding {
    package let item: WorkItem
    /// How many clocks the item's step was ahead of the slowest shard.
    let staleness: UInt64
    let issued: Instant
    /// Float32 [parameters]: the weights that were sent last, of which a push must be the gradient.
    var parameters: Payload
  }

  package struct Member {
    package let incarnation: Incarnation
    /// For messages.
    let name: String
    fileprivate(set) var shards: ShardSet
    package fileprivate(set) var outstanding: Outstanding?
    fileprivate(set) var rejectedPushes = 0
    /// From handing out an item to receiving its push, since the worker became a member.
    fileprivate(set) var answerTimes = LatencyHistogram()
    /// Steps that its push completed.
    fileprivate(set) var timesLast: UInt64 = 0
    /// For how long steps have waited for this worker alone.
    fileprivate(set) var awaited = Interval.seconds(0)
    fileprivate(set) var since: Instant
    var isTrusted: Bool { rejectedPushes < WorkScheduler.maximumRejectedPushes }
  }

  let plan: TrainingPlan
  /// The membership epoch in effect.
  package private(set) var epoch = MembershipEpoch(0)
  package private(set) var members: [Member] = []
  private var memberIndex: [Incarnation: Int] = [:]
  /// An assignment that takes effect when the open step is complete.
  private var pending: (epoch: MembershipEpoch, assignment: Message.Assignment)?
  private(set) var newestAssignment = MembershipEpoch(0)
  private var newestItem: WorkItem.ID

  /// Steps that were applied in whole.
  package private(set) var step: UInt64
  /// Steps applied for each shard; under `bsp` all equal `step`.
  package private(set) var shardClocks: [UInt64]
  private var appliedShards: UInt64
  /// The open step of `bsp`: the shards that are in, and their statistics.
  package private(set) var received = ShardSet()
  private var openStatistics = MinibatchStatistics.zero

  package private(set) var totals: RunTotals
  /// Since the last multiple of the evaluation interval.
  private(set) var interval = MinibatchStatistics.zero
  private(set) var newestLoss = Double.nan
  /// When the newest push of the open step of `bsp` came.
  private var newestPush: Instant?
  /// The worker whose push completed the newest step.
  private(set) var newestCompletion = Incarnation(0)

  /// - Parameters:
  ///   - shardClocks: one for each shard of the plan.
  ///   - lastItem: the ID before the first one.
  init(plan: TrainingPlan, shardClocks: [UInt64], totals: RunTotals, lastItem: WorkItem.ID) {
    self.plan = plan
    self.shardClocks = shardClocks
    self.totals = totals
    newestItem = lastItem
    appliedShards = shardClocks.reduce(0, &+)
    step = appliedShards / UInt64(plan.shardCount)
  }

  /// Every step of the plan has been applied.
  var isComplete: Bool { step >= plan.totalSteps }

  // MARK: Membership

  func index(of worker: Incarnation) -> Int? { memberIndex[worker] }

  /// Whether the assignment that takes effect next has this worker.
  func isPending(_ worker: Incarnation) -> Bool {
    pending?.assignment.members.contains { $0.incarnation == worker } ?? false
  }

  /// Takes an assignment newer than the newest. It takes effect at once if the open step lacks a shard of a worker that
  /// is no longer a member, as no other would compute it; otherwise when the step is complete.
  mutating func receive(_ assignment: Message.Assignment, epoch: MembershipEpoch, at now: Instant) {
    newestAssignment = epoch
    pending = (epoch, assignment)
    if !plan.consistency.appliesWholeSteps || members.isEmpty || openStepNeeds(assignment) { adoptPending(at: now) }
  }

  private func openStepNeeds(_ assignment: Message.Assignment) -> Bool {
    let staying = Set(assignment.members.map(\.incarnation))
    return members.contains { !staying.contains($0.incarnation) && !$0.shards.isSubset(of: received) }
  }

  /// Voids every item of the older epoch.
  private mutating func adoptPending(at now: Instant) {
    guard let (epoch, assignment) = pending else { return }
    pending = nil
    self.epoch = epoch
    members = assignment.members.map { [members, memberIndex] in
      guard let index = memberIndex[$0.incarnation] else {
        return Member(incarnation: $0.incarnation, name: $0.name, shards: $0.shards, since: now)
      }
      var member = members[index]
      (member.shards, member.outstanding) = ($0.shards, nil)
      return member
    }
    memberIndex = Dictionary(uniqueKeysWithValues: members.enumerated().map { ($1.incarnation, $0) })
  }

  // MARK: Handing out work

  /// What a trusted member that holds no item may start on: those of its shards that are still to be computed and furthest
  /// behind, if the consistency model lets them be that far ahead of the slowest shard of all.
  func nextItem(for index: Int) -> (item: WorkItem, staleness: UInt64)? {
    guard members[index].outstanding == nil, members[index].isTrusted else { return nil }
    let missing = members[index].shards.subtracting(received)
    guard let clock = lowestClock(of: missing), clock < plan.totalSteps, let slowest = shardClocks.min(),
      plan.consistency.mayStart(aheadBy: clock - slowest)
    else { return nil }
    var shards = ShardSet()
    for shard in missing where shardClocks[shard] == clock { shards.insert(shard) }
    return (WorkItem(id: newestItem.next, step: clock, shards: shards), clock - slowest)
  }

  /// Hands out what `nextItem` returned.
  mutating func issue(
    _ next: (item: WorkItem, staleness: UInt64), to index: Int, at now: Instant, parameters: Payload
  ) {
    newestItem = next.item.id
    members[index].outstanding = Outstanding(
      item: next.item, staleness: next.staleness, issued: now, parameters: parameters)
  }

  /// A loop, because the closure of a lazy map would be allocated each time.
  private func lowestClock(of shards: ShardSet) -> UInt64? {
    var lowest: UInt64?
    for shard in shards { lowest = min(lowest ?? .max, shardClocks[shard]) }
    return lowest
  }

  /// Whether the member holds an item that may still count. One of a step that is over is taken from it.
  mutating func holdsOpenItem(_ index: Int) -> Bool {
    guard let outstanding = members[index].outstanding else { return false }
    if outstanding.item.step >= step || !plan.consistency.appliesWholeSteps { return true }
    members[index].outstanding = nil
    return false
  }

  /// The weights of an item that is sent again are the newest.
  mutating func renew(_ index: Int, parameters: Payload) { members[index].outstanding?.parameters = parameters }

  // MARK: Counting pushes

  /// Takes the item from its holder if the push answers it.
  mutating func takeItem(answeredBy push: Message.Push, from index: Int, epoch: MembershipEpoch) -> Outstanding? {
    guard let outstanding = members[index].outstanding, outstanding.item.shards == push.item.shards,
      outstanding.item.id == push.item.id,  // defence: tickets
      outstanding.item.step == push.item.step,  // defence: tickets
      epoch == self.epoch  // defence: tickets
    else { return nil }
    members[index].outstanding = nil
    return outstanding
  }

  mutating func recordRejection(of index: Int) { members[index].rejectedPushes += 1 }

  /// What is to be done with the gradient of a push.
  enum Effect: Equatable {
    /// Nothing: its step was complete without it (`bsp:backup=b`).
    case late
    /// `bsp`: it is part of the open step's sum.
    case added
    /// `bsp`: it completes the sum of the open step, over so many examples.
    case completed(examples: Int)
    /// `ssp`, `asp`: it is applied at once.
    case appliedAtOnce
  }

  /// Counts a valid push that has come now; `step` rises if that completes a step.
  mutating func count(
    _ outstanding: Outstanding, _ statistics: MinibatchStatistics, from index: Int, at now: Instant
  ) -> Effect {
    let shards = outstanding.item.shards
    members[index].answerTimes.record(nanoseconds: now.since(outstanding.issued).nanoseconds)
    guard plan.consistency.appliesWholeSteps else {
      totals.recordStaleness(outstanding.staleness)
      account(for: statistics)
      for shard in shards { shardClocks[shard] += 1 }
      appliedShards += UInt64(shards.count)
      step = appliedShards / UInt64(plan.shardCount)
      return .appliedAtOnce
    }
    guard outstanding.item.step == step else {
      totals.lateShards += UInt64(shards.count)
      return .late
    }
    totals.recordStaleness(outstanding.staleness)
    received = received.union(shards)
    openStatistics += statistics
    guard received.count >= plan.shardCount - plan.consistency.backupShards else {
      newestPush = now
      return .added
    }
    if let newestPush {
      // Of work that another worker held before, no more than the time since this one has it.
      members[index].awaited = members[index].awaited + now.since(max(newestPush, outstanding.issued))
    }
    newestPush = nil
    members[index].timesLast += 1
    newestCompletion = members[index].incarnation
    let examples = openStatistics.examples
    account(for: openStatistics)
    appliedShards += UInt64(plan.shardCount)
    for shard in shardClocks.indices { shardClocks[shard] += 1 }
    step += 1
    received = ShardSet()
    openStatistics = .zero
    adoptPending(at: now)
    return .completed(examples: examples)
  }

  private mutating func account(for statistics: MinibatchStatistics) {
    totals.examples += UInt64(statistics.examples)
    interval += statistics
    newestLoss = statistics.meanLoss
  }

  /// The next interval of the training loss begins.
  mutating func beginInterval() { interval = .zero }
}

extension WorkScheduler.Member {
  /// Nil before the first answer.
  func pace(at now: Instant) -> Message.WorkerPace? {
    guard let median = answerTimes.seconds(atQuantile: 0.5), let p99 = answerTimes.seconds(atQuantile: 0.99) else {
      return nil
    }
    return Message.WorkerPace(worker: incarnation) {
      ($0.answers, $0.timesLast) = (answerTimes.count, timesLast)
      ($0.medianSeconds, $0.p99Seconds) = (median, p99)
      ($0.awaitedSeconds, $0.memberSeconds) = (awaited.seconds, now.since(since).seconds)
    }
  }
}

extension RunTotals {
  fileprivate mutating func recordStaleness(_ clocks: UInt64) {
    staleness[Int(min(clocks, UInt64(Self.stalenessBuckets - 1)))] += 1
  }
}

extension ConsistencyModel {
  /// Whether updates wait for the shards of a whole step.
  var appliesWholeSteps: Bool {
    if case .bsp = self { true } else { false }
  }

  /// Shards that a step does not wait for.
  fileprivate var backupShards: Int {
    if case .bsp(let backup) = self { backup } else { 0 }
  }

  /// Whether work may start that is this many clocks ahead of the slowest shard.
  fileprivate func mayStart(aheadBy clocks: UInt64) -> Bool {
    switch self {
    case .bsp: clocks == 0
    case .ssp(let bound): clocks <= UInt64(bound)
    case .asp: true
    }
  }
}

extension Message.Assignment {
  /// Whether the sets of shards are disjoint and together 0..<shardCount; an assignment without members is valid.
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
