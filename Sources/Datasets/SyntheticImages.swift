import Diagnostics
import Optimization

/// The images of the synthetic set, each a pure function of (seed, part, index).
///
/// Patterns are values on a grid of nodes, 8 pixels apart, for each plane, and are interpolated bilinearly in between. For
/// CIFAR-10's shape these are 5 × 5 nodes: 75 numbers decide an image up to its noise, much as a few low frequencies hold
/// most of the variance of photographs.
struct SyntheticImages: SyntheticExamples {
  private static let patternsPerClass = 3

  private let seed: UInt64
  private let shape: InputShape
  private let classes: Int
  private let nodesPerRow: Int
  private let nodesPerPlane: Int
  /// [class × pattern][plane × node], grey levels around 0.
  private let classPatterns: [[Int32]]

  init(_ shape: InputShape, classes: Int, seed: UInt64) {
    self.seed = seed
    self.shape = shape
    self.classes = classes
    nodesPerRow = (shape.width + 7) / 8 + 1
    nodesPerPlane = nodesPerRow * ((shape.height + 7) / 8 + 1)
    let (planes, nodes) = (shape.channels, nodesPerPlane)
    var generator = RandomSequence(seed: seed, .classPatterns)
    classPatterns = (0..<classes * Self.patternsPerClass).map { _ in
      Self.softPattern(planes, nodes, brightness: 12, colour: 12, from: &generator)
    }
  }

  func append(_ index: Int, of part: Dataset.Part, to file: RecordFile) throws(Failure) {
    let label = label(index, of: part)
    var generator = RandomSequence(seed: seed, .image, part: part, index: index)
    let choice = Int(generator.next(below: UInt64(Self.patternsPerClass)))
    let classPattern = classPatterns[label * Self.patternsPerClass + choice]
    var nodes = Self.softPattern(shape.channels, nodesPerPlane, brightness: 45, colour: 20, from: &generator)
    for node in nodes.indices {
      nodes[node] += classPattern[node] + 128
    }
    try file.append(label: UInt8(label)) { (bytes) in
      for plane in 0..<shape.channels {
        let first = plane * nodesPerPlane
        appendPlane(nodes[first..<first + nodesPerPlane], to: &bytes, noise: &generator)
      }
    }
  }

  /// Every K consecutive examples are the K classes in a random order, so that classes are balanced in any
  /// range of a file and a label does not follow from its index.
  private func label(_ index: Int, of part: Dataset.Part) -> Int {
    var generator = RandomSequence(seed: seed, .labels, part: part, index: index / classes)
    var order = (0..<UInt32(classes)).map(\.self)
    generator.shuffle(&order)
    return Int(order[index % classes])
  }

  /// Random node values: one bell-shaped number for all planes and one for each, with the given standard
  /// deviations in grey levels.
  private static func softPattern(
    _ planes: Int, _ nodesPerPlane: Int, brightness: Int32, colour: Int32, from generator: inout RandomSequence
  ) -> [Int32] {
    var nodes = [Int32](repeating: 0, count: planes * nodesPerPlane)
    for node in 0..<nodesPerPlane {
      let common = generator.nextBellShaped(scale: brightness)
      for plane in 0..<planes {
        nodes[plane * nodesPerPlane + node] = common + generator.nextBellShaped(scale: colour)
      }
    }
    return nodes
  }

  /// Interpolates one plane between its nodes, adds uniform noise of −16 to 15 and clips to a byte.
  private func appendPlane(
    _ nodes: ArraySlice<Int32>, to records: inout [UInt8], noise generator: inout RandomSequence
  ) {
    for row in 0..<shape.height {
      let (cellRow, down) = (row / 8, Int32(row % 8 * 2 + 1))  // in sixteenths of a cell
      var noise: UInt64 = 0
      for column in 0..<shape.width {
        let (cellColumn, right) = (column / 8, Int32(column % 8 * 2 + 1))
        let corner = nodes.startIndex + cellRow * nodesPerRow + cellColumn
        let upper = nodes[corner] * (16 - right) + nodes[corner + 1] * right
        let lower = nodes[corner + nodesPerRow] * (16 - right) + nodes[corner + nodesPerRow + 1] * right
        if column % 8 == 0 { noise = generator.next() }
        let value = (upper * (16 - down) + lower * down) >> 8 + Int32(noise & 31) - 16
        noise >>= 8
        records.append(UInt8(clamping: value))
      }
    }
  }
}

/// Random numbers for one purpose: the patterns of the classes, the order of some labels, or one image.
enum SyntheticPurpose: UInt64 {
  case classPatterns = 0
  case labels = 1
  case image = 2
}

extension RandomSequence {
  init(seed: UInt64, _ purpose: SyntheticPurpose, part: Dataset.Part = .training, index: Int = 0) {
    // The key's second word lies far above every `RandomStream`, so that training with the same seed shares
    // no numbers with the data. The raw values decide the bytes of the files: never renumber them.
    let stream = 1 << 32 + (part == .training ? 0 : 1) as UInt64
    self.init(
      Philox4x64(key: SIMD2(seed, stream)), epoch: purpose.rawValue, shard: UInt64(index))
  }

  /// A sum of eight bytes, which is close to a normal distribution; `scale` is its standard deviation.
  fileprivate mutating func nextBellShaped(scale: Int32) -> Int32 {
    let word = next()
    let sum = (0..<8).reduce(Int32(0)) { $0 + Int32(truncatingIfNeeded: word >> (8 * UInt64($1)) & 255) }
    // The sum has mean 8 · 127.5 = 1020 and standard deviation √(8 · (256² − 1) / 12) ≈ 209.
    return (sum - 1020) * scale / 209
  }
}
