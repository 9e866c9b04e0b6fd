import Checkpoints
import Datasets
import Diagnostics
import Optimization

/// One run of the growth table.
struct GrowthCell {
  let consistency: String
  let isSlowed: Bool
  let workers: Int
  /// Examples of one step over all workers.
  let batch: Int

  /// As many as there are at most workers, so that all runs of a batch size compute the same; as many as workers where one
  /// worker may be left out, because a push that holds more shards than may be missing is waited for.
  var shards: Int { consistency.hasPrefix("bsp:backup") ? max(workers, 2) : min(64, batch) }

  var isExact: Bool { consistency == "bsp" }

  /// Steps that take about so long, were it only roughly known how long one takes.
  func steps(lasting seconds: Double, cores: Int) -> Int {
    let estimate = 1e-6 * Double(batch) / Double(min(workers, cores)) + 6e-5 * Double(workers) + 1.5e-4
    return min(max(Int(seconds / estimate / (isSlowed ? 2 : 1)), 60), 4000)
  }

  func settings(steps: Int) -> [(name: String, value: String)] {
    [
      ("consistency", consistency), ("batch-size", "\(batch)"), ("shards", "\(shards)"), ("max-steps", "\(steps)"),
      ("epochs", "1000000"), ("schedule", "constant"), ("learning-rate", "\(GrowthCell.learningRate)"), ("l2", "0"),
      ("initial-standard-deviation", "\(GrowthCell.deviation)"), ("validation-examples", "0"),
      ("evaluate-every", "\(max(steps / GrowthCell.marks, 1))"), ("checkpoint-every", "0"), ("lease-seconds", "10"),
    ]
  }

  /// So often in a run a line of metrics is written, without an evaluation: there are no validation examples.
  private static let marks = 8

  fileprivate static let learningRate: Float = 0.0078125
  fileprivate static let deviation: Float = 0.015625

  /// The same as a plan.
  fileprivate func plan(exampleCount: Int) throws(Failure) -> TrainingPlan {
    var plan = try plainPlan(batchSize: batch, shards: shards, exampleCount: exampleCount)
    plan.learningRate.base = Self.learningRate
    plan.initialStandardDeviation = Self.deviation
    return plan
  }
}

/// What was measured in a cell.
struct GrowthFigures {
  let steps: Int
  let imagesPerSecond: Double
  let stepP50: Double
  let stepP99: Double
  /// Processor time per step, without what starting and ending the processes takes: between the first and the last line
  /// of metrics before the end.
  let processorSeconds: Double
  let serverSeconds: Double
  /// Shards whose gradient came too late, as a share of all.
  let lateShare: Double
}

/// Runs cells and checks what comes out of them.
final class GrowthRunner {
  private let suite: Suite
  private let dataset: CIFAR10Dataset
  private let mean: [Float]
  private let cellSeconds: Double
  private static let attempts = 4

  init(_ suite: Suite) throws(Failure) {
    self.suite = suite
    dataset = try CIFAR10Dataset(directory: suite.data, part: .training)
    mean = dataset.meanImage(over: (0..<UInt32(dataset.count)).map { $0 })
    cellSeconds = suite.isQuick ? 0.25 : 0.4
  }

  /// Again if the processor time could not be told, because the lines of metrics were not seen one by one; in the end it
  /// is not a number.
  func run(_ cell: GrowthCell) throws(Failure) -> GrowthFigures {
    var figures = try runOnce(cell)
    for _ in 1..<Self.attempts where !figures.serverSeconds.isFinite { figures = try runOnce(cell) }
    return figures
  }

  private func runOnce(_ cell: GrowthCell) throws(Failure) -> GrowthFigures {
    let steps = cell.steps(lasting: cellSeconds, cores: suite.machine.cores)
    let outcome = try outcome(cell, steps: steps)
    try verify(cell, outcome, steps: steps)
    let marks = outcome.marks.filter { $0.step < Double(steps) }
    func perStep(_ seconds: KeyPath<TrainingRun.Mark, Double>) -> Double {
      guard let first = marks.first, let last = marks.last, first.step < last.step else { return .nan }
      return (last[keyPath: seconds] - first[keyPath: seconds]) / (last.step - first.step)
    }
    return GrowthFigures(
      steps: steps, imagesPerSecond: outcome.result.imagesPerSecond ?? .nan,
      stepP50: outcome.result.stepSeconds.p50 ?? .nan, stepP99: outcome.result.stepSeconds.p99 ?? .nan,
      processorSeconds: perStep(\.allSeconds), serverSeconds: perStep(\.serverSeconds),
      lateShare: 1 - Double(outcome.result.examples) / Double(steps * cell.batch))
  }

  private func outcome(_ cell: GrowthCell, steps: Int) throws(Failure) -> TrainingRun.Outcome {
    let directory = suite.work.newName("growth")
    let run = TrainingRun(
      settings: cell.settings(steps: steps), workers: cell.workers, data: suite.data, slowsOneWorker: cell.isSlowed)
    let outcome = try run.run(in: directory)
    suite.work.remove(directory)
    return outcome
  }

  /// Under `bsp` the weights are those of the sequential trainer; otherwise every example counted, or was late.
  private func verify(_ cell: GrowthCell, _ outcome: TrainingRun.Outcome, steps: Int) throws(Failure) {
    let expected = UInt64(steps * cell.batch)
    let least = cell.consistency.hasPrefix("bsp:backup") ? expected - expected / UInt64(cell.shards) : expected
    guard outcome.result.steps == UInt64(steps), (least...expected).contains(outcome.result.examples) else {
      throw Failure(
        .internalError, "a run of \(cell.consistency) counted other examples", found: "\(outcome.result.examples)",
        expected: "\(least) to \(expected)")
    }
    guard cell.isExact else { return }
    let plan = try cell.plan(exampleCount: dataset.count)
    var trainer = SequentialTrainer(
      plan: plan, examples: dataset.examples, meanImage: mean, state: TrainingState(plan: plan),
      kernel: suite.machine.kernel)
    for _ in 0..<steps { _ = trainer.step() }
    let digest = weightsSHA256(trainer.state.parameters)
    guard outcome.result.weightsSHA256 == digest else {
      throw Failure(
        .internalError, "\(cell.workers) workers have other weights than the sequential trainer",
        found: outcome.result.weightsSHA256, expected: digest)
    }
  }
}
