import Diagnostics
import Messaging
import Optimization

/// The parts of a step one by one, on one thread of this process.
func measurePieces(_ suite: Suite) throws(Failure) -> GroupReport {
  var report = GroupReport(group: .pieces)
  let samples = suite.isQuick ? 30 : 100
  let codec = PushCodec()
  try codec.verify()
  let exchange = try MemoryExchange()
  try exchange.verify()
  var table = Table("Pieces of a step, one thread", ["piece", "median µs", "10 %", "90 %", "µs per worker"])
  func add(_ name: String, _ timing: Timing, workers: Int? = nil) {
    table.rows.append([
      .text(name), .number(timing.median * 1e6, places: 2), .number(timing.lowDecile * 1e6, places: 2),
      .number(timing.highDecile * 1e6, places: 2),
      .number(workers.map { timing.median * 1e6 / Double($0) } ?? .nan, places: 2),
    ])
  }
  let transfers = measure(sampleCount: samples, [codec.encode, codec.decode, exchange.run])
  add("encode a push of 123 kB (checksum of it included)", transfers[0])
  add("decode and check it", transfers[1])
  add("push and answer through shared memory, both ends", transfers[2])

  let counts = suite.isQuick ? [1, 4, 16, 64] : [1, 2, 4, 8, 16, 32, 64]
  let steps = try counts.map { workers throws(Failure) in
    let step = ServerStep(workers: workers, kernel: suite.machine.kernel)
    try step.verify()
    return step
  }
  let timings = measure(sampleCount: samples, steps.map { step in { step.run() } })
  for (workers, timing) in zip(counts, timings) {
    add("server machine, a step of \(workers) pushes", timing, workers: workers)
  }
  report.tables = [table, try measureCheckpoints(suite)]

  // Per worker: at 64 not more than at 4, where the update is shared by few already.
  let perWorker = zip(counts, timings).map { (workers: $0, seconds: $1.median / Double($0)) }
  guard let few = perWorker.first(where: { $0.workers == 4 }), let many = perWorker.last else { return report }
  report.findings.append(
    Finding(
      target: "8 server machine", bound: "per step no faster than linearly in workers",
      reached: "\(microseconds(many.seconds)) a worker with \(many.workers), \(microseconds(few.seconds)) with 4",
      isMet: many.seconds <= few.seconds))
  return report
}

func microseconds(_ seconds: Double, places: Int = 1) -> String {
  Table.Cell.number(seconds * 1e6, places: places).text + " µs"
}

/// The wire format of a push.
private final class PushCodec {
  private let gradientBytes = UnsafeMutableRawBufferPointer.allocate(
    byteCount: ModelShape.cifar10.parameterCount * 4, alignment: 64)
  private var fields: [UInt8] = []
  private var envelope = Envelope(
    type: .push, run: RunID(1), membershipEpoch: MembershipEpoch(1), incarnation: Incarnation(3), step: 5, sequence: 6)
  private let header = UnsafeMutableRawBufferPointer.allocate(byteCount: Envelope.byteCount, alignment: 8)

  init() {
    for index in gradientBytes.indices { gradientBytes[index] = UInt8(truncatingIfNeeded: index &* 31) }
    encode()
  }

  deinit {
    gradientBytes.deallocate()
    header.deallocate()
  }

  /// A new payload each time: one that was sent before knows its checksum.
  private var gradient: Payload { Payload(borrowing: UnsafeRawBufferPointer(gradientBytes)) {} }

  func encode() {
    let push = Message.push(
      Message.Push(
        ticket: 7, shards: ShardSet(range: 0..<8),
        statistics: MinibatchStatistics(examples: 256, lossSum: 1, correct: 1, isFinite: true), gradient: gradient))
    fields = push.encodeFields()
    push.seal(&envelope, fields: fields)
    envelope.encode(into: header)
  }

  func decode() { precondition(decoded() != nil, "a push that was right is no more") }

  private func decoded() -> Message.Push? {
    do {
      let envelope = try Envelope(decoding: UnsafeRawBufferPointer(header))
      let message = try fields.withUnsafeBytes { (bytes) throws(CodecError) in
        try Message(envelope, fields: bytes, bulk: gradient)
      }
      if case .push(let push) = message { return push }
    } catch {}
    return nil
  }

  func verify() throws(Failure) {
    guard let push = decoded(), push.ticket == 7, push.shards == ShardSet(range: 0..<8),
      push.statistics.examples == 256, push.gradient.count == gradientBytes.count
    else { throw Failure(.internalError, "a push is not what was encoded") }
    gradientBytes[1000] ^= 1
    defer { gradientBytes[1000] ^= 1 }
    guard decoded() == nil else { throw Failure(.internalError, "a damaged push was not noticed") }
  }
}
