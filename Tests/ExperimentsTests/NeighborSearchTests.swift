import CKernels
import Datasets
import Experiments
import Foundation
import Optimization
import TestSupport
import Testing

/// A linear congruential generator: the same bytes in every run.
private struct Bytes {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next(below bound: UInt64 = 256) -> UInt8 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return UInt8((state >> 33) % bound)
  }

  mutating func table(_ examples: Int, pixels: Int, _ value: (inout Bytes, Int) -> UInt8) -> ExampleTable {
    var records: [UInt8] = []
    for _ in 0..<examples {
      records.append(next(below: 10))
      for pixel in 0..<pixels { records.append(value(&self, pixel)) }
    }
    return .inMemory(records, recordSize: pixels + 1)
  }
}

private func all(_ table: ExampleTable) -> ExampleSet { ExampleSet(table, 0..<UInt32(table.count)) }

/// The definition.
private func byDefinition(_ kind: Distance, _ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, _ pixels: Int)
  -> Int64
{
  (1...pixels).reduce(0) { sum, index in
    let difference = abs(Int64(a[index]) - Int64(b[index]))
    return sum + (kind == .l1 ? difference : difference * difference)
  }
}

private func nearest(
  _ k: Int, _ kind: Distance, _ queries: ExampleSet, _ examples: ExampleSet, _ pixels: Int
) -> [[Neighbor]] {
  queries.indices.map { query in
    let found = examples.indices.map { index in
      let (a, b) = (queries.table.record(at: Int(query)), examples.table.record(at: Int(index)))
      return Neighbor(distance: byDefinition(kind, a, b, pixels), index: index)
    }
    return Array(found.sorted { ($0.distance, $0.index) < ($1.distance, $1.index) }.prefix(k))
  }
}

@Suite struct NeighborSearchTests {
  // MARK: Kernels

  @Test(arguments: KernelVariant.supported)
  func `the L1 distance of the slides' two images is 456`(variant: KernelVariant) {
    // CS231n, "Image Classification": a test image and a training image of 4 × 4 pixels.
    let test: [UInt8] = [56, 32, 10, 18, 90, 23, 128, 133, 24, 26, 178, 200, 2, 0, 255, 220]
    let training: [UInt8] = [10, 20, 24, 17, 8, 10, 89, 100, 12, 16, 178, 170, 4, 32, 233, 112]
    let table = ExampleTable.inMemory([0] + test + [0] + training, recordSize: 17)
    let shape = InputShape(width: 4, height: 4, channels: 1)
    func found(_ distance: Distance) -> Double {
      let search = NeighborSearch(distance, shape: shape, kernel: variant)
      let nearest = search.nearest(1, of: ExampleSet(table, [0]), among: ExampleSet(table, [1]))
      return distance.value(of: nearest[0][0].distance)
    }
    #expect(found(.l1) == 456)
    // numpy.linalg.norm of the difference.
    #expect(abs(found(.l2) - 162.111_073) < 1e-6)
  }

