import Diagnostics
import Messaging
import Optimization

/// The parameter server: holds W, hands out work, adds up what comes back, and applies the update.
///
/// It is the only judge of what counts. Work is handed out under numbered tickets; a push counts if it
/// answers the ticket its worker holds, under the current membership epoch, for a step that is still open.
/// So every (step, shard) counts exactly once, whoever computed it and however often it arrives.
public struct ServerMachine: Role {
  public enum Event: NodeEvent {
    case begin
    case received(Message, Envelope)
    case deadline
    case stopRequested
  }

  public enum Action: NodeAction {
    case send(Message, to: Destination, Addressing)
    case note(NoteLevel, event: String, String)
    /// The coordinator has been silent for longer than the lease; another one may have started elsewhere.
    case seekCoordinator
    /// The last action: another coordinator has the run. Join it as a new incarnation.
    case rejoin(reason: String)
    case stop(ExitStatus, reason: String)

    public var sent: (message: Message, destination: Destination, addressing: Addressing)? {
      if case .send(let message, let destination, let addressing) = self {
        (message, destination, addressing)
      } else {
        nil
      }
    }
  }

  /// Snapshots the coordinator has not dealt with; the training waits rather than pile up more.
  static let maximumOutstandingSnapshots = 2

  /// A worker so many of whose pushes cannot have been computed gets no more work. One may be a bit that flipped: it is
  /// asked for the same again. The count is that of its incarnation and never falls.
  static let maximumRefusedPushes = 3

  /// What a worker was asked to compute.
  struct Ticket {
    var number: UInt64
    var work: ParameterStore.Work
    var issued: Instant
    /// The weights it was sent last.
    var parameters: Payload
  }

  struct Member {
    var incarnation: Incarnation
    var shards: ShardSet
    var ticket: Ticket?
    var refusedPushes = 0
    var isTrusted: Bool { refusedPushes < ServerMachine.maximumRefusedPushes }
  }

  enum Phase: Equatable { case joining, welcomed, running, holding, ended }

  let incarnation: Incarnation
  let join: Message.Join
  let timing: Timing
  /// Where the weights live that workers are sent.
  private let kernel: KernelVariant
  private let makePool: (Int, Int) -> PayloadPool

  var phase = Phase.joining
  var run = RunID(0)
  /// Who let this server in.
  private var coordinator = Incarnation(0)
  var coordinatorHeard = Instant(nanoseconds: 0)
  var nextHeartbeat = Instant(nanoseconds: 0)
  var stopDeadline: Instant?

  /// From the welcome until the state to begin with is there.
  private var plan: TrainingPlan?
  /// From then on.
  var store: ParameterStore?

  var epoch = MembershipEpoch(0)
  var members: [Member] = []
  var memberIndex: [Incarnation: Int] = [:]
  /// An assignment that takes effect when the open step is complete.
  var pending: (epoch: MembershipEpoch, assignment: Message.Assignment)?
  var newestAssignment = MembershipEpoch(0)
  /// The number of the newest ticket. The first is this server's alone, so that a push that was meant for another server,
  /// and has the same epoch and step, never answers one of these.
  var tickets: UInt64
  /// Pushes that cannot have been computed, and that were not asked for (any more).
  var refusedPushes: UInt64 = 0
  var stalePushes: UInt64 = 0

  var snapshots: [(snapshot: Message.Snapshot, step: UInt64, sent: Instant)] = []
  var snapshotSerial: UInt64 = 0
  var stepDurations = LatencyHistogram()
  var stepBegan = Instant(nanoseconds: 0)

  /// - Parameters:
  ///   - endpoint: where workers reach this server.
  ///   - kernel: the kernels that sum and apply gradients.
  ///   - makePool: makes the memory for the weights that workers are sent, given their size in bytes and how many may
  ///     be under way at once.
  public init(
    incarnation: Incarnation, endpoint: String, processID: Int32, host: String, timing: Timing, kernel: KernelVariant,
    makePool: @escaping (Int, Int) -> PayloadPool = { PayloadPool(byteCount: $0, limit: $1) }
  ) {
    self.makePool = makePool
    self.kernel = kernel
    self.incarnation = incarnation
    tickets = incarnation.value << 32
    self.timing = timing
    join = Message.Join(
      role: .server, processID: processID, host: host, datasetFingerprint: 0, endpoint: endpoint)
  }

