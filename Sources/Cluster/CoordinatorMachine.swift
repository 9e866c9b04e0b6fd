import Diagnostics
import Messaging
import Optimization

/// What the coordinator is told at its start.
public struct CoordinatorConfiguration: Sendable {
  public var run: RunID
  public var plan: TrainingPlan
  public var stoppingRule: StoppingRule
  public var timing: Timing
  /// The training begins when this many workers are there, or with those that came by the deadline.
  public var expectedWorkers: Int
  public var datasetFingerprint: UInt64
  public var meanImage: [Float]
  /// Save a checkpoint at least this often, besides those of the plan; nil for never.
  public var checkpointInterval: Interval?
  public var initial: InitialState
  /// Whether servers and workers on one host exchange messages through memory.
  public var sharesMemory: Bool

  public init(
    run: RunID, plan: TrainingPlan, stoppingRule: StoppingRule, timing: Timing, expectedWorkers: Int,
    datasetFingerprint: UInt64, meanImage: [Float], checkpointInterval: Interval?, initial: InitialState,
    sharesMemory: Bool = false
  ) {
    self.run = run
    self.plan = plan
    self.stoppingRule = stoppingRule
    self.timing = timing
    self.expectedWorkers = expectedWorkers
    self.datasetFingerprint = datasetFingerprint
    self.meanImage = meanImage
    self.checkpointInterval = checkpointInterval
    self.initial = initial
    self.sharesMemory = sharesMemory
  }
}

/// Where the training begins: at step 0, or where a checkpoint left it.
public struct InitialState: Sendable {
  public var step: UInt64
  public var shardClocks: [UInt64]
  public var totals: RunTotals
  public var monitor: ConvergenceMonitor
  /// Of the interrupted run; this one continues with higher ones.
  public var membershipEpoch: MembershipEpoch
  /// Of the steps before the newest evaluation.
  public var trainLoss: Double?
  /// Path of the checkpoint, if there is one.
  public var checkpoint: String?
  /// Float32: the parameters, then the velocity if the plan has momentum.
  public var state: Payload

  public init(
    step: UInt64, shardClocks: [UInt64], totals: RunTotals, monitor: ConvergenceMonitor,
    membershipEpoch: MembershipEpoch, trainLoss: Double? = nil, checkpoint: String?, state: Payload
  ) {
    self.step = step
    self.shardClocks = shardClocks
    self.totals = totals
    self.monitor = monitor
    self.membershipEpoch = membershipEpoch
    self.trainLoss = trainLoss
    self.checkpoint = checkpoint
    self.state = state
  }

  /// The beginning of a run.
  public init(plan: TrainingPlan, stoppingRule: StoppingRule) {
    self.init(
      step: 0, shardClocks: Array(repeating: 0, count: plan.shardCount), totals: RunTotals(),
      monitor: ConvergenceMonitor(stoppingRule), membershipEpoch: MembershipEpoch(0),
      checkpoint: nil, state: TrainingState(plan: plan).payload)
  }
}

/// The coordinator: lets nodes in, assigns shards, watches who is alive, evaluates, decides when to stop,
/// and has checkpoints written. The training goes on without it for as long as two snapshots last.
///
/// All decisions about the weights are functions of the step: it evaluates the server's snapshots in order,
/// and when one of them meets a criterion the run's result is that very snapshot, however far the server
/// has gone meanwhile. So stopping needs no pause and gives the same bits every time.
public struct CoordinatorMachine: Role {
  public enum Event: NodeEvent {
    case begin
    case received(Message, Envelope)
    /// The result of an `evaluate` action.
    case evaluated(serial: UInt64, EvaluationSplit, Evaluation)
    /// A checkpoint is durable (its path), or what was not saved and why.
    case checkpointWritten(step: UInt64, Result<String, Failure>)
    case deadline
    case stopRequested
  }

