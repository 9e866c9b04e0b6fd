import CKernels
import Diagnostics
import Messaging
import Optimization

/// A piece of a step, on one thread. Every repetition is the same amount of work. Scripts/count-gates.sh counts what it
/// costs, descent-benchmark times it.
package protocol Piece {
  /// What one repetition does, in `unit`s.
  var amount: Int { get }
  var unit: String { get }
  mutating func run()
  /// - Throws: `internalError` if the answer of the repetitions is wrong: work that was not done must not count as cheap.
  mutating func verify() throws(Failure)
}

/// A plan with everything plain, and what `change` makes different: softmax, a constant learning rate of a half, no
/// penalty, weights from zero, and so many steps that no run ends.
package func plainPlan(
  batchSize: Int, shards: Int, exampleCount: Int, _ change: (inout TrainingPlan) -> Void = { _ in }
) throws(Failure) -> TrainingPlan {
  let plan = TrainingPlan(
    exampleCount: exampleCount, batchSize: batchSize, shardCount: shards, totalSteps: 1_000_000_000
  ) {
    $0.learningRate.base = 0.5
    change(&$0)
  }
  try plan.validate()
  return plan
}

extension TrainingPlan {
  /// What every element of a push must be so that the pushes of one step together lower every weight of this plain plan
  /// by exactly 2⁻²⁰: with that, weights tell how many pushes went into them.
  package func countingGradient(pushesPerStep: Int) -> Int32 {
    Int32(
      Double(firstScale.unitsPerOne(inBlock: 0)) * Double(batchSize) * 0x1p-20 / Double(learningRate.base)
        / Double(pushesPerStep))
  }
}

/// The gradient of one step after the other, drawn and gathered as in a training.
package struct GradientPiece: Piece {
  private let plan: TrainingPlan
  private let examples: ExampleTable
  private let meanImage: [Float]
  private let shards: ShardSet
  private let parameters: ParameterVector
  private let backend: KernelBackend
  private var sum: [Int32]
  private var step: UInt64 = 0
  private var computed = 0

  /// - Parameters:
  ///   - meanImage: [D], in pixel units.
  ///   - shards: of these alone; nil for all.
  package init(
    _ plan: TrainingPlan, examples: ExampleTable, meanImage: [Float], kernel: KernelVariant, shards: ShardSet? = nil
  ) {
    (self.plan, self.examples, self.meanImage) = (plan, examples, meanImage)
    self.shards = shards ?? plan.allShards
    backend = KernelBackend(plan: plan, examples: examples, meanImage: meanImage, kernel: kernel)
    parameters = .initial(plan: plan)
    sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
  }

  package var amount: Int { shards.count * plan.examplesPerShard }
  package var unit: String { "image" }

  package mutating func run() {
    // Copied, because `sum` is being changed while they are read.
    let (plan, backend, parameters, step, shards) = (plan, backend, parameters, step, shards)
    computed += parameters.withUnsafePointer { parameters in
      sum.withUnsafeMutableBufferPointer { sum in
        backend.gradient(
          parameters: parameters, step: step, shards: shards, scale: plan.firstScale,
          into: sum.baseAddress.unsafelyUnwrapped
        ).examples
      }
    }
    self.step += 1
  }

  package func verify() throws(Failure) {
    guard step > 0, computed == Int(step) * amount, sum.contains(where: { $0 != 0 }) else {
      throw Failure(.internalError, "there is no gradient")
    }
  }

  /// The first gradient must have the bits of the portable kernels and agree with the reference in double precision. Of a
  /// network it must be there: tests compare networks, small ones, with both.
  package func verifyFirst() throws(Failure) {
    guard plan.shape.isLinear else { return try verify() }
    func first(_ kernel: KernelVariant) -> [Int32] {
      var piece = GradientPiece(plan, examples: examples, meanImage: meanImage, kernel: kernel, shards: shards)
      piece.run()
      return piece.sum
    }
    precondition(step == 1, "the first gradient is not the newest")
    guard sum == first(.portable) else {
      throw Failure(.internalError, "the gradient has other bits than the portable one")
    }
    var sampler = MinibatchSampler(plan: plan)
    let indices = shards.flatMap { sampler.minibatch(shard: $0, step: 0) }
    let exact = ReferenceTrainer(plan: plan).lossAndGradient(
      examples.minibatch(at: indices, meanImage: meanImage), at: parameters.values.map(Double.init)
    ).gradient
    let (scale, count) = (Double(plan.firstScale.unitsPerOne(inBlock: 0)), Double(indices.count))
    let error = zip(sum, exact).map { abs(Double($0) / scale - $1 * count) }.max() ?? .nan
    // Half a unit per shard, and floats of size up to the sum's.
    let allowed = Double(shards.count) * 0.5 / scale + count * 4e-6
    guard error <= allowed else {
      throw Failure(
        .internalError, "the gradient differs from double precision", found: "\(error)", expected: "\(allowed)")
    }
  }
}

