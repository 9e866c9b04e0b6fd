import Checkpoints
import Cluster
import Datasets
import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import Reporting

/// A checkpoint of the CIFAR-10 model made and saved over and over, as a coordinator does it, in a directory of its own.
final class CheckpointPieces {
  private let store: CheckpointStore
  private var checkpoint: Checkpoint
  private var parameters: ParameterVector
  /// The default of the setting `keep-last`.
  private static let keepLast = 3

  init(_ suite: Suite) throws(Failure) {
    let directory = suite.work.newName("checkpoints")
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

/// What a checkpoint costs the coordinator, waiting for the disk and computing; of the directory for temporary files.
func measureCheckpoints(_ suite: Suite) throws(Failure) -> Table {
  let pieces = try CheckpointPieces(suite)
  try pieces.verify()
  var table = Table(
    "A checkpoint of the CIFAR-10 model", ["piece", "median µs", "10 %", "90 %", "processor µs"])
  let cases = [
    ("encode its files", pieces.encode), ("their digests", pieces.digest()),
    ("save it durably, verify it, remove an old one", pieces.save),
  ]
  for (name, run) in cases {
    let (timing, processor) = measureWithProcessorTime(sampleCount: suite.isQuick ? 50 : 200, run)
    table.rows.append([
      .text(name), .number(timing.median * 1e6, places: 0), .number(timing.lowDecile * 1e6, places: 0),
      .number(timing.highDecile * 1e6, places: 0), .number(processor.median * 1e6, places: 0),
    ])
  }
  return table
}

/// The time on the wall, and the user and system time of this thread.
private func measureWithProcessorTime(sampleCount: Int, _ run: () -> Void) -> (wall: Timing, processor: Timing) {
  var (wall, processor) = ([Double](), [Double]())
  for _ in 0..<sampleCount {
    let began = (monotonicSeconds(), threadSeconds())
    run()
    processor.append(threadSeconds() - began.1)
    wall.append(monotonicSeconds() - began.0)
  }
  return (Timing(samples: wall.sorted()), Timing(samples: processor.sorted()))
}

private func threadSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
