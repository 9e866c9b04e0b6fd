import Cluster
import Messaging
import Optimization

/// Computes a simulated cluster's gradients and evaluations.
protocol SimulatedBackend: GradientBackend {
  /// - Parameter parameters: Float32 [parameterCount], more may follow.
  func evaluate(_ split: EvaluationSplit, parameters: Payload) -> Evaluation
}

extension GradientBackend {
  /// A gradient as a worker pushes it: int32 [count].
  /// - Parameter parameters: Float32 [count], more may follow.
  func gradient(
    _ item: WorkItem, parameters: Payload, count: Int
  ) -> (gradient: Payload, statistics: MinibatchStatistics) {
    var statistics = MinibatchStatistics.zero
    let weights = parameters.elements(of: Float.self, count: count)
    let gradient = Payload(count: count * MemoryLayout<Int32>.stride) { target in
      guard let sum = target.bindMemory(to: Int32.self).baseAddress else { return }
      statistics = self.gradient(
        parameters: weights, step: item.step, shards: item.shards, scale: item.scale, into: sum)
    }
    return (gradient, statistics)
  }
}

/// Gradients of five elements a shard, drawn from (step, shard, bits of the weights). One of them is common to all
/// shards, so that sums meet.
final class SyntheticBackend: SimulatedBackend {
  /// That all 24 bits are for.
  private static let batchSize = 32

  private let plan: TrainingPlan
  private let count: Int
  private let generator: Philox4x64
  private let fingerprints: Fingerprints
  /// Bits of an element below those that are used: the proven scale of a larger minibatch leaves fewer for a shard, and what
  /// no examples can give is rejected.
  private let unusedBits: Int

  init(plan: TrainingPlan, fingerprints: Fingerprints) {
    self.plan = plan
    self.fingerprints = fingerprints
    count = plan.shape.parameterCount
    let times = plan.batchSize / Self.batchSize
    unusedBits = times > 1 && plan.hasProvenScale ? Int.bitWidth - times.leadingZeroBitCount - 1 : 0
    generator = Philox4x64(key: [plan.seed, 0x4752_4144])
  }

  func gradient(
    parameters: UnsafePointer<Float>, step: UInt64, shards: ShardSet, scale: FixedPointScale,
    into sum: UnsafeMutablePointer<Int32>
  ) -> MinibatchStatistics {
    let fingerprint = fingerprint(UnsafeRawBufferPointer(UnsafeBufferPointer(start: parameters, count: count)))
    let ceilings = plan.hasProvenScale ? [] : ceilings(parameters)
    var statistics = MinibatchStatistics.zero
    sum.initialize(repeating: 0, count: count)
    for shard in shards {
      let words = generator.block(at: [step, UInt64(shard), fingerprint, 0])
      var elements: [(index: Int, value: Int32)] = []
      for lane in 0..<4 {
        let value = (Int32(truncatingIfNeeded: words[lane] >> 40) - 0x80_0000) >> unusedBits
        elements.append((Int(words[lane] % UInt64(count)), value))
        if lane == 0 { elements.append((Int(step) % count, value)) }
      }
      if plan.hasProvenScale {
        for (index, value) in elements { sum[index] &+= value }
      } else {
        statistics.peaks = statistics.peaks.merged(with: add(elements, step, ceilings, scale, to: sum))
      }
      statistics += MinibatchStatistics(
        examples: plan.examplesPerShard, lossSum: Int64(words[0] >> 38),
        correct: Int(words[1] & 1), isFinite: true)
    }
    return statistics
  }

  /// For each block the largest element that a shard's gradient may have: never more than examples can give at these
  /// weights, or the push would be rejected.
  private func ceilings(_ parameters: UnsafePointer<Float>) -> [Double] {
    let bytes = UnsafeRawBufferPointer(UnsafeBufferPointer(start: parameters, count: count))
    return ParameterBounds(of: plan, at: bytes).largestElements.map { min($0, 64) }
  }

