import Diagnostics
import Messaging
import Optimization

/// The coordinator: admits servers and workers, assigns shards, watches leases, has snapshots evaluated and saved, and
/// stops the run. Training continues without it for as long as two snapshots last.
///
/// All decisions about the weights are functions of the step: the server's snapshots are evaluated in order, and when one
/// of them meets a criterion the run's result is that very snapshot, however far the server has gone meanwhile. So
/// stopping needs no pause and gives the same bits every time.
public struct CoordinatorMachine: NodeMachine {
  public enum Outcome: Sendable {
    case evaluated(serial: UInt64, EvaluationSplit, Evaluation)
    /// A checkpoint is durable (its path), or what was not saved and why.
    case checkpointWritten(step: UInt64, Result<String, Failure>)
    /// Nil for data files that are unchanged.
    case dataVerified(Failure?, thoroughly: Bool)
    /// Another coordinator has the run directory.
    case directoryLost(Failure)
  }

  public enum Request: Sendable {
    case evaluate(serial: UInt64, EvaluationSplit, OptimizerState, step: UInt64)
    /// Without looking at the data files first if they are known to have been unchanged after this state.
    case write(RunState, isConfirmed: Bool)
    /// Find out whether the data files are unchanged; thoroughly: by reading them.
    case verifyData(thoroughly: Bool)
    case observe(Observation)
  }

  /// The most that an assignment can name.
  package static let maximumWorkers = Message.Assignment.maximumMembers
  package static let maximumLostServers = 16
  package static let maximumUntrusted = 1024

  package struct Worker {
    let incarnation: Incarnation
    let join: Message.Join
    let rank: UInt32
    var heard: Instant
    /// Of the newest membership epoch; empty if there are more workers than shards, nil until the next epoch.
    var shards: ShardSet?

    var destination: Destination { .node(.worker, incarnation) }
    /// For messages: with the process identifier.
    var name: String { join.process }
  }

  struct Server {
    let incarnation: Incarnation
    let join: Message.Join
    var heard: Instant
    /// It has the state that training starts from.
    var isReady = false
    var newestSerial: UInt64 = 0

    var destination: Destination { .node(.server, incarnation) }
  }

  enum Stage {
    /// The server or workers are missing. Training starts when the server and so many workers are there, or at the
    /// deadline with `atLeast`.
    case rendezvous(until: Instant, workers: Int, atLeast: Int)
    case running
    /// A signal came, and the server was asked for its last snapshot.
    case interrupted(until: Instant)
    /// The outcome is known; its checkpoint is being saved, or it is being evaluated on the test split.
    case finishing(RunOutcome, awaitsTest: Bool)
    /// All nodes have been sent a stop, and leave.
    case draining(RunOutcome, until: Instant)
    case ended
  }

  let runID: RunID
  let timing: Timing
  let expectedWorkers: Int
  let minimumWorkers: Int
  let datasetFingerprint: UInt64
  let meanImage: Payload
  let checkpointInterval: Interval?
  let sharesMemory: Bool
  var plan: TrainingPlan { run.plan }

  var turn = Turn<Action>()
  var stage = Stage.rendezvous(until: Instant(nanoseconds: 0), workers: 0, atLeast: 1)
  package internal(set) var run: RunController
  package internal(set) var pipeline = SnapshotPipeline()
  var dataWatch = DataWatch()
  /// When the newest snapshot came, or the training began to wait for one.
  var snapshotHeard = Instant(nanoseconds: 0)
  var progress: TrainingProgress
  private var nextWake = Instant(nanoseconds: 0)
  var nextTimedCheckpoint: Instant?
  /// When a checkpoint was asked for last, and whether the server still has to send the state for it.
  var saveRequest: (time: Instant, isOpen: Bool)?
  /// Since when training has had fewer workers than the minimum.
  var fewerSince: Instant?
  /// The run is being stopped because of that.
  var lacksWorkers = false

  var server: Server?
  /// The newest server that came while there was one already, and when.
  var candidate: (incarnation: Incarnation, since: Instant)?
  /// The newest servers whose lease expired, the newest last. None is admitted again: it counts its snapshots from where
  /// it was, and a join that was held up on the way looks like that of a new one.
  package internal(set) var lostServers: [Incarnation] = []
  /// In rising rank.
  package internal(set) var workers: [Worker] = []
  /// The newest workers that pushed impossible gradients, the newest last: none is admitted again.
  package internal(set) var untrusted: [Incarnation] = []
  /// What the server has counted since its start.
  var rejectedPushes: UInt64 = 0
  var stalePushes: UInt64 = 0
  /// What it has counted since the run began.
  var takenOverShards: UInt64 = 0
  var lateShards: UInt64 = 0
  /// As the server's newest heartbeat says.
  var paces: [Message.WorkerPace] = []
  var rate = TrainingRate()
  /// The worker that was last said to be slow, and how many answers it had given then.
  var slowNote: (worker: Incarnation, answers: UInt64)?

