import Checkpoints
import Diagnostics
import Optimization
import Pieces
import Reporting

/// How speed and cost of `bsp` change with workers and examples per step, and the model behind it.
func measureGrowth(_ rig: Rig, _ report: inout Report) throws {
  let cells = try run(
    rig, [.bsp(backup: 0)], workers: rig.isQuick ? [1, 2, 8, 64] : workerCounts,
    batches: rig.isQuick ? [128, 512, 4096] : [32, 128, 512, 2048, 4096], slowed: [false])
  report.table("Growth", growthRows(cells))
  // Of each number of workers over the batch sizes: what the server does in a step does not depend on them.
  let costs = workerCounts.compactMap { workers in
    let seconds = cells.filter { $0.workers == workers }.map { $0.outcome.processorSecondsPerStep("server") }
      .filter(\.isFinite)
    return seconds.min().map { (workers: workers, seconds: seconds, lowest: $0) }
  }
  report.table(
    "CPU time of the server under bsp, µs per step; with few workers part of it is looking out for the next message",
    costs.map { workers, seconds, lowest in
      [Cell("workers", workers)] + seconds.cells("median", scale: 1e6, places: 1)
        + [Cell("lowest per worker", lowest / Double(workers), scale: 1e6, places: 1)]
    })
  let growth = serverGrowth(cells)
  report.target(
    "8 server's CPU time", "at most 6 times for a step with 64 workers instead of 8",
    reached: growth.sorted().map { Display.decimal($0, places: 1) }.joined(separator: ", ") + " times, by examples",
    isMet: growth.median <= 6)
  try GrowthModel(rig, fittedTo: cells).show(cells, in: &report)
}

/// How many times the server's processor time with 8 workers it takes with 64, for each number of examples.
private func serverGrowth(_ cells: [GrowthCell]) -> [Double] {
  cells.filter { $0.workers == 64 }.compactMap { many in
    cells.first { $0.workers == 8 && $0.plan.batchSize == many.plan.batchSize }.map { few in
      many.outcome.processorSecondsPerStep("server") / few.outcome.processorSecondsPerStep("server")
    }
  }
}

/// What the consistency models make of a worker at half speed, stopped for ten milliseconds and running for ten.
func measureStragglers(_ rig: Rig, _ report: inout Report) throws {
  let cells = try run(
    rig, [.bsp(backup: 0), .bsp(backup: 1), .ssp(4), .asp],
    workers: rig.isQuick ? [2, 8] : Array(workerCounts.dropFirst()), batches: rig.isQuick ? [512] : [512, 4096],
    slowed: [false, true])
  report.table("Consistency models, with and without a worker at half speed", growthRows(cells))
  report.notes = [
    "With bsp:backup=1 there are as many shards as workers, and late are the examples of the one that no step waits "
      + "for: images/s counts those that went into the weights."
  ]
}

private let workerCounts = [1, 2, 4, 8, 16, 32, 64]

/// Runs all combinations in which every worker has an example.
private func run(
  _ rig: Rig, _ models: [ConsistencyModel], workers: [Int], batches: [Int], slowed: [Bool]
) throws -> [GrowthCell] {
  var cells: [GrowthCell] = []
  for model in models {
    for isSlowed in slowed {
      for batch in batches {
        for workers in workers where workers <= batch {
          say("\(model), \(workers) workers, \(batch) examples" + (isSlowed ? ", one worker slowed" : ""))
          cells.append(try GrowthCell(rig, consistency: model, isSlowed: isSlowed, workers: workers, batch: batch))
        }
      }
    }
  }
  return cells
}

private func growthRows(_ cells: [GrowthCell]) -> [[Cell]] {
  cells.map { cell in
    let undisturbed = cells.first {
      cell.isSlowed && !$0.isSlowed && $0.plan.consistency == cell.plan.consistency && $0.workers == cell.workers
        && $0.plan.batchSize == cell.plan.batchSize
    }
    let (outcome, steps) = (cell.outcome, cell.outcome.result.stepSeconds)
    let lateShare = 1 - Double(outcome.result.examples) / Double(cell.plan.totalSteps) / Double(cell.plan.batchSize)
    return [
      Cell("consistency", "\(cell.plan.consistency)"), Cell("one at half speed", cell.isSlowed ? "yes" : ""),
      Cell("examples/step", cell.plan.batchSize), Cell("workers", cell.workers),
      Cell("images/s", outcome.imagesPerSecond),
      Cell("of undisturbed %", outcome.imagesPerSecond / (undisturbed?.outcome.imagesPerSecond ?? .nan), scale: 100),
      Cell("step p50 µs", steps.p50 ?? .nan, scale: 1e6), Cell("p99 µs", steps.p99 ?? .nan, scale: 1e6),
      Cell("CPU µs/step", outcome.processorSecondsPerStep(), scale: 1e6),
      // Shards whose gradient came too late, as a share of all.
      Cell("late %", lateShare, scale: 100, places: 1),
    ]
  }
}

