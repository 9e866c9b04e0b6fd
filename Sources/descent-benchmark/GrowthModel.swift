import Reporting

/// A step under `bsp` as the sum of computing, exchanging and waiting:
///
///     step      = computing + exchange + waiting
///     computing = (B · image + S · shard) / min(W, C) + ⌈W / C⌉ · call
///     exchange  = ⌈W / C⌉ · memory + W · (memory + push) + update
///     waiting   = perStep + W · perWorker
///
/// with W workers on C cores, B examples and S shards a step. The times of computing and exchange are measured on one
/// thread where nothing waits (`PieceTimes`); what is left of the measured steps, wake-ups and changes from one process to
/// another, is fitted by two numbers.
struct GrowthModel {
  typealias Measured = (cell: GrowthCell, figures: GrowthFigures)

  let pieces: PieceTimes
  let cores: Int
  private(set) var perStep = 0.0
  private(set) var perWorker = 0.0

  init(pieces: PieceTimes, cores: Int, fittedTo measured: [Measured]) {
    self.pieces = pieces
    self.cores = cores
    let steps = measured.map(\.figures.stepP50)
    let rest = measured.map { $0.figures.stepP50 - computing($0.cell) - exchange($0.cell) }
    let fitted = leastSquares(measured.map { [1, Double($0.cell.workers)] }, rest, relativeTo: steps)
    (perStep, perWorker) = (fitted?[0] ?? .nan, fitted?[1] ?? .nan)
  }

  private func rounds(_ cell: GrowthCell) -> Double { Double((cell.workers + cores - 1) / cores) }

  func computing(_ cell: GrowthCell) -> Double {
    (Double(cell.batch) * pieces.image + Double(cell.shards) * pieces.shard) / Double(min(cell.workers, cores))
      + rounds(cell) * pieces.call
  }

  func exchange(_ cell: GrowthCell) -> Double {
    rounds(cell) * pieces.memory + Double(cell.workers) * (pieces.memory + pieces.push) + pieces.update
  }

  func waiting(_ cell: GrowthCell) -> Double { perStep + Double(cell.workers) * perWorker }

  func predicted(_ cell: GrowthCell) -> Double { computing(cell) + exchange(cell) + waiting(cell) }

  var constantsTable: Table {
    var table = Table("Model of a bsp step: constants in µs, C = \(cores) cores", ["constant", "µs", "from"])
    for (name, seconds, origin) in [
      ("image", pieces.image, "gradient of one more example"), ("shard", pieces.shard, "gradient of one more shard"),
      ("call", pieces.call, "a gradient besides these"),
      ("memory", pieces.memory, "one side of a push and its answer through shared memory"),
      ("push", pieces.push, "server machine: check and add one push"),
      ("update", pieces.update, "server machine: a step besides its pushes"),
      ("waiting per step", perStep, "fitted"), ("waiting per worker", perWorker, "fitted"),
    ] {
      table.rows.append([.text(name), .number(seconds * 1e6, places: 2), .text(origin)])
    }
    return table
  }

  func table(_ measured: [Measured]) -> Table {
    var table = Table(
      "Model beside measurement, µs per bsp step",
      [
        "examples/step", "workers", "shards", "computing", "exchange", "waiting", "predicted", "measured p50",
        "error %",
      ])
    for (cell, figures) in measured {
      let error = predicted(cell) / figures.stepP50 - 1
      table.rows.append(
        [cell.batch, cell.workers, cell.shards].map { .number(Double($0), places: 0) }
          + [computing(cell), exchange(cell), waiting(cell), predicted(cell), figures.stepP50].map {
            .number($0 * 1e6, places: 0)
          } + [.number(error * 100, places: 0)])
    }
    return table
  }

  func notes(_ measured: [Measured]) -> [String] {
    let errors = Samples(measured.map { abs(predicted($0.cell) / $0.figures.stepP50 - 1) })
    return [
      "step = (B image + S shard) / min(W, C) + ceil(W / C) (call + memory) + W (memory + push) + update "
        + "+ waiting per step + W waiting per worker, for B examples, S shards and W workers on C cores.",
      "The model is off by \(percent(errors.median, places: 0)) in the median, \(percent(errors.highest, places: 0)) at "
        + "most. For another machine measure its pieces (descent-benchmark suite growth --quick) and put them in.",
    ]
  }
}
