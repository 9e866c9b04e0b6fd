import CKernels
import Datasets
import Files
import Optimization
import Synchronization

/// How far two examples are from each other, over their pixel bytes a and b.
public enum Distance: String, Sendable, CaseIterable {
  /// Σ |a − b|, the Manhattan distance.
  case l1
  /// √Σ (a − b)², the Euclidean distance. It is computed and compared as its square, which is an integer.
  case l2

  package var kernelDistance: descent_distance { self == .l1 ? DESCENT_L1 : DESCENT_SQUARED_L2 }

  /// The distance that an integer of the kernels stands for.
  package func value(of number: Int64) -> Double { self == .l1 ? Double(number) : Double(number).squareRoot() }
}

/// Examples of a table, by their numbers in it.
package struct ExampleSet: Sendable {
  package let table: ExampleTable
  /// Rising, so that the first of two at the same distance is the one with the smaller number.
  package let indices: [UInt32]

  package init(_ table: ExampleTable, _ indices: some Sequence<UInt32>) {
    self.table = table
    self.indices = indices.sorted()
  }

  package var count: Int { indices.count }

  fileprivate func record(_ position: Int) -> UnsafePointer<UInt8> { table.record(at: Int(indices[position])) }
}

/// An example near another one.
package struct Neighbor: Sendable, Equatable {
  /// Σ |a − b|, or Σ (a − b)².
  package let distance: Int64
  /// The number of the example in its table.
  package let index: UInt32

  package init(distance: Int64, index: UInt32) {
    self.distance = distance
    self.index = index
  }

  fileprivate func isFarther(than other: Neighbor) -> Bool { (distance, index) > (other.distance, other.index) }
}

/// Exact search for the nearest examples, on all processors.
///
/// Examples are compared by the averages of 4 × 4 pixels first (of larger squares in larger pictures): between the sums of
/// squares of n pixels, |Σa − Σb| ≤ Σ |a − b| and (Σa − Σb)² ≤ n Σ (a − b)², so these averages bound the distance from below.
/// Where the bound does not rule an example out, averages of 2 × 2 pixels are compared, and then all bytes. (Li and Salari
/// 1995, "Successive elimination algorithm for motion estimation".) What is found is what comparing all bytes would find.
package struct NeighborSearch: Sendable {
  package let distance: Distance
  package let kernel: KernelVariant
  private let shape: InputShape
  private let threads: Int

  /// - Parameter shape: that of the examples.
  package init(_ distance: Distance, shape: InputShape, kernel: KernelVariant, threads: Int = Processors.count) {
    self.distance = distance
    self.shape = shape
    self.kernel = kernel
    self.threads = threads
  }

  /// Of each query, in the order of `queries.indices`, the `k` nearest examples, the nearest first; of two at the same distance
  /// the one with the smaller number.
  ///
  /// - Parameters:
  ///   - k: 1 ... `examples.count`.
  ///   - progress: called with the number of queries that are done, on any thread, one call at a time.
  package func nearest(
    _ k: Int, of queries: ExampleSet, among examples: ExampleSet, progress: @Sendable (Int) -> Void = { _ in }
  ) -> [[Neighbor]] {
    precondition((1...max(1, examples.count)).contains(k), "there are no \(k) neighbours of \(examples.count)")
    let levels = sides.map { side in
      Level(
        distance, side: side, queries: bytes(of: queries, side: side), examples: bytes(of: examples, side: side))
    }
    // Blocks of one size, as many for every thread: the last ones end at the same time.
    let rounds = divide(queries.count, Int(DESCENT_DISTANCE_QUERIES) * threads)
    let size = max(1, divide(queries.count, max(1, rounds * threads)))
    let done = Mutex(0)
    let blocks = concurrentMap(divide(queries.count, size), threads: threads) { block in
      let range = block * size..<min((block + 1) * size, queries.count)
      var search = BlockSearch(k, range, levels, kernel.functions)
      search.run(over: examples)
      done.withLock {
        $0 += range.count
        progress($0)
      }
      return search.nearest
    }
    return Array(blocks.joined())
  }

  /// Of the squares whose averages are compared, one after the other; 1 for the bytes themselves.
  private var sides: [Int] {
    var sides = [1]
    while shape.isPicture, min(shape.width, shape.height) / sides[0] >= 16 { sides.insert(2 * sides[0], at: 0) }
    return sides
  }

  private func bytes(of set: ExampleSet, side: Int) -> ExampleBytes {
    let count = shape.channels * (shape.height / side) * (shape.width / side)
    if side == 1 {
      return ExampleBytes(records: set.indices.indices.map { set.record($0) }, count: count, owner: set.table)
    }
    let averages = Averages(byteCount: set.count * count + 1)
    let part = 1_024
    _ = concurrentMap(divide(set.count, part), threads: threads) { index in
      for position in index * part..<min((index + 1) * part, set.count) {
        kernel.functions.pointee.block_averages(
          set.record(position), shape.width, shape.height, shape.channels, side,
          averages.bytes + 1 + position * count)
      }
    }
    return ExampleBytes(
      records: (0..<set.count).map { UnsafePointer(averages.bytes + $0 * count) }, count: count, owner: averages)
  }

  private func divide(_ count: Int, _ size: Int) -> Int { (count + size - 1) / size }
}