/// The addition of one push to another, in integers as a server does it, or in floats.
package struct AdditionPiece: Piece {
  private let kernel: KernelVariant?
  private var integers: [Int32]
  private var floats: [Float]
  private let pushedFloats: [Float]
  /// As it lies in a message: at any address.
  private let pushed: [UInt8]
  private var runs = 0

  /// - Parameter kernel: adds the integers; nil for floats.
  package init(integersBy kernel: KernelVariant?) {
    let count = ModelShape.cifar10.parameterCount
    self.kernel = kernel
    integers = Array(repeating: 1, count: count)
    floats = Array(repeating: 1, count: count)
    pushedFloats = floats
    pushed = [0] + integers.withUnsafeBytes { [UInt8]($0) }
  }

  package var amount: Int { integers.count * MemoryLayout<Int32>.stride }
  package var unit: String { "byte" }

  package mutating func run() {
    runs += 1
    if let kernel {
      integers.withUnsafeMutableBufferPointer { sum in
        pushed.withUnsafeBytes { pushed in
          kernel.add(
            UnsafeRawPointer(sum.baseAddress.unsafelyUnwrapped), pushed.baseAddress.unsafelyUnwrapped + 1, into: sum)
        }
      }
    } else {
      floats.withUnsafeMutableBufferPointer { sum in
        pushedFloats.withUnsafeBufferPointer { pushed in
          for index in 0..<sum.count { sum[index] += pushed[index] }
        }
      }
    }
  }

  package func verify() throws(Failure) {
    let isRight =
      kernel == nil ? floats.allSatisfy { $0 == Float(1 + runs) } : integers.allSatisfy { $0 == Int32(1 + runs) }
    guard isRight else { throw Failure(.internalError, "the sums are wrong") }
  }
}

/// One update of all parameters after the other, by the same gradient.
package struct UpdatePiece: Piece {
  private let plan: TrainingPlan
  private let rule: UpdateRule
  private let sum: [Int32]
  private var state: TrainingState
  private var norm: GradientNorm
  private var runs = 0

  package init(_ optimizer: Optimizer, kernel: KernelVariant) throws(Failure) {
    plan = try plainPlan(batchSize: 256, shards: 16, exampleCount: 50_000) {
      ($0.l2, $0.optimizer, $0.learningRate.base, $0.initialStandardDeviation) = (5e-5, optimizer, 0x1p-7, 0.01)
    }
    let unit = Double(plan.firstScale.unitsPerOne(inBlock: 0)) * Double(plan.batchSize)
    sum = (0..<plan.shape.parameterCount).map { Int32(Double($0 % 2_001 - 1_000) * 0x1p-20 * unit) }
    rule = UpdateRule(plan: plan, kernel: kernel)
    state = TrainingState(plan: plan)
    norm = GradientNorm(of: sum.indices)
  }

  /// The sum, and parameters and vectors of the optimizer's state read and written.
  package var amount: Int { (3 + 2 * state.slots.count) * sum.count * MemoryLayout<Float>.stride }
  package var unit: String { "byte" }

  package mutating func run() {
    runs += 1
    rule.apply(sum, scale: plan.firstScale, examples: plan.batchSize, learningRate: 0, to: &state, norm: &norm)
  }

  /// The parameters must agree with the reference in double precision.
  package func verify() throws(Failure) {
    var reference = ReferenceTrainer(plan: plan)
    let initial = reference.w
    let (unit, weights) = (
      Double(plan.firstScale.unitsPerOne(inBlock: 0)) * Double(plan.batchSize), plan.shape.blocks[0].range
    )
    for _ in 0..<runs {
      reference.update(
        by: sum.indices.map {
          Double(sum[$0]) / unit + (weights.contains($0) ? plan.penaltyDerivative(at: reference.w[$0]) : 0)
        })
    }
    let error = zip(state.parameters.values, reference.w).map { abs(Double($0) - $1) }.max() ?? .nan
    // Optimizers that divide by the gradient's size move the weights by the learning rate: each step is rounded, and so is
    // the place that it leads to.
    let movement = zip(reference.w, initial).map { abs($0 - $1) }.max() ?? .nan
    let allowed = 1e-8 + 8 * 0x1p-24 * movement
    guard error < allowed else {
      throw Failure(
        .internalError, "the update differs from double precision", found: "\(error)", expected: "\(allowed)")
    }
  }
}

