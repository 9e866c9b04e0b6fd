import Diagnostics
import Optimization
import Pieces
import Reporting

/// A step under `bsp` as the sum of computing, exchanging and waiting. The times of computing and exchange are measured
/// on one thread where nothing waits; what is left of the measured steps, wake-ups and changes from one process to
/// another, is fitted by two numbers.
struct GrowthModel {
  private static let parts = [("computing", 0..<3), ("exchange", 3..<6), ("waiting", 6..<8)]

  private let cores: Int
  /// In the order of `counts`.
  private var constants: [(name: String, seconds: Double, origin: String)] = []

  /// Measures the pieces, and fits what is waited to the cells.
  init(_ rig: Rig, fittedTo cells: [GrowthCell]) throws {
    cores = rig.cores
    let sizes = [(1, 32), (1, 512), (16, 16), (16, 512), (64, 64), (64, 512), (64, 4096)]
    let gradients = try sizes.map { try rig.gradient(batchSize: $1, shards: $0) }
    let medians = measure(samples: rig.isQuick ? 15 : 60, gradients).map(\.median)
    let gradient = leastSquares(
      sizes.map { counts(batchSize: $1, shards: $0, workers: 1)[0..<3] }, medians, relativeTo: medians)
    let runs = try [MemoryExchange().verified()] + rig.serverSteps(of: [4, 16])
    let measured = measure(samples: rig.isQuick ? 30 : 100, runs).map(\.median)
    let push = (measured[2] - measured[1]) / 12
    constants = [
      ("image", gradient[0], "gradient of one more example"), ("shard", gradient[1], "gradient of one more shard"),
      ("call", gradient[2], "a gradient besides these"),
      ("memory", measured[0] / 2, "one side of a push and its answer through shared memory"),
      ("push", push, "server machine: check and add one push"),
      ("update", measured[1] - 4 * push, "server machine: a step besides its pushes"),
    ]
    let steps = cells.map(\.stepSeconds)
    let waits = leastSquares(
      cells.map { counts($0)[6..<8] }, zip(steps, cells).map { $0 - seconds(of: $1, 0..<6) }, relativeTo: steps)
    constants += [("waiting per step", waits[0], "fitted"), ("waiting per worker", waits[1], "fitted")]
  }

  /// How often each constant goes into a step.
  private func counts(batchSize: Int, shards: Int, workers: Int) -> [Double] {
    // The others stand by.
    let (batchSize, shards, workers) = (Double(batchSize), Double(shards), Double(min(workers, cores)))
    return [batchSize / workers, shards / workers, 1, 1 + workers, workers, 1, 1, workers]
  }

  private func counts(_ cell: GrowthCell) -> [Double] {
    counts(batchSize: cell.plan.batchSize, shards: cell.plan.shardCount, workers: cell.workers)
  }

  /// What these of the constants contribute to a step.
  private func seconds(of cell: GrowthCell, _ range: Range<Int>) -> Double {
    let counts = counts(cell)
    return range.reduce(0) { $0 + constants[$1].seconds * counts[$1] }
  }

  func show(_ cells: [GrowthCell], in report: inout Report) {
    report.table(
      "Model of a bsp step: constants in µs, C = \(cores) cores",
      constants.map { [Cell("constant", $0), Cell("µs", $1, scale: 1e6, places: 2), Cell("from", $2)] })
    let parts = Self.parts + [("predicted", constants.indices)]
    let errors = cells.map { seconds(of: $0, constants.indices) / $0.stepSeconds - 1 }
    report.table(
      "Model beside measurement, µs per bsp step",
      zip(cells, errors).map { cell, error in
        [
          Cell("examples/step", cell.plan.batchSize), Cell("workers", cell.workers),
          Cell("shards", cell.plan.shardCount),
        ] + parts.map { Cell($0, seconds(of: cell, $1), scale: 1e6) }
          + [Cell("measured p50", cell.stepSeconds, scale: 1e6), Cell("error %", error, scale: 100)]
      })
    let sizes = errors.map { abs($0) }
    report.notes = [
      "step = (B image + S shard) / W + call + memory + W (memory + push) + update + waiting per step + W waiting per "
        + "worker, for B examples, S shards and W workers that compute: no more than C.",
      "The model is off by \(Display.percent(sizes.median, places: 0)) in the median, "
        + "\(Display.percent(sizes.max(), places: 0)) at most. For another machine measure its pieces "
        + "(descent-benchmark growth --quick) and put them in.",
    ]
  }
}

/// The coefficients that explain the values as sums of the terms with the smallest sum of squared relative errors, by
/// the normal equations and Gaussian elimination, whose matrix needs no pivoting. Not finite where the terms do not
/// determine them.
/// - Parameters:
///   - rows: for each value its terms, as many in each row.
///   - scales: what the error of each value is divided by; above 0.
func leastSquares(_ rows: [ArraySlice<Double>], _ values: [Double], relativeTo scales: [Double]) -> [Double] {
  let count = rows.first?.count ?? 0
  // Each row ends with its right side.
  var matrix = [[Double]](repeating: [Double](repeating: 0, count: count + 1), count: count)
  for ((row, value), scale) in zip(zip(rows, values), scales) {
    let terms = (row + [value]).map { $0 / scale }
    for i in 0..<count { for j in 0...count { matrix[i][j] += terms[i] * terms[j] } }
  }
  for column in 0..<count {
    for row in 0..<count where row != column {
      let factor = matrix[row][column] / matrix[column][column]
      for index in column...count { matrix[row][index] -= factor * matrix[column][index] }
    }
  }
  return matrix.indices.map { matrix[$0][count] / matrix[$0][$0] }
}
