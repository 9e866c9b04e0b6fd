import Diagnostics
import Messaging
import Optimization

/// The parameter server: joins the coordinator's run, keeps in touch with it, and from the start message on trains in its
/// `DataPlane`.
public struct ServerMachine: NodeMachine {
  public typealias Outcome = Never
  public typealias Request = MemberRequest

  /// Membership in a run, from the welcome on.
  private struct Session {
    let run: RunID
    /// The coordinator that sent the welcome.
    let coordinator: Incarnation
    let plan: TrainingPlan
    /// Of the parameters: the part that this server holds.
    let range: Range<Int>
    /// From the start message on.
    var dataPlane: DataPlane?
  }

  private let incarnation: Incarnation
  private let join: Message.Join
  private let timing: Timing
  private let kernel: KernelVariant
  private let processors: Int
  private let resumeHint: String
  /// Where the weights live that workers are sent.
  private let makePool: (Int, Int) -> PayloadPool
  private let runPieces: PieceRunner

  private var turn = Turn<Action>()
  /// Nil while the server joins.
  private var session: Session?
  private var hasEnded = false
  private var coordinatorHeard = Instant(nanoseconds: 0)
  private var nextHeartbeat = Instant(nanoseconds: 0)
  private var silenceNote = RepeatedNote()

  /// - Parameters:
  ///   - endpoint: where workers reach this server.
  ///   - formerExit: how the process ended that this one replaces; empty if it replaces none.
  ///   - resumeHint: what brings back a coordinator that has ended, for messages.
  ///   - processors: of this host. With `bsp` no more of the workers that share memory with the server compute at the same time.
  ///   - kernel: the kernels that sum and apply gradients.
  ///   - makePool: makes the memory for the weights that workers are sent, given their size in bytes and how many may
  ///     be under way at once.
  ///   - runPieces: runs the pieces of an update.
  public init(
    incarnation: Incarnation, endpoint: String, processID: Int32, host: String, formerExit: String = "",
    resumeHint: String = "", timing: Timing, processors: Int = .max, kernel: KernelVariant,
    makePool: @escaping (Int, Int) -> PayloadPool = { PayloadPool(byteCount: $0, limit: $1) },
    runPieces: @escaping PieceRunner = runInOrder
  ) {
    self.makePool = makePool
    self.runPieces = runPieces
    self.kernel = kernel
    self.processors = processors
    self.incarnation = incarnation
    self.timing = timing
    self.resumeHint = resumeHint
    join = Message.Join(
      role: .server, name: "server", processID: processID, host: host, datasetFingerprint: 0, endpoint: endpoint,
      formerExit: formerExit)
  }

  /// From the start message on.
  package var dataPlane: DataPlane? { session?.dataPlane }

  /// The parameters and the optimizer's vectors.
  package var trainingState: TrainingState? { dataPlane?.store.state }

  /// The step that the weights stand at.
  public var step: UInt64 { session?.dataPlane?.step ?? 0 }

  /// Examples that went into the weights, and shards in the sum of the open step: what a push may have changed.
  package var progress: (examples: UInt64, openShards: Int) {
    (
      session?.dataPlane?.scheduler.totals.examples ?? 0, session?.dataPlane?.scheduler.received.count ?? 0
    )
  }

  public var nextDeadline: Instant? {
    if hasEnded { return nil }
    var next = nextHeartbeat
    if let end = leavingUntil { next = min(next, end) }
    if let takeOver = session?.dataPlane?.takeOver { next = min(next, takeOver) }
    return next + turn.absence
  }

  public mutating func handle(_ event: Event, at now: Instant, into actions: inout [Action]) {
    guard !hasEnded else { return }
    turn.begin(at: now, due: nextHeartbeat, allowance: timing.heartbeat, into: &actions)
    defer { turn.end(into: &actions) }
    switch event {
    case .begin:
      coordinatorHeard = now
      nextHeartbeat = now + timing.heartbeat
      sendToCoordinator(.join(join))
    case .received(let message, let envelope): receive(message, envelope)
    case .deadline: deadlinePassed()
    case .stopRequested: stopRequested()
    case .saveRequested: saveRequested()
    }
  }

  private mutating func receive(_ message: Message, _ envelope: Envelope) {
    switch message {
    case .requestWork, .push:
      guard envelope.run == session?.run else { return }
      session?.dataPlane?.act(in: &turn) { dataPlane in
        if case .push(let push) = message {
          dataPlane.receive(push, envelope)
        } else {
          dataPlane.receiveRequest(envelope)
        }
      }
    default:
      guard session == nil || envelope.run == session?.run else { return }
      if let coordinator = session?.coordinator, envelope.incarnation != coordinator {
        receiveFromSuccessor(message)
      } else {
        receiveFromCoordinator(message, envelope)
      }
    }
  }

  // MARK: The coordinator

