import Optimization

/// The images of the synthetic set, each a pure function of (seed, part, index).
///
/// Patterns are values on a grid of 5 × 5 nodes, 8 pixels apart, for each colour plane, and are interpolated
/// bilinearly in between: 75 numbers decide an image up to its noise, much as a few low frequencies hold most of
/// the variance of photographs.
struct SyntheticImages {
  private static let nodesPerSide = 5
  private static let nodesPerPlane = nodesPerSide * nodesPerSide
  private static let planeCount = 3
  private static let patternsPerClass = 3

  private let seed: UInt64
  /// [class × pattern][plane × node], grey levels around 0.
  private let classPatterns: [[Int32]]

  init(seed: UInt64) {
    self.seed = seed
    var generator = RandomSequence(seed: seed, .classPatterns)
    classPatterns = (0..<CIFAR10Format.classCount * Self.patternsPerClass).map { _ in
      Self.softPattern(brightness: 12, colour: 12, from: &generator)
    }
  }

  /// Appends the 3,073 bytes of one example.
  func appendRecord(_ index: Int, of part: CIFAR10Dataset.Part, to records: inout [UInt8]) {
    let label = label(index, of: part)
    var generator = RandomSequence(seed: seed, .image, part: part, index: index)
    let choice = Int(generator.next(below: UInt64(Self.patternsPerClass)))
    let classPattern = classPatterns[label * Self.patternsPerClass + choice]
    var nodes = Self.softPattern(brightness: 45, colour: 20, from: &generator)
    for node in nodes.indices {
      nodes[node] += classPattern[node] + 128
    }
    records.append(UInt8(label))
    for plane in 0..<Self.planeCount {
      let first = plane * Self.nodesPerPlane
      Self.appendPlane(nodes[first..<first + Self.nodesPerPlane], to: &records, noise: &generator)
    }
  }

  /// Every ten consecutive examples are the ten classes in a random order, so that classes are balanced in any
  /// range of a file and a label does not follow from its index.
  private func label(_ index: Int, of part: CIFAR10Dataset.Part) -> Int {
    let classes = CIFAR10Format.classCount
    var generator = RandomSequence(seed: seed, .labels, part: part, index: index / classes)
    var order = (0..<UInt32(classes)).map(\.self)
    generator.shuffle(&order)
    return Int(order[index % classes])
  }

  /// Random node values: one bell-shaped number for all planes and one for each, with the given standard
  /// deviations in grey levels.
  private static func softPattern(
    brightness: Int32, colour: Int32, from generator: inout RandomSequence
  ) -> [Int32] {
    var nodes = [Int32](repeating: 0, count: planeCount * nodesPerPlane)
    for node in 0..<nodesPerPlane {
      let common = generator.nextBellShaped(scale: brightness)
      for plane in 0..<planeCount {
        nodes[plane * nodesPerPlane + node] = common + generator.nextBellShaped(scale: colour)
      }
    }
    return nodes
  }

  /// Interpolates one plane between its nodes, adds uniform noise of −16 to 15 and clips to a byte.
  private static func appendPlane(
    _ nodes: ArraySlice<Int32>, to records: inout [UInt8], noise generator: inout RandomSequence
  ) {
    for row in 0..<CIFAR10Format.height {
      let (cellRow, down) = (row / 8, Int32(row % 8 * 2 + 1))  // in sixteenths of a cell
      var noise: UInt64 = 0
      for column in 0..<CIFAR10Format.width {
        let (cellColumn, right) = (column / 8, Int32(column % 8 * 2 + 1))
        let corner = nodes.startIndex + cellRow * nodesPerSide + cellColumn
        let upper = nodes[corner] * (16 - right) + nodes[corner + 1] * right
        let lower = nodes[corner + nodesPerSide] * (16 - right) + nodes[corner + nodesPerSide + 1] * right
        if column % 8 == 0 { noise = generator.next() }
        let value = (upper * (16 - down) + lower * down) >> 8 + Int32(noise & 31) - 16
        noise >>= 8
        records.append(UInt8(clamping: value))
      }
    }
  }
}

/// Random numbers for one purpose: the patterns of the classes, the order of ten labels, or one image.
private enum Purpose: UInt64 {
  case classPatterns = 0
  case labels = 1
  case image = 2
}

extension RandomSequence {
  fileprivate init(seed: UInt64, _ purpose: Purpose, part: CIFAR10Dataset.Part = .training, index: Int = 0) {
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
