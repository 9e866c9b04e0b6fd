import Messaging
import Optimization

/// How long a worker takes for a shard, from handing it out to its gradient.
struct WorkerSpeed: Equatable {
  /// An answer that takes so many times the usual is late. With 1.25 for workers that had been late in their last 16
  /// answers, 1.6 to 3.2 % of the shards of four undisturbed workers on two cores were computed twice instead of 0.3 to
  /// 0.8 %.
  private static let lateness = 2.0

  /// Until the gradient arrives; nil before the first one.
  private(set) var shardSeconds: Double?
  /// Until the server sees it, which decides how long it waits. Where workers share a processor, the order in which the
  /// system schedules them decides when a gradient arrives, while the server sees all gradients of a step at about the same
  /// time. With the patience of `shardSeconds`, eight undisturbed workers on two cores computed 4 % of their shards twice,
  /// instead of 0.1 to 0.4 %.
  private var seenSeconds: Double?
  /// How many answers have been in time since the last late one.
  private var inTime = Self.rarely
  private static let rarely = 8

  /// A late answer counts if one of the eight before it was late as well. A worker that was stopped for a moment is not slow:
  /// with its answer counted, two workers had 7 and 9 of 16 shards for seven steps, which took 580 µs instead of 500.
  mutating func record(arrivedAfter arrived: Interval, seenAfter seen: Interval, shards: Int) {
    let isLate = seenSeconds != nil && seen >= patience(shards: shards)
    defer { inTime = isLate ? 0 : min(inTime + 1, Self.rarely) }
    if isLate, inTime >= Self.rarely { return }
    let count = Double(max(shards, 1))
    Self.average(&shardSeconds, arrived.seconds / count)
    Self.average(&seenSeconds, seen.seconds / count)
  }

  /// Forgets the time of a worker that stands by: it may have shared a processor then, as all workers do in the first step. The
  /// server's patience stays.
  mutating func forget() { shardSeconds = nil }

  /// An answer counts for an eighth, and a late one as if it had just been in time: a worker that has become slow is known to be
  /// so after some answers.
  private static func average(_ usual: inout Double?, _ newest: Double) {
    let before = usual ?? newest
    usual = before + (min(newest, lateness * before) - before) / 8
  }

  /// How long an answer may take before other members take over its shards; half a millisecond longer than usual at least,
  /// for what a processor does beside. Without an answer so far, a second.
  func patience(shards: Int) -> Interval {
    guard let seenSeconds else { return .seconds(1) }
    let usual = seenSeconds * Double(shards)
    return .seconds(max(Self.lateness * usual, usual + 500e-6))
  }
}

/// Divides the shards of a step among the members that are there, according to their speeds.
///
/// Of the members on the server's host, no more get shares than the host has processors. Each further one would cost a push,
/// wake-ups and changes from one process to another without computing anything sooner: two of eight workers on two processors
/// reached 1.6 times the images/s of all eight, with 512 examples a step.
///
/// Each begins with its own shards of the assignment, so that members of about the same speed keep them. Shards of members
/// that are absent or stand by are given away first. Then one shard at a time goes from the member that would be ready last to
/// the one that would be ready first, as long as that makes the step shorter by a fourteenth.
enum WorkShares {
  /// What a step must become, of what it was, for a shard to move.
  private static let leastGain = 0.93
  /// A member gives its last shard away if that alone takes longer than the step; but not in each step with this divisor,
  /// in which its speed is looked at again.
  private static let lookAgain: UInt64 = 64

  /// A member that can be given work, and how much of it it has.
  private struct Candidate {
    let index: Int
    let shardSeconds: Double
    /// Shards of its share.
    var count: Int

    func seconds(more: Int = 0) -> Double { Double(count + more) * shardSeconds }
  }

  /// Sets the shares of all members; those of members that hold an item, are not trusted or stand by become empty.
  ///
  /// - Parameter processors: of the server's host. That many of the members on it get shares, in the order of the members;
  ///   the others stand by, until one of these is late.
  static func divide(
    _ members: inout [WorkScheduler.Member], all shardCount: Int, processors: Int, step: UInt64
  ) {
    withUnsafeTemporaryAllocation(of: Candidate.self, capacity: members.count) { buffer in
      var candidates = UnsafeMutableBufferPointer(rebasing: buffer[..<0])
      var rest = ShardSet(range: 0..<shardCount)
      let usual = usualSeconds(members)
      var freeProcessors = processors
      for index in members.indices {
        let isCandidate = members[index].isPresent && (!members[index].sharesMemory || freeProcessors > 0)
        members[index].share = isCandidate ? members[index].shards : ShardSet()
        guard isCandidate else {
          if members[index].isPresent { members[index].speed.forget() }
          continue
        }
        if members[index].sharesMemory { freeProcessors -= 1 }
        rest = rest.subtracting(members[index].shards)
        let seconds = max(members[index].speed.shardSeconds ?? usual, 1e-9)
        let candidate = Candidate(index: index, shardSeconds: seconds, count: members[index].shards.count)
        buffer.initializeElement(at: candidates.count, to: candidate)
        candidates = UnsafeMutableBufferPointer(rebasing: buffer[...candidates.count])
      }
      guard !candidates.isEmpty else { return }
      for shard in rest {
        let first = readiest(candidates)
        members[candidates[first].index].share.insert(shard)
        candidates[first].count += 1
      }
      for _ in 0..<shardCount {
        guard let (last, first) = move(among: candidates, keepsLast: step % lookAgain == 0) else { return }
        candidates[last].count -= 1
        candidates[first].count += 1
        guard let shard = members[candidates[last].index].share.last else { return }
        members[candidates[last].index].share.remove(shard)
        members[candidates[first].index].share.insert(shard)
      }
    }
  }

  /// Of the members that are known: a newcomer is as fast as the others.
  private static func usualSeconds(_ members: [WorkScheduler.Member]) -> Double {
    var (known, sum) = (0, 0.0)
    for index in members.indices where members[index].isPresent {
      if let seconds = members[index].speed.shardSeconds { (known, sum) = (known + 1, sum + seconds) }
    }
    return known > 0 ? sum / Double(known) : 1
  }

  /// The one that would be ready first with one shard more.
  private static func readiest(_ candidates: UnsafeMutableBufferPointer<Candidate>) -> Int {
    var (best, least) = (0, Double.infinity)
    for index in candidates.indices {
      let seconds = candidates[index].seconds(more: 1)
      if seconds < least { (best, least) = (index, seconds) }
    }
    return best
  }

  /// From which one to which one a shard is to move; nil when that would not make the step shorter.
  private static func move(
    among candidates: UnsafeMutableBufferPointer<Candidate>, keepsLast: Bool
  ) -> (from: Int, to: Int)? {
    let first = readiest(candidates)
    var (last, most) = (first, 0.0)
    for index in candidates.indices {
      let seconds = candidates[index].seconds()
      if seconds > most { (last, most) = (index, seconds) }
    }
    guard first != last, candidates[last].count > (keepsLast ? 1 : 0),
      candidates[first].seconds(more: 1) < leastGain * most
    else { return nil }
    return (last, first)
  }
}
