import CKernels
import Checkpoints
import Cluster
import Datasets
import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import Pieces
import Reporting

/// A piece of a step, and what its time is divided by: the workers of the step, or the bytes.
private struct Part {
  let name: String
  var workers: Int?
  var bytes: Int?
  let run: () -> Void
}

/// The parts of a step one by one, on one thread of this process.
func measurePieces(_ rig: Rig, _ report: inout Report) throws {
  let codec = try pushCodec()
  let optimizers = Optimizer.Kind.allCases.map { Optimizer($0, [.momentum: 0.875]) }
  let counts = rig.isQuick ? [1, 4, 16, 64] : [1, 2, 4, 8, 16, 32, 64]
  func part(_ name: String, _ piece: some Piece) throws -> Part {
    Part(name: name, bytes: piece.amount, run: try piece.verified())
  }
  let parts =
    [
      Part(name: "encode a push of 123 kB (checksum of it included)", run: codec.encode),
      Part(name: "decode and check it", run: codec.decode),
      Part(name: "push and answer through shared memory, both ends", run: try MemoryExchange().verified()),
    ]
    // The checksum of a small message, and of one with a whole gradient.
    + (try [256, Int(DESCENT_PARAMETERS) * 4].map {
      try part("CRC-32C (\(String(cString: descent_crc32c_name()))), \($0) bytes", ChecksumPiece(byteCount: $0))
    })
    + (try optimizers.map { try part("update, \($0.kind.settingName)", UpdatePiece($0, kernel: rig.kernel)) })
    + zip(counts, try rig.serverSteps(of: counts)).map {
      Part(name: "server machine, a step of \($0) pushes", workers: $0, run: $1)
    }
  let timings = Array(zip(parts, measure(samples: rig.isQuick ? 30 : 100, parts.map(\.run))))
  report.table(
    "Pieces of a step, one thread",
    timings.map { part, seconds in
      [Cell("piece", part.name)] + seconds.cells("median µs", scale: 1e6, places: 2)
        + [
          Cell("µs per worker", part.workers.map { seconds.median / Double($0) } ?? .nan, scale: 1e6, places: 2),
          Cell("GB/s", part.bytes.map { Double($0) / seconds.median } ?? .nan, scale: 1e-9, places: 3),
        ]
    })
  // At 64 not more than at 4, where the update is shared by few already.
  let perWorker = timings.compactMap { part, seconds in part.workers.map { ($0, seconds.median / Double($0)) } }
  let few = perWorker.first { $0.0 == 4 } ?? (0, .nan)
  let many = perWorker.last ?? (0, .nan)
  report.target(
    "8 server machine", "per step no faster than linearly in workers",
    reached: "\(microseconds(many.1)) a worker with \(many.0), \(microseconds(few.1)) with 4", isMet: many.1 <= few.1)
  try measureCheckpoints(rig, &report)
}

extension Rig {
  /// The server machine's part of a step of so many workers each; verified.
  func serverSteps(of workers: [Int]) throws -> [() -> Void] {
    try workers.map { try ServerStep(workers: $0, kernel: kernel).verified(after: 10) }
  }
}

/// Encodes and decodes a push with the gradient of all parameters; verified.
private func pushCodec() throws -> (encode: () -> Void, decode: () -> Void) {
  let bytes = (0..<ModelShape.cifar10.parameterCount * 4).map { UInt8(truncatingIfNeeded: $0 &* 31) }
  let gradient = Payload(concatenating: bytes)
  /// One that does not know its checksum.
  func fresh() -> Payload { Payload(borrowing: gradient.bytes) { _ = gradient } }
  var codec = PushCodec(payload: fresh())
  codec.run()
  try codec.verify()
  return (
    {
      codec.payload = fresh()
      codec.encode()
    },
    {
      codec.payload = fresh()
      precondition(codec.decoded() != nil, "a valid push was rejected")
    }
  )
}

/// What a checkpoint of the CIFAR-10 model costs the coordinator, waiting for the disk and computing; in the directory
/// for temporary files.
private func measureCheckpoints(_ rig: Rig, _ report: inout Report) throws {
  let directory = rig.newName("checkpoints")
  try FileSystem().makeDirectory(directory)
  let store = CheckpointStore(runDirectory: directory)
  try store.prepareForWriting()
  let plan = try plainPlan(batchSize: 16, shards: 16, exampleCount: 50_000) { $0.initialStandardDeviation = 0.03 }
  var parameters = ParameterVector.initial(plan: plan)
  var checkpoint = Checkpoint(
    run: RunState(snapshot: TrainingSnapshot(beginning: plan), membershipEpoch: MembershipEpoch(1)),
    origin: Checkpoint.Origin(
      runIdentifier: "20260101-000000-000000", shape: plan.shape, loss: plan.loss,
      meanImage: Array(repeating: 120.5, count: plan.shape.pixels), classNames: CIFAR10Format.classNames,
      settings: (0..<20).map { .init("setting-\($0)", "value \($0)") }, datasetFingerprint: 1))
  // The default of the setting `keep-last`.
  let keepLast = 3
  // As a coordinator does it: the step after the one before, and the checkpoint that falls behind is removed.
  func save() throws {
    let step = checkpoint.step + 1
    parameters.values[Int(step)] += 1
    checkpoint.run.snapshot.step = step
    checkpoint.run.snapshot.state = OptimizerState(parameters: parameters, slots: [])
    checkpoint.run.validation = .init(meanLoss: 1.75, accuracy: step % 2 == 0 ? 0.4 : 0.39)
    try store.save(checkpoint)
    try store.prune(keepLast: keepLast)
  }
  for _ in 0..<6 { try save() }
  // The newest is what was saved last; the best and no more than the last ones may be left beside it.
  let found = try store.newestValid()
  let names = try FileSystem().entries(of: store.directory).filter { $0.hasPrefix("step-") }
  guard found.rejections.isEmpty, found.newest?.checkpoint == checkpoint, names.count == keepLast else {
    throw Failure(.internalError, "the checkpoint that was saved last is not found again, among \(names)")
  }

  let (newest, files) = (checkpoint, checkpoint.encoded())
  let cases: [(String, () throws -> Void)] = [
    ("encode its files", { precondition(newest.encoded().count == 3) }),
    ("their digests", { _ = CheckpointManifest(of: newest, files: files) }),
    ("save it durably, verify it, remove an old one", save),
  ]
  let rows = try cases.map { name, run in
    var (wall, processor): ([Double], [Double]) = ([], [])
    for _ in 0..<(rig.isQuick ? 50 : 200) {
      let began = (wall: monotonicSeconds(), processor: monotonicSeconds(CLOCK_THREAD_CPUTIME_ID))
      try run()
      processor.append(monotonicSeconds(CLOCK_THREAD_CPUTIME_ID) - began.processor)
      wall.append(monotonicSeconds() - began.wall)
    }
    return [Cell("piece", name)] + wall.cells("median µs", scale: 1e6)
      + [Cell("processor µs", processor.median, scale: 1e6)]
  }
  report.table("A checkpoint of the CIFAR-10 model", rows)
}
