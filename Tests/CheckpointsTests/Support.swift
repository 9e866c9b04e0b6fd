import Checkpoints
import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import TestSupport
import Testing

/// A model of 2 classes and 3 pixels: everything is there and the files are small.
func smallCheckpoint(
  step: UInt64, accuracy: Double? = nil, best: UInt64? = nil, slotNames: [String] = ["velocity"], seconds: Double = 1.5
) -> Checkpoint {
  let shape = ModelShape(classes: 2, pixels: 3)
  let values = (0..<shape.parameterCount).map { Float($0) * 0.1 - 0.3 }
  var totals = RunTotals()
  totals.examples = 1 << 60
  totals.lateShards = 9
  (totals.staleness[0], totals.staleness[2]) = (7, .max)
  let snapshot = TrainingSnapshot(
    step: step, shardClocks: [step, step, step &+ 1], totals: totals,
    state: OptimizerState(
      parameters: ParameterVector(values),
      slots: slotNames.indices.map { slot in ParameterVector(values.map { $0 / Float(3 + slot) }) }))
  return Checkpoint(
    run: RunState(
      snapshot: snapshot, membershipEpoch: MembershipEpoch(3),
      monitor: ConvergenceMonitor(
        bestValidationLoss: accuracy == nil ? .infinity : 0.1 + 0.2, evaluationsWithoutImprovement: 2),
      validation: accuracy.map { .init(meanLoss: 2.3, accuracy: $0) },
      train: .init(meanLoss: .leastNonzeroMagnitude, accuracy: 0.3),
      best: best.map { .init(step: $0, score: .init(meanLoss: 2.1, accuracy: 0.1 + 0.2)) }),
    origin: Checkpoint.Origin(
      runIdentifier: "20261121-024300-a1b2c3", shape: shape, loss: .hinge, meanImage: [125.25, 0, 255],
      classNames: ["cat", "a \"dog\"\n é😀"], slotNames: slotNames,
      settings: [.init("learning-rate", "0.01"), .init("batch-size", "512")], datasetFingerprint: .max),
    seconds: seconds)
}

/// A model of the real size.
func realCheckpoint(step: UInt64) -> Checkpoint {
  var checkpoint = smallCheckpoint(step: step)
  checkpoint.origin.shape = .cifar10
  checkpoint.origin.inputShape = .cifar10
  checkpoint.run.snapshot.state = OptimizerState(
    parameters: ParameterVector((0..<30_730).map { Float($0).squareRoot() - 90 }),
    slots: [ParameterVector(zeros: 30_730)])
  checkpoint.origin.meanImage = .init(repeating: 120.7, count: 3072)
  checkpoint.origin.classNames = (0..<10).map { "class \($0)" }
  return checkpoint
}

/// A store in `directory`, ready for writing.
func makeStore(_ directory: TemporaryDirectory) throws -> CheckpointStore {
  let store = CheckpointStore(runDirectory: directory.path)
  try store.prepareForWriting()
  return store
}

func bytes(of path: String) throws -> [UInt8] { try FileSystem().read(path, limit: 1 << 30) }

/// Replaces a file's bytes in place, as damage does.
func overwrite(_ path: String, _ bytes: [UInt8]) throws {
  let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
  try #require(descriptor >= 0)
  defer { close(descriptor) }
  #expect(bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } == bytes.count)
}

/// The status of the failure that `body` throws, or nil.
func status(_ body: () throws(Failure) -> Void) -> Diagnostics.ExitStatus? {
  do throws(Failure) {
    try body()
    return nil
  } catch {
    return error.status
  }
}
