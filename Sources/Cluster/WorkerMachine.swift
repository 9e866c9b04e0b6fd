import Diagnostics
import Messaging
import Optimization

/// A worker: joins the coordinator's run, then computes the work that the server hands out.
///
/// It decides nothing about the training. It computes one item at a time, keeps only the newest one behind that, and
/// requests work again when the server has been silent, so a lost message costs `Timing.retry`.
public struct WorkerMachine: NodeMachine {
  public enum Outcome: Sendable {
    /// Of a `compute` request.
    case gradientReady(Message.Push)
    /// Instead of a gradient: a training file has changed, or cannot be read.
    case dataFailed(Failure)
  }

  public enum Request: Sendable {
    case member(MemberRequest)
    /// (Re)connect to the server, and exchange messages with it through memory if it is on the same host.
    case connect(ServerIndex, endpoint: String, sharesMemory: Bool)
    /// Get ready to compute gradients of this plan.
    case prepare(TrainingPlan, meanImage: Payload)
    /// Compute the gradient of an item at these weights, Float32 [parameters].
    case compute(WorkItem, parameters: Payload)
  }

  private struct Idle {
    let since: Instant
    var nextRequest: Instant
    /// The newest push and its addressing: sent again when the server hands out the same item again.
    var pushed: (push: Message.Push, addressing: Addressing)?
  }

  private enum Activity {
    case idle(Idle)
    /// Without the weights, whose memory the server needs again.
    case computing(WorkItem, Addressing, next: (Message.Work, Addressing)?)
  }

  /// Membership in a run, from the welcome on.
  private struct Session {
    let run: RunID
    /// The coordinator that sent the welcome.
    let coordinator: Incarnation
    var epoch: MembershipEpoch
    /// Of the newest item.
    var step: UInt64 = 0
    var endpoint: String
    /// The server that answered last, and the newest item that it handed out, so that none is computed twice.
    var server: (incarnation: Incarnation, newestItem: WorkItem.ID?)?
    var serverHeard: Instant
    var activity: Activity
  }

  private let join: Message.Join
  private let timing: Timing
  private var turn = Turn<Action>()
  /// Nil while the worker joins.
  private var session: Session?
  private var hasEnded = false
  private var coordinatorHeard = Instant(nanoseconds: 0)
  private var nextHeartbeat = Instant(nanoseconds: 0)
  private var silenceNote = RepeatedNote()
  private var idleNote = RepeatedNote()
  private let resumeHint: String

  /// - Parameters:
  ///   - name: of the process on its host: "worker-1".
  ///   - datasetFingerprint: of the training files as this process sees them; the coordinator refuses a worker that would
  ///     compute on other data.
  ///   - formerExit: how the process ended that this one replaces; empty if it replaces none.
  ///   - resumeHint: what brings back a coordinator that has ended, for messages.
  public init(
    incarnation: Incarnation, name: String, processID: Int32, host: String, datasetFingerprint: UInt64,
    formerExit: String = "", resumeHint: String = "", timing: Timing
  ) {
    self.timing = timing
    self.resumeHint = resumeHint
    join = Message.Join(
      role: .worker, name: name, processID: processID, host: host, datasetFingerprint: datasetFingerprint,
      endpoint: "", formerExit: formerExit)
  }

