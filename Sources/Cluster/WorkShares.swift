import Messaging
import Optimization

/// How long a worker takes for a shard, from handing it out to receiving the gradient.
struct WorkerSpeed: Equatable {
  /// An answer that takes so many times the usual is late. With 1.25 for workers that had been late in their last 16
  /// answers, 1.6 to 3.2 % of the shards of four undisturbed workers on two cores were computed twice instead of 0.3 to
  /// 0.8 %.
  fileprivate static let lateness = 2.0

  /// Nil before the first answer.
  private(set) var shardSeconds: Double?
  /// How often it was late: one more with each late answer, a sixteenth less with each other one.
  private var lateAnswers = 0.0

  /// Whether it was late in its last answers. Half a processor taken away in turns of 10 ms keeps this true; one late answer
  /// among undisturbed ones, of which there is one in some hundred, does so for ten more.
  var isUnsteady: Bool { lateAnswers > 0.5 }

  /// An answer counts for an eighth, and a late one as if it had just been in time: a worker that was stopped once is not
  /// slow, and one that has become slow is known to be so after some answers.
  mutating func record(_ elapsed: Interval, shards: Int) {
    lateAnswers = lateAnswers * 15 / 16 + (shardSeconds != nil && elapsed > patience(shards: shards) ? 1 : 0)
    let newest = elapsed.seconds / Double(max(shards, 1))
    guard let usual = shardSeconds else {
      shardSeconds = newest
      return
    }
    shardSeconds = usual + (min(newest, Self.lateness * usual) - usual) / 8
  }

  /// How long an answer may take before other members take over its shards; half a millisecond longer than usual at least,
  /// for what a processor does beside. Without an answer so far, a second.
  func patience(shards: Int) -> Interval {
    guard let shardSeconds else { return .seconds(1) }
    let usual = shardSeconds * Double(shards)
    return .seconds(max(Self.lateness * usual, usual + 500e-6))
  }
}

/// Divides the shards of a step among the members that are there, according to their speeds.
///
/// Each begins with its own shards of the assignment, so that members of about the same speed keep them. Shards of members
/// that are absent are given away first. Then one shard at a time goes from the member that would be ready last to the one
/// that would be ready first, as long as that makes the step shorter by a fourteenth.
enum WorkShares {
  /// What a step must become, of what it was, for a shard to move.
  private static let leastGain = 0.93
  /// A member gives its last shard away if that alone takes longer than the step; but not in each step with this divisor,
  /// in which its speed is looked at again.
  private static let lookAgain: UInt64 = 64

  /// How many shards a worker that is often late is given at a time, a quarter of an equal share: it holds fewer when it
  /// stands still, and those that are ready take the rest without waiting for it (Polychronopoulos and Kuck 1987, "Guided
  /// self-scheduling").
  static func part(of shardCount: Int, among members: Int) -> Int { max(1, shardCount / (4 * max(members, 1))) }

  /// Whether a slow worker is given a shard only for its speed to be looked at again, which takes more than twice as long as
  /// the step takes all others. They do not wait for it then.
  static func isLook(_ member: Member, among members: [Member], step: UInt64) -> Bool {
    guard step % lookAgain == 0, member.share.count == 1, let own = member.speed.shardSeconds else { return false }
    for other in members where other.incarnation != member.incarnation {
      if seconds(other, own) * WorkerSpeed.lateness >= own { return false }
    }
    return members.count > 1
  }

  typealias Member = WorkScheduler.Member

  /// Sets the shares of all members; those of members that hold an item, or are not trusted, become empty.
  static func divide(_ members: inout [Member], all shardCount: Int, step: UInt64) {
    var rest = ShardSet(range: 0..<shardCount)
    var (known, sum) = (0, 0.0)
    for index in members.indices {
      members[index].share = members[index].isPresent ? members[index].shards : ShardSet()
      guard members[index].isPresent else { continue }
      rest = rest.subtracting(members[index].shards)
      if let seconds = members[index].speed.shardSeconds { (known, sum) = (known + 1, sum + seconds) }
    }
    // A newcomer is as fast as the others.
    let usual = known > 0 ? sum / Double(known) : 1
    for shard in rest {
      guard let first = readiest(members, usual) else { return }
      members[first].share.insert(shard)
    }
    for _ in 0..<shardCount where !moveShard(in: &members, usual, keepsLast: step % lookAgain == 0) { return }
  }

  private static func seconds(_ member: Member, more: Int = 0, _ usual: Double) -> Double {
    Double(member.share.count + more) * max(member.speed.shardSeconds ?? usual, 1e-9)
  }

  /// The member that would be ready first with one shard more.
  private static func readiest(_ members: [Member], _ usual: Double) -> Int? {
    var (best, least) = (Int?.none, Double.infinity)
    for index in members.indices where members[index].isPresent {
      let seconds = seconds(members[index], more: 1, usual)
      if seconds < least { (best, least) = (index, seconds) }
    }
    return best
  }

  /// Whether one has moved.
  private static func moveShard(in members: inout [Member], _ usual: Double, keepsLast: Bool) -> Bool {
    guard let first = readiest(members, usual) else { return false }
    var (last, most) = (first, 0.0)
    for index in members.indices where members[index].isPresent {
      let seconds = seconds(members[index], usual)
      if seconds > most { (last, most) = (index, seconds) }
    }
    guard first != last, members[last].share.count > (keepsLast ? 1 : 0),
      seconds(members[first], more: 1, usual) < leastGain * most
    else { return false }
    var shard = 0
    for candidate in members[last].share { shard = candidate }
    members[last].share.remove(shard)
    members[first].share.insert(shard)
    return true
  }
}