  public enum Action: NodeAction {
    case send(Message, to: Destination, Addressing)
    case note(NoteLevel, event: String, String)
    case evaluate(serial: UInt64, EvaluationSplit, parameters: Payload)
    case write(CheckpointRequest)
    case observe(Observation)
    case stop(ExitStatus, reason: String)

    public var sent: (message: Message, destination: Destination, addressing: Addressing)? {
      if case .send(let message, let destination, let addressing) = self {
        (message, destination, addressing)
      } else {
        nil
      }
    }
  }

  static let maximumNodes = 1024
  static let maximumQueuedSnapshots = 4
  static let maximumLostServers = 16
  static let maximumUntrusted = 1024

  struct Node {
    var incarnation: Incarnation
    var rank: UInt32
    var processID: Int32
    var host: String
    var heard: Instant
    /// Workers: has shards (or would have, if there were more shards than workers).
    var isAdmitted = false
  }

  struct Server {
    var node: Node
    var endpoint: String
    var isReady = false
    var newestSerial: UInt64 = 0
  }

  enum Stage {
    /// The server or workers are missing; until the deadline.
    case gathering(until: Instant)
    case running
    /// A signal came: the server's last snapshot is on its way.
    case interrupted(until: Instant)
    /// The result is known; its checkpoint and the evaluation on the test set are under way.
    case finishing
    /// Everybody has been told to end.
    case dispersing(until: Instant)
    case ended
  }

  struct QueuedSnapshot {
    var snapshot: Message.Snapshot
    var step: UInt64
    var server: Incarnation
  }

  let configuration: CoordinatorConfiguration
  let incarnation: Incarnation
  let meanImage: Payload
  var plan: TrainingPlan { configuration.plan }
  var timing: Timing { configuration.timing }

  var stage = Stage.gathering(until: Instant(nanoseconds: 0))
  var epoch: MembershipEpoch
  var server: Server?
  /// The newest server that came while there was one already, and when.
  var candidate: (incarnation: Incarnation, since: Instant)?
  /// The newest servers that were silent for longer than the lease, the newest last. None is let in again: it counts its
  /// snapshots from where it was, and a join that was held up on the way looks like that of a new one.
  var lostServers: [Incarnation] = []
  /// The newest workers that pushed what cannot be, the newest last: none is let in again.
  var untrusted: [Incarnation] = []
  /// What the server has counted since its start.
  var refusedPushes: UInt64 = 0
  var stalePushes: UInt64 = 0
  /// In rising rank.
  var workers: [Node] = []
  var assignment = Message.Assignment(members: [])
  var progress: TrainingProgress
  var nextWake = Instant(nanoseconds: 0)
  var nextTimedCheckpoint: Instant?
  /// The training has been under way: it goes on with whoever is there and does not wait for all that were expected.
  var hasBegun = false

  /// The newest state that a server could be started with.
  var restartState: InitialState
  var monitor: ConvergenceMonitor
  var queue: [QueuedSnapshot] = []
  /// The snapshot whose evaluation is under way.
  var current: QueuedSnapshot?
  var processedStep: UInt64
  var newestValidation: Evaluation?
  var newestTrainLoss: Double?
  var writing: UInt64?
  var queuedWrite: CheckpointRequest?
  var newestCheckpoint: String?
  var checkpointFailure: Failure?
  var outcome: RunOutcome?
  var outcomeAwaitsTest = false
  var ending = Message.Ending(status: .success, reason: "")

  public init(configuration: CoordinatorConfiguration, incarnation: Incarnation) {
    self.configuration = configuration
    self.incarnation = incarnation
    meanImage = Payload(concatenating: configuration.meanImage)
    let initial = configuration.initial
    epoch = initial.membershipEpoch
    restartState = initial
    monitor = initial.monitor
    processedStep = initial.step
    newestCheckpoint = initial.checkpoint
    newestTrainLoss = initial.trainLoss
    progress = TrainingProgress(
      step: initial.step, examples: initial.totals.examples, loss: .nan, workers: 0)
  }

  public var nextDeadline: Instant? {
    if case .ended = stage { return nil }
    return nextWake
  }

