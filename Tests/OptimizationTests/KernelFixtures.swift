import CKernels
import Optimization
import TestSupport
import Testing

private let pixels = Int(DESCENT_PIXELS)
private let classes = Int(DESCENT_CLASSES)
private let parameterCount = Int(DESCENT_PARAMETERS)

/// One variant's functions around arrays.
struct Kernel {
  let functions: descent_kernel

  init(_ variant: KernelVariant) { functions = variant.functions.pointee }

  func withWorkspace<Result>(_ problem: Problem, _ body: (OpaquePointer?) -> Result) -> Result {
    let workspace = descent_workspace_create(
      [pixels, classes], 1, DESCENT_IDENTITY, 0, problem.records.count, problem.mean)
    defer { descent_workspace_destroy(workspace) }
    return body(workspace)
  }

  func scores(_ problem: Problem) -> [Float] {
    var scores = [Float](repeating: 0, count: problem.records.count * classes)
    withWorkspace(problem) {
      functions.scores($0, problem.parameters, problem.records, problem.records.count, &scores)
    }
    return scores
  }

  func gradient(_ problem: Problem, shards: Range<Int>, of count: Int, loss: descent_loss, scale: Float) -> Gradient {
    let examples = problem.records.count / count
    var gradient = Gradient(sum: [Int32](repeating: .min, count: parameterCount))
    let isBounded = Loss.bounded.contains { $0.kernelLoss == loss }
    withWorkspace(problem) { workspace in
      gradient.peaks.withUnsafeMutableBufferPointer { peaks in
        functions.gradient(
          workspace, problem.parameters, Array(problem.records[(shards.lowerBound * examples)...]), shards.count,
          examples, loss, 1, nil, [scale, scale], &gradient.sum, &gradient.statistics,
          isBounded ? nil : peaks.baseAddress)
      }
    }
    return gradient
  }

  func evaluate(_ problem: Problem, loss: descent_loss) -> Confusion {
    var confusion = Confusion(counts: [Int64](repeating: 0, count: classes * classes))
    withWorkspace(problem) {
      functions.evaluate(
        $0, problem.parameters, problem.records, problem.records.count, loss, 1, &confusion.counts,
        &confusion.statistics)
    }
    return confusion
  }

  /// Loss, derivatives and finiteness of one example.
  func loss(_ loss: descent_loss, scores: [Float], label: UInt8) -> (Double, [Float], descent_statistics) {
    var derivatives = [Float](repeating: .nan, count: classes)
    var statistics = descent_statistics()
    functions.loss_gradient(loss, 1, classes, scores, [label], 1, &derivatives, &statistics)
    return (Double(statistics.loss_sum) / 0x1p24, derivatives, statistics)
  }
}

struct Gradient: Equatable {
  var sum: [Int32]
  var statistics = descent_statistics()
  var peaks: [Int8] = [0, 0]

  static func == (left: Gradient, right: Gradient) -> Bool {
    left.sum == right.sum && left.statistics.loss_sum == right.statistics.loss_sum
      && left.statistics.correct == right.statistics.correct
      && left.statistics.is_finite == right.statistics.is_finite
      && left.peaks == right.peaks
  }
}

struct Confusion {
  var counts: [Int64]
  var statistics = descent_statistics()
}

/// Random records at odd addresses, a mean image and parameters of a size that gives scores of a few units.
struct Problem {
  let mean: [Float]
  var parameters: [Float]
  var records: [UnsafePointer<UInt8>?]
  let table: ExampleTable

  init(examples: Int, seed: UInt64) {
    var random = RandomSequence(Philox4x64(seed: seed, stream: .gradientCheck))
    func byte() -> UInt8 { UInt8(truncatingIfNeeded: random.next(below: 256)) }
    let bytes = (0..<examples).flatMap { _ in
      [UInt8(random.next(below: UInt64(classes)))] + (0..<pixels).map { _ in byte() }
    }
    let table = ExampleTable.inMemory(bytes)
    self.table = table
    records = (0..<examples).map { table.record(at: $0) }
    mean = (0..<pixels).map { _ in 100 + Float(byte()) / 8 }
    parameters = (0..<parameterCount).map { _ in (Float(byte()) - 127.5) / 4_000 }
  }

  /// All examples, as the reference trainer sees them.
  var minibatch: [ReferenceTrainer.Example] { table.minibatch(at: 0..<UInt32(table.count), meanImage: mean) }
}
