import Diagnostics
import Messaging
import Optimization

/// A worker: asks the coordinator to be let in, then computes whatever the server hands out.
///
/// It decides nothing about the training. It computes one piece of work at a time, keeps only the newest one
/// behind that, and asks again when the server has been silent, so a lost message costs `Timing.retry`.
public struct WorkerMachine: Role {
  public enum Event: NodeEvent {
    case begin
    case received(Message, Envelope)
    /// The result of a `compute` action.
    case gradientReady(ComputedGradient)
    case deadline
    case stopRequested
  }

  public enum Action: NodeAction {
    case send(Message, to: Destination, Addressing)
    case note(NoteLevel, event: String, String)
    /// (Re)connect to the server, and exchange messages with it through memory if it is on the same host.
    case connect(serverEndpoint: String, sharesMemory: Bool)
    /// Get ready to compute gradients of this plan.
    case prepare(TrainingPlan, meanImage: Payload)
    case compute(GradientTask)
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

  enum Phase: Equatable { case joining, working, ended }

  let incarnation: Incarnation
  let join: Message.Join
  let timing: Timing

  private var phase = Phase.joining
  private var run = RunID(0)
  private var epoch = MembershipEpoch(0)
  private var step: UInt64 = 0
  private var rank: UInt32 = 0
  /// Who let this worker in.
  private var coordinator = Incarnation(0)
  private var coordinatorHeard = Instant(nanoseconds: 0)
  private var nextHeartbeat = Instant(nanoseconds: 0)

  private var serverEndpoint = ""
  private var server = Incarnation(0)
  /// The work being computed (its weights are let go of at once), and the newest that came meanwhile.
  private var computing: (ticket: UInt64, shards: ShardSet, addressing: Addressing)?
  private var queued: GradientTask?
  /// The newest ticket taken, so that a repeated one is not computed twice.
  private var newestTicket: UInt64 = 0
  /// What was pushed last: sent again when the server hands out the same ticket again.
  private var pushed: (message: Message, ticket: UInt64, addressing: Addressing)?
  /// While there is nothing to compute: when to ask the server, and since when it has been so.
  private var nextHello: Instant?
  private var idleSince = Instant(nanoseconds: 0)

  /// - Parameter datasetFingerprint: of the training files as this process sees them; the coordinator lets
  ///   nobody in who would compute on other data.
  public init(
    incarnation: Incarnation, processID: Int32, host: String, datasetFingerprint: UInt64, timing: Timing
  ) {
    self.incarnation = incarnation
    self.timing = timing
    join = Message.Join(
      role: .worker, processID: processID, host: host, datasetFingerprint: datasetFingerprint, endpoint: "")
  }

  public var nextDeadline: Instant? {
    if phase == .ended { return nil }
    guard let nextHello else { return nextHeartbeat }
    return min(nextHeartbeat, nextHello)
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
    case .gradientReady(let gradient):
      finished(gradient, at: now, into: &actions)
    case .deadline:
      deadlinePassed(at: now, into: &actions)
    case .stopRequested:
      sendToCoordinator(.leave, into: &actions)
      end(.stoppedBySignal, "worker stopped by a signal", into: &actions)
    }
  }

  private mutating func receive(
    _ message: Message, _ envelope: Envelope, at now: Instant, into actions: inout [Action]
  ) {
    if phase == .joining {
      receiveWhileJoining(message, envelope, at: now, into: &actions)
      return
    }
    guard envelope.run == run else { return }
    switch message {
    case .work(let work):
      receive(work, envelope, at: now, into: &actions)
    case .wait:
      noteServer(envelope.incarnation)
    case .heartbeatReply, .welcome, .stranger:
      receiveFromCoordinator(message, envelope, at: now, into: &actions)
    case .refusal(let ending), .stop(let ending):
      sendToCoordinator(.leave, into: &actions)
      end(ending.status, ending.reason, into: &actions)
    case .join, .heartbeat, .start, .assignment, .snapshot, .snapshotReceived, .snapshotRequest, .leave,
      .statusRequest, .status, .hello, .push, .attach, .attached:
      break
    }
  }

  private mutating func receiveFromCoordinator(
    _ message: Message, _ envelope: Envelope, at now: Instant, into actions: inout [Action]
  ) {
    guard envelope.incarnation == coordinator else {
      // It does not know this worker, or has taken a join that was held up for that of a new one.
      sendToCoordinator(.leave, into: &actions)
      phase = .ended
      actions.append(.rejoin(reason: "another coordinator has the run: joining it (was worker \(rank), step \(step))"))
      return
    }
    coordinatorHeard = now
    switch message {
    case .welcome(let welcome):
      epoch = max(epoch, envelope.membershipEpoch)
      if welcome.serverEndpoint != serverEndpoint { connect(welcome, at: now, into: &actions) }
    case .stranger:  // defence: fencing
      end(.fenced, "the coordinator has given this worker up (worker \(rank), step \(step))", into: &actions)
    default:
      epoch = max(epoch, envelope.membershipEpoch)
    }
  }

