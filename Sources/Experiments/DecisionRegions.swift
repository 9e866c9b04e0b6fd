import Optimization
import Pictures

/// The class that a model of two inputs predicts in each cell of a rectangle of the plane.
public struct DecisionRegions: Sendable, Equatable {
  /// From the middle of the first cell to that of the last one.
  public let x: ClosedRange<Double>
  public let y: ClosedRange<Double>
  /// Cells along each axis, at least 2.
  public let cells: Int
  /// K.
  public let classCount: Int
  /// The label with the highest score at the centre of each cell [cells × cells], row by row from the smallest y; of
  /// equal scores the lowest label, as in an evaluation.
  public let labels: [Int]

  /// - Parameters:
  ///   - classCount: K.
  ///   - scores: s [K] at (x, y).
  public init(
    x: ClosedRange<Double>, y: ClosedRange<Double>, cells: Int, classCount: Int,
    scores: (_ x: Double, _ y: Double) -> [Double]
  ) {
    (self.x, self.y, self.cells, self.classCount) = (x, y, cells, classCount)
    func center(_ cell: Int, of range: ClosedRange<Double>) -> Double {
      range.lowerBound + Double(cell) / Double(cells - 1) * (range.upperBound - range.lowerBound)
    }
    labels = (0..<cells * cells).map { cell in
      let scores = scores(center(cell % cells, of: x), center(cell / cells, of: y))
      return scores.indices.reduce(0) { scores[$1] > scores[$0] ? $1 : $0 }
    }
  }

  /// The share of the rectangle that is predicted as each class [K].
  public var shares: [Double] {
    var counts = [Int](repeating: 0, count: classCount)
    for label in labels { counts[label] += 1 }
    return counts.map { Double($0) / Double(labels.count) }
  }

  func heatMap(
    _ title: String, xLabel: String, yLabel: String, classNames: [String], overlay: [Series]
  ) -> HeatMap {
    HeatMap(
      title, x: Axis(xLabel, range: x), y: Axis(yLabel, range: y), columns: cells, values: labels.map(Double.init),
      valueLabel: "predicted class", colors: .classes(classNames), overlay: overlay)
  }
}
