import Checkpoints
import Diagnostics
import Optimization
import Pieces
import Reporting

/// How speed and cost of `bsp` change with workers and examples per step, and the model behind it.
func measureGrowth(_ rig: Rig) throws(Failure) -> GroupReport {
  let cells =
    rig.isQuick
    ? try run(rig, [.bsp(backup: 0)], workers: [1, 2, 8, 64], batches: [128, 512, 4096], slowed: [false])
    : try run(rig, [.bsp(backup: 0)], workers: workerCounts, batches: [32, 128, 512, 2048, 4096], slowed: [false])
  let model = try GrowthModel(rig, fittedTo: cells)
  // Medians over the batch sizes: what the server does in a step does not depend on them.
  let costs = workerCounts.map { workers in
    (workers, cells.filter { $0.workers == workers }.map(\.serverSeconds).filter(\.isFinite))
  }.filter { !$0.1.isEmpty }
  let server = Table(
    title:
      "CPU time of the server under bsp, µs per step; with few workers part of it is looking out for the next message",
    columns: ["workers", "median", "lowest", "highest", "lowest per worker"],
    rows: costs.map { workers, seconds in
      [.count(workers)]
        + (seconds.medianAndExtremes + [seconds.lowest / Double(workers)]).microseconds(places: 1)
    })
  return GroupReport(
    tables: [growthTable("Growth", cells), server, model.constantsTable, model.table(cells)],
    findings: [serverFinding(costs.map { (Double($0), $1.lowest) })], notes: model.notes(cells))
}

/// What the consistency models make of a worker at half speed, stopped for ten milliseconds and running for ten.
func measureStragglers(_ rig: Rig) throws(Failure) -> GroupReport {
  let models: [ConsistencyModel] = [.bsp(backup: 0), .bsp(backup: 1), .ssp(4), .asp]
  let cells =
    rig.isQuick
    ? try run(rig, models, workers: [2, 8], batches: [512], slowed: [false, true])
    : try run(rig, models, workers: workerCounts.filter { $0 > 1 }, batches: [512, 4096], slowed: [false, true])
  return GroupReport(
    tables: [growthTable("Consistency models, with and without a worker at half speed", cells)],
    notes: [
      "With bsp:backup=1 there are as many shards as workers, and late are the examples of the one that no step waits "
        + "for: images/s counts those that went into the weights."
    ])
}

private let workerCounts = [1, 2, 4, 8, 16, 32, 64]

/// Runs all combinations in which every worker has an example.
private func run(
  _ rig: Rig, _ models: [ConsistencyModel], workers: [Int], batches: [Int], slowed: [Bool]
) throws(Failure) -> [GrowthCell] {
  var cells: [GrowthCell] = []
  for model in models {
    for isSlowed in slowed {
      for batch in batches {
        for workers in workers where workers <= batch {
          Rig.say("\(model), \(workers) workers, \(batch) examples" + (isSlowed ? ", one worker slowed" : ""))
          cells.append(
            try GrowthCell(rig, consistency: model, isSlowed: isSlowed, workers: workers, batch: batch))
        }
      }
    }
  }
  return cells
}

private func growthTable(_ title: String, _ cells: [GrowthCell]) -> Table {
  let rows = cells.map { cell in
    let undisturbed = cells.first {
      !$0.isSlowed && cell.isSlowed && $0.consistency == cell.consistency && $0.workers == cell.workers
        && $0.batch == cell.batch
    }
    let share = undisturbed.map { cell.imagesPerSecond / $0.imagesPerSecond * 100 } ?? .nan
    return [.text("\(cell.consistency)"), .text(cell.isSlowed ? "yes" : ""), .count(cell.batch), .count(cell.workers)]
      + [cell.imagesPerSecond, share].cells(places: 0)
      + [cell.stepP50, cell.stepP99, cell.processorSeconds].microseconds(places: 0)
      + [.number(cell.lateShare * 100, places: 1)]
  }
  return Table(
    title: title,
    columns: [
      "consistency", "one at half speed", "examples/step", "workers", "images/s", "of undisturbed %", "step p50 µs",
      "p99 µs", "CPU µs/step", "late %",
    ], rows: rows)
}

/// Doubling the workers must not more than double the server's time; the lowest figures, which hold the least waiting.
private func serverFinding(_ costs: [(workers: Double, seconds: Double)]) -> Finding {
  let few = costs.first { $0.workers >= 4 } ?? (.nan, .nan)
  let many = costs.last ?? (.nan, .nan)
  let growth = many.seconds / few.seconds
  let bound = many.workers / few.workers
  return Finding(
    target: "8 server's CPU time", bound: "per step no faster than linearly in workers",
    reached: "\(Display.decimal(growth, places: 1)) times from \(Display.decimal(few.workers, places: 0)) to "
      + "\(Display.decimal(many.workers, places: 0)) workers (\(Display.decimal(bound, places: 0)) times as many)",
    met: growth <= bound)
}