  private mutating func receiveWhileJoining(
    _ message: Message, _ envelope: Envelope, at now: Instant, into actions: inout [Action]
  ) {
    switch message {
    case .heartbeatReply:
      coordinatorHeard = now
    case .welcome(let welcome):
      coordinatorHeard = now
      run = envelope.run
      coordinator = envelope.incarnation
      epoch = envelope.membershipEpoch
      rank = welcome.rank
      phase = .working
      actions.append(.note(.info, event: "welcomed", "worker \(rank) joins in epoch \(epoch)"))
      actions.append(.prepare(welcome.plan, meanImage: welcome.meanImage))
      connect(welcome, at: now, into: &actions)
    case .refusal(let ending):
      end(ending.status, ending.reason, into: &actions)
    case .stop(let ending):
      // The coordinator may count this worker in already, and then waits for its farewell.
      run = envelope.run
      sendToCoordinator(.leave, into: &actions)
      end(ending.status, ending.reason, into: &actions)
    default:
      break
    }
  }

  // MARK: Work

  private mutating func connect(
    _ welcome: Message.Welcome, at now: Instant, into actions: inout [Action]
  ) {
    serverEndpoint = welcome.serverEndpoint
    actions.append(.connect(serverEndpoint: serverEndpoint, sharesMemory: welcome.sharesMemory))
    becomeIdle(at: now)
    hello(at: now, into: &actions)
  }

  private mutating func hello(at now: Instant, into actions: inout [Action]) {
    nextHello = now + timing.retry
    actions.append(.send(.hello, to: .server, addressing))
  }

  private mutating func becomeIdle(at now: Instant) {
    idleSince = now
    nextHello = now + timing.retry
  }

  /// Another server numbers its tickets anew.
  private mutating func noteServer(_ incarnation: Incarnation) {
    guard incarnation != server else { return }
    server = incarnation
    newestTicket = 0
    pushed = nil
  }

  private mutating func receive(
    _ work: Message.Work, _ envelope: Envelope, at now: Instant, into actions: inout [Action]
  ) {
    noteServer(envelope.incarnation)
    guard work.ticket > newestTicket else {
      if let pushed, pushed.ticket == work.ticket, computing == nil {
        actions.append(.send(pushed.message, to: .server, pushed.addressing))
      }
      return
    }
    newestTicket = work.ticket
    epoch = max(epoch, envelope.membershipEpoch)
    let task = GradientTask(
      ticket: work.ticket, step: envelope.step, membershipEpoch: envelope.membershipEpoch,
      shards: work.shards, parameters: work.parameters)
    if computing == nil {
      compute(task, into: &actions)
    } else {
      queued = task
    }
  }

  private mutating func compute(_ task: GradientTask, into actions: inout [Action]) {
    computing = (
      task.ticket, task.shards, Addressing(run: run, membershipEpoch: task.membershipEpoch, step: task.step)
    )
    pushed = nil
    nextHello = nil
    step = task.step
    actions.append(.compute(task))
  }

  /// A gradient is pushed unless newer work has made it worthless.
  private mutating func finished(
    _ gradient: ComputedGradient, at now: Instant, into actions: inout [Action]
  ) {
    guard let task = computing, task.ticket == gradient.ticket else { return }
    computing = nil
    if let next = queued {
      queued = nil
      compute(next, into: &actions)
      return
    }
    let push = Message.push(
      Message.Push(
        ticket: task.ticket, shards: task.shards, statistics: gradient.statistics, gradient: gradient.gradient))
    pushed = (push, task.ticket, task.addressing)
    actions.append(.send(push, to: .server, task.addressing))
    becomeIdle(at: now)
  }

  // MARK: Time

  private mutating func deadlinePassed(at now: Instant, into actions: inout [Action]) {
    if let nextHello, now >= nextHello {
      hello(at: now, into: &actions)
      if now.since(idleSince) >= timing.lease {
        // The server may have moved and the welcome that said so been lost: the coordinator answers with another.
        sendToCoordinator(.join(join), into: &actions)
        let idle = now.since(idleSince)
        actions.append(
          .note(
            .warning, event: "waiting_for_server",
            "worker \(rank) has waited \(idle) for the server at \(serverEndpoint), step \(step)"))
      }
    }
    guard now >= nextHeartbeat else { return }
    nextHeartbeat = now + timing.heartbeat
    let silence = now.since(coordinatorHeard)
    guard silence < timing.coordinatorTimeout else {
      end(
        .unavailable, "no word from the coordinator for \(silence) (worker \(rank), step \(step))",
        into: &actions)
      return
    }
    if silence >= timing.lease { actions.append(.seekCoordinator) }
    if phase == .joining {
      sendToCoordinator(.join(join), into: &actions)
    } else {
      sendToCoordinator(.heartbeat(Message.Heartbeat(isReady: newestTicket > 0)), into: &actions)
    }
  }

  private var addressing: Addressing { Addressing(run: run, membershipEpoch: epoch, step: step) }

  private func sendToCoordinator(_ message: Message, into actions: inout [Action]) {
    actions.append(.send(message, to: .coordinator, addressing))
  }

  private mutating func end(_ status: ExitStatus, _ reason: String, into actions: inout [Action]) {
    phase = .ended
    actions.append(.stop(status, reason: reason))
  }
}