  public var nextDeadline: Instant? {
    if hasEnded { return nil }
    return min(nextHeartbeat, idle?.nextRequest ?? nextHeartbeat) + turn.absence
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
    case .received(let message, let envelope):
      if session == nil {
        receiveWhileJoining(message, envelope)
      } else if envelope.run == session?.run {
        receive(message, envelope)
      }
    case .outcome(.gradientReady(let push)): finish(push)
    case .outcome(.dataFailed(let failure)): leave(because: failure)
    case .deadline: deadlinePassed()
    case .stopRequested:
      sendToCoordinator(.leave)
      end(.stoppedBySignal, "\(join.fullName) stopped by a signal")
    case .saveRequested:
      turn.noteSaveRequest(isMember: session != nil)
      if session != nil { sendToCoordinator(.saveRequest) }
    }
  }

  private mutating func receive(_ message: Message, _ envelope: Envelope) {
    switch message {
    case .work(let work): receive(work, envelope)
    case .noWorkYet:
      noteServer(envelope.incarnation)
      session?.serverHeard = turn.now
    case .heartbeatReply, .welcome, .notAMember: receiveFromCoordinator(message, envelope)
    case .refusal(let reason), .stop(let reason):
      sendToCoordinator(.leave)
      end(reason.status, reason.reason)
    case .join, .heartbeat, .start, .assignment, .snapshot, .snapshotReceived, .snapshotRequest, .leave,
      .statusRequest, .status, .saveRequest, .requestWork, .push, .attach, .attached:
      break
    }
  }

  // MARK: The coordinator

  private mutating func receiveFromCoordinator(_ message: Message, _ envelope: Envelope) {
    guard envelope.incarnation == session?.coordinator else {
      // It does not know this worker, or answers a delayed join.
      sendToCoordinator(.leave)
      hasEnded = true
      turn.request(.member(.rejoin(reason: "another coordinator has the run: joining it (was \(name))")))
      return
    }
    coordinatorHeard = turn.now
    silenceNote = RepeatedNote()
    switch message {
    case .notAMember:  // defence: fencing
      end(.fenced, "the coordinator no longer counts this worker as a member (\(name))")
    case .welcome(let welcome):
      noteEpoch(envelope.membershipEpoch)
      if let server = welcome.onlyServer, server.endpoint != session?.endpoint {
        connect(server, sharesMemory: welcome.sharesMemory)
      }
    default:
      noteEpoch(envelope.membershipEpoch)
    }
  }

  private mutating func receiveWhileJoining(_ message: Message, _ envelope: Envelope) {
    switch message {
    case .heartbeatReply:
      coordinatorHeard = turn.now
    case .welcome(let welcome):
      coordinatorHeard = turn.now
      guard let server = welcome.onlyServer else {
        end(.refused, "a worker exchanges gradients with one server, but the run has \(welcome.servers.count)")
        return
      }
      session = Session(
        run: envelope.run, coordinator: envelope.incarnation, epoch: envelope.membershipEpoch,
        endpoint: server.endpoint, serverHeard: turn.now, activity: .idle(newIdle))
      turn.note(.info, "welcomed", "joined the run in membership epoch \(envelope.membershipEpoch)")
      turn.request(.prepare(welcome.plan, meanImage: welcome.meanImage))
      connect(server, sharesMemory: welcome.sharesMemory)
    case .refusal(let reason):
      end(reason.status, reason.reason)
    case .stop(let reason):
      // The coordinator may already count this worker as a member, and then waits for its leave.
      turn.send(
        .leave, to: .coordinator,
        Addressing(run: envelope.run, membershipEpoch: MembershipEpoch(0), step: 0))
      end(reason.status, reason.reason)
    default:
      break
    }
  }

  private mutating func connect(_ server: ServerEndpoint, sharesMemory: Bool) {
    session?.endpoint = server.endpoint
    turn.request(.connect(.first, endpoint: server.endpoint, sharesMemory: sharesMemory))
    requestWork()
  }

  // MARK: Work

  private mutating func requestWork() {
    let next = turn.now + timing.retry
    idle?.nextRequest = next
    turn.send(.requestWork, to: .server(.first), addressing)
  }

  /// Nil while the worker joins or computes.
  private var idle: Idle? {
    get { if case .idle(let idle)? = session?.activity { idle } else { nil } }
    set { if let newValue { session?.activity = .idle(newValue) } }
  }

  private var newIdle: Idle { Idle(since: turn.now, nextRequest: turn.now + timing.retry) }

  /// Another server numbers its items from elsewhere.
  private mutating func noteServer(_ incarnation: Incarnation) {
    guard incarnation != session?.server?.incarnation else { return }
    session?.server = (incarnation, nil)
    idle?.pushed = nil
  }

  private mutating func noteEpoch(_ epoch: MembershipEpoch) {
    if let known = session?.epoch, epoch > known { session?.epoch = epoch }
  }

  private mutating func receive(_ work: Message.Work, _ envelope: Envelope) {
    noteServer(envelope.incarnation)
    if let newest = session?.server?.newestItem, work.item.id <= newest {
      if let (push, addressing) = idle?.pushed, push.item.id == work.item.id {
        turn.send(.push(push), to: .server(.first), addressing)
      }
      return
    }
    session?.server?.newestItem = work.item.id
    session?.serverHeard = turn.now
    idleNote = RepeatedNote()
    noteEpoch(envelope.membershipEpoch)
    let addressing = Addressing(
      run: envelope.run, membershipEpoch: envelope.membershipEpoch, step: work.item.step)
    if case .computing(let item, let itsAddressing, _)? = session?.activity {
      session?.activity = .computing(item, itsAddressing, next: (work, addressing))
    } else {
      compute(work, addressing)
    }
  }

  private mutating func compute(_ work: Message.Work, _ addressing: Addressing) {
    session?.activity = .computing(work.item, addressing, next: nil)
    session?.step = work.item.step
    turn.request(.compute(work.item, parameters: work.parameters))
  }

  /// A gradient is pushed unless newer work has made it worthless.
  private mutating func finish(_ push: Message.Push) {
    guard case .computing(let item, let addressing, let next)? = session?.activity, item.id == push.item.id else {
      return
    }
    if let (work, itsAddressing) = next {
      compute(work, itsAddressing)
      return
    }
    var idle = newIdle
    idle.pushed = (push, addressing)
    session?.activity = .idle(idle)
    turn.send(.push(push), to: .server(.first), addressing)
  }

  /// A member's join with another fingerprint says that its files are no longer those of the run.
  private mutating func leave(because failure: Failure) {
    var changed = join
    changed.datasetFingerprint = ~join.datasetFingerprint
    sendToCoordinator(.join(changed))  // defence: data-complaint
    sendToCoordinator(.leave)
    end(failure.status, "\(failure) (\(name))")
  }

  // MARK: Time

  private mutating func deadlinePassed() {
    if let idle, turn.now >= idle.nextRequest { repeatRequest(idle) }
    guard turn.now >= nextHeartbeat else { return }
    nextHeartbeat = turn.now + timing.heartbeat
    let silence = turn.now.since(coordinatorHeard)
    guard silence < timing.coordinatorTimeout else {
      end(.unavailable, "no message from the coordinator for \(silence) (\(name)). \(resumeHint)")
      return
    }
    if silence >= timing.lease {
      turn.request(.member(.seekCoordinator))
      if silenceNote.isDue(at: turn.now) {
        let rest = timing.coordinatorTimeout.less(silence)
        turn.note(
          .warning, "waiting_for_coordinator",
          "no message from the coordinator for \(silence) (\(name)); waiting \(rest) more. \(resumeHint)")
      }
    }
    if session == nil {
      sendToCoordinator(.join(join))
    } else {
      sendToCoordinator(.heartbeat(Message.Heartbeat(isReady: session?.server?.newestItem != nil)))
    }
  }

  private mutating func repeatRequest(_ idle: Idle) {
    requestWork()
    let waited = turn.now.since(idle.since)
    guard waited >= timing.lease else { return }
    // The server may have moved and the welcome with its endpoint been lost: the coordinator answers with another.
    sendToCoordinator(.join(join))
    noteWaiting(waited)
  }

  /// A server that waits for the coordinator, or for another worker, has no work to hand out and says so. While the
  /// coordinator is silent, `waiting_for_coordinator` says all.
  private mutating func noteWaiting(_ waited: Interval) {
    guard let session, turn.now.since(coordinatorHeard) < timing.lease, idleNote.isDue(at: turn.now) else { return }
    let serverSilence = turn.now.since(session.serverHeard)
    if serverSilence >= timing.lease {
      turn.note(
        .warning, "waiting_for_server",
        "no message from the server at \(session.endpoint) for \(serverSilence) (\(name))")
    } else {
      turn.note(.info, "no_work", "the server has had no work for \(waited) (\(name))")
    }
  }

  /// For messages to people.
  private var name: String { "\(join.fullName) " + (session.map { "at step \($0.step)" } ?? "before it joined") }

  private var addressing: Addressing {
    Addressing(
      run: session?.run ?? RunID(0), membershipEpoch: session?.epoch ?? MembershipEpoch(0), step: session?.step ?? 0)
  }

  private mutating func sendToCoordinator(_ message: Message) { turn.send(message, to: .coordinator, addressing) }

  private mutating func end(_ status: ExitStatus, _ reason: String) {
    hasEnded = true
    turn.append(.stop(status, reason: reason))
  }
}

extension Message.Welcome {
  /// The server of a run that has one.
  var onlyServer: ServerEndpoint? { servers.count == 1 ? servers[0] : nil }
}