/// Memory for averages. Each element is written by one thread, before the search begins.
private final class Averages: @unchecked Sendable {
  let bytes: UnsafeMutablePointer<UInt8>

  init(byteCount: Int) {
    bytes = .allocate(capacity: byteCount)
    bytes.initialize(repeating: 0, count: byteCount)
  }

  deinit { bytes.deallocate() }
}

/// What is compared of each example. Unchecked because pointers are not `Sendable`: `owner` keeps the bytes, and none are
/// written.
private struct ExampleBytes: @unchecked Sendable {
  /// Of each example, to the byte before its first one.
  let records: [UnsafePointer<UInt8>?]
  /// Bytes of an example.
  let count: Int
  let owner: any Sendable
}

/// The averages of squares of one size, and what they say about a distance.
private struct Level: Sendable {
  private let distance: Distance
  private let side: Int
  let queries: ExampleBytes
  let examples: ExampleBytes

  init(_ distance: Distance, side: Int, queries: ExampleBytes, examples: ExampleBytes) {
    (self.distance, self.side, self.queries, self.examples) = (distance, side, queries, examples)
  }

  var kind: descent_distance { distance.kernelDistance }

  /// That of a query and an example, by their positions.
  func distance(_ kernel: UnsafePointer<descent_kernel>, _ query: Int, _ example: Int) -> Int64 {
    kernel.pointee.distance(kind, queries.records[query], examples.records[example], examples.count)
  }

  /// The largest distance of averages that two examples at a distance of at most `limit` can have.
  ///
  /// A sum of n bytes is n times its average and a rest r, −n/2 ≤ r < n/2: two rests differ by less than n. Of m averages
  /// the L1 distance is therefore at most (limit + (n − 1) m) / n, and the L2 distance √limit / √n + √m.
  func largest(within limit: Int64) -> Int64 {
    if side == 1 || limit < 0 { return limit }
    let (n, m) = (Int64(side * side), Int64(examples.count))
    if distance == .l1 { return (limit + (n - 1) * m) / n }
    let root = Double(limit).squareRoot() / Double(side) + Double(m).squareRoot()
    // More than what rounding can take away: the squares are below 2⁵³.
    return Int64(root * root) + 2
  }
}

/// The search for the neighbours of some queries, by one thread.
private struct BlockSearch {
  private let range: Range<Int>
  private let levels: [Level]
  private let kernel: UnsafePointer<descent_kernel>
  private var heaps: [NearestHeap]
  /// Of each query and level, the largest distance of an example that may still be among the nearest.
  private var bounds: [Int64]

  /// Examples that are compared with all queries before the next ones: their bytes stay in a cache.
  private static let examplesAtATime = 512

  init(_ k: Int, _ range: Range<Int>, _ levels: [Level], _ kernel: UnsafePointer<descent_kernel>) {
    (self.range, self.levels, self.kernel) = (range, levels, kernel)
    heaps = Array(repeating: NearestHeap(capacity: k), count: range.count)
    bounds = Array(repeating: .max, count: range.count * levels.count)
  }

  var nearest: [[Neighbor]] { heaps.map(\.sorted) }

