import Diagnostics
import Messaging
import Optimization

/// Membership: joining, leases, and the assignment of shards.
extension CoordinatorMachine {
  // MARK: Joining

  mutating func receive(_ join: Message.Join, from sender: Incarnation) {
    let node = Destination.node(join.role, sender)
    switch stage {
    case .finishing where isMember(sender):
      // Not yet: should this coordinator die before the result is saved, the next one needs the node.
      return send(.heartbeatReply, to: node)
    case .finishing(let outcome, _), .draining(let outcome, _): return send(.stop(outcome.nodeEnding), to: node)
    case .rendezvous, .running, .interrupted, .ended: break
    }
    switch join.role {
    case .server: receiveServerJoin(join, from: sender)
    case .worker: receiveWorkerJoin(join, from: sender)
    case .coordinator, .observer: refuse(.refused, "the run has a coordinator", node)
    }
  }

  private func isMember(_ sender: Incarnation) -> Bool {
    server?.incarnation == sender || workers.contains { $0.incarnation == sender }
  }

  private mutating func refuse(_ status: ExitStatus, _ reason: String, _ node: Destination) {
    send(.refusal(ExitReason(status: status, reason: reason)), to: node)
  }

  private mutating func receiveServerJoin(_ join: Message.Join, from sender: Incarnation) {
    if let server, server.incarnation != sender {
      answerSecondServer(sender, beside: server)
      return
    }
    guard !lostServers.contains(sender) else {
      refuse(.fenced, "no heartbeat for longer than the lease", .node(.server, sender))
      return
    }
    if server == nil {
      server = Server(incarnation: sender, join: join, heard: turn.now)
      turn.note(.info, "server_joined", "\(join.process) joined, listening on \(join.endpoint)")
      noteRestart(join)
    }
    server?.heard = turn.now
    sendToServer(.welcome(Message.Welcome(plan: plan, serverEndpoint: join.endpoint, meanImage: .empty)))
    startServer()
  }

  /// Refuses a second server once the first one is heard a lease after the second one came. Until then the second one
  /// gets no answer, because it may be the successor of a server whose lease is about to expire: messages of the dead
  /// one may be received after the first join of its successor, but not for longer than the lease.
  private mutating func answerSecondServer(_ sender: Incarnation, beside server: Server) {
    guard let candidate, candidate.incarnation == sender else {
      candidate = (sender, turn.now)
      return
    }
    guard server.heard >= candidate.since + timing.lease else { return }  // defence: second-server fails
    let reason = "the run already has a server: \(server.join.process)"
    refuse(.refused, reason, .node(.server, sender))
  }

  /// Sends the server the state to start from; it answers with a heartbeat that says it is ready.
  private mutating func startServer() { sendToServer(.start(run.state.snapshot)) }

  private mutating func receiveWorkerJoin(_ join: Message.Join, from sender: Incarnation) {
    let node = Destination.node(.worker, sender)
    guard join.datasetFingerprint == datasetFingerprint else {
      if isMember(sender) { return suspectData(of: join) }  // defence: data-complaint
      let reason =
        "the training files of \(join.process) have fingerprint "
        + "\(hexadecimal(join.datasetFingerprint)), but those of the run have "
        + "\(hexadecimal(datasetFingerprint)). Compare them with: descent data check DIR"
      refuse(.badData, reason, node)
      return
    }
    if let index = workers.firstIndex(where: { $0.incarnation == sender }) {
      workers[index].heard = turn.now
      if workers[index].shards == nil { send(.heartbeatReply, to: node) } else { welcome(workers[index]) }
    } else if untrusted.contains(sender) {
      refuse(.fenced, Self.untrustedReason, node)
    } else if workers.count == Self.maximumWorkers {
      refuse(.refused, Self.fullReason, node)
    } else {
      admit(join, sender)
    }
  }

  private mutating func admit(_ join: Message.Join, _ sender: Incarnation) {
    var rank: UInt32 = 0
    for worker in workers where worker.rank == rank { rank += 1 }
    let worker = Worker(incarnation: sender, join: join, rank: rank, heard: turn.now)
    // It is the first that is free: all below it are taken.
    workers.insert(worker, at: Int(rank))
    turn.note(.info, "worker_joined", "\(join.process) joined")
    noteRestart(join)
    send(.heartbeatReply, to: worker.destination)
    if case .running = stage { beginEpoch() } else { startIfComplete() }
  }

  private mutating func noteRestart(_ join: Message.Join) {
    guard !join.formerExit.isEmpty else { return }
    turn.request(.observe(.restarted(process: join.fullName, formerExit: join.formerExit)))
  }