  /// Adds one shard's gradient, whose magnitude changes from step to step, over 24 powers of two up to the ceiling, which
  /// eight elements reach where they meet.
  private func add(
    _ elements: [(index: Int, value: Int32)], _ step: UInt64, _ ceilings: [Double], _ scale: FixedPointScale,
    to sum: UnsafeMutablePointer<Int32>
  ) -> GradientPeaks {
    let magnitude = Int(generator.block(at: [step, 0, 0, 3])[0] % 25) - 24
    var peaks = GradientPeaks.none
    for index in Set(elements.map(\.index)).sorted() {
      let total = elements.reduce(Int32(0)) { $1.index == index ? $0 &+ $1.value : $0 }
      let block = plan.shape.blocks.firstIndex { $0.range.contains(index) } ?? 0
      let value = Float(Double(total) * 0x1p-26 * ceilings[block])
      guard value != 0 else { continue }
      let element = Float(sign: .plus, exponent: magnitude + Int(scale.exponents[block]), significand: value)
      peaks.bits[block] = max(peaks.bits[block], Int8(clamping: Int(element.exponent) + 1))
      if element.magnitude < 0x1p31 { sum[index] &+= Int32(element.rounded(.toNearestOrEven)) }
    }
    return peaks
  }

  func evaluate(_ split: EvaluationSplit, parameters: Payload) -> Evaluation {
    let words = generator.block(at: [fingerprints.weights(of: parameters), 0, 0, split == .validation ? 1 : 2])
    let examples = max(1, plan.validationCount)
    let correct = Int(words[0] % UInt64(examples + 1))
    var confusion = [Int](repeating: 0, count: plan.shape.classes * plan.shape.classes)
    confusion[0] = correct
    confusion[1] = examples - correct
    return Evaluation(
      MinibatchStatistics(examples: examples, lossSum: Int64(words[1] >> 34), correct: correct), confusion: confusion)
  }
}

/// The real kernels on records drawn from the seed.
final class SyntheticRecordsBackend: SimulatedBackend {
  private let backend: KernelBackend
  private let evaluator: Evaluator
  private let split: DataSplit
  private let count: Int

  init(plan: TrainingPlan, kernel: KernelVariant) {
    let examples = SyntheticRecords.table(count: plan.exampleCount, seed: plan.seed)
    let mean = SyntheticRecords.meanImage(of: plan.shape)
    backend = KernelBackend(plan: plan, examples: examples, meanImage: mean, kernel: kernel)
    evaluator = Evaluator(
      shape: plan.shape, loss: plan.loss, margin: plan.margin, examples: examples, meanImage: mean, kernel: kernel)
    split = DataSplit(plan: plan)
    count = plan.shape.parameterCount
  }

  func gradient(
    parameters: UnsafePointer<Float>, step: UInt64, shards: ShardSet, scale: FixedPointScale,
    into sum: UnsafeMutablePointer<Int32>
  ) -> MinibatchStatistics {
    backend.gradient(parameters: parameters, step: step, shards: shards, scale: scale, into: sum)
  }

  func evaluate(_ split: EvaluationSplit, parameters: Payload) -> Evaluation {
    let indices = split == .validation ? self.split.validation : Array(self.split.shards[0])
    return evaluator.evaluate(parameters: parameters.elements(of: Float.self, count: count), indices: indices)
  }
}

/// A few hundred records in the format of the real files: ten colours with noise on them.
enum SyntheticRecords {
  private static let pixels = ModelShape.cifar10.pixels
  /// Stands for the files that all roles of a simulated run have.
  static let fingerprint: UInt64 = 0x00D1_61E5

  static func meanImage(of shape: ModelShape) -> [Float] { [Float](repeating: 128, count: shape.pixels) }

  static func table(count: Int, seed: UInt64) -> ExampleTable {
    let owner = Records(byteCount: count * (pixels + 1))
    var random = SeededRandom(seed: seed, purpose: .plan)
    for example in 0..<count {
      let record = owner.bytes + example * (pixels + 1)
      let label = random.integer(below: 10)
      record[0] = UInt8(label)
      var noise: UInt64 = 0
      for pixel in 0..<pixels {
        if pixel % 8 == 0 { noise = random.word() }
        record[1 + pixel] = UInt8(truncatingIfNeeded: noise) / 2 &+ UInt8(label * 12)
        noise >>= 8
      }
    }
    return ExampleTable(
      records: (0..<count).map { UnsafePointer(owner.bytes + $0 * (pixels + 1)) }, owner: owner)
  }

  /// Written once, before the first read.
  private final class Records: @unchecked Sendable {
    let bytes: UnsafeMutablePointer<UInt8>
    init(byteCount: Int) { bytes = .allocate(capacity: byteCount) }
    deinit { bytes.deallocate() }
  }
}
