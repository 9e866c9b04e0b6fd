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
  var rounds: [(rate: Double, stepSeconds: Double, peak: Double, roundTrip: Double, share: Double)] = []
  var digests: Set<String> = []
  let count = rig.isQuick ? 6 : 24
  for round in 1...count {
    say("steps: round \(round) of \(count)")
    let before = TwoCores(rig.kernel)
    let outcome = try run.run(rig)
    let after = TwoCores(rig.kernel)
    digests.insert(outcome.result.weightsSHA256)
    guard digests.count == 1 else {
      throw Failure(.internalError, "runs of the same steps have different weights", found: "\(digests.sorted())")
    }
    let peak = (before.peak + after.peak) / 2
    rounds.append(
      (
        outcome.imagesPerSecond, outcome.result.stepSeconds.p50 ?? .nan, peak, max(before.roundTrip, after.roundTrip),
        outcome.imagesPerSecond * operations / peak
      ))
  }
  report.table(
    "Two workers, 256 examples each",
    rounds.map {
      [
        Cell("images/s", $0.rate), Cell("step p50 µs", $0.stepSeconds, scale: 1e6),
        Cell("peak GFLOP/s", $0.peak, scale: 1e-9), Cell("line and back ns", $0.roundTrip, scale: 1e9),
        Cell("of peak %", $0.share, scale: 100, places: 1),
      ]
    })
  let shares = rounds.map(\.share)
  report.target(
    "1 whole steps, 256 a worker", "at least 62 % of the peak of two cores",
    reached: shares.text(scale: 100, places: 1) + " %", isMet: shares.median >= 0.62)
  let near = 2 * (rounds.map(\.roundTrip).min() ?? 0)
  let undisturbed = rounds.filter { $0.roundTrip <= near }.map(\.share)
  report.notes.append(
    "In \(undisturbed.count) of \(count) rounds a line took at most \(Display.decimal(near * 1e9, places: 0)) ns, before "
      + "and after the run: \(undisturbed.text(scale: 100, places: 1)) % of the peak.")
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

  private func meet() {
    arrived.add(1, ordering: .acquiringAndReleasing)
    while arrived.load(ordering: .acquiring) < 2 { sched_yield() }
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
