import Diagnostics
import Optimization

/// Two classes of points in the plane that no linear classifier separates, from CS231n, "Linear Classification", "Hard cases
/// for a linear classifier". The lecture's coordinates, −2.5 to 2.5, are the bytes 0 to 255: the coordinate of a byte is
/// (byte − 127.5) / 51.
public enum PlaneSet: String, Sendable, CaseIterable {
  /// The first and the third quadrant against the second and the fourth.
  case quadrants
  /// 1 ≤ L2 norm ≤ 2 against everything else.
  case ring
  /// Three discs against everything else.
  case threeModes = "three-modes"

  /// Of the labels 0 and 1.
  public var classNames: [String] {
    switch self {
    case .quadrants: ["quadrants 1 and 3", "quadrants 2 and 4"]
    case .ring: ["ring", "everything else"]
    case .threeModes: ["three modes", "everything else"]
    }
  }

  /// The unit of the lecture in half steps of a byte, so that 127.5 is a whole number of them.
  private static let unit = 102

  /// 0 or 1.
  func label(x: UInt8, y: UInt8) -> UInt8 {
    let (x, y) = (2 * Int(x) - 255, 2 * Int(y) - 255)
    func isWithin(_ radius: Int, ofX centerX: Int, y centerY: Int) -> Bool {
      (x - centerX) * (x - centerX) + (y - centerY) * (y - centerY) <= radius * radius
    }
    let isFirst =
      switch self {
      case .quadrants: (x > 0) == (y > 0)
      case .ring: isWithin(2 * Self.unit, ofX: 0, y: 0) && !isWithin(Self.unit, ofX: 0, y: 0)
      // At (−1.3, −0.9), (1.3, −0.9) and (0, 1.3), of the radius 0.8.
      case .threeModes: [(-132, -92), (132, -92), (0, 132)].contains { isWithin(82, ofX: $0.0, y: $0.1) }
      }
    return isFirst ? 0 : 1
  }

  /// The coordinate of a byte in the lecture's plane, −2.5 to 2.5.
  public static func coordinate(of byte: Double) -> Double { (byte - 127.5) / 51 }

  /// The first examples that `SyntheticDataset` writes to the files of a part: a label byte, x and y each.
  public func examples(_ count: Int, of part: Dataset.Part, seed: UInt64) -> ExampleTable {
    let points = SyntheticPoints(self, seed: seed)
    let bytes = (0..<count).flatMap { index in
      let (label, coordinates) = points.example(index, of: part)
      return [label] + coordinates
    }
    return ExampleTable(copying: bytes, recordByteCount: 3, classes: classNames.count)
  }
}

/// The points of a set, as many of each class in any range of even length, uniform over its region.
struct SyntheticPoints: SyntheticExamples {
  private let set: PlaneSet
  private let seed: UInt64

  init(_ set: PlaneSet, seed: UInt64) { (self.set, self.seed) = (set, seed) }

  func append(_ index: Int, of part: Dataset.Part, to file: RecordFile) throws(Failure) {
    let (label, coordinates) = example(index, of: part)
    try file.append(label: label, pixels: coordinates)
  }

  /// The label, and the bytes x and y.
  func example(_ index: Int, of part: Dataset.Part) -> (label: UInt8, coordinates: [UInt8]) {
    var order: [UInt32] = [0, 1]
    var labels = RandomSequence(seed: seed, .labels, part: part, index: index / 2)
    labels.shuffle(&order)
    let label = UInt8(order[index % 2])
    var random = RandomSequence(seed: seed, .image, part: part, index: index)
    while true {
      // Both classes cover a fifth of the plane or more, so few points are thrown away.
      let word = random.next()
      let (x, y) = (UInt8(truncatingIfNeeded: word), UInt8(truncatingIfNeeded: word >> 8))
      if set.label(x: x, y: y) == label { return (label, [x, y]) }
    }
  }
}