  private mutating func welcome(_ worker: Worker) {
    guard let server else { return }
    let welcome = Message.Welcome(
      plan: plan, serverEndpoint: server.join.endpoint, sharesMemory: sharesMemory, meanImage: meanImage)
    send(.welcome(welcome), to: worker.destination)
  }

  private mutating func startIfComplete() {
    guard case .rendezvous(let deadline, let awaited, let minimum) = stage, server?.isReady == true,
      workers.count >= minimum, workers.count >= awaited || turn.now >= deadline
    else { return }
    stage = .running
    snapshotHeard = turn.now
    for worker in workers where worker.shards != nil { welcome(worker) }
    beginEpoch()
  }

  // MARK: Epochs

  /// Begins a membership epoch: the shards are assigned in contiguous ranges, in the order of ranks, and new workers are
  /// welcomed. Under `bsp` none of this shows in the weights.
  private mutating func beginEpoch() {
    guard case .running = stage else { return }
    run.beginEpoch(run.state.membershipEpoch.next)
    let (shards, count) = (plan.shardCount, workers.count)
    var newWorkers: [Worker] = []
    for index in workers.indices {
      let isNew = workers[index].shards == nil
      workers[index].shards = ShardSet(range: index * shards / count..<(index + 1) * shards / count)
      if isNew { newWorkers.append(workers[index]) }
    }
    sendToServer(.assignment(assignment))
    for worker in newWorkers { welcome(worker) }
    progress.workers = count
    turn.request(.observe(.membership(run.state.membershipEpoch, step: progress.step, workers: count)))
    if workers.isEmpty { awaitNodes() }
  }

  private var assignment: Message.Assignment {
    Message.Assignment(
      members: workers.map {
        Message.Assignment.Member(
          incarnation: $0.incarnation, name: $0.join.fullName, shards: $0.shards ?? ShardSet())
      })
  }

  /// Back to the rendezvous. A run that was under way continues with any worker.
  private mutating func awaitNodes() {
    var (awaited, minimum) = (1, 1)
    if case .rendezvous(_, let workers, let atLeast) = stage { (awaited, minimum) = (workers, atLeast) }
    stage = .rendezvous(until: turn.now + timing.rendezvous, workers: awaited, atLeast: minimum)
  }

  mutating func receive(_ heartbeat: Message.Heartbeat, step: UInt64) {
    guard heartbeat.isReady else { return startServer() }
    server?.isReady = true
    let epoch = run.state.membershipEpoch
    startIfComplete()
    guard case .running = stage else { return }
    if run.state.membershipEpoch == epoch, heartbeat.assignmentEpoch < epoch { sendToServer(.assignment(assignment)) }
    progress.step = max(progress.step, step)
    progress.examples = max(progress.examples, heartbeat.examples)
    progress.loss = heartbeat.loss
    rejectedPushes = heartbeat.rejectedPushes
    stalePushes = heartbeat.stalePushes
    (takenOverShards, lateShards) = (heartbeat.takenOverShards, heartbeat.lateShards)
    paces = heartbeat.paces
    rate.measure(progress, at: turn.now)
    noteSlowWorker()
    turn.request(.observe(.progress(progress)))
    evictStraggler(heartbeat)
    evictUntrusted(heartbeat.untrusted)
  }

  // MARK: Leaving

  mutating func workerLeft(_ index: Int) {
    let worker = workers.remove(at: index)
    if case .draining = stage { return endIfDrained() }
    turn.note(.info, "worker_left", "\(worker.name) left")
    if worker.shards != nil { beginEpoch() }
  }

  private mutating func evictStraggler(_ heartbeat: Message.Heartbeat) {
    let waited = Interval.milliseconds(UInt64(heartbeat.waitingMilliseconds))
    guard waited >= timing.straggler + Timing.transfer(of: plan) * UInt64(workers.count),
      let index = workers.firstIndex(where: { $0.incarnation == heartbeat.waitingFor })
    else { return }
    evict(index, .warning, "held up a step for \(waited)")
  }

  /// A worker that pushed impossible gradients, too often for chance: the server names it until its shards are reassigned.
  private mutating func evictUntrusted(_ incarnation: Incarnation) {
    // defence: eviction fails
    guard let index = workers.firstIndex(where: { $0.incarnation == incarnation }) else { return }
    if untrusted.count == Self.maximumUntrusted { untrusted.removeFirst() }
    untrusted.append(incarnation)
    evict(index, .error, Self.untrustedReason)
  }

