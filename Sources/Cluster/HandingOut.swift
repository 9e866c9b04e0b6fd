import Messaging
import Optimization

/// Which member computes which shards next.
extension WorkScheduler {
  /// What a member may start on.
  struct NextItem {
    let item: WorkItem
    /// How many clocks the item's step is ahead of the slowest shard.
    let staleness: UInt64
    /// Whether another member holds the shards as well.
    let isTakenOver: Bool
  }

  /// What a trusted member that holds no item may start on. With `bsp`: its share of the open step, then whatever is not
  /// handed out, then what another member is late with. With the other models: those of its shards that are furthest
  /// behind, if the model lets them be that far ahead of the slowest shard of all, then what another member is late with,
  /// then shards of members that compute others.
  mutating func nextItem(for index: Int, at now: Instant) -> NextItem? {
    guard members[index].isPresent else { return nil }
    let next = plan.consistency.appliesWholeSteps ? nextOfOpenStep(for: index) : nextOfOwn(for: index)
    if let next { return next }
    // defence: take-over
    if let takeOver = firstPatience, now >= takeOver, plan.consistency.backupShards == 0, let late = lateItem(at: now) {
      return late
    }
    if !plan.consistency.appliesWholeSteps, let next = nextOfBusy() { return next }
    hasIdleMember = true
    return nil
  }

  private mutating func nextOfOpenStep(for index: Int) -> NextItem? {
    guard !isComplete else { return nil }
    guard plan.consistency.backupShards == 0 else {
      let missing = members[index].shards.subtracting(received)
      return missing.isEmpty ? nil : next(missing, clock: step, slowest: step)
    }
    divideOpenStep()
    var shards = members[index].share.subtracting(handedOut)
    if shards.isEmpty { shards = ShardSet(range: 0..<plan.shardCount).subtracting(handedOut) }
    return shards.isEmpty ? nil : next(shards, clock: step, slowest: step)
  }

  /// `bsp`: gives each member its share of the open step, unless they have it.
  private mutating func divideOpenStep() {
    guard !isDivided, !isComplete else { return }
    isDivided = true
    WorkShares.divide(&members, all: plan.shardCount, processors: processors, step: step)
  }

  /// `bsp`: whether the member has shards of the open step that are not handed out. What is left when all such members have
  /// theirs is for the others.
  mutating func hasOwnShards(_ index: Int) -> Bool {
    guard plan.consistency.backupShards == 0 else { return true }
    divideOpenStep()
    return !members[index].share.isSubset(of: handedOut)
  }

  private func nextOfOwn(for index: Int) -> NextItem? {
    var shards = members[index].shards
    // Only then does it hold the shards of the open items and no others.
    if hasTakeOvers { shards = shards.subtracting(handedOut) }
    guard let (chosen, clock) = furthestBehind(of: shards) else { return nil }
    let part = chosen.part(among: 1 + helpers(of: index, at: clock))
    return next(part, clock: clock, slowest: slowestClock)
  }

  /// Members that are at least a clock ahead and will soon have no shard of their own that they may start on: they share what
  /// the member is given. So a slow worker holds up the others of `ssp` less, and those of `asp` help it when they are done.
  private func helpers(of index: Int, at clock: UInt64) -> Int {
    // Otherwise all have had work of their own until now.
    guard hasIdleMember || hasTakeOvers else { return 0 }
    var count = 0
    for other in members.indices where other != index && members[other].isTrusted {
      let held = members[other].outstanding?.item.shards ?? members[other].shards
      var lowest: UInt64?
      for shard in members[other].shards {
        lowest = min(lowest ?? .max, shardClocks[shard] + (held.contains(shard) ? 1 : 0))
      }
      guard let lowest else {
        count += 1
        continue
      }
      let isReady = lowest < plan.totalSteps && plan.consistency.mayStart(aheadBy: lowest - slowestClock)
      if !isReady, lowest >= clock + 2 { count += 1 }
    }
    return count
  }

  /// Shards that no member holds, of members that are busy: with others of their shards, or with an item that no longer counts,
  /// as others have computed it while its holder was late. A worker that is stopped for long would hold up `ssp` otherwise.
  private func nextOfBusy() -> NextItem? {
    var (shards, held) = (ShardSet(), ShardSet())
    for member in members {
      if !member.isPresent { shards = shards.union(member.shards) }
      if let item = member.outstanding?.item, isOpen(item) { held = held.union(item.shards) }
    }
    guard let (chosen, clock) = furthestBehind(of: shards.subtracting(held)) else { return nil }
    return next(chosen.part(among: presentCount), clock: clock, slowest: slowestClock)
  }

  /// Members that are without work when they ask for that of others: they share it.
  private var presentCount: Int { members.count { $0.isPresent } }

  /// The shards with the lowest clock; nil if they may not start.
  private func furthestBehind(of shards: ShardSet) -> (ShardSet, clock: UInt64)? {
    guard let clock = lowestClock(of: shards), clock < plan.totalSteps,
      plan.consistency.mayStart(aheadBy: clock - slowestClock)
    else { return nil }
    var chosen = ShardSet()
    for shard in shards where shardClocks[shard] == clock { chosen.insert(shard) }
    return (chosen, clock)
  }

