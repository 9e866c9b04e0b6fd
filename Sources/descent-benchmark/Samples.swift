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

  /// "1.20 (1.10 … 1.40)".
  func text(places: Int, scale: Double = 1) -> String {
    func shown(_ value: Double) -> String { Display.decimal(value * scale, places: places) }
    return "\(shown(median)) (\(shown(lowest)) … \(shown(highest)))"
  }
}

/// The coefficients that explain the values as sums of the terms with the smallest sum of squared errors, by the normal
/// equations. Nil where the terms do not determine them.
///
/// - Parameters:
///   - rows: for each value its terms, as many in each row.
///   - scales: what the error of each value is divided by, such as the value itself; above 0.
func leastSquares(_ rows: [[Double]], _ values: [Double], relativeTo scales: [Double]) -> [Double]? {
  guard let count = rows.first?.count, rows.count >= count else { return nil }
  var matrix = [[Double]](repeating: [Double](repeating: 0, count: count + 1), count: count)
  for (index, row) in rows.enumerated() {
    let weight = 1 / (scales[index] * scales[index])
    for i in 0..<count {
      for j in 0..<count { matrix[i][j] += row[i] * row[j] * weight }
      matrix[i][count] += row[i] * values[index] * weight
    }
  }
  return solve(matrix)
}

/// Gaussian elimination with pivots; each row ends with its right side.
private func solve(_ system: [[Double]]) -> [Double]? {
  var matrix = system
  let count = matrix.count
  for column in 0..<count {
    guard let pivot = (column..<count).max(by: { abs(matrix[$0][column]) < abs(matrix[$1][column]) }),
      abs(matrix[pivot][column]) > 1e-300
    else { return nil }
    matrix.swapAt(column, pivot)
    for row in 0..<count where row != column {
      let factor = matrix[row][column] / matrix[column][column]
      for index in column...count { matrix[row][index] -= factor * matrix[column][index] }
    }
  }
  return matrix.indices.map { matrix[$0][count] / matrix[$0][$0] }
}