  private mutating func evict(_ index: Int, _ level: NoteLevel, _ reason: String) {
    let worker = workers.remove(at: index)
    let text = "\(worker.name) evicted at step \(progress.step): it \(reason); \(worker.reassignment)"
    turn.note(level, "worker_evicted", text)
    refuse(.fenced, reason, worker.destination)
    beginEpoch()
  }

  private static let fullReason =
    "the run has \(maximumWorkers) workers already, the most that a run can have: another can join when one has left"
  private static let untrustedReason = "pushed impossible gradients \(WorkScheduler.maximumRejectedPushes) times"

  /// A server that was stopped by a signal of its own; its last snapshot came before its leave, and may have to wait
  /// until the one before it is evaluated. The leave of one that is not ready yet may answer a late stop of an earlier coordinator:
  /// the run waits for another one.
  mutating func serverLeft() {
    switch stage {
    case .rendezvous where server?.isReady != true:
      turn.note(.warning, "server_left", "the server left at step \(progress.step)")
      loseServer()
    case .rendezvous, .running, .interrupted:
      turn.note(.warning, "server_left", "the server left at step \(progress.step)")
      // It waits for this before it ends.
      sendToServer(.notAMember)  // defence: leave-answer
      server = nil
      if pipeline.holdsRequested {
        stage = .interrupted(until: turn.now + timing.shutdownGrace + Timing.transfer(of: plan))
      } else {
        conclude(stopped)
      }
    case .finishing:
      sendToServer(.notAMember)
      server = nil
    case .ended: server = nil
    case .draining:
      server = nil
      endIfDrained()
    }
  }

  // MARK: Leases

  /// Everything that time alone can bring about.
  mutating func watch() {
    switch stage {
    case .rendezvous:
      expireLeases()
      startIfComplete()
      if case .rendezvous(let deadline, _, _) = stage, turn.now >= deadline { giveUp() }  // defence: rendezvous
    case .running:
      expireLeases()
      requestTimedCheckpoint()
      repeatSaveRequest()
      watchData()
      watchNumberOfWorkers()
    case .interrupted(let deadline):
      if turn.now >= deadline { conclude(stopped) }
    case .draining(let outcome, let deadline):
      sendStop(outcome)
      if turn.now >= deadline { end(outcome) }
    case .finishing, .ended: break
    }
  }

  private mutating func expireLeases() {  // defence: leases
    let (now, lease) = (turn.now, timing.lease)
    if let server, now.since(server.heard) >= lease + Timing.transfer(of: plan) {
      turn.note(
        .error, "server_lost",
        "\(server.join.process) lost at step \(progress.step): no heartbeat for "
          + "\(now.since(server.heard)); waiting for another one, which resumes at step \(run.state.step)")
      loseServer()
    }
    let silent = workers.filter { now.since($0.heard) >= lease }
    guard !silent.isEmpty else { return }
    workers.removeAll { now.since($0.heard) >= lease }
    for worker in silent {
      turn.note(
        .warning, "worker_evicted",
        "\(worker.name) lost at step \(progress.step): no heartbeat for \(now.since(worker.heard)); "
          + worker.reassignment)
    }
    if silent.contains(where: { $0.shards != nil }) { beginEpoch() }
  }

  private mutating func loseServer() {
    if let server {
      if lostServers.count == Self.maximumLostServers { lostServers.removeFirst() }
      lostServers.append(server.incarnation)
    }
    server = nil
    pipeline.dropWaiting()
    awaitNodes()
  }

  private mutating func giveUp() {
    var (reason, missing) = (StopReason.noServer, "the server is not ready")
    if server == nil {
      (reason, missing) = (lostServers.isEmpty ? .noServer : .serverLost, "no server connected")
    } else if workers.isEmpty {
      (reason, missing) = (.noWorker, "no worker connected")
    } else if workers.count < minimumWorkers, server?.isReady == true {
      (reason, missing) = (.noWorker, "too few workers")
    }
    let found = minimumWorkers > 1 ? tooFew : connectedWorkers
    conclude(run.gaveUp(reason, after: timing.rendezvous, "\(missing) (\(found))"))
  }
}

extension Message.Join {
  /// The sender, for messages to people.
  var process: String { "\(fullName) (pid \(processID))" }
}

extension CoordinatorMachine.Worker {
  fileprivate var reassignment: String {
    guard let shards, !shards.isEmpty else { return "it had no shards" }
    return "reassigning shards \(shards)"
  }
}