  private func next(_ shards: ShardSet, clock: UInt64, slowest: UInt64, isTakenOver: Bool = false) -> NextItem {
    NextItem(
      item: WorkItem(id: newestItem.next, step: clock, shards: shards, scale: scale), staleness: clock - slowest,
      isTakenOver: isTakenOver)
  }

  /// Shards of the member that is late for longest and that no member holds which is not late; the idle members share them.
  private mutating func lateItem(at now: Instant) -> NextItem? {
    var (inTime, next) = (ShardSet(), Instant?.none)
    for member in members {
      guard let outstanding = member.outstanding, outstanding.patience > now, isOpen(outstanding.item) else { continue }
      inTime = inTime.union(outstanding.item.shards)
      next = min(next ?? outstanding.patience, outstanding.patience)
    }
    var latest: (item: WorkItem, patience: Instant, shards: ShardSet)?
    for member in members {
      guard let outstanding = member.outstanding, outstanding.patience <= now, isOpen(outstanding.item) else {
        continue
      }
      let shards = outstanding.item.shards.subtracting(inTime)
      if shards.isEmpty { continue }
      // Others may be late as well.
      next = now
      if outstanding.patience < latest?.patience ?? now + .seconds(1) {
        latest = (outstanding.item, outstanding.patience, shards)
      }
    }
    firstPatience = next
    guard let (item, _, shards) = latest else { return nil }
    return self.next(shards.part(among: presentCount), clock: item.step, slowest: slowestClock, isTakenOver: true)
  }

  /// Whether every shard of the open step of `bsp` is in or held by a member.
  var hasHandedOutAll: Bool { plan.consistency == .bsp(backup: 0) && handedOut.count == plan.shardCount }

  /// What decides which members may start.
  typealias Position = (step: UInt64, slowest: UInt64, hasTakeOvers: Bool)
  var position: Position { (step, slowestClock, hasTakeOvers) }

  /// Whether a push that was counted since lets other members start than the one that sent it.
  func mayOthersStart(since before: Position, at now: Instant) -> Bool {
    if before.hasTakeOvers { return true }
    if plan.consistency.appliesWholeSteps { return step > before.step }
    return hasIdleMember || slowestClock > before.slowest || firstPatience.map { now >= $0 } ?? false
  }

  /// When a member without work may take over what another is late with.
  var takeOver: Instant? { hasIdleMember && plan.consistency.backupShards == 0 ? firstPatience : nil }

  /// Every member has work, or those without are looked for again.
  mutating func forgetIdleMembers() { hasIdleMember = false }

  /// Hands out what `nextItem` returned.
  mutating func issue(_ next: NextItem, to index: Int, at now: Instant, parameters: Payload) {
    newestItem = next.item.id
    let patience = now + members[index].speed.patience(shards: next.item.shards.count)
    members[index].outstanding = Outstanding(
      item: next.item, isTakenOver: next.isTakenOver, patience: patience, staleness: next.staleness, issued: now,
      parameters: parameters)
    firstPatience = min(firstPatience ?? patience, patience)
    handedOut = handedOut.union(next.item.shards)
    if next.isTakenOver { totals.takenOverShards += UInt64(next.item.shards.count) }
    guard concernsOthers(next.item, next.isTakenOver, of: members[index]) else { return }
    if !plan.consistency.appliesWholeSteps, !hasTakeOvers { recountHandedOut() }
    hasTakeOvers = true
  }

  /// Whether another member may compute shards of the item as well, or would be given them next: `handedOut` says which.
  private func concernsOthers(_ item: WorkItem, _ isTakenOver: Bool, of member: Member) -> Bool {
    isTakenOver || !plan.consistency.appliesWholeSteps && !item.shards.isSubset(of: member.shards)
  }

  /// No shard of the open step is handed out any more.
  mutating func beginHandingOut() {
    handedOut = received
    (isDivided, hasIdleMember, hasTakeOvers, firstPatience) = (false, false, false, nil)
  }

  /// Some items may no longer count: shards that no other member holds are to be handed out again.
  mutating func recountHandedOut() {
    (handedOut, hasTakeOvers) = (received, false)
    for member in members {
      guard let outstanding = member.outstanding, isOpen(outstanding.item) else { continue }
      handedOut = handedOut.union(outstanding.item.shards)
      if concernsOthers(outstanding.item, outstanding.isTakenOver, of: member) { hasTakeOvers = true }
    }
  }
}

extension ShardSet {
  /// The first of so many equal parts.
  fileprivate func part(among count: Int) -> ShardSet {
    guard count > 1 else { return self }
    var (chosen, rest) = (ShardSet(), (self.count + count - 1) / count)
    for shard in self where rest > 0 {
      chosen.insert(shard)
      rest -= 1
    }
    return chosen
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