/// The checksum of a message's payload.
package struct ChecksumPiece: Piece {
  private let bytes: [UInt8]
  private var checksum: UInt32 = 0

  package init(byteCount: Int) { bytes = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 167) } }

  package var amount: Int { bytes.count }
  package var unit: String { "byte" }

  package mutating func run() { checksum = descent_crc32c(checksum, bytes, bytes.count) }

  package func verify() throws(Failure) {
    guard checksum != 0, descent_crc32c(0, "123456789", 9) == 0xE306_9283 else {
      throw Failure(.internalError, "CRC-32C has a wrong check value")
    }
  }
}

/// A push into bytes and back.
package struct PushCodec: Piece {
  /// Its gradient. It knows its checksum once it was encoded or decoded.
  package var payload: Payload
  private let header = UnsafeMutableRawBufferPointer.allocate(byteCount: Envelope.byteCount, alignment: 64)
  private var writer = ByteWriter()
  private var encoded: UInt64 = 0
  private var received: UInt64 = 0

  package init(payload: Payload) { self.payload = payload }

  package var amount: Int { 1 }
  package var unit: String { "message" }

  package mutating func run() {
    encode()
    if decoded()?.item.id == WorkItem.ID(encoded) { received += 1 }
  }

  package mutating func encode() {
    encoded += 1
    let message = Message.push(
      Message.Push(
        item: WorkItem(id: WorkItem.ID(encoded), step: 0, shards: ShardSet(range: 0..<8)), statistics: .zero,
        gradient: payload))
    var envelope = Envelope(
      type: message.type, run: RunID(1), membershipEpoch: MembershipEpoch(1), incarnation: Incarnation(1), step: 1,
      sequence: 1)
    writer.removeAll()
    message.encodeFields(into: &writer)
    writer.withUnsafeBytes { message.seal(&envelope, fields: $0) }
    envelope.encode(into: header)
  }

  /// Nil if the message is rejected.
  package func decoded() -> Message.Push? {
    writer.withUnsafeBytes { fields in
      guard let envelope = try? Envelope(decoding: UnsafeRawBufferPointer(header)),
        case .push(let push)? = try? Message(envelope, fields: fields, payload: payload)
      else { return nil }
      return push
    }
  }

  package mutating func verify() throws(Failure) {
    let former = received
    run()
    guard received == former + 1, let push = decoded(), push.item.shards == ShardSet(range: 0..<8),
      push.statistics == .zero, push.gradient.count == payload.count
    else { throw Failure(.internalError, "a push is not what was encoded") }
    let intact = payload
    defer { payload = intact }
    var damaged = [UInt8](intact.bytes)
    damaged[damaged.count / 2] ^= 1
    payload = Payload(concatenating: damaged)
    guard decoded() == nil else { throw Failure(.internalError, "a damaged push was not noticed") }
  }
}
