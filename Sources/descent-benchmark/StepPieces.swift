import Checkpoints
import Cluster
import Datasets
import Diagnostics
import Files
import Glibc
import Messaging
import Optimization

/// The parts of a step one by one, on one thread of this process.
func measurePieces(_ rig: Rig) throws(Failure) -> GroupReport {
  let samples = rig.isQuick ? 30 : 100
  let codec = PushCodec()
  try codec.verify()
  let exchange = try MemoryExchange()
  try exchange.verify()
  var table = Table("Pieces of a step, one thread", ["piece", "median µs", "10 %", "90 %", "µs per worker"])
  func add(_ name: String, _ seconds: Samples, workers: Int? = nil) {
    let figures = [
      seconds.median, seconds.deciles.low, seconds.deciles.high, workers.map { seconds.median / Double($0) } ?? .nan,
    ]
    table.rows.append([.text(name)] + figures.map { .microseconds($0, places: 2) })
  }
  let transfers = measure(samples: samples, [codec.encode, codec.decode, exchange.run])
  add("encode a push of 123 kB (checksum of it included)", transfers[0].seconds)
  add("decode and check it", transfers[1].seconds)
  add("push and answer through shared memory, both ends", transfers[2].seconds)

  let counts = rig.isQuick ? [1, 4, 16, 64] : [1, 2, 4, 8, 16, 32, 64]
  let steps = try counts.map { workers throws(Failure) in try ServerStep(workers: workers, kernel: rig.kernel) }
  let timings = measure(samples: samples, steps.map { $0.run }).map(\.seconds)
  for (workers, seconds) in zip(counts, timings) {
    add("server machine, a step of \(workers) pushes", seconds, workers: workers)
  }
  // At 64 not more than at 4, where the update is shared by few already.
  let perWorker = zip(counts, timings).map { (workers: $0, seconds: $1.median / Double($0)) }
  let few = perWorker.first { $0.workers == 4 } ?? (0, .nan)
  let many = perWorker.last ?? (0, .nan)
  return GroupReport(
    tables: [table, try measureCheckpoints(rig)],
    findings: [
      Finding(
        target: "8 server machine", bound: "per step no faster than linearly in workers",
        reached: "\(microseconds(many.seconds)) a worker with \(many.workers), \(microseconds(few.seconds)) with 4",
        isMet: many.seconds <= few.seconds)
    ])
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
        item: WorkItem(id: WorkItem.ID(7), step: 0, shards: ShardSet(range: 0..<8)),
        statistics: MinibatchStatistics(examples: 256, lossSum: 1, correct: 1, isFinite: true), gradient: gradient))
    fields = push.encodeFields()
    push.seal(&envelope, fields: fields)
    envelope.encode(into: header)
  }

  func decode() { precondition(decoded() != nil, "a valid push was rejected") }

  private func decoded() -> Message.Push? {
    guard let envelope = try? Envelope(decoding: UnsafeRawBufferPointer(header)),
      case .push(let push)? = try? fields.withUnsafeBytes({ try Message(envelope, fields: $0, payload: gradient) })
    else { return nil }
    return push
  }

  func verify() throws(Failure) {
    guard let push = decoded(), push.item.id.value == 7, push.item.shards == ShardSet(range: 0..<8),
      push.statistics.examples == 256, push.gradient.count == gradientBytes.count
    else { throw Failure(.internalError, "a push is not what was encoded") }
    gradientBytes[1000] ^= 1
    defer { gradientBytes[1000] ^= 1 }
    guard decoded() == nil else { throw Failure(.internalError, "a damaged push was not noticed") }
  }
}

