import Reporting

/// Repetitions of one measurement. The median is what to compare; the extremes say how quiet the machine was.
struct Samples {
  /// In the order in which they were taken.
  private(set) var values: [Double]

  init(_ values: [Double] = []) { self.values = values }

  mutating func add(_ value: Double) { values.append(value) }

  /// The middle one, or the mean of the two; not a number where there is none.
  var median: Double {
    guard !values.isEmpty else { return .nan }
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }
  var lowest: Double { values.min() ?? .nan }
  var highest: Double { values.max() ?? .nan }
  /// Below it is a tenth of them, and below the other nine tenths.
  var deciles: (low: Double, high: Double) {
    let sorted = values.sorted()
    guard let last = sorted.indices.last else { return (.nan, .nan) }
    return (sorted[last / 10], sorted[last * 9 / 10])
  }

  /// "1.20 (1.10 … 1.40)".
  func text(places: Int, scale: Double = 1) -> String {
    func shown(_ value: Double) -> String { Display.decimal(value * scale, places: places) }
    return "\(shown(median)) (\(shown(lowest)) … \(shown(highest)))"
  }
}

/// Seconds of one call of each of `runs`: so many samples of each in turn, so that all see the same state of the
/// machine. A sample repeats its run for about a millisecond.
/// - Parameter reference: sampled right after each of them: the clock of a core changes with what it does, by a quarter
///   here and there, and so both see the same one.
func measure(
  samples count: Int, _ runs: [() -> Void], beside reference: (() -> Void)? = nil
) -> [(seconds: Samples, reference: Samples)] {
  let all = runs + (reference.map { [$0] } ?? [])
  func seconds(_ repetitions: Int, _ run: () -> Void) -> Double {
    let began = monotonicSeconds()
    for _ in 0..<repetitions { run() }
    return monotonicSeconds() - began
  }
  let repetitions = all.map { run in
    run()  // Warms caches, page tables and clocks.
    return max(1, Int(0.001 / max(seconds(1, run), 1e-9)))
  }
  func sample(_ index: Int) -> Double { seconds(repetitions[index], all[index]) / Double(repetitions[index]) }
  var result = runs.map { _ in (seconds: Samples(), reference: Samples()) }
  for _ in 0..<count {
    for index in runs.indices {
      result[index].seconds.add(sample(index))
      if reference != nil { result[index].reference.add(sample(runs.count)) }
    }
  }
  return result
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
