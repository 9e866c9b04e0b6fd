import Diagnostics
import Reporting

/// What the parts of a step cost when nothing waits and nothing else runs: the constants of the growth model.
struct PieceTimes {
  /// One more image, one more shard, one more call of the gradient.
  let image: Double
  let shard: Double
  let call: Double
  /// What a worker, and the server, spend on one push and its answer on their way through shared memory.
  let memory: Double
  /// The server machine's part of a push: checks and the sum; and of a step: the update.
  let push: Double
  let update: Double

  init(_ rig: Rig) throws(Failure) {
    let sizes = [(1, 32), (1, 512), (16, 16), (16, 512), (64, 64), (64, 512), (64, 4096)]
    let gradients = try sizes.map { shards, examples throws(Failure) in
      try GradientRun(rig, kernel: rig.kernel, batchSize: examples, shards: shards)
    }
    try gradients[3].verify()
    let medians = measure(samples: rig.isQuick ? 15 : 60, gradients.map { $0.run }).map(\.seconds.median)
    let fitted = leastSquares(sizes.map { [Double($0.1), Double($0.0), 1] }, medians, relativeTo: medians)
    (image, shard, call) = (fitted[0], fitted[1], fitted[2])

    let exchange = try MemoryExchange()
    try exchange.verify()
    let steps = try [4, 16].map { workers throws(Failure) in try ServerStep(workers: workers, kernel: rig.kernel) }
    let measured = measure(samples: rig.isQuick ? 30 : 100, [exchange.run] + steps.map { $0.run }).map(\.seconds.median)
    memory = measured[0] / 2
    push = (measured[2] - measured[1]) / 12
    update = measured[1] - 4 * push
  }
}

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
  let pieces: PieceTimes
  let cores: Int
  private var perStep = 0.0
  private var perWorker = 0.0

  init(pieces: PieceTimes, cores: Int, fittedTo cells: [GrowthCell]) {
    (self.pieces, self.cores) = (pieces, cores)
    let fitted = leastSquares(
      cells.map { [1, Double($0.workers)] }, cells.map { $0.stepP50 - computing($0) - exchange($0) },
      relativeTo: cells.map(\.stepP50))
    (perStep, perWorker) = (fitted[0], fitted[1])
  }

  private func rounds(_ cell: GrowthCell) -> Double { Double((cell.workers + cores - 1) / cores) }

  private func computing(_ cell: GrowthCell) -> Double {
    (Double(cell.batch) * pieces.image + Double(cell.shards) * pieces.shard) / Double(min(cell.workers, cores))
      + rounds(cell) * pieces.call
  }

  private func exchange(_ cell: GrowthCell) -> Double {
    rounds(cell) * pieces.memory + Double(cell.workers) * (pieces.memory + pieces.push) + pieces.update
  }

  private func waiting(_ cell: GrowthCell) -> Double { perStep + Double(cell.workers) * perWorker }
  private func predicted(_ cell: GrowthCell) -> Double { computing(cell) + exchange(cell) + waiting(cell) }
  private func error(_ cell: GrowthCell) -> Double { predicted(cell) / cell.stepP50 - 1 }

  var constantsTable: Table {
    let constants = [
      ("image", pieces.image, "gradient of one more example"), ("shard", pieces.shard, "gradient of one more shard"),
      ("call", pieces.call, "a gradient besides these"),
      ("memory", pieces.memory, "one side of a push and its answer through shared memory"),
      ("push", pieces.push, "server machine: check and add one push"),
      ("update", pieces.update, "server machine: a step besides its pushes"),
      ("waiting per step", perStep, "fitted"), ("waiting per worker", perWorker, "fitted"),
    ]
    return Table(
      "Model of a bsp step: constants in µs, C = \(cores) cores", ["constant", "µs", "from"],
      constants.map { [.text($0), .microseconds($1, places: 2), .text($2)] })
  }

  func table(_ cells: [GrowthCell]) -> Table {
    Table(
      "Model beside measurement, µs per bsp step",
      [
        "examples/step", "workers", "shards", "computing", "exchange", "waiting", "predicted", "measured p50",
        "error %",
      ],
      cells.map { cell in
        [cell.batch, cell.workers, cell.shards].map { .count($0) }
          + [computing(cell), exchange(cell), waiting(cell), predicted(cell), cell.stepP50].map {
            .microseconds($0, places: 0)
          } + [.number(error(cell) * 100, places: 0)]
      })
  }

  func notes(_ cells: [GrowthCell]) -> [String] {
    let errors = Samples(cells.map { abs(error($0)) })
    return [
      "step = (B image + S shard) / min(W, C) + ceil(W / C) (call + memory) + W (memory + push) + update "
        + "+ waiting per step + W waiting per worker, for B examples, S shards and W workers on C cores.",
      "The model is off by \(percent(errors.median, places: 0)) in the median, \(percent(errors.highest, places: 0)) at "
        + "most. For another machine measure its pieces (descent-benchmark growth --quick) and put them in.",
    ]
  }
}