  /// The step the weights stand at.
  public var step: UInt64 { store?.step ?? 0 }

  public var nextDeadline: Instant? {
    if phase == .ended { return nil }
    var deadline = nextHeartbeat
    if let stopDeadline { deadline = min(deadline, stopDeadline) }
    return deadline
  }

  public mutating func handle(_ event: Event, at now: Instant, into actions: inout [Action]) {
    guard phase != .ended else { return }
    switch event {
    case .begin:
      coordinatorHeard = now
      nextHeartbeat = now + timing.heartbeat
      sendToCoordinator(.join(join), into: &actions)
    case .received(let message, let envelope):
      receive(message, envelope, at: now, into: &actions)
    case .deadline:
      deadlinePassed(at: now, into: &actions)
    case .stopRequested:
      stopRequested(at: now, into: &actions)
    }
  }

  private mutating func receive(
    _ message: Message, _ envelope: Envelope, at now: Instant, into actions: inout [Action]
  ) {
    switch message {
    case .hello, .push:
      guard envelope.run == run, phase != .joining else { return }
      if case .push(let push) = message {
        receive(push, envelope, at: now, into: &actions)
      } else {
        receiveHello(envelope, at: now, into: &actions)
      }
    default:
      receiveFromCoordinator(message, envelope, at: now, into: &actions)
    }
  }

  // MARK: The coordinator

  private mutating func receiveFromCoordinator(
    _ message: Message, _ envelope: Envelope, at now: Instant, into actions: inout [Action]
  ) {
    guard phase == .joining || envelope.run == run else { return }
    guard phase == .joining || envelope.incarnation == coordinator else {
      receiveFromSuccessor(message, into: &actions)
      return
    }
    coordinatorHeard = now
    switch message {
    case .welcome(let welcome):
      guard phase == .joining else { return }
      run = envelope.run
      coordinator = envelope.incarnation
      plan = welcome.plan
      phase = .welcomed
    case .start(let start):
      if phase == .welcomed { begin(start, at: now, into: &actions) }
      heartbeat(at: now, into: &actions)
    case .assignment(let assignment):
      receive(assignment, epoch: envelope.membershipEpoch, at: now, into: &actions)
    case .snapshotReceived(let serial):
      snapshots.removeAll { $0.snapshot.serial <= serial }
      handOut(at: now, into: &actions)
    case .snapshotRequest(let hold):
      guard phase == .running || phase == .holding else { return }
      if hold { phase = .holding }
      if !snapshots.contains(where: { $0.snapshot.occasion == .requested && $0.step == step }) {
        takeSnapshot(.requested, at: now, into: &actions)
      }
    case .refusal(let ending):
      // No farewell: the refusal may be an old one, and the leave of a server that has been let in since ends the run.
      end(ending.status, ending.reason, into: &actions)
    case .stop(let ending):
      // While it joins it does not know the run yet, and the coordinator heeds no farewell of another one.
      run = envelope.run
      sendToCoordinator(.leave, into: &actions)
      end(ending.status, ending.reason, into: &actions)
    case .stranger:
      guard phase != .joining else { return }
      end(.fenced, "the coordinator has given this server up (at step \(step))", into: &actions)
    case .heartbeatReply, .join, .heartbeat, .snapshot, .leave, .statusRequest, .status, .hello, .work,
      .push, .wait, .attach, .attached:
      break
    }
  }

  /// The run has another coordinator, which does not know this server, or has taken a join that was held up for that of a
  /// new one. It went on from a checkpoint, and knows neither our step nor how our snapshots and epochs are numbered.
  private mutating func receiveFromSuccessor(_ message: Message, into actions: inout [Action]) {
    switch message {
    case .stranger, .welcome, .start, .assignment, .heartbeatReply, .snapshotReceived, .snapshotRequest:
      phase = .ended
      actions.append(
        .rejoin(
          reason: "another coordinator has the run: beginning again with its newest checkpoint (was at step \(step))"))
    case .refusal(let ending), .stop(let ending):
      end(ending.status, ending.reason, into: &actions)
    case .join, .heartbeat, .snapshot, .leave, .statusRequest, .status, .hello, .work, .push, .wait, .attach,
      .attached:
      break
    }
  }

