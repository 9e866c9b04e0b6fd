/// The course of a loss since the start of this process, in memory of a fixed size: means over equally many values, of which
/// neighbours are merged when there are too many.
package struct LossHistory {
  /// Even.
  private static let capacity = 64

  private var means = [Double](repeating: 0, count: Self.capacity)
  private var count = 0
  private var valuesPerMean = 1
  /// Of the mean that is not complete.
  private var (sum, values) = (0.0, 0)

  package init() {}

  package var isEmpty: Bool { count == 0 && values == 0 }

  /// Adds a value; what is not finite is left out. Allocates nothing.
  package mutating func add(_ loss: Double) {
    guard loss.isFinite else { return }
    (sum, values) = (sum + loss, values + 1)
    guard values == valuesPerMean else { return }
    means[count] = sum / Double(values)
    count += 1
    (sum, values) = (0, 0)
    guard count == Self.capacity else { return }
    for index in 0..<count / 2 { means[index] = (means[2 * index] + means[2 * index + 1]) / 2 }
    count /= 2
    valuesPerMean *= 2
  }

  /// The whole course as `width` values, the newest last; empty without any.
  package func resampled(to width: Int) -> [Double] {
    var points = Array(means[..<count])
    if values > 0 { points.append(sum / Double(values)) }
    guard !points.isEmpty else { return [] }
    return (0..<max(0, width)).map { cell in
      let (first, end) = (cell * points.count / width, (cell + 1) * points.count / width)
      guard end > first + 1 else { return points[first] }
      return points[first..<end].reduce(0, +) / Double(end - first)
    }
  }
}
