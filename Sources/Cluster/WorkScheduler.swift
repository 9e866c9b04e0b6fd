import Messaging
import Optimization

/// Membership, work items and consistency: which worker computes which shards next, and which pushes count. It does not
/// know the weights, which `ParameterStore` updates.
///
/// Each member holds at most one item. A push counts if it answers the item that its worker holds under the current
/// membership epoch, and no other push that counts has had one of its shards. So every (step, shard) counts exactly once,
/// whichever worker computed it and however often it arrives.
///
/// As sums are exact, it makes no difference to the bits which worker computes a shard. A member of `bsp` gets as many
/// shards of a step as suit its speed (`WorkShares`), or stands by where there are more workers than processors; what a member
/// is late with, another one that has nothing to do takes over, and the first result counts. With `bsp:backup=b` each member keeps its own shards: late ones are dropped.
package struct WorkScheduler {
  /// After this many rejected pushes a worker gets no more work. One may be a flipped bit: the worker is asked for the
  /// same item again. The count belongs to the incarnation and never falls.
  package static let maximumRejectedPushes = 3

  /// An item that a member holds.
  package struct Outstanding {
    package let item: WorkItem
    /// Whether it was another member's when it was handed out.
    let isTakenOver: Bool
    /// Other members may take it over from then on.
    let patience: Instant
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
    /// `bsp`: its part of the open step.
    var share = ShardSet()
    var speed = WorkerSpeed()
    /// Whether it is on the server's host, as its last push has shown.
    fileprivate(set) var sharesMemory = false
    package internal(set) var outstanding: Outstanding?
    fileprivate(set) var rejectedPushes = 0
    /// From handing out an item to the arrival of its push, since the worker became a member.
    fileprivate(set) var answerTimes = LatencyHistogram()
    /// Steps whose last push was its own.
    fileprivate(set) var timesLast: UInt64 = 0
    /// For how long steps have waited for this worker alone.
    fileprivate(set) var awaited = Interval.seconds(0)
    fileprivate(set) var since: Instant
    var isTrusted: Bool { rejectedPushes < WorkScheduler.maximumRejectedPushes }
    /// Whether it can be given work.
    var isPresent: Bool { outstanding == nil && isTrusted }
  }

  let plan: TrainingPlan
  /// Of the server's host, and so of all members that share memory with it.
  let processors: Int
  /// The membership epoch in effect.
  package private(set) var epoch = MembershipEpoch(0)
  package internal(set) var members: [Member] = []
  private var memberIndex: [Incarnation: Int] = [:]
  /// An assignment that takes effect when the open step is complete.
  private var pending: (epoch: MembershipEpoch, assignment: Message.Assignment)?
  private(set) var newestAssignment = MembershipEpoch(0)
  package internal(set) var newestItem: WorkItem.ID

  /// Steps that were applied in whole.
  package private(set) var step: UInt64
  /// Steps applied for each shard; under `bsp` all equal `step`.
  package private(set) var shardClocks: [UInt64]
  /// The lowest of them.
  private(set) var slowestClock: UInt64
  private var appliedShards: UInt64
  /// The open step of `bsp`: the shards that are in, and their statistics.
  package private(set) var received = ShardSet()
  private var openStatistics = MinibatchStatistics.zero
  /// Shards of the open step of `bsp` that are in, or that a member holds an item of that may still count.
  var handedOut = ShardSet()
  /// Whether the members have their shares of the open step.
  var isDivided = false
  /// When the first of the items that are held may be taken over; no later than that. Nil where none is held.
  var firstPatience: Instant?
  /// Whether a member was found without work.
  var hasIdleMember = false
  /// Whether two members may hold a shard, or with `ssp` and `asp` one may hold a shard that is not its own. Otherwise these
  /// models do not keep `handedOut`.
  var hasTakeOvers = false
  /// Of the gradients of the open step of `bsp`; of the newest items of the other models.
  package private(set) var scale: FixedPointScale
  /// Gradients that were computed again at another scale, in steps of `bsp` or in items.
  package private(set) var corrections: UInt64 = 0

  package internal(set) var totals: RunTotals
  /// Since the last multiple of the evaluation interval.
  private(set) var interval = MinibatchStatistics.zero
  private(set) var newestLoss = Double.nan
  /// The step of which a worker has reported that losses are not finite, and the first one that did.
  private var divergence = (step: UInt64.max, reporter: Incarnation(0))
  /// The push of the open step of `bsp` that arrived last, and when the one before it did.
  private var newestArrival: (worker: Incarnation, issued: Instant, time: Instant, before: Instant?)?
  /// The worker whose push was the last one of the newest step.
  private(set) var newestCompletion = Incarnation(0)

  /// - Parameters:
  ///   - start: fits the plan.
  ///   - lastItem: the ID before the first one.
  ///   - processors: of the server's host.
  init(plan: TrainingPlan, start: TrainingSnapshot, lastItem: WorkItem.ID, processors: Int) {
    self.plan = plan
    self.processors = max(processors, 1)
    (shardClocks, totals, scale) = (start.shardClocks, start.totals, start.scale ?? plan.firstScale)
    newestItem = lastItem
    slowestClock = shardClocks.min() ?? 0
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
    return members.contains { member in
      if staying.contains(member.incarnation) { return false }
      if let item = member.outstanding?.item, isOpen(item) { return true }
      let share = plan.consistency.backupShards == 0 ? member.share : member.shards
      return !share.isSubset(of: handedOut)
    }
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
    beginHandingOut()
  }

  // MARK: Items

  /// A loop, because the closure of a lazy map would be allocated each time.
  func lowestClock(of shards: ShardSet) -> UInt64? {
    var lowest: UInt64?
    for shard in shards { lowest = min(lowest ?? .max, shardClocks[shard]) }
    return lowest
  }

  /// Whether the member holds an item that may still count. One of a step that is over is taken from it.
  mutating func holdsOpenItem(_ index: Int) -> Bool {
    guard let outstanding = members[index].outstanding else { return false }
    if isOpen(outstanding.item) { return true }
    members[index].outstanding = nil
    return false
  }

  /// Whether an item may still count: no push that counts has had one of its shards, and with `bsp` its step is not being
  /// computed again at another scale.
  func isOpen(_ item: WorkItem) -> Bool {
    guard plan.consistency.appliesWholeSteps else {
      for shard in item.shards where shardClocks[shard] != item.step { return false }
      return true
    }
    guard item.scale == scale else { return false }  // defence: old-scale
    return item.step >= step && item.shards.isDisjoint(with: received)
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

  /// Whether a report of a worker, that losses are not finite, is believed where the weights do not rule it out. The bounds of
  /// a network are wide, so that a second worker has to report it of the same step, if there is one.
  mutating func believesDivergence(reportedBy index: Int) -> Bool {
    guard !plan.shape.isLinear, plan.consistency.appliesWholeSteps else { return true }
    let worker = members[index].incarnation
    let hasOthers = members.contains { $0.incarnation != worker && $0.isTrusted && !$0.shards.isEmpty }
    if !hasOthers || divergence.step == step && divergence.reporter != worker { return true }
    divergence = (step, worker)
    return false
  }

  /// The item that its push answered is handed out again.
  mutating func recordRejection(of index: Int) {
    members[index].rejectedPushes += 1
    recountHandedOut()
  }

  /// What is to be done with the gradient of a push.
  enum Effect: Equatable {
    /// Nothing: its step was complete without it, or had one of its shards from another member.
    case late
    /// `bsp`: it is part of the open step's sum.
    case added
    /// `bsp`: it completes the sum of the open step, over so many examples.
    case completed(examples: Int)
    /// `ssp`, `asp`: it is applied at once.
    case appliedAtOnce
    /// Nothing: it, or with `bsp` the sum that it completes, does not count. The work is handed out again at another scale.
    case corrected
  }

  /// Counts a valid push; `step` rises if that completes a step.
  /// - Parameter written: when the worker wrote it into memory that it shares with the server; nil if it came through a
  ///   socket. A server that shares a processor with a worker sees the pushes of all workers only when that worker has
  ///   finished, so by `now` all of them would be equally fast.
  mutating func count(
    _ outstanding: Outstanding, _ statistics: MinibatchStatistics, from index: Int, written: Instant?, at now: Instant
  ) -> Effect {
    let shards = outstanding.item.shards
    // A time before the item was handed out, or in the future, is wrong: the push then arrives now.
    let arrival = if let written, outstanding.issued <= written, written <= now { written } else { now }
    let elapsed = arrival.since(outstanding.issued)
    members[index].answerTimes.record(nanoseconds: elapsed.nanoseconds)
    members[index].sharesMemory = written != nil
    members[index].speed.record(
      arrivedAfter: elapsed, seenAfter: now.since(outstanding.issued), shards: shards.count)
    guard isOpen(outstanding.item) else {  // defence: late-results
      totals.lateShards += UInt64(shards.count)
      recountHandedOut()
      return .late
    }
    guard plan.consistency.appliesWholeSteps else {
      if let corrected = plan.correction(of: outstanding.item.scale, for: statistics.peaks) {
        return correct(to: corrected, at: now)
      }
      scale = plan.scale(after: outstanding.item.scale, statistics.peaks)
      totals.recordStaleness(outstanding.staleness)
      account(for: statistics)
      for shard in shards { shardClocks[shard] += 1 }
      if outstanding.item.step == slowestClock { slowestClock = shardClocks.min() ?? slowestClock }
      appliedShards += UInt64(shards.count)
      step = appliedShards / UInt64(plan.shardCount)
      if hasTakeOvers { recountHandedOut() }
      return .appliedAtOnce
    }
    totals.recordStaleness(outstanding.staleness)
    received = received.union(shards)
    openStatistics += statistics
    noteArrival(of: outstanding, from: members[index].incarnation, at: arrival)
    if hasTakeOvers { recountHandedOut() }
    guard received.count >= plan.shardCount - plan.consistency.backupShards else { return .added }
    if let corrected = plan.correction(of: scale, for: openStatistics.peaks) {
      return correct(to: corrected, at: now)
    }
    countWaiting()
    let examples = openStatistics.examples
    account(for: openStatistics)
    appliedShards += UInt64(plan.shardCount)
    for shard in shardClocks.indices { shardClocks[shard] += 1 }
    slowestClock += 1
    step += 1
    scale = plan.scale(after: scale, openStatistics.peaks)
    received = ShardSet()
    openStatistics = .zero
    beginHandingOut()
    adoptPending(at: now)
    return .completed(examples: examples)
  }

  private mutating func noteArrival(of outstanding: Outstanding, from worker: Incarnation, at time: Instant) {
    if let newest = newestArrival, time < newest.time {
      newestArrival?.before = max(newest.before ?? time, time)
    } else {
      newestArrival = (worker, outstanding.issued, time, newestArrival?.time)
    }
  }

  /// The step is complete: the others have waited for the worker whose push arrived last.
  private mutating func countWaiting() {
    guard let (worker, issued, time, before) = newestArrival else { return }
    newestArrival = nil
    newestCompletion = worker
    guard let index = index(of: worker) else { return }
    members[index].timesLast += 1
    // Of work that another worker held before, no more than the time since this one has it.
    if let before { members[index].awaited = members[index].awaited + time.since(max(before, issued)) }
  }

  /// The decision is taken on all shards of a step, and so is the same for any number of workers.
  private mutating func correct(to corrected: FixedPointScale, at now: Instant) -> Effect {
    corrections += 1
    scale = corrected
    received = ShardSet()
    openStatistics = .zero
    newestArrival = nil
    // Without whole steps the other items still count.
    if plan.consistency.appliesWholeSteps { beginHandingOut() } else { recountHandedOut() }
    // Shards that were in may be those of a worker that has left.
    adoptPending(at: now)
    return .corrected
  }

  private mutating func account(for statistics: MinibatchStatistics) {
    totals.examples += UInt64(statistics.examples)
    interval += statistics
    newestLoss = statistics.meanLoss
  }

  /// The next interval of the training loss begins.
  mutating func beginInterval() { interval = .zero }
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
  var backupShards: Int {
    if case .bsp(let backup) = self { backup } else { 0 }
  }

  /// Whether work may start that is this many clocks ahead of the slowest shard.
  func mayStart(aheadBy clocks: UInt64) -> Bool {
    switch self {
    case .bsp: clocks == 0
    case .ssp(let bound): clocks <= UInt64(bound)
    case .asp: true
    }
  }
}
