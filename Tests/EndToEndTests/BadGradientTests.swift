import Datasets
import Diagnostics
import Foundation
import Intruders
import Messaging
import NodeRuntime
import Optimization
import TestSupport
import Testing

/// Who is let in may still not push what cannot be, what was not asked for, or anything twice.
@Suite("Bad gradients", .serialized)
struct BadGradientTests {
  enum Lie: String, CaseIterable {
    case notFinite = "a loss that is not a number or infinite"
    case impossibleLoss = "a loss sum of 2^63-1"
    case short = "a gradient that is 4 bytes short"
    case long = "a gradient that is 4 bytes too long"
    case thousandfold = "a gradient a thousand times the honest one"

    func push(instead honest: Message.Push) -> Message.Push {
      var push = honest
      var elements = push.gradient.elements(of: Int32.self, count: push.gradient.count / 4)
      switch self {
      case .notFinite: push.statistics.isFinite = false
      case .impossibleLoss: push.statistics.lossSum = .max
      case .short: elements.removeLast()
      case .long: elements.append(0)
      case .thousandfold: elements = elements.map { Int32(clamping: Int64($0) * 1000) }
      }
      push.gradient = Payload(concatenating: elements)
      return push
    }
  }

  @Test
  func `a worker pushes what cannot have been computed: refused three times, then fenced, no bit changes`() throws {
    try Stage.with { stage in
      for lie in Lie.allCases {
        let worker = try stage.worker()
        var (told, ratio) = (0, Double.infinity)
        let began = Date()
        var ending: ExitReason?
        while ending == nil {
          switch try #require(worker.listen(withinMilliseconds: 20_000)) {
          case .ended(let found): ending = found
          case .work(let work, let addressing):
            let honest = stage.honest(work, addressing, worker.welcome)
            let largest = worker.welcome.plan.largestGradientNorm(shards: work.item.shards.count)
            ratio = min(ratio, largest / Stage.norm(honest.gradient))
            let push = lie.push(instead: honest)
            worker.push(push, addressing)
            told += 1
          }
        }
        let seconds = Date().timeIntervalSince(began)
        #expect(ending?.status == .fenced, "\(ending?.reason ?? "")")
        #expect(told == 3)
        let refused = try stage.pushes().refused - stage.refused
        #expect(refused == 3)
        stage.refused += refused
        try Evidence.add(
          .bytes, lie.rawValue, times: told,
          observed: "\(refused) refused, status \(ending?.status.rawValue ?? -1), same weights"
            + (lie == .thousandfold ? "; the limit is \(Int(ratio)) times the honest norm" : ""),
          recovery: [seconds])
      }
    }
  }

  @Test func `a worker pushes what was not asked for: counted, not applied, no bit changes`() throws {
    try Stage.with { stage in
      let worker = try stage.worker()
      var answered: [(push: Message.Push, addressing: Addressing)] = []
      while answered.count < 20 {
        guard case .work(let work, let addressing)? = worker.listen(withinMilliseconds: 20_000) else {
          Issue.record("no work")
          return
        }
        // Before its own turn: what it said before, under the old items and the new one.
        for old in answered.suffix(3) {
          worker.push(old.push, old.addressing)
          var renamed = old.push
          renamed.item.id = work.item.id
          worker.push(renamed, old.addressing)
        }
        let push = stage.honest(work, addressing, worker.welcome)
        var of = addressing
        of.membershipEpoch = MembershipEpoch(addressing.membershipEpoch.value - 1)
        worker.push(push, of)
        var others = push
        others.item.shards = ShardSet(range: 0..<1)
        worker.push(others, addressing)
        worker.push(push, addressing)
        worker.push(push, addressing)
        answered.append((push, addressing))
      }
      worker.leave()
      let (refused, stale) = try stage.pushes(stale: 20 * 3)
      #expect(refused == 0)
      #expect(stale >= 20 * 3)
      try Evidence.add(
        .bytes, "replayed, of an older step or epoch, of other shards", times: stale,
        observed: "\(stale) unsolicited, \(refused) rejected, same weights")
    }
  }
}

/// A run with two honest workers, for the time of a test.
private final class Stage {
  private let directory: URL
  private let training: Program.Running
  private let dataset: Dataset
  private var kernel: KernelBackend?
  /// So many pushes have been refused so far, as the test knows.
  var refused = 0
  private var incarnations: UInt64 = 0x0BAD

  private init(_ run: URL) throws {
    directory = run
    dataset = try Dataset(directory: SharedData.directory.get(), part: .training)
    training = try Training(workers: 2, FaultTests.long).start(in: run)
    _ = try RunStatus.reaching(step: 200, workers: 2, of: run)
  }

  /// Ends by comparing the weights with those of an undisturbed run.
  static func with(_ body: (Stage) throws -> Void) throws {
    try TemporaryDirectory.with { directory in
      let stage = try Stage(directory.appendingPathComponent("run"))
      try body(stage)
      let after = try RunStatus.reaching(step: 201, workers: 2, of: stage.directory)
      #expect(after.step < 6000, "the run was over before the attack was")
      let output = try stage.training.wait().expect(0)
      #expect(try TrainingResult(output).hash == FaultTests.undisturbed.get())
      #expect(processes(of: stage.directory).isEmpty)
    }
  }

  func worker() throws -> FalseWorker {
    let published = try String(contentsOf: directory.appendingPathComponent("coordinator.endpoint"), encoding: .utf8)
      .split(separator: "\n")
    incarnations += 1
    return try #require(
      FalseWorker(
        joining: RunID(name: String(published[1])), at: String(published[0]), as: Incarnation(incarnations),
        fingerprint: dataset.fingerprint, withinMilliseconds: 20_000))
  }

  /// What an honest worker would push.
  func honest(_ work: Message.Work, _ addressing: Addressing, _ welcome: Message.Welcome) -> Message.Push {
    let count = welcome.plan.shape.parameterCount
    let mean = welcome.meanImage.elements(of: Float.self, count: welcome.plan.shape.pixels)
    let kernel =
      kernel ?? KernelBackend(plan: welcome.plan, examples: dataset.examples, meanImage: mean, kernel: .best)
    self.kernel = kernel
    var sum = [Int32](repeating: 0, count: count)
    let parameters = work.parameters.elements(of: Float.self, count: count)
    let statistics = kernel.gradient(
      parameters: parameters, step: addressing.step, shards: work.item.shards, scale: work.item.scale, into: &sum)
    return Message.Push(item: work.item, statistics: statistics, gradient: Payload(concatenating: sum))
  }

  static func norm(_ gradient: Payload) -> Double {
    KernelVariant.best.norm(ofGradientSum: gradient.bytes.baseAddress.unsafelyUnwrapped, count: gradient.count / 4)
  }

  /// What the coordinator says of the pushes, once the false worker is gone.
  /// - Parameter stale: how many unsolicited pushes were sent at least: the coordinator hears of them bit by bit.
  func pushes(stale least: Int = 1) throws -> (refused: Int, stale: Int) {
    var numbers: (Int, Int)?
    try waitUntil("the coordinator knows of the pushes") {
      guard let status = try RunStatus(of: directory), status.workers.count == 2,
        let match = status.text.firstMatch(of: /pushes +(\d+) rejected, (\d+) unsolicited/),
        let refused = Int(match.1), let stale = Int(match.2), refused > self.refused || stale >= least
      else { return false }
      numbers = (refused, stale)
      return true
    }
    return try #require(numbers)
  }
}
