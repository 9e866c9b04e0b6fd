import Diagnostics
import Reporting

/// How speed and cost of `bsp` change with workers and examples per step, and the model behind it.
func measureGrowth(_ suite: Suite) throws(Failure) -> GroupReport {
  let cells =
    suite.isQuick
    ? grid(["bsp"], [1, 2, 8, 64], [128, 512, 4096], slowed: [false])
    : grid(["bsp"], workerCounts, [32, 128, 512, 2048, 4096], slowed: [false])
  let pieces = try PieceTimes(suite)
  let measured = try run(cells, suite)
  let model = GrowthModel(pieces: pieces, cores: suite.machine.cores, fittedTo: measured)
  return GroupReport(
    group: .growth,
    tables: [
      growthTable("Growth", measured), serverTable(measured), model.constantsTable, model.table(measured),
    ], findings: [serverFinding(measured)], notes: model.notes(measured))
}

/// What the consistency models make of a worker at half speed, stopped for ten milliseconds and running for ten.
func measureStragglers(_ suite: Suite) throws(Failure) -> GroupReport {
  let models = ["bsp", "bsp:backup=1", "ssp:4", "asp"]
  let cells =
    suite.isQuick
    ? grid(models, [2, 8], [512], slowed: [false, true])
    : grid(models, workerCounts.filter { $0 > 1 }, [512, 4096], slowed: [false, true])
  let table = growthTable("Consistency models, with and without a worker at half speed", try run(cells, suite))
  return GroupReport(
    group: .stragglers, tables: [table],
    notes: [
      "With bsp:backup=1 there are as many shards as workers, and late are the examples of the one that nobody waits for: "
        + "images/s counts those that went into the weights."
    ])
}

private func run(
  _ cells: [GrowthCell], _ suite: Suite
) throws(Failure) -> [(cell: GrowthCell, figures: GrowthFigures)] {
  let runner = try GrowthRunner(suite)
  var measured: [(cell: GrowthCell, figures: GrowthFigures)] = []
  for (index, cell) in cells.enumerated() {
    Suite.say(
      "\(index + 1) of \(cells.count): \(cell.consistency), \(cell.workers) workers, \(cell.batch) examples"
        + (cell.isSlowed ? ", one worker slowed" : ""))
    measured.append((cell, try runner.run(cell)))
  }
  return measured
}

private let workerCounts = [1, 2, 4, 8, 16, 32, 64]

/// All combinations in which every worker has an example.
private func grid(_ models: [String], _ workers: [Int], _ batches: [Int], slowed: [Bool]) -> [GrowthCell] {
  models.flatMap { model in
    slowed.flatMap { isSlowed in
      batches.flatMap { batch in
        workers.filter { $0 <= batch }.map {
          GrowthCell(consistency: model, isSlowed: isSlowed, workers: $0, batch: batch)
        }
      }
    }
  }
}

private func growthTable(_ title: String, _ measured: [(cell: GrowthCell, figures: GrowthFigures)]) -> Table {
  var table = Table(
    title,
    [
      "consistency", "one at half speed", "examples/step", "workers", "images/s", "of undisturbed %", "step p50 µs",
      "p99 µs", "CPU µs/step", "late %",
    ])
  for (cell, figures) in measured {
    let undisturbed = measured.first {
      !$0.cell.isSlowed && cell.isSlowed && $0.cell.consistency == cell.consistency
        && $0.cell.workers == cell.workers && $0.cell.batch == cell.batch
    }
    table.rows.append([
      .text(cell.consistency), .text(cell.isSlowed ? "yes" : ""), .number(Double(cell.batch), places: 0),
      .number(Double(cell.workers), places: 0), .number(figures.imagesPerSecond, places: 0),
      .number(undisturbed.map { figures.imagesPerSecond / $0.figures.imagesPerSecond * 100 } ?? .nan, places: 0),
      .number(figures.stepP50 * 1e6, places: 0), .number(figures.stepP99 * 1e6, places: 0),
      .number(figures.processorSeconds * 1e6, places: 0), .number(figures.lateShare * 100, places: 1),
    ])
  }
  return table
}

/// Medians over the batch sizes: what the server does in a step does not depend on them.
private func serverCosts(
  _ exact: [(cell: GrowthCell, figures: GrowthFigures)]
) -> [(workers: Int, seconds: Samples)] {
  workerCounts.map { workers in
    (workers, Samples(exact.filter { $0.cell.workers == workers }.map(\.figures.serverSeconds).filter(\.isFinite)))
  }.filter { !$0.1.values.isEmpty }
}

private func serverTable(_ exact: [(cell: GrowthCell, figures: GrowthFigures)]) -> Table {
  var table = Table(
    "CPU time of the server under bsp, µs per step; with few workers part of it is looking out for the next message",
    ["workers", "median", "lowest", "highest", "lowest per worker"])
  for (workers, seconds) in serverCosts(exact) {
    table.rows.append(
      [.number(Double(workers), places: 0)]
        + [seconds.median, seconds.lowest, seconds.highest, seconds.lowest / Double(workers)].map {
          .number($0 * 1e6, places: 1)
        })
  }
  return table
}

/// Doubling the workers must not more than double the server's time; the lowest figures, for they hold the least waiting.
private func serverFinding(_ exact: [(cell: GrowthCell, figures: GrowthFigures)]) -> Finding {
  let costs = serverCosts(exact).map { (workers: Double($0.workers), seconds: $0.seconds.lowest) }
  let few = costs.first { $0.workers >= 4 } ?? (.nan, .nan)
  let many = costs.last ?? (.nan, .nan)
  let growth = many.seconds / few.seconds
  let bound = many.workers / few.workers
  return Finding(
    target: "8 server's CPU time", bound: "per step no faster than linearly in workers",
    reached: "\(Display.decimal(growth, places: 1)) times from \(Int(few.workers)) to \(Int(many.workers)) workers "
      + "(\(Display.decimal(bound, places: 0)) times as many)", isMet: growth <= bound)
}
