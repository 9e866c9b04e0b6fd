import Diagnostics
import Files
import Messaging
import Optimization
import Reporting
import RunConfiguration

/// What the processes of a run take from the limits of the system. Counted with 1 to 40 workers, with keys and without, and
/// with some to spare for what comes and goes, such as `descent status`.
package enum RunLimits {
  /// Descriptors of a process of this role, in addition to those that it has at its start: most are libzmq's. Each worker
  /// has a connection to coordinator and server, and with shared memory a doorbell.
  package static func descriptors(of role: NodeRole, workers: Int) -> Int {
    switch role {
    case .coordinator: 28 + workers
    case .server: 20 + 2 * workers
    case .worker, .observer: 24
    }
  }

  /// Threads of a process of this role: those that work, two of libzmq, and with keys the authenticator.
  package static func threads(of role: NodeRole) -> Int {
    switch role {
    case .coordinator: 9
    case .worker: 6
    case .server, .observer: 4
    }
  }

  /// Its lifeline and its signals.
  private static let openedBefore = 2
  /// Of a process that trains without workers.
  private static let sequentialDescriptors = 12
  /// What a role allocates, thread stacks aside: snapshots, messages, a checkpoint. More for the coordinator, which is the
  /// first to ask, so that it does not begin a run that the others cannot join.
  ///
  /// - Parameter plan: nil as long as the role does not know it.
  static func heapBytes(of role: NodeRole, _ plan: TrainingPlan? = nil) -> Int {
    let vector = (plan?.shape.parameterCount ?? 0) * MemoryLayout<Float>.stride
    return ((role == .coordinator ? 32 : 16) << 20) + vectors(of: role) * vector
  }

  /// Vectors of a model's parameters. Those of a state are three at most.
  private static func vectors(of role: NodeRole) -> Int {
    switch role {
    // States: the newest, the confirmed, the best; three snapshots, one evaluated; and one as the bytes of files. What its
    // event files show: two states, and a gradient, also in double precision.
    case .coordinator: 36
    // Its state, the open sum, and two snapshots.
    case .server: 10
    // Weights and gradients where none are shared.
    case .worker: 6
    case .observer: 0
    }
  }

  /// Requires what a process of this role takes. Call it once the data of the role are mapped.
  ///
  /// - Parameters:
  ///   - workers: of the run, as far as it is known.
  ///   - opened: descriptors that it will have opened before it asks for itself.
  ///   - plan: of the run, where it is known.
  /// - Throws: `badConfiguration`.
  static func require(
    _ role: NodeRole, workers: Int, opened: Int = 0, plan: TrainingPlan? = nil
  ) throws(Failure) {
    let count = descriptors(of: role, workers: workers) + opened
    let user = "\(role == .observer ? "an" : "a") \(role)"
    try SystemLimits.requireDescriptors(
      count, for: [.coordinator, .server].contains(role) ? "\(user) of \(Display.workers(workers))" : user)
    try SystemLimits.requireThreads(threads(of: role), for: user)
    try SystemLimits.requireMemory(
      heapBytes(of: role, plan) + SystemLimits.stackBytes(threads: threads(of: role)), for: user)
  }

  /// Requires what `descent train` and the processes that it starts take.
  ///
  /// - Throws: `badConfiguration`.
  package static func require(runOf workers: Int) throws(Failure) {
    guard workers > 0 else {
      return try SystemLimits.requireDescriptors(sequentialDescriptors, for: "training without workers")
    }
    // First the one that needs most, so that its number is named.
    let roles = [NodeRole.coordinator, .server].sorted {
      descriptors(of: $0, workers: workers) > descriptors(of: $1, workers: workers)
    }
    for role in roles { try require(role, workers: workers, opened: openedBefore) }
    let total = threads(of: .coordinator) + threads(of: .server) + workers * threads(of: .worker)
    try SystemLimits.requireThreads(total, for: "a run of \(Display.workers(workers))")
  }

  /// Requires that the files of a run can have their size, which is that of a checkpoint or of its records, and memory for
  /// what the run makes once its data are mapped.
  ///
  /// - Throws: `badConfiguration`.
  static func require(_ job: TrainingJob, _ paths: RunPaths) throws(Failure) {
    try SystemLimits.requireMemory(heapBytes(of: .worker, job.plan), for: "a run on \(job.training.directory)")
    let (plan, text) = (job.plan, 16 << 10)
    let parameters = plan.shape.parameterCount
    // Of the model, and of its optimizer.
    let floats = max(parameters + plan.shape.pixels, plan.optimizer.kind.slotNames.count * parameters)
    try SystemLimits.requireFileSize(floats * MemoryLayout<Float>.stride + text, for: "a checkpoint")
    let rows = plan.evaluateEvery > 0 ? Int(clamping: plan.totalSteps / plan.evaluateEvery) : 0
    let records = [
      (paths.metrics, MetricsRecord.typicalByteCount),
      (paths.workers, WorkersRecord.typicalByteCount(workers: job.settings.workers)),
    ]
    for (path, byteCount) in records {
      let written = FileSystem().status(of: path)?.byteCount ?? 0
      try SystemLimits.requireFileSize(max(written, min(rows, 1 << 40) * byteCount), for: path)
    }
  }
}
