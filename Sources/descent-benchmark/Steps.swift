import CKernels
import Diagnostics
import Dispatch
import Files
import Glibc
import Optimization
import Reporting
import Synchronization

/// Whole steps of two workers with 256 examples each, as a share of what two cores multiply and add in that time. The peak
/// is measured before and after each run, and so is how long a cache line takes to the other core and back: cores
/// of a virtual machine move, and two that share no cache take several times as long to exchange gradients and weights.
///
/// Beside each run, the same gradients without a server: what whole steps could reach if nothing were exchanged.
func measureSteps(_ rig: Rig, _ report: inout Report) throws {
  guard Processors.count > 1 else {
    report.notes.append("Not measured: this process may use one core only.")
    return
  }
  let run = TrainingRun(
    flags: "--batch-size 512 --epochs 100000 --max-steps \(rig.isQuick ? 2000 : 4000) --evaluate-every 0 "
      + "--checkpoint-every 0")
  // Multiplications and additions of an example: one with each weight for its scores, one for the gradient.
  let operations = 4 * Double(DESCENT_WEIGHTS)
  var rounds: [(rate: Double, stepSeconds: Double, peak: Double, roundTrip: Double, share: Double, alone: Double)] = []
  var digests: Set<String> = []
  let count = rig.isQuick ? 6 : 24
  for round in 1...count {
    say("steps: round \(round) of \(count)")
    let before = TwoCores(rig.kernel)
    let outcome = try run.run(rig)
    let after = TwoCores(rig.kernel)
    let alone = secondsOfGradientsAlone(rig)
    digests.insert(outcome.result.weightsSHA256)
    guard digests.count == 1 else {
      throw Failure(.internalError, "runs of the same steps have different weights", found: "\(digests.sorted())")
    }
    let peak = (before.peak + after.peak) / 2
    rounds.append(
      (
        outcome.imagesPerSecond, outcome.result.stepSeconds.p50 ?? .nan, peak, max(before.roundTrip, after.roundTrip),
        outcome.imagesPerSecond * operations / peak, 512 * operations / alone / peak
      ))
  }
  report.table(
    "Two workers, 256 examples each",
    rounds.map {
      [
        Cell("images/s", $0.rate), Cell("step p50 µs", $0.stepSeconds, scale: 1e6),
        Cell("peak GFLOP/s", $0.peak, scale: 1e-9), Cell("line and back ns", $0.roundTrip, scale: 1e9),
        Cell("of peak %", $0.share, scale: 100, places: 1),
        Cell("gradients alone %", $0.alone, scale: 100, places: 1),
      ]
    })
  let shares = rounds.map(\.share)
  report.target(
    "1 whole steps, 256 a worker", "at least 62 % of the peak of two cores",
    reached: shares.text(scale: 100, places: 1) + " %", isMet: shares.median >= 0.62)
  report.notes.append(
    "Two threads that compute the same gradients and wait for each other after each, without a server: "
      + "\(rounds.map(\.alone).text(scale: 100, places: 1)) % of the peak.")
  let near = 2 * (rounds.map(\.roundTrip).min() ?? 0)
  let undisturbed = rounds.filter { $0.roundTrip <= near }.map(\.share)
  report.notes.append(
    "In \(undisturbed.count) of \(count) rounds a line took at most \(Display.decimal(near * 1e9, places: 0)) ns, before "
      + "and after the run: \(undisturbed.text(scale: 100, places: 1)) % of the peak.")
}

/// Seconds for the gradients of a step, of which two threads compute a half each and then wait for each other.
private func secondsOfGradientsAlone(_ rig: Rig) -> Double {
  let (warmUp, steps) = (UInt64(100), UInt64(1_000))
  let plan = TrainingPlan(
    exampleCount: rig.dataset.count, batchSize: 512, shardCount: 16, totalSteps: warmUp + steps)
  let (examples, mean, kernel) = (rig.dataset.examples, rig.mean, rig.kernel)
  return Meeting().run { meeting, isFirst in
    let backend = KernelBackend(plan: plan, examples: examples, meanImage: mean, kernel: kernel)
    let shards = ShardSet(range: isFirst ? 0..<8 : 8..<16)
    let weights = [Float](repeating: 0, count: plan.shape.parameterCount)
    var sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
    var began = 0.0
    for step in 0..<plan.totalSteps {
      if step == warmUp { began = monotonicSeconds() }
      _ = backend.gradient(parameters: weights, step: step, shards: shards, scale: plan.firstScale, into: &sum)
      meeting.meet { _ = backend.fetchAhead() }
    }
    return (monotonicSeconds() - began) / Double(steps)
  }[0]
}

/// What two cores do at the same time.
private struct TwoCores {
  /// Operations a second of both together, a multiply-add counting two.
  let peak: Double
  /// Seconds that a cache line takes from one core to the other and back.
  let roundTrip: Double

  init(_ kernel: KernelVariant) {
    peak = Meeting().run { _, _ in
      var sink = [Float](repeating: 0.5, count: 16)
      let began = monotonicSeconds()
      var (operations, seconds) = (0.0, 0.0)
      repeat {
        operations += Double(kernel.functions.pointee.peak(20_000, &sink))
        seconds = monotonicSeconds() - began
      } while seconds < 0.1
      return operations / seconds
    }.reduce(0, +)
    roundTrip = Meeting().run { $1 ? $0.passAndWait() : $0.passBack() }[0]
  }
}

/// Two threads that begin a task at the same moment, and a cache line that they pass to each other.
private final class Meeting: Sendable {
  private enum Position { static let first = 0, second = 1, nowhere = 2 }

  private let arrived = Atomic(0)
  private let line = Atomic(Position.first)
  private let outcome = Mutex(0.0)

  /// Runs the task on both; returns the outcome of the first one, then that of the second.
  func run(_ task: @escaping @Sendable (_ meeting: Meeting, _ isFirst: Bool) -> Double) -> [Double] {
    let ended = DispatchSemaphore(value: 0)
    DispatchQueue(label: "second core").async { [self] in
      meet()
      let result = task(self, false)
      outcome.withLock { $0 = result }
      ended.signal()
    }
    meet()
    let result = task(self, true)
    ended.wait()
    return [result, outcome.withLock { $0 }]
  }

  /// Returns when both threads have called this equally often.
  func meet(meanwhile: () -> Void = {}) {
    let both = (arrived.add(1, ordering: .acquiringAndReleasing).newValue + 1) / 2 * 2
    while arrived.load(ordering: .acquiring) < both {
      sched_yield()
      meanwhile()
    }
  }

  /// Seconds until the line is back, in the fastest of some batches.
  func passAndWait() -> Double {
    var least = Double.infinity
    let passes = 2_000
    for _ in 0..<50 {
      let began = monotonicSeconds()
      for _ in 0..<passes {
        line.store(Position.second, ordering: .releasing)
        while line.load(ordering: .acquiring) == Position.second {}
      }
      least = min(least, (monotonicSeconds() - began) / Double(passes))
    }
    line.store(Position.nowhere, ordering: .releasing)
    return least
  }

  /// The other end of it.
  func passBack() -> Double {
    while true {
      switch line.load(ordering: .acquiring) {
      case Position.second: line.store(Position.first, ordering: .releasing)
      case Position.nowhere: return 0
      default: continue
      }
    }
  }
}
