import Checkpoints
import Cluster
import Diagnostics
import Files
import Messaging
import Optimization
import Reporting
import RunConfiguration

/// Where a run starts: at step 0, or at a checkpoint. Decided from the run directory, without writing to it.
public struct RunStart: Sendable {
  public var runIdentifier: String
  public var state: RunState
  /// Path of the checkpoint that `state` is from; nil at step 0.
  public var checkpoint: String?
  /// The best state before it, if its checkpoint is there.
  public var best: RunState?
  /// Where the first weights of the run are from; nil if they were drawn from the seed.
  public var weights: WeightsOrigin?
  /// Time that the run has trained before.
  public var seconds = 0.0
  /// Whether the run directory holds this run already.
  public var isResumed = false
  /// How many workers the run had when its coordinator was killed; nil if it ended otherwise or never had any. The
  /// resumed run waits for as many.
  public var interruptedWorkers: Int?
  /// Whether the file of the weights names no mean image, so that they are taken to be trained with that of this run.
  var assumesMeanImage = false
  /// The run in the directory, which never took a step and gives way to this one.
  var replacedRun: String?
  /// For the log: checkpoints that are damaged and were skipped.
  public var warnings: [String] = []

  /// Whether this start brings weights into a directory that does not hold them yet.
  var beginsWithWeights: Bool { weights != nil && !isResumed }

  /// Applies the `resume` setting to what is in the directory. A run that never took a step is none, unless the setting
  /// resumes it.
  ///
  /// - Parameter newIdentifier: the name of the run if it is a new one.
  /// - Throws: `cannotCreate` when a run is there that must not be touched, `missingInput` when there must be a checkpoint
  ///   and is none, `badConfiguration` when settings or data shape another trajectory than the checkpoint's,
  ///   `badData` when the checkpoint that was named is damaged.
  public init(job: TrainingJob, paths: RunPaths, newIdentifier: String) throws(Failure) {
    switch job.settings.resume {
    case .never:
      guard !paths.holdsRun || !paths.tookStep else { throw Self.occupied(paths) }  // defence: claim
      try self.init(beginning: job, newIdentifier)
      replacedRun = Self.identifier(in: paths)
    case .auto, .must:
      try self.init(searching: job, paths, newIdentifier)
    case .checkpoint(let selector):
      let stored = try CheckpointStore.load(CheckpointStore.locate(selector))
      var previous = Self.identifier(in: paths)
      let isOther = previous != nil && previous != stored.checkpoint.origin.runIdentifier
      guard !isOther || !paths.tookStep else { throw Self.occupied(paths) }
      let replaced = isOther ? previous : nil
      if isOther { previous = nil }
      try self.init(job, resuming: stored, as: previous ?? newIdentifier)
      replacedRun = replaced
      isResumed = previous != nil
      if !isResumed {
        weights = WeightsOrigin(
          path: selector, run: stored.checkpoint.origin.runIdentifier, step: state.step,
          weightsSHA256: weightsSHA256(stored.checkpoint.model.parameters))
      }
    }
    if isResumed { continueMembership(of: paths) }
  }

  /// Membership epochs rise over the whole run, those included that no checkpoint has seen.
  private mutating func continueMembership(of paths: RunPaths) {
    guard let file = try? RunFile(readingFrom: paths.runFile), let newest = file.membershipEpochs.last else { return }
    state.membershipEpoch = max(state.membershipEpoch, MembershipEpoch(newest.epoch))
    if file.status == .running, newest.workers > 0 { interruptedWorkers = newest.workers }
  }

  /// With the weights of `init-from`, if there are to be such.
  private init(beginning job: TrainingJob, _ identifier: String) throws(Failure) {
    let plan = job.plan
    runIdentifier = identifier
    state = RunState(beginning: plan)
    guard let source = job.settings.initFrom else { return }
    let initial = try InitialWeights(
      loading: source, for: plan.shape, meanImage: job.meanImage, classNames: job.training.classNames)
    state.snapshot.state = OptimizerState(
      TrainingState(plan: plan, parameters: initial.parameters))
    weights = initial.origin
    assumesMeanImage = !initial.hasMeanImage
  }

  private init(searching job: TrainingJob, _ paths: RunPaths, _ newIdentifier: String) throws(Failure) {
    let search = try CheckpointStore(runDirectory: paths.directory).newestValid()
    let warnings = search.rejections.map { "skipped a damaged checkpoint: \($0.failure)" }
    if let newest = search.newest {
      try self.init(job, resuming: newest, as: newest.checkpoint.origin.runIdentifier)
      isResumed = true
    } else if job.settings.resume == .must {
      throw Failure(
        .missingInput, (["\(paths.directory) holds no checkpoint to resume from"] + warnings).joined(separator: "; "),
        remedy: job.settings.runDirectory == nil
          ? "Name the run with --run-dir" : "To start the run: \(paths.resumption(policy: "auto"))")
    } else {
      // A run that was killed before its first checkpoint starts again under its name.
      try self.init(beginning: job, Self.identifier(in: paths) ?? newIdentifier)
      isResumed = paths.holdsRun
    }
    self.warnings = warnings
  }

  private init(_ job: TrainingJob, resuming stored: StoredCheckpoint, as identifier: String) throws(Failure) {
    let origin = stored.checkpoint.origin
    let configuration = RunPaths(ofCheckpoint: stored.path)?.configuration
    try job.settings.requireSameTrajectory(
      as: origin.settings, checkpoint: stored.path,
      configuration: configuration.flatMap { FileSystem().exists($0) ? $0 : nil })
    guard origin.datasetFingerprint == job.training.fingerprint else {  // defence: resumed-data
      throw Failure(
        .badConfiguration,
        "cannot resume from \(stored.path): the training files have fingerprint \(hexadecimal(job.training.fingerprint)), "
          + "but those of the run had \(hexadecimal(origin.datasetFingerprint))",
        remedy: "Point --data to the files of the run, or start a new run in another directory")
    }
    runIdentifier = identifier
    state = try stored.checkpoint.state(resuming: job.plan, path: stored.path)
    checkpoint = stored.path
    let run = FileSystem.split(FileSystem.split(stored.path).directory).directory
    let best = CheckpointStore(runDirectory: run).best()?.checkpoint
    if best?.origin.runIdentifier == origin.runIdentifier { self.best = best?.run }
    seconds = stored.checkpoint.seconds
    weights = origin.weights
  }

  private static func occupied(_ paths: RunPaths) -> Failure {
    let run = identifier(in: paths).map { "run \($0)" } ?? "a run"
    return Failure(
      .cannotCreate, "\(paths.directory) already contains \(run)",  // defence: occupied
      remedy: "To continue it: \(paths.resumption()). To start another run, choose another --run-dir")
  }

  private static func identifier(in paths: RunPaths) -> String? { try? RunFile(readingFrom: paths.runFile).run }
}