  mutating func run(over examples: ExampleSet) {
    if levels.count > 1 { estimateBounds(examples.count) }
    compareAll(examples.count) { search, query, position, distance in
      search.compare(query, position, examples.indices[position], distance)
    }
  }

  /// Sets the bounds by the distances of the examples whose averages are nearest: the k-th neighbour is not farther.
  private mutating func estimateBounds(_ count: Int) {
    let empty = heaps
    compareAll(count) { search, query, position, distance in
      search.heaps[query].insert(Neighbor(distance: distance, index: UInt32(position)))
      if let farthest = search.heaps[query].farthest {
        search.bounds[query * search.levels.count] = farthest.distance - 1
      }
    }
    for query in heaps.indices {
      let distances = heaps[query].elements.map { candidate in
        levels[levels.count - 1].distance(kernel, range.lowerBound + query, Int(candidate.index))
      }
      if let farthest = distances.max() { setBounds(query, farthest) }
    }
    heaps = empty
  }

  /// Compares all queries with all examples on the first level. `visit` is called for those within the bound, which it may
  /// change: by rising position for each query.
  private mutating func compareAll(
    _ count: Int, _ visit: (_ search: inout BlockSearch, _ query: Int, _ position: Int, _ distance: Int64) -> Void
  ) {
    guard let memory = descent_distance_memory_create() else { fatalError("no memory for distances") }
    let distances = UnsafeMutablePointer<Int64>.allocate(capacity: range.count * Self.examplesAtATime)
    defer {
      descent_distance_memory_destroy(memory)
      distances.deallocate()
    }
    let level = levels[0]
    let queries = Array(level.queries.records[range])
    for start in stride(from: 0, to: count, by: Self.examplesAtATime) {
      let records = Array(level.examples.records[start..<min(start + Self.examplesAtATime, count)])
      kernel.pointee.distances(
        level.kind, memory, queries, queries.count, records, records.count, level.examples.count, distances)
      for query in 0..<queries.count {
        let row = distances + query * records.count
        var bound = bounds[query * levels.count]
        for column in 0..<records.count where row[column] <= bound {
          visit(&self, query, start + column, row[column])
          bound = bounds[query * levels.count]
        }
      }
    }
  }

  /// Compares a query with an example, level after level. The first one has been compared already.
  private mutating func compare(_ query: Int, _ example: Int, _ index: UInt32, _ first: Int64) {
    var distance = first
    for number in 1..<max(1, levels.count) {
      distance = levels[number].distance(kernel, range.lowerBound + query, example)
      if distance > bounds[query * levels.count + number] { return }
    }
    heaps[query].insert(Neighbor(distance: distance, index: index))
    // At the same distance the smaller number is nearer, and that came first.
    if let farthest = heaps[query].farthest { setBounds(query, farthest.distance - 1) }
  }

  private mutating func setBounds(_ query: Int, _ limit: Int64) {
    for number in levels.indices { bounds[query * levels.count + number] = levels[number].largest(within: limit) }
  }
}

/// The nearest of the examples seen so far, as a binary heap with the farthest one first. Examples must arrive by rising
/// number.
private struct NearestHeap {
  private let capacity: Int
  private(set) var elements: [Neighbor] = []

  init(capacity: Int) { self.capacity = capacity }

  /// What a nearer example takes the place of; nil as long as there is room.
  var farthest: Neighbor? { elements.count == capacity ? elements[0] : nil }

  var sorted: [Neighbor] { elements.sorted { $1.isFarther(than: $0) } }

  mutating func insert(_ neighbor: Neighbor) {
    if elements.count < capacity {
      elements.append(neighbor)
      var child = elements.count - 1
      while child > 0, elements[child].isFarther(than: elements[(child - 1) / 2]) {
        elements.swapAt(child, (child - 1) / 2)
        child = (child - 1) / 2
      }
    } else {
      elements[0] = neighbor
      var parent = 0
      while 2 * parent + 1 < capacity {
        var child = 2 * parent + 1
        if child + 1 < capacity, elements[child + 1].isFarther(than: elements[child]) { child += 1 }
        guard elements[child].isFarther(than: elements[parent]) else { break }
        elements.swapAt(parent, child)
        parent = child
      }
    }
  }
}
