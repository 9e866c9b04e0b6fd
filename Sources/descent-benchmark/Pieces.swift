import Checkpoints
import Cluster
import Datasets
import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import Pieces

/// The parts of a step one by one, on one thread of this process.
func measurePieces(_ rig: Rig) throws(Failure) -> GroupReport {
  let samples = rig.isQuick ? 30 : 100
  let (codec, exchange) = (try pushCodec(), try MemoryExchange().verified())
  var table = Table(
    title: "Pieces of a step, one thread", columns: ["piece", "median µs", "10 %", "90 %", "µs per worker"])
  func add(_ name: String, _ seconds: [Double], workers: Int? = nil) {
    let figures = seconds.medianAndDeciles + [workers.map { seconds.median / Double($0) } ?? .nan]
    table.rows.append([.text(name)] + figures.microseconds(places: 2))
  }
  let transfers = measure(samples: samples, [codec.encode, codec.decode, exchange])
  add("encode a push of 123 kB (checksum of it included)", transfers[0])
  add("decode and check it", transfers[1])
  add("push and answer through shared memory, both ends", transfers[2])

  let counts = rig.isQuick ? [1, 4, 16, 64] : [1, 2, 4, 8, 16, 32, 64]
  let timings = measure(samples: samples, try rig.serverSteps(of: counts))
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
        met: many.seconds <= few.seconds)
    ])
}

extension Rig {
  /// The server machine's part of a step of so many workers each; verified.
  func serverSteps(of workers: [Int]) throws(Failure) -> [() -> Void] {
    try workers.map { (workers) throws(Failure) in
      try ServerStep(workers: workers, kernel: kernel).verified(after: 10)
    }
  }
}

/// Encodes and decodes a push with the gradient of all parameters; verified.
private func pushCodec() throws(Failure) -> (encode: () -> Void, decode: () -> Void) {
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

/// What a checkpoint costs the coordinator, waiting for the disk and computing; in the directory for temporary files.
private func measureCheckpoints(_ rig: Rig) throws(Failure) -> Table {
  let directory = rig.newName("checkpoints")
  try FileSystem().makeDirectory(directory)
  var saver = try CheckpointSaver(runDirectory: directory)
  let checkpoint = saver.checkpoint
  let files = checkpoint.encoded()
  let cases: [(String, () throws(Failure) -> Void)] = [
    ("encode its files", { precondition(checkpoint.encoded().count == 3) }),
    ("their digests", { _ = CheckpointManifest(of: checkpoint, files: files) }),
    ("save it durably, verify it, remove an old one", { () throws(Failure) in try saver.save() }),
  ]
  var table = Table(
    title: "A checkpoint of the CIFAR-10 model", columns: ["piece", "median µs", "10 %", "90 %", "processor µs"])
  for (name, run) in cases {
    var (wall, processor): ([Double], [Double]) = ([], [])
    for _ in 0..<(rig.isQuick ? 50 : 200) {
      let began = (wall: monotonicSeconds(), processor: monotonicSeconds(CLOCK_THREAD_CPUTIME_ID))
      try run()
      processor.append(monotonicSeconds(CLOCK_THREAD_CPUTIME_ID) - began.processor)
      wall.append(monotonicSeconds() - began.wall)
    }
    table.rows.append([.text(name)] + (wall.medianAndDeciles + [processor.median]).microseconds(places: 0))
  }
  return table
}

/// Saves a checkpoint of the CIFAR-10 model after the other, as a coordinator does.
private struct CheckpointSaver {
  private(set) var checkpoint: Checkpoint
  private let store: CheckpointStore
  private var parameters: ParameterVector
  /// The default of the setting `keep-last`.
  private static let keepLast = 3

  /// Verified: the newest is what was saved last; the best and no more than the last ones may be left beside it.
  init(runDirectory: String) throws(Failure) {
    store = CheckpointStore(runDirectory: runDirectory)
    try store.prepareForWriting()
    let plan = try plainPlan(batchSize: 16, shards: 16, exampleCount: 50_000) { $0.initialStandardDeviation = 0.03 }
    parameters = .initial(plan: plan)
    checkpoint = Checkpoint(
      run: RunState(
        snapshot: TrainingSnapshot(beginning: plan), membershipEpoch: MembershipEpoch(1), trainLoss: 1.7),
      origin: Checkpoint.Origin(
        runIdentifier: "20260101-000000-000000", shape: plan.shape, loss: plan.loss,
        meanImage: Array(repeating: 120.5, count: plan.shape.pixels), classNames: CIFAR10Format.classNames,
        settings: (0..<20).map { .init("setting-\($0)", "value \($0)") }, datasetFingerprint: 1))
    for _ in 0..<6 { try save() }
    let found = try store.newestValid()
    let names = try FileSystem().entries(of: store.directory).filter { $0.hasPrefix("step-") }
    guard found.rejections.isEmpty, found.newest?.checkpoint == checkpoint, names.count == Self.keepLast else {
      throw Failure(.internalError, "the checkpoint that was saved last is not found again, among \(names)")
    }
  }

  /// As a run does it: the step after the one before, and the checkpoint that falls behind goes.
  mutating func save() throws(Failure) {
    let step = checkpoint.step + 1
    parameters.values[Int(step)] += 1
    checkpoint.run.snapshot.step = step
    checkpoint.run.snapshot.state = OptimizerState(parameters: parameters, velocity: nil)
    checkpoint.run.validation = .init(meanLoss: 1.75, accuracy: step % 2 == 0 ? 0.4 : 0.39)
    try store.save(checkpoint)
    try store.prune(keepLast: Self.keepLast)
  }
}