  private mutating func receiveFromCoordinator(_ message: Message, _ envelope: Envelope) {
    coordinatorHeard = turn.now
    silenceNote = RepeatedNote()
    switch message {
    case .welcome(let welcome):
      guard session == nil else { return }
      guard let range = welcome.onlyServer?.range else {
        end(.refused, "a server holds all parameters, but the run has \(welcome.servers.count) servers")
        return
      }
      session = Session(run: envelope.run, coordinator: envelope.incarnation, plan: welcome.plan, range: range)
    case .start(let start):
      begin(start)
      heartbeat()
    case .assignment(let assignment):
      session?.dataPlane?.act(in: &turn) { $0.receive(assignment, epoch: envelope.membershipEpoch) }
    case .snapshotReceived(let serial):
      session?.dataPlane?.act(in: &turn) { $0.acknowledge(serial) }
    case .snapshotRequest(let hold):
      session?.dataPlane?.act(in: &turn) { $0.requestSnapshot(hold: hold) }
    case .refusal(let reason):
      // Without a leave: the refusal may be an old one, and the leave of a server that has been admitted since ends the
      // run.
      end(reason.status, reason.reason)
    case .stop(let reason):
      // A joining server does not know the run yet, and the coordinator ignores a leave of another one.
      turn.send(
        .leave, to: .coordinator,
        Addressing(run: envelope.run, membershipEpoch: addressing.membershipEpoch, step: step))
      end(reason.status, reason.reason)
    case .notAMember:
      guard session != nil else { return }
      // The answer to its leave.
      guard leavingUntil == nil else { return end(.stoppedBySignal, "stopped by a signal") }
      end(.fenced, "the coordinator no longer counts this server as a member (at step \(step))")
    case .heartbeatReply, .join, .heartbeat, .snapshot, .leave, .statusRequest, .status, .saveRequest, .requestWork,
      .work, .push, .noWorkYet, .attach, .attached:
      break
    }
  }

  /// The run has another coordinator, which does not know this server or answers a delayed join. It resumed from a
  /// checkpoint, and knows neither this server's step nor how its snapshots and epochs are numbered.
  private mutating func receiveFromSuccessor(_ message: Message) {
    switch message {
    case .notAMember, .welcome, .start, .assignment, .heartbeatReply, .snapshotReceived, .snapshotRequest:
      hasEnded = true
      turn.request(
        .rejoin(reason: "another coordinator has the run: joining it at its newest checkpoint (was at step \(step))"))
    case .refusal(let reason), .stop(let reason):
      end(reason.status, reason.reason)
    case .join, .heartbeat, .snapshot, .leave, .statusRequest, .status, .saveRequest, .requestWork, .work, .push,
      .noWorkYet, .attach, .attached:
      break
    }
  }

  private mutating func begin(_ start: TrainingSnapshot) {
    guard let run = session?.run, let plan = session?.plan, let range = session?.range, session?.dataPlane == nil
    else { return }
    let dataPlane = DataPlane(
      run: run, plan: plan, range: range, start: start, server: incarnation, timing: timing,
      processors: processors, kernel: kernel, makePool: makePool, runPieces: runPieces, in: &turn)
    session?.dataPlane = dataPlane
    if session?.dataPlane == nil {
      turn.note(.error, "start_rejected", "the state of the start message does not fit the plan")
    }
  }

  private mutating func deadlinePassed() {
    if let end = leavingUntil, turn.now >= end { return self.end(.stoppedBySignal, "stopped by a signal") }
    session?.dataPlane?.act(in: &turn) { $0.takeOverLateWork() }
    guard turn.now >= nextHeartbeat else { return }
    let silence = turn.now.since(coordinatorHeard)
    guard silence < timing.coordinatorTimeout else {
      end(.unavailable, "no message from the coordinator for \(silence) (server at step \(step)). \(resumeHint)")
      return
    }
    if silence >= timing.lease {
      turn.request(.seekCoordinator)
      if silenceNote.isDue(at: turn.now) {
        let rest = timing.coordinatorTimeout.less(silence)
        turn.note(
          .warning, "waiting_for_coordinator",
          "no message from the coordinator for \(silence) (server at step \(step)); waiting \(rest) more. \(resumeHint)"
        )
      }
    }
    if session == nil {
      sendToCoordinator(.join(join))
      nextHeartbeat = turn.now + timing.heartbeat
    } else {
      heartbeat()
      session?.dataPlane?.act(in: &turn) { $0.repeatSnapshots() }
    }
  }

  /// Until when it waits for the answer to its leave; nil if it does not leave.
  private var leavingUntil: Instant? {
    if case .leaving(let end)? = session?.dataPlane?.activity { end } else { nil }
  }

  private mutating func heartbeat() {
    nextHeartbeat = turn.now + timing.heartbeat
    let heartbeat =
      session?.dataPlane?.heartbeat(at: turn.now) ?? Message.Heartbeat(isReady: false) { $0.loss = .nan }
    sendToCoordinator(.heartbeat(heartbeat))
  }

  /// A signal to the server alone. It ends at once unless it trains: then the coordinator first gets a snapshot, and may
  /// stop the server before the deadline.
  private mutating func stopRequested() {
    let isRunning = session?.dataPlane?.activity == .running
    if isRunning { session?.dataPlane?.act(in: &turn) { $0.leave() } }
    sendToCoordinator(.leave)
    if !isRunning { end(.stoppedBySignal, "stopped by a signal") }
  }

  private mutating func saveRequested() {
    turn.noteSaveRequest(isMember: session != nil)
    if session != nil { sendToCoordinator(.saveRequest) }
  }

  private mutating func end(_ status: ExitStatus, _ reason: String) {
    hasEnded = true
    turn.append(.stop(status, reason: reason))
  }

  private var addressing: Addressing {
    Addressing(
      run: session?.run ?? RunID(0),
      membershipEpoch: session?.dataPlane?.scheduler.newestAssignment ?? MembershipEpoch(0), step: step)
  }

  private mutating func sendToCoordinator(_ message: Message) {
    turn.send(message, to: .coordinator, addressing)
  }
}
