import CKernels
import Optimization
import TestSupport

/// Random records, a mean image and parameters of a model of any shape, whose sums are of order 1.
struct NetworkProblem {
  let shape: ModelShape
  let mean: [Float]
  var parameters: [Float]
  var records: [UnsafePointer<UInt8>?]
  let table: ExampleTable

  init(_ shape: ModelShape, examples: Int, seed: UInt64 = 1) {
    var random = SplitMix(state: seed)
    var bytes = [UInt8](repeating: 0, count: examples * (shape.pixels + 1))
    for index in bytes.indices {
      bytes[index] = UInt8(truncatingIfNeeded: random.next() >> 40)
      if index % (shape.pixels + 1) == 0 { bytes[index] %= UInt8(truncatingIfNeeded: min(shape.classes, 255)) }
    }
    let table = ExampleTable.inMemory(bytes, recordSize: shape.pixels + 1, classes: shape.classes)
    var parameters = [Float](repeating: 0, count: shape.parameterCount)
    for layer in shape.layers {
      let width = 4 / Double(layer.inputs + 1).squareRoot()
      for index in layer.weight.lowerBound..<layer.bias.upperBound {
        parameters[index] = Float((random.unit() - 0.5) * width)
      }
    }
    self.shape = shape
    self.table = table
    self.parameters = parameters
    records = (0..<examples).map { table.record(at: $0) }
    mean = (0..<shape.pixels).map { _ in Float(100 + 40 * random.unit()) }
  }
}

/// Steele, Lea and Flood 2014: quick, which `Philox4x64` is not in a debug build.
private struct SplitMix {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}

/// What a gradient is asked for beside parameters and examples.
struct NetworkTask {
  var loss = Loss.softmaxCrossEntropy
  var margin: Float = 1
  /// Equal parts of the examples.
  var shards = 1
  /// The shards that are summed; nil for all.
  var own: Range<Int>?
  /// Of each block; 16 for all if nil.
  var exponents: [Int]?
  var dropout: (mask: DropoutMask, step: UInt64, examples: [UInt32])?

  func scales(_ shape: ModelShape) -> [Float] {
    shape.blocks.indices.map { Float(sign: .plus, exponent: exponents?[$0] ?? 16, significand: 1) }
  }
}

struct NetworkGradient: Equatable {
  var sum: [Int32]
  var peaks: [Int8]
  var lossSum: Int64 = 0
  var correct: Int64 = 0
  var isFinite = true
}

extension Kernel {
  func withWorkspace<Result>(_ problem: NetworkProblem, capacity: Int, _ body: (OpaquePointer?) -> Result) -> Result {
    let shape = problem.shape
    let workspace = descent_workspace_create(
      [shape.pixels] + shape.hidden + [shape.classes], shape.layers.count, shape.activation.kernelActivation,
      shape.activation.parameter ?? 0, capacity, problem.mean)
    defer { descent_workspace_destroy(workspace) }
    return body(workspace)
  }

  func gradient(_ problem: NetworkProblem, _ task: NetworkTask) -> NetworkGradient {
    let (shape, examples) = (problem.shape, problem.records.count / task.shards)
    let own = task.own ?? 0..<task.shards
    let first = own.lowerBound * examples
    var sum = [Int32](repeating: .min, count: shape.parameterCount)
    var peaks = [Int8](repeating: 99, count: shape.blockCount)
    var statistics = descent_statistics()
    let numbers = Array((task.dropout?.examples ?? []).dropFirst(first))
    withWorkspace(problem, capacity: own.count * examples) { workspace in
      numbers.withUnsafeBufferPointer { numbers in
        var dropout =
          numbers.baseAddress.flatMap { task.dropout?.mask.kernelDropout(examples: $0) } ?? descent_dropout()
        dropout.step = task.dropout?.step ?? 0
        withUnsafePointer(to: dropout) { dropout in
          functions.gradient(
            workspace, problem.parameters, Array(problem.records[first...]), own.count, examples, task.loss.kernelLoss,
            task.margin, task.dropout == nil ? nil : dropout, task.scales(shape), &sum, &statistics, &peaks)
        }
      }
    }
    return NetworkGradient(
      sum: sum, peaks: peaks, lossSum: statistics.loss_sum, correct: statistics.correct, isFinite: statistics.is_finite)
  }

  func scores(_ problem: NetworkProblem) -> [Float] {
    var scores = [Float](repeating: 0, count: problem.records.count * problem.shape.classes)
    withWorkspace(problem, capacity: 70) {
      functions.scores($0, problem.parameters, problem.records, problem.records.count, &scores)
    }
    return scores
  }

  func evaluate(_ problem: NetworkProblem, _ task: NetworkTask, capacity: Int = 70) -> Confusion {
    var confusion = Confusion(counts: [Int64](repeating: 0, count: problem.shape.classes * problem.shape.classes))
    withWorkspace(problem, capacity: capacity) {
      functions.evaluate(
        $0, problem.parameters, problem.records, problem.records.count, task.loss.kernelLoss, task.margin,
        &confusion.counts, &confusion.statistics)
    }
    return confusion
  }

