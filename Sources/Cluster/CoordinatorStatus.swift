import Diagnostics
import Messaging
import Optimization

/// What the coordinator of a run says to `descent status`. As JSON it has these names in snake case; what is not known is
/// null.
struct StatusReport {
  struct Server {
    let name: String
    let pid: Int32
    let endpoint: String
    let silenceSeconds: Double
  }

  struct Worker {
    let name: String
    let host: String
    let pid: Int32
    /// "0-7"; empty if there are more workers than shards, nil until the next membership epoch.
    let shards: String?
    let answers: UInt64
    /// From handing out an item to receiving its push; nil before the first.
    let medianSeconds: Double?
    let p99Seconds: Double?
    /// Of the steps in which it took part: those that its push completed. This and the next are nil where no step waits for
    /// one of several workers.
    let shareLast: Double?
    /// Of its time as a member: in which steps waited for this worker alone.
    let shareAwaited: Double?
    let silenceSeconds: Double
  }

  /// "running", "waiting", "stopping", "ended".
  let state: String
  /// What the state is about: "for a server (2.0 s left); 1 of 1 workers connected".
  let detail: String?
  let step: UInt64
  let totalSteps: UInt64
  let epoch: Double
  let membershipEpoch: UInt64
  /// Mean data loss of the newest step.
  let dataLoss: Double?
  let validationDataLoss: Double?
  let validationAccuracy: Double?
  let imagesPerSecond: Double?
  let remainingSeconds: Double?
  let checkpoint: String?
  let slowestWorker: String?
  let rejectedPushes: UInt64
  let unsolicitedPushes: UInt64
  /// Since the run began.
  let takenOverShards: UInt64
  let lateShards: UInt64
  let server: Server?
  let workers: [Worker]
}

extension CoordinatorMachine {
  package func statusReport(at now: Instant) -> Payload {
    let (state, detail) = stage(at: now)
    let workersStatus = workersStatus
    let rates = rate.rates(progress, of: plan, at: now)
    let report = StatusReport(
      state: state, detail: detail, step: progress.step, totalSteps: plan.totalSteps,
      epoch: Double(progress.step) / Double(max(1, plan.stepsPerEpoch)),
      membershipEpoch: run.state.membershipEpoch.value, dataLoss: progress.loss,
      validationDataLoss: run.state.validation?.meanLoss, validationAccuracy: run.state.validation?.accuracy,
      imagesPerSecond: rates.images, remainingSeconds: rates.remaining, checkpoint: run.checkpoint,
      slowestWorker: slowWorker.map { describe($0) }, rejectedPushes: workersStatus.rejectedPushes,
      unsolicitedPushes: workersStatus.unsolicitedPushes,
      takenOverShards: takenOverShards, lateShards: lateShards,
      server: server.map {
        StatusReport.Server(
          name: $0.join.fullName, pid: $0.join.processID, endpoint: $0.join.endpoint,
          silenceSeconds: now.since($0.heard).seconds)
      },
      workers: zip(workers, workersStatus.members).map { worker, member in
        StatusReport.Worker(
          name: member.name, host: worker.join.host, pid: worker.join.processID, shards: member.shards?.description,
          answers: member.pace?.answers ?? 0, medianSeconds: member.pace?.medianSeconds,
          p99Seconds: member.pace?.p99Seconds, shareLast: member.shareLast, shareAwaited: member.shareAwaited,
          silenceSeconds: now.since(worker.heard).seconds)
      })
    return Payload(concatenating: JSONValue(reflecting: report).compactBytes)
  }

  /// Of the members that there are now.
  var workersStatus: WorkersStatus {
    let isOneOfSeveral = plan.consistency.appliesWholeSteps && workers.count > 1
    var status = WorkersStatus()
    (status.rejectedPushes, status.unsolicitedPushes) = (rejectedPushes, stalePushes)
    // By a table: with a thousand workers, looking each of them up in a list would take a million comparisons.
    let known = Dictionary(paces.filter { $0.answers > 0 }.map { ($0.worker, $0) }) { first, _ in first }
    status.members = workers.map { worker in
      WorkersStatus.Member(
        name: worker.join.fullName, incarnation: worker.incarnation, shards: worker.shards,
        pace: known[worker.incarnation], isOneOfSeveral: isOneOfSeveral)
    }
    return status
  }

  private func stage(at now: Instant) -> (state: String, detail: String?) {
    switch stage {
    case .rendezvous(let deadline, _, _):
      let awaited = server == nil ? "a server" : "workers"
      return ("waiting", "for \(awaited) (\(deadline.since(now)) left); \(connectedWorkers)")
    case .running: return ("running", nil)
    case .interrupted: return ("stopping", "saves a checkpoint")
    case .finishing: return ("stopping", "evaluates and saves the result")
    case .draining, .ended: return ("ended", nil)
    }
  }

  var connectedWorkers: String { "\(workers.count) of \(expectedWorkers) workers connected" }
}

/// How fast the training is, measured over the last 5 to 10 s.
struct TrainingRate {
  private typealias Sample = (time: Instant, progress: TrainingProgress)
  private static let window = Interval.seconds(5)

  private var anchor: Sample?
  /// Takes the place of the anchor when the window is over.
  private var nextAnchor: Sample?

  /// Called with each heartbeat of the server.
  mutating func measure(_ progress: TrainingProgress, at now: Instant) {
    if anchor == nil { anchor = (now, progress) }
    guard let next = nextAnchor, now.since(next.time) < Self.window else {
      anchor = nextAnchor ?? anchor
      nextAnchor = (now, progress)
      return
    }
  }

  /// Images per second, and the seconds that the remaining steps will take; nil before there is a step to measure.
  func rates(_ progress: TrainingProgress, of plan: TrainingPlan, at now: Instant) -> (
    images: Double?, remaining: Double?
  ) {
    guard let anchor, now > anchor.time, progress.step > anchor.progress.step else { return (nil, nil) }
    let elapsed = now.since(anchor.time).seconds
    let images = Double(progress.examples - min(progress.examples, anchor.progress.examples)) / elapsed
    let left = Double(plan.totalSteps - min(plan.totalSteps, progress.step))
    return (images, left * elapsed / Double(progress.step - anchor.progress.step))
  }
}