/// One run of the growth table, and what was measured in it.
struct GrowthCell {
  let consistency: ConsistencyModel
  let isSlowed: Bool
  let workers: Int
  /// Examples of one step over all workers.
  let batch: Int

  private(set) var (imagesPerSecond, stepP50, stepP99) = (Double.nan, Double.nan, Double.nan)
  /// Processor time per step between the first and the last line of metrics before the end, without what starting and
  /// ending the processes takes; not a number where the lines were not seen one by one.
  private(set) var (processorSeconds, serverSeconds) = (Double.nan, Double.nan)
  /// Shards whose gradient came too late, as a share of all.
  private(set) var lateShare = Double.nan

  /// Runs again if the processor time could not be told.
  init(_ rig: Rig, consistency: ConsistencyModel, isSlowed: Bool, workers: Int, batch: Int) throws(Failure) {
    (self.consistency, self.isSlowed, self.workers, self.batch) = (consistency, isSlowed, workers, batch)
    for _ in 1...4 where !serverSeconds.isFinite { try measure(rig) }
  }

  /// As many as there are at most workers, so that all runs of a batch size compute the same; as many as workers where one
  /// worker may be left out, because a push that holds more shards than may be missing is waited for.
  var shards: Int { isBackup ? max(workers, 2) : min(64, batch) }
  private var isBackup: Bool { if case .bsp(1...) = consistency { true } else { false } }

  private mutating func measure(_ rig: Rig) throws(Failure) {
    // Steps that take about so long, were it only roughly known how long one takes.
    let estimate = 1e-6 * Double(batch) / Double(min(workers, rig.cores)) + 6e-5 * Double(workers) + 1.5e-4
    let steps = min(max(Int((rig.isQuick ? 0.25 : 0.4) / estimate / (isSlowed ? 2 : 1)), 60), 4000)
    let plan = try plainPlan(batchSize: batch, shards: shards, exampleCount: rig.dataset.count) {
      ($0.consistency, $0.learningRate.base, $0.initialStandardDeviation) = (consistency, 0.0078125, 0.015625)
      // Lines of metrics without an evaluation: there are no validation examples.
      ($0.totalSteps, $0.evaluateEvery) = (UInt64(steps), UInt64(max(steps / 8, 1)))
    }
    let outcome = try TrainingRun(
      flags: plan.flags + " --lease-seconds 10", workers: workers, slowsOneWorker: isSlowed
    ).run(rig)
    let result = outcome.result
    try verify(rig, plan, result)
    (imagesPerSecond, stepP50, stepP99) = (
      outcome.imagesPerSecond, result.stepSeconds.p50 ?? .nan, result.stepSeconds.p99 ?? .nan
    )
    lateShare = 1 - Double(result.examples) / Double(steps * batch)
    let marks = outcome.marks.filter { $0.step < Double(steps) }
    guard let first = marks.first, let last = marks.last, first.step < last.step else { return }
    func perStep(_ prefix: String) -> Double {
      (last.processorSeconds.total(prefix) - first.processorSeconds.total(prefix)) / (last.step - first.step)
    }
    (processorSeconds, serverSeconds) = (perStep(""), perStep("server"))
  }

  /// Under `bsp` the weights are those of the sequential trainer; otherwise every example counted, or was late.
  private func verify(_ rig: Rig, _ plan: TrainingPlan, _ result: RunResult) throws(Failure) {
    let expected = plan.totalSteps * UInt64(batch)
    let least = isBackup ? expected - expected / UInt64(shards) : expected
    guard result.steps == plan.totalSteps, (least...expected).contains(result.examples) else {
      throw Failure(
        .internalError, "a run of \(consistency) counted other examples", found: "\(result.examples)",
        expected: "\(least) to \(expected)")
    }
    guard consistency == .bsp(backup: 0) else { return }
    var trainer = SequentialTrainer(
      plan: plan, examples: rig.dataset.examples, meanImage: rig.mean, state: TrainingState(plan: plan),
      kernel: rig.kernel)
    for _ in 0..<plan.totalSteps { _ = trainer.step() }
    let digest = weightsSHA256(trainer.state.parameters)
    guard result.weightsSHA256 == digest else {
      throw Failure(
        .internalError, "\(workers) workers have other weights than the sequential trainer",
        found: result.weightsSHA256, expected: digest)
    }
  }
}
