import CKernels
import Messaging
import Optimization

/// A piece of a step that can be repeated. Every repetition is the same amount of work.
protocol CountedCase {
  /// What one repetition does, in `unit`s.
  var amount: Int { get }
  var unit: String { get }
  mutating func repeatOnce(_ repetition: Int)
  /// What is wrong with the answer, nil if nothing is: work that was not done must not count as cheap.
  func complaint(after repetitions: Int) -> String?
}

/// 16 shards of CIFAR-10's shape; so many steps that no epoch and no run ends meanwhile.
func plan(_ loss: Loss, batchSize: Int, exampleCount: Int) -> TrainingPlan {
  TrainingPlan(exampleCount: exampleCount, batchSize: batchSize, shardCount: 16, totalSteps: 1_000_000) {
    $0.loss = loss
    $0.l2 = 0x1p-10
    $0.initialStandardDeviation = 0x1p-10
    $0.learningRate.base = 0x1p-7
    $0.validationCount = 16
  }
}

/// The gradient of one minibatch, drawn and gathered as in a training.
struct GradientCase: CountedCase {
  private static let batchSize = 256
  /// Few enough to be made quickly; the table names each of them many times.
  private static let distinctRecords = 64
  private static let exampleCount = 4096 + 16

  private let gradients: KernelBackend
  private let shards: ShardSet
  private let parameters: ParameterVector
  private var sum: [Int32]
  private var examples = 0

  init(_ loss: Loss, kernel: KernelVariant) {
    let plan = plan(loss, batchSize: Self.batchSize, exampleCount: Self.exampleCount)
    gradients = KernelBackend(
      plan: plan, examples: Self.examples(), meanImage: [Float](repeating: 120, count: plan.shape.pixels),
      kernel: kernel)
    shards = plan.allShards
    parameters = .initial(plan: plan)
    sum = [Int32](repeating: 0, count: plan.shape.parameterCount)
  }

  private static func examples() -> ExampleTable {
    let size = 1 + ModelShape.cifar10.pixels
    var bytes = [UInt8](repeating: 0, count: distinctRecords * size)
    for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index &* 167 &+ index >> 8) }
    for record in 0..<distinctRecords { bytes[record * size] = UInt8(record % ModelShape.cifar10.classes) }
    let payload = Payload(concatenating: bytes)
    let base = payload.bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self)
    return ExampleTable(records: (0..<exampleCount).map { base + $0 % distinctRecords * size }, owner: payload)
  }

  var amount: Int { Self.batchSize }
  var unit: String { "image" }

  mutating func repeatOnce(_ repetition: Int) {
    sum.withUnsafeMutableBufferPointer { sum in
      parameters.withUnsafePointer { parameters in
        examples +=
          gradients.gradient(
            parameters: parameters, step: UInt64(repetition), shards: shards, into: sum.baseAddress.unsafelyUnwrapped
          ).examples
      }
    }
  }

  func complaint(after repetitions: Int) -> String? {
    examples == repetitions * amount && sum.contains { $0 != 0 } ? nil : "there is no gradient"
  }
}

/// The checksum of a message's payload.
struct ChecksumCase: CountedCase {
  private let bytes = [UInt8](repeating: 7, count: ModelShape.cifar10.parameterCount * 4)
  private var checksum: UInt32 = 0

  var amount: Int { bytes.count }
  var unit: String { "byte" }

  mutating func repeatOnce(_ repetition: Int) { checksum = descent_crc32c(checksum, bytes, bytes.count) }

  func complaint(after repetitions: Int) -> String? {
    checksum != 0 && descent_crc32c(0, "123456789", 9) == 0xE306_9283 ? nil : "wrong checksum"
  }
}

/// A push into bytes and back, its payload aside.
struct CodecCase: CountedCase {
  private let payload = Payload(concatenating: [Int32](repeating: 1, count: 16))
  private let header = UnsafeMutableRawBufferPointer.allocate(byteCount: Envelope.byteCount, alignment: 64)
  private var writer = ByteWriter()
  private var received = 0

  var amount: Int { 1 }
  var unit: String { "message" }

  mutating func repeatOnce(_ repetition: Int) {
    let push = Message.Push(
      item: WorkItem(id: WorkItem.ID(UInt64(repetition)), step: 0, shards: ShardSet(range: 0..<8)), statistics: .zero,
      gradient: payload)
    let message = Message.push(push)
    var envelope = Envelope(
      type: message.type, run: RunID(1), membershipEpoch: MembershipEpoch(1), incarnation: Incarnation(1), step: 1,
      sequence: 1)
    writer.removeAll()
    message.encodeFields(into: &writer)
    writer.bytes.withUnsafeBytes { fields in
      message.seal(&envelope, fields: fields)
      envelope.encode(into: header)
      guard let decoded = try? Envelope(decoding: UnsafeRawBufferPointer(header)),
        case .push(let answer)? = try? Message(decoded, fields: fields, payload: payload)
      else { return }
      received += answer.item.id == push.item.id ? 1 : 0
    }
  }

  func complaint(after repetitions: Int) -> String? {
    received == repetitions ? nil : "\(received) of \(repetitions) messages came back"
  }
}