/// One run of the growth table, and what was measured in it.
struct GrowthCell {
  let plan: TrainingPlan
  let workers: Int
  let isSlowed: Bool
  let outcome: TrainingRun.Outcome

  /// - Parameter batch: examples of one step over all workers.
  init(_ rig: Rig, consistency: ConsistencyModel, isSlowed: Bool, workers: Int, batch: Int) throws {
    // Steps that take about so long, were it only roughly known how long one takes. Enough of them for the speeds of the
    // workers to become known: in the first ones each worker has its own shards, however many share a processor.
    let estimate = 1e-6 * Double(batch) / Double(min(workers, rig.cores)) + 6e-5 * Double(workers) + 1.5e-4
    let steps = min(max(Int((rig.isQuick ? 0.25 : 0.4) / estimate / (isSlowed ? 2 : 1)), isSlowed ? 60 : 400), 4000)
    let isBackup = if case .bsp(1...) = consistency { true } else { false }
    // As many as there are at most workers, so that all runs of a batch size compute the same; as many as workers where
    // one worker may be left out, because a push that holds more shards than may be missing is waited for.
    let shards = isBackup ? max(workers, 2) : min(64, batch)
    plan = try plainPlan(batchSize: batch, shards: shards, exampleCount: rig.dataset.count) {
      ($0.consistency, $0.learningRate.base, $0.initialStandardDeviation) = (consistency, 0.0078125, 0.015625)
      // Lines of metrics without an evaluation: there are no validation examples.
      ($0.totalSteps, $0.evaluateEvery) = (UInt64(steps), UInt64(max(steps / 8, 1)))
    }
    (self.workers, self.isSlowed) = (workers, isSlowed)
    let run = TrainingRun(flags: plan.flags + " --lease-seconds 10", workers: workers, slowsOneWorker: isSlowed)
    let most = plan.totalSteps * UInt64(batch)
    let examples = (isBackup ? most - most / UInt64(shards) : most)...most
    var outcome = try run.verified(rig, plan, examples)
    // Again if the processor time could not be told.
    for _ in 1...3 where outcome.processorSecondsPerStep("server").isNaN {
      outcome = try run.verified(rig, plan, examples)
    }
    self.outcome = outcome
  }

  /// The median step's.
  var stepSeconds: Double { outcome.result.stepSeconds.p50 ?? .nan }
}

extension TrainingRun {
  /// Runs `plan`. Under `bsp` the weights are those of the sequential trainer; otherwise every example counted, or was
  /// late.
  fileprivate func verified(_ rig: Rig, _ plan: TrainingPlan, _ examples: ClosedRange<UInt64>) throws -> Outcome {
    let outcome = try run(rig)
    guard outcome.result.steps == plan.totalSteps, examples.contains(outcome.result.examples) else {
      throw Failure(
        .internalError, "a run of \(plan.consistency) counted other examples", found: "\(outcome.result.examples)",
        expected: "\(examples.lowerBound) to \(examples.upperBound)")
    }
    guard plan.consistency == .bsp(backup: 0) else { return outcome }
    var trainer = SequentialTrainer(
      plan: plan, examples: rig.dataset.examples, meanImage: rig.mean, state: TrainingState(plan: plan),
      kernel: rig.kernel)
    for _ in 0..<plan.totalSteps { _ = trainer.step() }
    let digest = weightsSHA256(trainer.state.parameters)
    guard outcome.result.weightsSHA256 == digest else {
      throw Failure(
        .internalError, "\(workers) workers have other weights than the sequential trainer",
        found: outcome.result.weightsSHA256, expected: digest)
    }
    return outcome
  }
}