  func activate(_ activation: Activation, _ z: [Float]) -> (values: [Float], derivatives: [Float]) {
    var (values, derivatives) = (z, z)
    functions.activate(
      activation.kernelActivation, activation.parameter ?? 0, z, &values, &derivatives, z.count)
    return (values, derivatives)
  }
}

/// The definition of a network's gradient, in loops of one line each: every element a chain of fused multiply-adds over
/// inputs, units or examples in rising order. Losses and activations are the kernels', which other tests compare with double
/// precision.
struct ChainedGradient {
  let problem: NetworkProblem
  let task: NetworkTask
  private let kernel = Kernel(.portable)
  private var shape: ModelShape { problem.shape }

  init(_ problem: NetworkProblem, _ task: NetworkTask) {
    (self.problem, self.task) = (problem, task)
  }

  /// The gradient of each shard in units of the scales, before it is rounded.
  func shards() -> [[Float]] {
    let examples = problem.records.count / task.shards
    return (task.own ?? 0..<task.shards).map { shard in
      var gradient = [Float](repeating: 0, count: shape.parameterCount)
      for example in (shard * examples)..<((shard + 1) * examples) { add(example, to: &gradient) }
      let scales = task.scales(shape)
      for (index, layer) in shape.layers.enumerated() {
        for bias in layer.bias { gradient[bias] *= scales[2 * index + 1] }
      }
      return gradient
    }
  }

  /// The sum and the peaks of all shards.
  func rounded() -> (sum: [Int32], peaks: [Int8]) {
    var sum = [Int32](repeating: 0, count: shape.parameterCount)
    var peaks = [Int8](repeating: .min, count: shape.blockCount)
    for shard in shards() {
      for (block, range) in shape.blocks.map(\.range).enumerated() {
        for index in range {
          let element = shard[index]
          sum[index] &+= element.magnitude < 0x1p31 ? Int32(element.rounded(.toNearestOrEven)) : .min
          if element != 0 {
            let bits = element.isFinite ? max(-126, Int(element.exponent) + 1) : 127
            peaks[block] = max(peaks[block], Int8(min(bits, 127)))
          }
        }
      }
    }
    return (sum, peaks)
  }

  private func add(_ example: Int, to gradient: inout [Float]) {
    let (inputs, slopes, scores) = forward(example)
    let label = problem.table.record(at: example)[0]
    var delta = [Float](repeating: 0, count: shape.classes)
    var statistics = descent_statistics()
    kernel.functions.loss_gradient(
      task.loss.kernelLoss, task.margin, shape.classes, scores, [label], 1, &delta, &statistics)
    let scales = task.scales(shape)
    for (index, layer) in shape.layers.enumerated().reversed() {
      var before = [Float](repeating: 0, count: index == 0 ? 0 : layer.inputs)
      let scaled = delta.map { $0 * scales[2 * index] }
      problem.parameters.withUnsafeBufferPointer { w in
        gradient.withUnsafeMutableBufferPointer { gradient in
          inputs[index].withUnsafeBufferPointer { x in
            for unit in 0..<layer.outputs {
              let row = layer.weight.lowerBound + unit * layer.inputs
              gradient[layer.bias.lowerBound + unit] += delta[unit]
              let (d, s) = (delta[unit], scaled[unit])
              for k in 0..<layer.inputs { gradient[row + k] = gradient[row + k].addingProduct(s, x[k]) }
              for k in before.indices { before[k] = before[k].addingProduct(w[row + k], d) }
            }
          }
        }
      }
      if index > 0 { delta = zip(before, slopes[index - 1]).map { $0 * $1 } }
    }
  }

  /// What each layer sees, the derivatives of the hidden units, and the scores.
  private func forward(_ example: Int) -> (inputs: [[Float]], slopes: [[Float]], scores: [Float]) {
    let pixels = problem.table.record(at: example) + 1
    var inputs = [(0..<shape.pixels).map { (Float(pixels[$0]) - problem.mean[$0]) * (1 / 127.5) }]
    var slopes: [[Float]] = []
    for (index, layer) in shape.layers.enumerated() {
      let z = problem.parameters.withUnsafeBufferPointer { w in
        inputs[index].withUnsafeBufferPointer { x in
          (0..<layer.outputs).map { unit in
            let row = layer.weight.lowerBound + unit * layer.inputs
            var sum = w[layer.bias.lowerBound + unit]
            for k in 0..<layer.inputs { sum = sum.addingProduct(w[row + k], x[k]) }
            return sum
          }
        }
      }
      if index == shape.hidden.count { return (inputs, slopes, z) }
      var (values, derivatives) = kernel.activate(shape.activation, z)
      if let (mask, step, numbers) = task.dropout {
        for unit in z.indices {
          let isKept = mask.keeps(step: step, example: numbers[example], layer: index, unit: unit)
          values[unit] = isKept ? values[unit] * mask.factor : 0
          derivatives[unit] = isKept ? derivatives[unit] * mask.factor : 0
        }
      }
      inputs.append(values)
      slopes.append(derivatives)
    }
    return (inputs, slopes, [])
  }
}