  /// - Parameters:
  ///   - controller: at the state that the run begins with or is resumed from.
  ///   - expectedWorkers: training starts when so many have joined, or at the end of the rendezvous with those that have.
  ///   - minimumWorkers: it does not start with fewer, and ends when there are fewer for longer than the rendezvous.
  ///   - datasetFingerprint: of the training files.
  ///   - meanImage: Float32 [pixels], in pixel units.
  ///   - checkpointInterval: saves a checkpoint at least this often, besides those of the plan; nil for never.
  ///   - sharesMemory: whether servers and workers on one host exchange messages through memory.
  public init(
    _ runID: RunID, controller: RunController, timing: Timing, expectedWorkers: Int, minimumWorkers: Int = 1,
    datasetFingerprint: UInt64, meanImage: Payload, checkpointInterval: Interval?, sharesMemory: Bool = false
  ) {
    self.runID = runID
    self.timing = timing
    self.expectedWorkers = max(expectedWorkers, minimumWorkers)
    self.minimumWorkers = minimumWorkers
    self.datasetFingerprint = datasetFingerprint
    self.meanImage = meanImage
    self.checkpointInterval = checkpointInterval
    self.sharesMemory = sharesMemory
    run = controller
    progress = TrainingProgress(
      step: run.state.step, examples: run.state.snapshot.totals.examples, loss: .nan, workers: 0)
  }

  public var nextDeadline: Instant? {
    if case .ended = stage { return nil }
    return nextWake + turn.absence
  }

  /// It knows how the run ends.
  package var hasDecided: Bool {
    switch stage {
    case .rendezvous, .running, .interrupted: false
    case .finishing, .draining, .ended: true
    }
  }

  /// Of the workers and the server that are not known to have ended.
  package var memberIncarnations: [Incarnation] { workers.map(\.incarnation) + (server.map { [$0.incarnation] } ?? []) }

  public mutating func handle(_ event: Event, at now: Instant, into actions: inout [Action]) {
    if case .ended = stage { return }
    turn.begin(at: now, due: nextWake, allowance: timing.heartbeat, into: &actions)
    defer { turn.end(into: &actions) }
    switch event {
    case .begin: begin()
    case .received(let message, let envelope): receive(message, envelope)
    case .deadline: deadlinePassed()
    case .outcome(.evaluated(let serial, let split, let evaluation)): evaluated(serial, split, evaluation)
    case .outcome(.checkpointWritten(let step, let result)): checkpointWritten(step, result)
    case .outcome(.dataVerified(let failure, let thoroughly)): dataVerified(failure, thoroughly: thoroughly)
    case .outcome(.directoryLost(let failure)): directoryLost(failure)
    case .stopRequested: stopRequested()
    case .saveRequested: saveRequested(by: "a signal")
    }
  }

  private mutating func begin() {
    stage = .rendezvous(until: turn.now + timing.rendezvous, workers: expectedWorkers, atLeast: minimumWorkers)
    nextWake = turn.now + timing.heartbeat
    nextTimedCheckpoint = checkpointInterval.map { turn.now + $0 }
    evaluateStart()
  }

  private mutating func deadlinePassed() {
    guard turn.now >= nextWake else { return }
    nextWake = turn.now + timing.heartbeat / 2
    watch()
  }

  // MARK: Receiving

  private mutating func receive(_ message: Message, _ envelope: Envelope) {
    let sender = envelope.incarnation
    switch message {
    case .join(let join): return receive(join, from: sender)
    case .statusRequest: return send(.status(statusReport(at: turn.now)), to: .node(.observer, sender))
    default: break
    }
    guard envelope.run == runID else { return }
    if server?.incarnation == sender {
      server?.heard = turn.now
      receiveFromServer(message, envelope)
    } else if let index = workers.firstIndex(where: { $0.incarnation == sender }) {
      workers[index].heard = turn.now
      receiveFromWorker(message, index)
    } else if case .heartbeat = message {
      for role in [NodeRole.worker, .server] { send(.notAMember, to: .node(role, sender)) }
    }
  }

  private mutating func receiveFromWorker(_ message: Message, _ index: Int) {
    switch message {
    case .heartbeat: send(.heartbeatReply, to: workers[index].destination)
    case .leave: workerLeft(index)
    case .saveRequest: saveRequested(by: workers[index].name)
    default: break
    }
  }

  private mutating func receiveFromServer(_ message: Message, _ envelope: Envelope) {
    switch message {
    case .heartbeat(let heartbeat):
      send(.heartbeatReply, to: .node(.server, envelope.incarnation))
      receive(heartbeat, step: envelope.step)
    case .snapshot(let snapshot): receive(snapshot, from: envelope.incarnation)
    case .leave: serverLeft()
    case .saveRequest: if let server { saveRequested(by: server.join.process) }
    default: break
    }
  }

  // MARK: Sending

  mutating func send(_ message: Message, to destination: Destination) {
    turn.send(
      message, to: destination,
      Addressing(run: runID, membershipEpoch: run.state.membershipEpoch, step: progress.step))
  }

  /// Does nothing while there is no server.
  mutating func sendToServer(_ message: Message) {
    if let server { send(message, to: server.destination) }
  }
}