  @Test(arguments: KernelVariant.supported, Distance.allCases)
  func `distances are those of the definition, whatever the sizes and the alignment`(
    variant: KernelVariant, kind: Distance
  ) throws {
    let memory = try #require(descent_distance_memory_create())
    defer { descent_distance_memory_destroy(memory) }
    let kernel = variant.functions.pointee
    var bytes = Bytes(seed: 1)
    for pixels in Array(1...100) + [511, 512, 513, 1_024, 1_025, 2_055, 3_072] {
      // The largest differences are among them.
      let table = bytes.table(3 + pixels % 37, pixels: pixels) { bytes, _ in
        bytes.next(below: 4) == 0 ? 255 : bytes.next(below: 3)
      }
      let queryCount = 1 + pixels % 17
      let queries = (0..<queryCount).map { Optional(table.record(at: $0 % table.count)) }
      let examples = (0..<table.count).map { Optional(table.record(at: $0)) }
      var found = [Int64](repeating: -1, count: queryCount * table.count)
      kernel.distances(kind.kernelDistance, memory, queries, queryCount, examples, table.count, pixels, &found)
      for (index, distance) in found.enumerated() {
        let (a, b) = (queries[index / table.count], examples[index % table.count])
        let expected = byDefinition(kind, try #require(a), try #require(b), pixels)
        #expect(distance == expected)
        #expect(kernel.distance(kind.kernelDistance, a, b, pixels) == expected)
      }
    }
  }

  @Test(arguments: KernelVariant.supported)
  func `the largest examples overflow nothing`(variant: KernelVariant) throws {
    let pixels = InputShape.allowedPixels.upperBound
    let records = [0] + [UInt8](repeating: 0, count: pixels) + [1] + [UInt8](repeating: 255, count: pixels)
    let table = ExampleTable.inMemory(records, recordSize: pixels + 1)
    for kind in Distance.allCases {
      let expected = Int64(pixels) * (kind == .l1 ? 255 : 255 * 255)
      let (black, white) = (ExampleSet(table, [0]), ExampleSet(table, [1]))
      let values = InputShape(width: 1, height: 1, channels: pixels)
      let search = NeighborSearch(kind, shape: values, kernel: variant)
      #expect(search.nearest(1, of: black, among: white) == [[Neighbor(distance: expected, index: 1)]])
      let kernel = variant.functions.pointee
      #expect(kernel.distance(kind.kernelDistance, table.record(at: 0), table.record(at: 1), pixels) == expected)
      // By averages of squares of up to 64 × 64 pixels.
      let picture = InputShape(width: 1_024, height: 1_024, channels: 1)
      let fast = NeighborSearch(kind, shape: picture, kernel: variant)
      #expect(fast.nearest(1, of: black, among: white) == [[Neighbor(distance: expected, index: 1)]])
    }
  }

  @Test(arguments: KernelVariant.supported)
  func `averages are rounded to nearest, and what fills no square is left out`(variant: KernelVariant) {
    // Two planes of 5 × 3 pixels: squares of 2 × 2 leave out a column and a row.
    let record: [UInt8] = [9, 1, 2, 255, 255, 7, 3, 3, 255, 254, 7, 7, 7, 7, 7, 7] + [UInt8](0..<15)
    var averages = [UInt8](repeating: 77, count: 5)
    variant.functions.pointee.block_averages(record, 5, 3, 2, 2, &averages)
    // (1 + 2 + 3 + 3) / 4 = 2.25, (255 + 255 + 255 + 254) / 4 = 254.75, (0 + 1 + 5 + 6) / 4 = 3, (2 + 3 + 7 + 8) / 4 = 5.
    #expect(averages == [2, 255, 3, 5, 77])
    let halves: [UInt8] = [9, 0, 1, 1, 0]
    variant.functions.pointee.block_averages(halves, 2, 2, 1, 2, &averages)
    #expect(averages[0] == 1)
  }

  // MARK: Search

  /// Examples for which the bounds of the averages are tight, or say nothing, and many that are equally far.
  private static func tables(_ shape: InputShape) -> [(name: String, ExampleTable)] {
    var bytes = Bytes(seed: 7)
    let pixels = shape.pixels
    var level: UInt8 = 0
    return [
      ("noise", bytes.table(70, pixels: pixels) { bytes, _ in bytes.next() }),
      ("two levels", bytes.table(70, pixels: pixels) { bytes, _ in bytes.next(below: 2) }),
      // One brightness each, and now and then a pixel one brighter.
      (
        "flat",
        bytes.table(70, pixels: pixels) { bytes, pixel in
          if pixel == 0 { level = 100 + bytes.next(below: 6) }
          return level + (bytes.next(below: 9) == 0 ? 1 : 0)
        }
      ),
      // Half of the pixels brighter: the averages are rounded up from a half.
      (
        "halves",
        bytes.table(70, pixels: pixels) { bytes, pixel in
          if pixel == 0 { level = bytes.next(below: 12) }
          return level + UInt8(pixel % 2)
        }
      ),
    ]
  }

  @Test(
    arguments: [
      InputShape(width: 16, height: 16, channels: 1), InputShape(width: 32, height: 32, channels: 3),
      InputShape(width: 17, height: 35, channels: 3), InputShape(width: 1, height: 1, channels: 2),
    ])
  func `the neighbours are those of comparing everything, the smaller number first where two are equally far`(
    shape: InputShape
  ) {
    for (name, table) in Self.tables(shape) {
      let (queries, examples) = (ExampleSet(table, 0..<23), ExampleSet(table, (10..<70).reversed()))
      for kind in Distance.allCases {
        for k in [1, 5, 60] {
          let expected = nearest(k, kind, queries, examples, shape.pixels)
          for variant in KernelVariant.supported {
            for threads in [1, 3] {
              let search = NeighborSearch(kind, shape: shape, kernel: variant, threads: threads)
              #expect(search.nearest(k, of: queries, among: examples) == expected, "\(name), \(kind), k = \(k)")
            }
          }
        }
      }
    }
  }

  @Test func `more queries and examples than are compared at a time`() {
    var bytes = Bytes(seed: 3)
    let table = bytes.table(1_100, pixels: 2) { bytes, _ in bytes.next(below: 30) }
    let search = NeighborSearch(.l2, shape: InputShape(pixels: 2), kernel: .best, threads: 2)
    #expect(search.nearest(7, of: all(table), among: all(table)) == nearest(7, .l2, all(table), all(table), 2))
  }

  // MARK: scikit-learn

  private struct Reference: Decodable {
    let classes: String
    let distances: [Int64]
    let tied: [Int]
  }

  @Test(.enabled(if: RealData.directory != nil, "DESCENT_DATA is not set"), arguments: Distance.allCases)
  func `scikit-learn finds the same neighbours`(kind: Distance) throws {
    let directory = try #require(RealData.directory)
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Reference/neighbors.json")
    let references = try JSONDecoder().decode([String: Reference].self, from: Data(contentsOf: file))
    let reference = try #require(references[kind.rawValue])
    let training = try Dataset(directory: directory, part: .training).examples
    let test = try Dataset(directory: directory, part: .test).examples
    let found = NeighborSearch(kind, shape: .cifar10, kernel: .best).nearest(
      1, of: ExampleSet(test, 0..<1_000), among: ExampleSet(training, 0..<5_000))
    #expect(found.map { $0[0].distance } == reference.distances)
    for (query, label) in reference.classes.enumerated() where !reference.tied.contains(query) {
      #expect("\(training.label(at: Int(found[query][0].index)))" == "\(label)", "test example \(query)")
    }
    #expect(reference.tied.count < 10)
  }
}
