import Checkpoints
import Cluster
import Diagnostics
import Messaging
import Optimization

/// The run's directory: the durable store itself, on a disk that is simulated. It outlives every process.
final class SimulatedStorage {
  private static let runDirectory = "/run"

  let disk: SimulatedDisk
  private let store: CheckpointStore
  private let origin: Checkpoint.Origin
  private let plan: SimulationPlan
  private let ignoresSynchronize: Bool
  private var random: SeededRandom

  init(seed: UInt64, plan: SimulationPlan, ignoresSynchronize: Bool) {
    self.plan = plan
    self.ignoresSynchronize = ignoresSynchronize
    random = SeededRandom(seed: seed, purpose: .disk)
    disk = SimulatedDisk(seed: random.word())
    store = CheckpointStore(runDirectory: Self.runDirectory, disk: disk)
    let shape = plan.training.shape
    origin = Checkpoint.Origin(
      runIdentifier: "simulated-\(seed)", shape: shape, loss: plan.training.loss,
      meanImage: SyntheticRecords.meanImage(of: shape), classNames: (0..<shape.classes).map { "class \($0)" },
      slotNames: plan.training.optimizer.kind.slotNames, settings: [],
      datasetFingerprint: SyntheticRecords.fingerprint)
    do throws(ErrorNumber) {
      try disk.makeDirectory(Self.runDirectory, permissions: 0o755)
      let root = try disk.open("/", followingLinks: false)
      defer { disk.close(root) }
      try disk.synchronize(root)
    } catch {
      preconditionFailure("an empty disk without faults refuses a directory: \(error)")
    }
    begin(DiskFaults())
  }

  /// What a coordinator does when it starts: finds where the run resumes, and clears up.
  ///
  /// - Returns: nil at the run's beginning, the path of the checkpoint, and those of checkpoints that were passed over.
  func open(
    _ faults: DiskFaults
  ) throws(Failure) -> (initial: RunState?, checkpoint: String?, best: RunState?, damaged: [String]) {
    begin(faults)
    let search = try store.newestValid()
    var initial: RunState?
    if let newest = search.newest {
      initial = try newest.checkpoint.state(resuming: plan.training, path: newest.path)
    }
    try store.prepareForWriting(resuming: initial)
    return (initial, search.newest?.path, best, search.rejections.map(\.path))
  }

  /// What the link `best` leads to.
  var best: RunState? { store.best()?.checkpoint.run }

  /// What a coordinator does to save: the checkpoint, then the removal of old ones. What could not be removed takes up
  /// space and harms nothing.
  ///
  /// - Returns: the path of the checkpoint, which is durable then.
  func save(_ state: RunState, _ faults: DiskFaults) -> Result<String, Failure> {
    begin(faults)
    do throws(Failure) {
      let path = try store.save(Checkpoint(run: state, origin: origin))
      _ = try? store.prune(keepLast: plan.keepLast)
      return .success(path)
    } catch {
      return .failure(error)
    }
  }

  private func begin(_ faults: DiskFaults) {
    var faults = faults
    faults.ignoresSynchronize = ignoresSynchronize
    disk.begin(faults)
  }

  // MARK: Which faults

  /// One call, or all from there on, fail.
  func failing() -> DiskFaults {
    DiskFaults {
      $0.failingCall = random.index(below: Self.callsOfASave)
      $0.error = random.happens(0.5) ? .inputOutput : .noSpace
      $0.failsFromThere = random.happens(0.5)
    }
  }

  /// The process that saves dies in the middle of it.
  func dying() -> DiskFaults { DiskFaults { $0.dyingCall = random.index(below: Self.callsOfASave) } }

  /// A save and its tidying up make about as many calls that change the disk; a fault drawn beyond the last one does
  /// not happen.
  private static let callsOfASave = 60
}
