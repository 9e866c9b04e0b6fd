import Checkpoints
import Cluster
import Diagnostics
import Messaging
import Optimization
import Reporting
import RunConfiguration

/// The decision where a run begins: anew, or where a checkpoint left it. Reads the run directory and writes nothing.
public struct RunOpening: Sendable {
  public var runIdentifier: String
  public var initial: InitialState
  /// Time that the run has trained before.
  public var seconds: Double
  /// Whether this is the continuation of the run that the directory holds.
  public var isResumed: Bool
  /// How many workers the run had when its coordinator was killed; nil if it ended otherwise or never had any. Its
  /// successor waits for as many.
  public var interruptedWorkers: Int?
  /// What people should know, such as damaged checkpoints that were passed over.
  public var warnings: [String]

  /// Applies the `resume` setting to what is in the directory.
  ///
  /// - Parameter newIdentifier: the name of the run if it is a new one.
  /// - Throws: `cannotCreate` when a run is there that must not be touched, `missingInput` when there must be a checkpoint
  ///   and is none, `badConfiguration` when settings or data shape another trajectory than the checkpoint's,
  ///   `badData` when the checkpoint that was named is damaged.
  public init(job: TrainingJob, paths: RunPaths, newIdentifier: String) throws(Failure) {
    switch job.settings.resume {
    case .never:
      guard !paths.holdsRun else { throw Self.occupied(paths) }
      self.init(beginning: job, newIdentifier)
    case .auto, .must:
      try self.init(searching: job, paths, newIdentifier)
      goOn(after: paths)
    case .checkpoint(let path):
      let stored = try CheckpointStore.load(path)
      let previous = Self.identifier(in: paths)
      guard previous == nil || previous == stored.checkpoint.runIdentifier else { throw Self.occupied(paths) }
      try self.init(job, resuming: stored, as: previous ?? newIdentifier, isResumed: previous != nil)
      goOn(after: paths)
    }
  }

  /// Membership epochs rise over the whole run, those included that no checkpoint has seen.
  private mutating func goOn(after paths: RunPaths) {
    guard isResumed, let file = try? RunFile(readingFrom: paths.runFile), let newest = file.membershipEpochs.last
    else { return }
    initial.membershipEpoch = max(initial.membershipEpoch, MembershipEpoch(newest.epoch))
    if file.status == .running, newest.workers > 0 { interruptedWorkers = newest.workers }
  }

  private init(beginning job: TrainingJob, _ identifier: String) {
    runIdentifier = identifier
    initial = InitialState(plan: job.plan, stoppingRule: job.stoppingRule)
    seconds = 0
    isResumed = false
    warnings = []
  }

  private init(searching job: TrainingJob, _ paths: RunPaths, _ newIdentifier: String) throws(Failure) {
    let search = try CheckpointStore(runDirectory: paths.directory).newestValid()
    let warnings = search.rejections.map { "\($0.path) is passed over: \($0.failure)" }
    if let newest = search.newest {
      try self.init(job, resuming: newest, as: newest.checkpoint.runIdentifier, isResumed: true)
    } else if job.settings.resume == .must {
      throw Failure(
        .missingInput, "\(paths.directory) holds no checkpoint to resume from",
        found: warnings.isEmpty ? nil : warnings.joined(separator: "; "),
        remedy: "Begin the run with --resume auto or never")
    } else {
      // A run that was killed before its first checkpoint begins again under its name.
      self.init(beginning: job, Self.identifier(in: paths) ?? newIdentifier)
      isResumed = paths.holdsRun
    }
    self.warnings = warnings
  }

  private init(
    _ job: TrainingJob, resuming stored: StoredCheckpoint, as identifier: String, isResumed: Bool
  ) throws(Failure) {
    let checkpoint = stored.checkpoint
    try job.settings.requireSameTrajectory(
      as: checkpoint.settings.map { ($0.key, $0.value) }, checkpoint: stored.path)
    guard checkpoint.datasetFingerprint == job.training.fingerprint else {
      throw Failure(
        .badConfiguration, "cannot resume from \(stored.path): the training files are not those of the run",
        found: "fingerprint \(hexadecimal(job.training.fingerprint))",
        expected: hexadecimal(checkpoint.datasetFingerprint),
        remedy: "Point --data to the files of the run, or start a new run in a directory of its own")
    }
    runIdentifier = identifier
    initial = try InitialState(checkpoint, plan: job.plan, stoppingRule: job.stoppingRule, path: stored.path)
    seconds = checkpoint.seconds
    self.isResumed = isResumed
    warnings = []
  }

  private static func occupied(_ paths: RunPaths) -> Failure {
    Failure(
      .cannotCreate, "\(paths.directory) holds a run already", found: identifier(in: paths),  // defence: occupied
      remedy: "Go on with it by --resume auto, or name another --run-dir")
  }

  private static func identifier(in paths: RunPaths) -> String? { try? RunFile(readingFrom: paths.runFile).run }
}
