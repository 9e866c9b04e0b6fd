import CKernels
import Datasets
import Diagnostics
import Optimization

/// The examples of a training set where they lie in memory, visited in an order that no cache can guess.
final class Workload {
  /// What the records are part of.
  private let owner: AnyObject
  let records: [UnsafePointer<UInt8>?]
  let mean: [Float]
  let parameters: [Float]

  /// - Parameter data: a directory in the format of CIFAR-10, whose files are mapped; nil for as many examples as CIFAR-10
  ///   has, made up, in the memory of this process.
  init(data: String?) throws(Failure) {
    let examples: [UnsafePointer<UInt8>?]
    if let data {
      let dataset = try CIFAR10Dataset(directory: data, part: .training)
      owner = dataset
      examples = (0..<dataset.count).map { dataset.examples.record(at: $0) }
      // Touches every page, too.
      mean = dataset.meanImage(over: (0..<UInt32(dataset.count)).map { $0 })
    } else {
      let bytes = MadeUpRecords()
      owner = bytes
      examples = bytes.records
      mean = (0..<Int(DESCENT_PIXELS)).map { 100 + Float($0 % 50) }
    }
    var random = RandomSequence(Philox4x64(seed: 1, stream: .minibatchOrder))
    var order = [UInt32](0..<UInt32(examples.count))
    random.shuffle(&order)
    records = order.map { examples[Int($0)] }
    var numbers = SimpleGenerator()
    parameters = (0..<Int(DESCENT_PARAMETERS)).map { _ in (Float(numbers.next() % 255) - 127) / 10_000 }
  }

  func pixel(_ record: Int, _ index: Int) -> Double { Double(records[record].unsafelyUnwrapped[1 + index]) }
  func label(_ record: Int) -> Int { Int(records[record].unsafelyUnwrapped.pointee) }
}

/// As many records as CIFAR-10's training set has, of made-up bytes.
private final class MadeUpRecords {
  private static let recordSize = 1 + Int(DESCENT_PIXELS)
  private static let count = 50_000
  private let bytes: UnsafeMutablePointer<UInt8>

  init() {
    bytes = .allocate(capacity: Self.count * Self.recordSize)
    var numbers = SimpleGenerator()
    for offset in 0..<(Self.count * Self.recordSize) { bytes[offset] = UInt8(truncatingIfNeeded: numbers.next()) }
    for example in 0..<Self.count {
      bytes[example * Self.recordSize] = UInt8(numbers.next() % UInt64(DESCENT_CLASSES))
    }
  }

  deinit { bytes.deallocate() }

  var records: [UnsafePointer<UInt8>?] { (0..<Self.count).map { UnsafePointer(bytes + $0 * Self.recordSize) } }
}

/// Numbers of 31 bits without any pattern that matters here (Knuth's multiplier for MMIX).
private struct SimpleGenerator {
  private var state: UInt64 = 1

  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state >> 33
  }
}

/// A gradient kernel over the workload that moves on to other examples with every run.
final class GradientRun {
  static let scale: Float = 0x1p18

  let workload: Workload
  let loss: Loss
  let shards: Int
  let examplesPerShard: Int
  private let workspace: OpaquePointer?
  private(set) var sum = [Int32](repeating: 0, count: Int(DESCENT_PARAMETERS))
  private var position = 0

  init(_ workload: Workload, kernel: OpaquePointer, loss: Loss, shards: Int, examplesPerShard: Int) {
    self.workload = workload
    self.loss = loss
    self.shards = shards
    self.examplesPerShard = examplesPerShard
    workspace = descent_workspace_create(kernel, shards * examplesPerShard, workload.mean)
  }

  deinit { descent_workspace_destroy(workspace) }

  var examples: Int { shards * examplesPerShard }

  func run() {
    compute(from: position)
    position += examples
    if position + examples > workload.records.count { position = 0 }
  }

  private func compute(from first: Int) {
    var statistics = descent_statistics()
    workload.records.withUnsafeBufferPointer { records in
      descent_gradient(
        workspace, workload.parameters, records.baseAddress.unsafelyUnwrapped + first, shards, examplesPerShard,
        loss.kernelLoss, Self.scale, &sum, &statistics)
    }
  }

  /// Compares the bias gradient and some pixels' weight gradient with double precision, one example at a time.
  func verify() -> String? {
    compute(from: 0)
    let (classes, pixels) = (Int(DESCENT_CLASSES), Int(DESCENT_PIXELS))
    let chosen = [0, 1, 15, 16, 31, 1_000, pixels - 1]
    var expected = [Double](repeating: 0, count: classes * (chosen.count + 1))
    for record in 0..<examples {
      let input = (0..<pixels).map { (workload.pixel(record, $0) - Double(workload.mean[$0])) / 127.5 }
      let scores = (0..<classes).map { k in
        input.indices.reduce(Double(workload.parameters[classes * pixels + k])) {
          $0 + Double(workload.parameters[k * pixels + $1]) * input[$1]
        }
      }
      for (k, derivative) in loss(scores: scores, label: workload.label(record)).derivative.enumerated() {
        for (column, pixel) in chosen.enumerated() { expected[column * classes + k] += derivative * input[pixel] }
        expected[chosen.count * classes + k] += derivative
      }
    }
    let indices = chosen.flatMap { pixel in (0..<classes).map { $0 * pixels + pixel } }
    let biases = (classes * pixels)..<(classes * pixels + classes)
    let error = zip(indices + biases, expected).map { abs(Double(sum[$0]) / Double(Self.scale) - $1) }.max() ?? .nan
    // Half a unit per shard, and floats of size up to the sum's.
    let allowed = Double(shards) * 0x1p-19 + Double(examples) * 4e-6
    return error <= allowed ? nil : "the gradient differs from double precision by \(error), allowed \(allowed)"
  }
}