  private mutating func begin(
    _ start: TrainingSnapshot, at now: Instant, into actions: inout [Action]
  ) {
    guard let plan, let store = ParameterStore(plan: plan, start: start, kernel: kernel, makePool: makePool) else {
      note(.error, "start_refused", "the state to start with does not fit the plan", &actions)
      return
    }
    self.store = store
    phase = .running
    stepBegan = now
    if store.isComplete { takeSnapshot(.final, at: now, into: &actions) }
  }

  private mutating func deadlinePassed(at now: Instant, into actions: inout [Action]) {
    if let stopDeadline, now >= stopDeadline {
      end(.stoppedBySignal, "stopped by a signal", into: &actions)
      return
    }
    guard now >= nextHeartbeat else { return }
    let silence = now.since(coordinatorHeard)
    guard silence < timing.coordinatorTimeout else {
      end(
        .unavailable, "no word from the coordinator for \(silence) (server at step \(step))", into: &actions)
      return
    }
    if silence >= timing.lease { actions.append(.seekCoordinator) }
    if phase == .joining {
      sendToCoordinator(.join(join), into: &actions)
      nextHeartbeat = now + timing.heartbeat
    } else {
      heartbeat(at: now, into: &actions)
      for index in snapshots.indices where now.since(snapshots[index].sent) >= timing.retry {
        snapshots[index].sent = now
        send(snapshots[index].snapshot, step: snapshots[index].step, into: &actions)
      }
    }
  }

  mutating func heartbeat(at now: Instant, into actions: inout [Action]) {
    nextHeartbeat = now + timing.heartbeat
    let slowest = members.lazy.compactMap { member in
      member.ticket.map { (worker: member.incarnation, since: $0.issued) }
    }.min { $0.since < $1.since }
    let heartbeat = Message.Heartbeat(
      isReady: phase == .running || phase == .holding, assignmentEpoch: newestAssignment,
      examples: store?.totals.examples ?? 0, loss: store?.newestLoss ?? .nan,
      waitingFor: slowest?.worker ?? Incarnation(0),
      waitingMilliseconds: slowest.map { UInt32(clamping: now.since($0.since).nanoseconds / 1_000_000) } ?? 0,
      refusedPushes: refusedPushes, stalePushes: stalePushes,
      untrusted: members.first { !$0.isTrusted }?.incarnation ?? Incarnation(0))
    sendToCoordinator(.heartbeat(heartbeat), into: &actions)
  }

  /// A signal to the server alone: give the coordinator what it needs for a checkpoint and take leave.
  private mutating func stopRequested(at now: Instant, into actions: inout [Action]) {
    guard phase == .running else {
      sendToCoordinator(.leave, into: &actions)
      end(.stoppedBySignal, "stopped by a signal", into: &actions)
      return
    }
    phase = .holding
    takeSnapshot(.requested, at: now, into: &actions)  // defence: last-snapshot
    sendToCoordinator(.leave, into: &actions)
    stopDeadline = now + timing.shutdownGrace
  }

  mutating func end(_ status: ExitStatus, _ reason: String, into actions: inout [Action]) {
    phase = .ended
    actions.append(.stop(status, reason: reason))
  }

  // MARK: Snapshots

  mutating func takeSnapshot(
    _ occasion: Message.Snapshot.Occasion, at now: Instant, into actions: inout [Action]
  ) {
    guard let store else { return }
    snapshotSerial += 1
    let snapshot = Message.Snapshot(
      serial: snapshotSerial, occasion: occasion, training: store.snapshot, interval: store.interval,
      gradientNorm: store.gradientNorm, stepSecondsP50: stepDurations.seconds(atQuantile: 0.5) ?? .nan,
      stepSecondsP99: stepDurations.seconds(atQuantile: 0.99) ?? .nan)
    snapshots.append((snapshot, store.step, now))
    send(snapshot, step: store.step, into: &actions)
  }

  private func send(_ snapshot: Message.Snapshot, step: UInt64, into actions: inout [Action]) {
    actions.append(
      .send(
        .snapshot(snapshot), to: .coordinator,
        Addressing(run: run, membershipEpoch: newestAssignment, step: step)))
  }

  func sendToCoordinator(_ message: Message, into actions: inout [Action]) {
    actions.append(
      .send(message, to: .coordinator, Addressing(run: run, membershipEpoch: newestAssignment, step: step)))
  }
}