  public mutating func handle(_ event: Event, at now: Instant, into actions: inout [Action]) {
    if case .ended = stage { return }
    switch event {
    case .begin:
      stage = .gathering(until: now + timing.rendezvous)
      nextWake = now + timing.heartbeat
      nextTimedCheckpoint = configuration.checkpointInterval.map { now + $0 }
      repeatDecision(into: &actions)
    case .received(let message, let envelope):
      receive(message, envelope, at: now, into: &actions)
    case .deadline:
      guard now >= nextWake else { return }
      renewLeasesAfterAbsence(at: now)
      nextWake = now + Interval(nanoseconds: timing.heartbeat.nanoseconds / 2)
      watch(at: now, into: &actions)
    case .evaluated(let serial, let split, let evaluation):
      evaluated(serial, split, evaluation, at: now, into: &actions)
    case .checkpointWritten(let step, let result):
      checkpointWritten(step, result, at: now, into: &actions)
    case .stopRequested:
      stopRequested(at: now, into: &actions)
    }
  }

  /// A coordinator that was away itself, stopped or starved, cannot blame the others for a silence it did not
  /// listen to: their messages are still in its queue.
  private mutating func renewLeasesAfterAbsence(at now: Instant) {
    guard now.since(nextWake) >= timing.heartbeat else { return }
    server?.node.heard = now
    for index in workers.indices { workers[index].heard = now }
  }

  private mutating func receive(
    _ message: Message, _ envelope: Envelope, at now: Instant, into actions: inout [Action]
  ) {
    let sender = envelope.incarnation
    switch message {
    case .join(let join):
      receive(join, from: sender, at: now, into: &actions)
      return
    case .statusRequest:
      send(.status(statusText(at: now)), to: .node(.observer, sender), into: &actions)
      return
    default: break
    }
    guard envelope.run == configuration.run else { return }
    if server?.node.incarnation == sender {
      server?.node.heard = now
      receiveFromServer(message, envelope, at: now, into: &actions)
    } else if let index = workers.firstIndex(where: { $0.incarnation == sender }) {
      workers[index].heard = now
      receiveFromWorker(message, index, at: now, into: &actions)
    } else if case .heartbeat = message {
      for role in [NodeRole.worker, .server] { send(.stranger, to: .node(role, sender), into: &actions) }
    }
  }

  private mutating func receiveFromWorker(
    _ message: Message, _ index: Int, at now: Instant, into actions: inout [Action]
  ) {
    switch message {
    case .heartbeat:
      send(.heartbeatReply, to: .node(.worker, workers[index].incarnation), into: &actions)
    case .leave:
      let worker = workers.remove(at: index)
      note(.info, "worker_left", "worker \(worker.rank) (process \(worker.processID)) left", &actions)
      if worker.isAdmitted { membershipChanged(at: now, into: &actions) }
      if case .dispersing = stage { endIfAlone(at: now, into: &actions) }
    default: break
    }
  }

  private mutating func receiveFromServer(
    _ message: Message, _ envelope: Envelope, at now: Instant, into actions: inout [Action]
  ) {
    switch message {
    case .heartbeat(let heartbeat):
      send(.heartbeatReply, to: .node(.server, envelope.incarnation), into: &actions)
      receive(heartbeat, step: envelope.step, at: now, into: &actions)
    case .snapshot(let snapshot):
      receive(snapshot, step: envelope.step, from: envelope.incarnation, at: now, into: &actions)
    case .leave:
      serverLeft(at: now, into: &actions)
    default: break
    }
  }

  // MARK: Sending

  var addressing: Addressing { Addressing(run: configuration.run, membershipEpoch: epoch, step: progress.step) }

  func send(_ message: Message, to destination: Destination, into actions: inout [Action]) {
    actions.append(.send(message, to: destination, addressing))
  }

  func note(
    _ level: NoteLevel, _ event: String, _ text: String, _ actions: inout [Action]
  ) {
    actions.append(.note(level, event: event, text))
  }
}
