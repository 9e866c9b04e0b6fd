import Messaging
import Optimization

/// The worker that holds up all others under `bsp`: for a large part of the time, and for far more of it than for any other
/// worker, the steps wait for this one alone. Neither its median answer nor how often it is last would do: a worker that
/// gets a tenth of a processor stands still for a few steps and is as fast as the others in the rest.
package struct SlowWorker {
  /// Fewer answers prove nothing.
  package static let minimumAnswers: UInt64 = 100
  /// Of its time as a member.
  package static let leastShare = 0.3
  /// Times the share of any other worker.
  package static let leastFactor = 3.0

  package let pace: Message.WorkerPace
  /// Medians of the medians and 99th percentiles of the others.
  package let othersMedian: Double
  package let othersP99: Double

  /// Nil if no worker is slow.
  package init?(among paces: [Message.WorkerPace]) {
    let known = paces.filter { $0.answers >= Self.minimumAnswers }
    guard let slowest = known.max(by: { $0.shareAwaited < $1.shareAwaited }), slowest.shareAwaited >= Self.leastShare
    else { return nil }
    let others = known.filter { $0.worker != slowest.worker }
    guard let next = others.map(\.shareAwaited).max(), slowest.shareAwaited >= Self.leastFactor * next else {
      return nil
    }
    pace = slowest
    othersMedian = others.map(\.medianSeconds).sorted()[others.count / 2]
    othersP99 = others.map(\.p99Seconds).sorted()[others.count / 2]
  }
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

extension Message.WorkerPace {
  /// Of the steps in which the worker took part: those whose last push was its own.
  package var shareLast: Double { answers == 0 ? 0 : Double(timesLast) / Double(answers) }
  /// Of its time as a member: in which steps waited for this worker alone.
  package var shareAwaited: Double { memberSeconds > 0 ? min(awaitedSeconds / memberSeconds, 1) : 0 }
}

extension CoordinatorMachine {
  var slowWorker: SlowWorker? { SlowWorker(among: paces) }

  private func name(of worker: Incarnation) -> String? {
    workers.first { $0.incarnation == worker }?.join.fullName
  }

  /// "worker-2@host, waited for 71 % of the time, last in 97 % of steps, median 3.1 ms against 0.40 ms, …".
  func describe(_ slow: SlowWorker) -> String {
    let pace = slow.pace
    return "\(name(of: pace.worker) ?? "a worker"), waited for \(percent(pace.shareAwaited)) of the time, last in "
      + "\(percent(pace.shareLast)) of steps, median \(milliseconds(pace.medianSeconds)) against "
      + "\(milliseconds(slow.othersMedian)), p99 \(milliseconds(pace.p99Seconds)) against "
      + milliseconds(slow.othersP99)
  }

  /// Says so once, and again when the worker has given twice as many answers.
  mutating func noteSlowWorker() {
    let slow = slowWorker
    progress.slowWorker = slow.flatMap { name(of: $0.pace.worker) }
    guard let slow else { return }
    if let said = slowNote, said.worker == slow.pace.worker, slow.pace.answers < said.answers * 2 { return }
    slowNote = (slow.pace.worker, slow.pace.answers)
    turn.note(.warning, "slow_worker", "slow worker: \(describe(slow))")
  }
}

private func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }

/// "3.1 ms"; below a millisecond "0.42 ms".
private func milliseconds(_ seconds: Double) -> String {
  let microseconds = UInt64(max(0, min(seconds, 1e6)) * 1e6 + 0.5)
  let (whole, rest) = (microseconds / 1000, microseconds % 1000)
  return whole > 0 ? "\(whole).\(rest / 100) ms" : "0.\(rest < 100 ? "0" : "")\(rest / 10) ms"
}
