import Diagnostics
import Pieces
import Reporting

/// A step under `bsp` as the sum of computing, exchanging and waiting. The times of computing and exchange are measured
/// on one thread where nothing waits; what is left of the measured steps, wake-ups and changes from one process to
/// another, is fitted by two numbers.
struct GrowthModel {
  private let cores: Int
  /// One more image, one more shard, one more call of the gradient.
  private let image, shard, call: Double
  /// What a worker, and the server, spend on one push and its answer on their way through shared memory.
  private let memory: Double
  /// The server machine's part of a push: checks and the sum; and of a step: the update.
  private let push, update: Double
  private var perStep = 0.0
  private var perWorker = 0.0

  /// Measures the pieces, and fits what is waited to the cells.
  init(_ rig: Rig, fittedTo cells: [GrowthCell]) throws(Failure) {
    cores = rig.cores
    let sizes = [(1, 32), (1, 512), (16, 16), (16, 512), (64, 64), (64, 512), (64, 4096)]
    let gradients = try sizes.map { shards, examples throws(Failure) in
      try rig.gradient(batchSize: examples, shards: shards)
    }
    let medians = measure(samples: rig.isQuick ? 15 : 60, gradients).map(\.median)
    let fitted = leastSquares(sizes.map { [Double($0.1), Double($0.0), 1] }, medians, relativeTo: medians)
    (image, shard, call) = (fitted[0], fitted[1], fitted[2])

    let runs = try [MemoryExchange().verified()] + rig.serverSteps(of: [4, 16])
    let measured = measure(samples: rig.isQuick ? 30 : 100, runs).map(\.median)
    memory = measured[0] / 2
    push = (measured[2] - measured[1]) / 12
    update = measured[1] - 4 * push

    let waits = leastSquares(
      cells.map { [1, Double($0.workers)] }, cells.map { $0.stepP50 - computing($0) - exchange($0) },
      relativeTo: cells.map(\.stepP50))
    (perStep, perWorker) = (waits[0], waits[1])
  }

  private func rounds(_ cell: GrowthCell) -> Double { Double((cell.workers + cores - 1) / cores) }

  private func computing(_ cell: GrowthCell) -> Double {
    (Double(cell.batch) * image + Double(cell.shards) * shard) / Double(min(cell.workers, cores))
      + rounds(cell) * call
  }

  private func exchange(_ cell: GrowthCell) -> Double {
    rounds(cell) * memory + Double(cell.workers) * (memory + push) + update
  }

  private func waiting(_ cell: GrowthCell) -> Double { perStep + Double(cell.workers) * perWorker }
  private func predicted(_ cell: GrowthCell) -> Double { computing(cell) + exchange(cell) + waiting(cell) }
  private func error(_ cell: GrowthCell) -> Double { predicted(cell) / cell.stepP50 - 1 }

  var constantsTable: Table {
    let constants = [
      ("image", image, "gradient of one more example"), ("shard", shard, "gradient of one more shard"),
      ("call", call, "a gradient besides these"),
      ("memory", memory, "one side of a push and its answer through shared memory"),
      ("push", push, "server machine: check and add one push"),
      ("update", update, "server machine: a step besides its pushes"),
      ("waiting per step", perStep, "fitted"), ("waiting per worker", perWorker, "fitted"),
    ]
    return Table(
      title: "Model of a bsp step: constants in µs, C = \(cores) cores", columns: ["constant", "µs", "from"],
      rows: constants.map { [.text($0)] + [$1].microseconds(places: 2) + [.text($2)] })
  }

  func table(_ cells: [GrowthCell]) -> Table {
    Table(
      title: "Model beside measurement, µs per bsp step",
      columns: [
        "examples/step", "workers", "shards", "computing", "exchange", "waiting", "predicted", "measured p50",
        "error %",
      ],
      rows: cells.map { cell in
        [cell.batch, cell.workers, cell.shards].map { .count($0) }
          + [computing(cell), exchange(cell), waiting(cell), predicted(cell), cell.stepP50].microseconds(places: 0)
          + [.number(error(cell) * 100, places: 0)]
      })
  }

  func notes(_ cells: [GrowthCell]) -> [String] {
    let errors = cells.map { abs(error($0)) }
    return [
      "step = (B image + S shard) / min(W, C) + ceil(W / C) (call + memory) + W (memory + push) + update "
        + "+ waiting per step + W waiting per worker, for B examples, S shards and W workers on C cores.",
      "The model is off by \(percent(errors.median, places: 0)) in the median, \(percent(errors.highest, places: 0)) at "
        + "most. For another machine measure its pieces (descent-benchmark growth --quick) and put them in.",
    ]
  }
}

/// The coefficients that explain the values as sums of the terms with the smallest sum of squared relative errors, by
/// the normal equations and Gaussian elimination. Not numbers where the terms do not determine them.
/// - Parameters:
///   - rows: for each value its terms, as many in each row.
///   - scales: what the error of each value is divided by; above 0.
func leastSquares(_ rows: [[Double]], _ values: [Double], relativeTo scales: [Double]) -> [Double] {
  let count = rows.first?.count ?? 0
  // Each row ends with its right side.
  var matrix = [[Double]](repeating: [Double](repeating: 0, count: count + 1), count: count)
  for ((row, value), scale) in zip(zip(rows, values), scales) {
    let terms = (row + [value]).map { $0 / scale }
    for i in 0..<count { for j in 0...count { matrix[i][j] += terms[i] * terms[j] } }
  }
  for column in 0..<count {
    let pivot = (column..<count).max { abs(matrix[$0][column]) < abs(matrix[$1][column]) } ?? column
    guard abs(matrix[pivot][column]) > 1e-300 else { return [Double](repeating: .nan, count: count) }
    matrix.swapAt(column, pivot)
    for row in 0..<count where row != column {
      let factor = matrix[row][column] / matrix[column][column]
      for index in column...count { matrix[row][index] -= factor * matrix[column][index] }
    }
  }
  return matrix.indices.map { matrix[$0][count] / matrix[$0][$0] }
}