/// What a checkpoint costs the coordinator, waiting for the disk and computing; in the directory for temporary files.
private func measureCheckpoints(_ rig: Rig) throws(Failure) -> Table {
  let pieces = try CheckpointPieces(rig)
  try pieces.verify()
  let cases = [
    ("encode its files", pieces.encode), ("their digests", pieces.digest()),
    ("save it durably, verify it, remove an old one", pieces.save),
  ]
  var table = Table("A checkpoint of the CIFAR-10 model", ["piece", "median µs", "10 %", "90 %", "processor µs"])
  for (name, run) in cases {
    var (wall, processor) = (Samples(), Samples())
    for _ in 0..<(rig.isQuick ? 50 : 200) {
      let began = (wall: monotonicSeconds(), processor: monotonicSeconds(CLOCK_THREAD_CPUTIME_ID))
      run()
      processor.add(monotonicSeconds(CLOCK_THREAD_CPUTIME_ID) - began.processor)
      wall.add(monotonicSeconds() - began.wall)
    }
    table.rows.append(
      [.text(name)]
        + [wall.median, wall.deciles.low, wall.deciles.high, processor.median].map { .microseconds($0, places: 0) })
  }
  return table
}

/// A checkpoint of the CIFAR-10 model made and saved over and over, as a coordinator does it, in a directory of its own.
private final class CheckpointPieces {
  private let store: CheckpointStore
  private var checkpoint: Checkpoint
  private var parameters: ParameterVector
  /// The default of the setting `keep-last`.
  private static let keepLast = 3

  init(_ rig: Rig) throws(Failure) {
    let directory = rig.work.newName("checkpoints")
    try FileSystem().makeDirectory(directory)
    store = CheckpointStore(runDirectory: directory)
    try store.prepareForWriting()
    let shape = ModelShape.cifar10
    parameters = ParameterVector((0..<shape.parameterCount).map { Float($0 % 977) * 1e-4 - 0.05 })
    let snapshot = TrainingSnapshot(
      step: 0, shardClocks: Array(repeating: 0, count: 16), totals: RunTotals(),
      state: OptimizerState(parameters: parameters, velocity: nil))
    checkpoint = Checkpoint(
      run: RunState(
        snapshot: snapshot, membershipEpoch: MembershipEpoch(1), validation: .init(meanLoss: 1.75, accuracy: 0.4),
        trainLoss: 1.7),
      origin: Checkpoint.Origin(
        runIdentifier: "20260101-000000-000000", shape: shape, loss: .softmaxCrossEntropy,
        meanImage: Array(repeating: 120.5, count: shape.pixels), classNames: CIFAR10Format.classNames,
        settings: (0..<20).map { .init("setting-\($0)", "value \($0)") }, datasetFingerprint: 1))
  }

  /// As a run does it: the step after the one before, and the checkpoint that falls behind goes.
  func save() {
    do {
      try saveNext()
    } catch {
      preconditionFailure("a checkpoint that could be saved cannot be saved any more: \(error)")
    }
  }

  private func saveNext() throws(Failure) {
    let step = checkpoint.step + 1
    parameters.values[Int(step)] += 1
    checkpoint.run.snapshot.step = step
    checkpoint.run.snapshot.state = OptimizerState(parameters: parameters, velocity: nil)
    checkpoint.run.validation = .init(meanLoss: 1.75, accuracy: step % 2 == 0 ? 0.4 : 0.39)
    try store.save(checkpoint)
    try store.prune(keepLast: Self.keepLast)
  }

  /// The bytes of all files.
  func encode() { precondition(checkpoint.encoded().count == 3) }

  /// The digests of their bytes.
  func digest() -> () -> Void {
    let (checkpoint, files) = (checkpoint, checkpoint.encoded())
    return { _ = CheckpointManifest(of: checkpoint, files: files) }
  }

  /// The newest must be what was saved last; the best and no more than the last ones may be left beside it.
  func verify() throws(Failure) {
    for _ in 0..<6 { try saveNext() }
    let found = try store.newestValid()
    let names = try FileSystem().entries(of: store.directory).filter { $0.hasPrefix("step-") }
    guard found.rejections.isEmpty, found.newest?.checkpoint == checkpoint, names.count == Self.keepLast else {
      throw Failure(.internalError, "the checkpoint that was saved last is not found again, among \(names)")
    }
  }
}
