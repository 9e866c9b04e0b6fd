import Diagnostics
import Messaging
import Optimization

/// Who takes part: joining, leases, and the assignment of shards.
extension CoordinatorMachine {
  mutating func receive(
    _ join: Message.Join, from sender: Incarnation, at now: Instant, into actions: inout [Action]
  ) {
    switch stage {
    case .finishing where isMember(sender):
      // Not yet: should this coordinator die before the result is saved, the next one needs it.
      send(.heartbeatReply, to: .node(join.role, sender), into: &actions)
      return
    case .finishing, .dispersing, .ended:
      send(.stop(ending), to: .node(join.role, sender), into: &actions)
      return
    case .gathering, .running, .interrupted: break
    }
    switch join.role {
    case .server: receiveServerJoin(join, from: sender, at: now, into: &actions)
    case .worker: receiveWorkerJoin(join, from: sender, at: now, into: &actions)
    case .coordinator, .observer:
      refuse(.refused, "the run has a coordinator", .node(join.role, sender), into: &actions)
    }
  }

  private func isMember(_ sender: Incarnation) -> Bool {
    server?.node.incarnation == sender || workers.contains { $0.incarnation == sender }
  }

  private func refuse(
    _ status: ExitStatus, _ reason: String, _ node: Destination, into actions: inout [Action]
  ) {
    send(.refusal(Message.Ending(status: status, reason: reason)), to: node, into: &actions)
  }

  private mutating func receiveServerJoin(
    _ join: Message.Join, from sender: Incarnation, at now: Instant, into actions: inout [Action]
  ) {
    if let server, server.node.incarnation != sender {
      answerSecondServer(sender, beside: server, at: now, into: &actions)
      return
    }
    guard !lostServers.contains(sender) else {
      refuse(.fenced, "silent for longer than the lease", .node(.server, sender), into: &actions)
      return
    }
    if server == nil {
      let node = Node(
        incarnation: sender, rank: 0, processID: join.processID, host: join.host, heard: now,
        isAdmitted: true)
      server = Server(node: node, endpoint: join.endpoint)
      note(.info, "server_joined", "server (process \(join.processID)) listens at \(join.endpoint)", &actions)
    }
    server?.node.heard = now
    let welcome = Message.Welcome(rank: 0, plan: plan, serverEndpoint: join.endpoint, meanImage: .empty)
    send(.welcome(welcome), to: .node(.server, sender), into: &actions)
    startServer(into: &actions)
  }

  /// A second server is refused once the first one has been heard from since the second one came. Until then it is
  /// not answered: it may be the successor of one whose lease is about to run out.
  private mutating func answerSecondServer(
    _ sender: Incarnation, beside server: Server, at now: Instant, into actions: inout [Action]
  ) {
    guard let candidate, candidate.incarnation == sender else {
      candidate = (sender, now)
      return
    }
    guard server.node.heard > candidate.since else { return }  // defence: second-server fails
    let reason = "this run has a server already (process \(server.node.processID) on \(server.node.host))"
    refuse(.refused, reason, .node(.server, sender), into: &actions)
  }

  /// Hands the server the state to begin with; it answers with a heartbeat that says so.
  private func startServer(into actions: inout [Action]) {
    guard let server else { return }
    let start = Message.Start(
      shardClocks: restartState.shardClocks, totals: restartState.totals, state: restartState.state)
    actions.append(
      .send(
        .start(start), to: .node(.server, server.node.incarnation),
        Addressing(run: configuration.run, membershipEpoch: epoch, step: restartState.step)))
  }

  private mutating func receiveWorkerJoin(
    _ join: Message.Join, from sender: Incarnation, at now: Instant, into actions: inout [Action]
  ) {
    let node = Destination.node(.worker, sender)
    guard join.datasetFingerprint == configuration.datasetFingerprint else {
      let reason =
        "the training files of worker process \(join.processID) on \(join.host) are not those of the run: "
        + "found fingerprint \(hexadecimal(join.datasetFingerprint)), expected "
        + "\(hexadecimal(configuration.datasetFingerprint)). Compare them with: descent data check DIR"
      refuse(.badData, reason, node, into: &actions)
      return
    }
    if let index = workers.firstIndex(where: { $0.incarnation == sender }) {
      workers[index].heard = now
      if workers[index].isAdmitted {
        welcome(workers[index], into: &actions)
      } else {
        send(.heartbeatReply, to: node, into: &actions)
      }
      return
    }
    guard !untrusted.contains(sender) else {
      refuse(.fenced, Self.untrustedReason, node, into: &actions)
      return
    }
    guard workers.count < Self.maximumNodes else {
      refuse(.refused, "the run has \(Self.maximumNodes) workers already", node, into: &actions)
      return
    }
    var rank: UInt32 = 0
    for worker in workers where worker.rank == rank { rank += 1 }
    workers.append(
      Node(incarnation: sender, rank: rank, processID: join.processID, host: join.host, heard: now))
    workers.sort { $0.rank < $1.rank }
    note(.info, "worker_joined", "worker \(rank) (process \(join.processID) on \(join.host)) is here", &actions)
    send(.heartbeatReply, to: node, into: &actions)
    if case .running = stage {
      membershipChanged(at: now, into: &actions)
    } else {
      startIfComplete(at: now, into: &actions)
    }
  }

  private func welcome(_ worker: Node, into actions: inout [Action]) {
    guard let server else { return }
    let welcome = Message.Welcome(
      rank: worker.rank, plan: plan, serverEndpoint: server.endpoint, sharesMemory: configuration.sharesMemory,
      meanImage: meanImage)
    send(.welcome(welcome), to: .node(.worker, worker.incarnation), into: &actions)
  }

  mutating func startIfComplete(at now: Instant, into actions: inout [Action]) {
    guard case .gathering(let deadline) = stage, server?.isReady == true, !workers.isEmpty,
      hasBegun || workers.count >= configuration.expectedWorkers || now >= deadline
    else { return }
    hasBegun = true
    stage = .running
    for worker in workers where worker.isAdmitted { welcome(worker, into: &actions) }
    membershipChanged(at: now, into: &actions)
  }

  /// A new epoch: the shards are dealt anew in contiguous runs, in the order of ranks, and whoever is new
  /// is welcomed. Under `bsp` none of this shows in the weights.
  mutating func membershipChanged(at now: Instant, into actions: inout [Action]) {
    guard case .running = stage, let server else { return }
    epoch = epoch.next
    let shardCount = plan.shardCount
    let count = workers.count
    assignment.members = workers.enumerated().map { index, worker in
      Message.Assignment.Member(
        incarnation: worker.incarnation,
        shards: ShardSet(range: index * shardCount / count..<(index + 1) * shardCount / count))
    }
    send(.assignment(assignment), to: .node(.server, server.node.incarnation), into: &actions)
    for index in workers.indices where !workers[index].isAdmitted {
      workers[index].isAdmitted = true
      welcome(workers[index], into: &actions)
    }
    progress.workers = count
    actions.append(.observe(.membership(epoch, step: progress.step, workers: count)))
    if workers.isEmpty { stage = .gathering(until: now + timing.rendezvous) }
  }

  mutating func receive(
    _ heartbeat: Message.Heartbeat, step: UInt64, at now: Instant, into actions: inout [Action]
  ) {
    guard heartbeat.isReady else {
      startServer(into: &actions)
      return
    }
    server?.isReady = true
    let epochBefore = epoch
    startIfComplete(at: now, into: &actions)
    guard case .running = stage, let server else { return }
    if epoch == epochBefore, heartbeat.assignmentEpoch < epoch {
      send(.assignment(assignment), to: .node(.server, server.node.incarnation), into: &actions)
    }
    progress.step = max(progress.step, step)
    progress.examples = max(progress.examples, heartbeat.examples)
    progress.loss = heartbeat.loss
    refusedPushes = heartbeat.refusedPushes
    stalePushes = heartbeat.stalePushes
    actions.append(.observe(.progress(progress)))
    evictStraggler(heartbeat, at: now, into: &actions)
    evictUntrusted(heartbeat.untrusted, at: now, into: &actions)
  }

  private mutating func evictStraggler(
    _ heartbeat: Message.Heartbeat, at now: Instant, into actions: inout [Action]
  ) {
    let waited = Interval.milliseconds(UInt64(heartbeat.waitingMilliseconds))
    guard waited >= timing.straggler,
      let index = workers.firstIndex(where: { $0.incarnation == heartbeat.waitingFor })
    else { return }
    let worker = workers.remove(at: index)
    note(
      .warning, "worker_evicted",
      "worker \(worker.rank) (process \(worker.processID) on \(worker.host)) has held up step \(progress.step) "
        + "for \(waited): \(shardsText(of: worker)) go to others", &actions)
    refuse(.fenced, "held up a step for \(waited)", .node(.worker, worker.incarnation), into: &actions)
    membershipChanged(at: now, into: &actions)
  }

  /// A worker that pushed what cannot be, too often for chance: the server says so until its shards are dealt anew.
  private mutating func evictUntrusted(_ incarnation: Incarnation, at now: Instant, into actions: inout [Action]) {
    // defence: eviction fails
    guard let index = workers.firstIndex(where: { $0.incarnation == incarnation }) else { return }
    let worker = workers.remove(at: index)
    if untrusted.count == Self.maximumUntrusted { untrusted.removeFirst() }
    untrusted.append(incarnation)
    note(
      .error, "worker_evicted",
      "worker \(worker.rank) (process \(worker.processID) on \(worker.host)) \(Self.untrustedReason), by step "
        + "\(progress.step): its shards go to others", &actions)
    refuse(.fenced, Self.untrustedReason, .node(.worker, incarnation), into: &actions)
    membershipChanged(at: now, into: &actions)
  }

  private static let untrustedReason =
    "pushed gradients that cannot be \(ServerMachine.maximumRefusedPushes) times"

  // MARK: Leases

  /// Everything that time alone can bring about.
  mutating func watch(at now: Instant, into actions: inout [Action]) {
    switch stage {
    case .gathering(let deadline):
      expireLeases(at: now, into: &actions)
      startIfComplete(at: now, into: &actions)
      if case .gathering = stage, now >= deadline { rendezvousFailed(at: now, into: &actions) }  // defence: rendezvous
    case .running:
      expireLeases(at: now, into: &actions)
      requestTimedCheckpoint(at: now, into: &actions)
    case .interrupted(let deadline):
      if now >= deadline { interruptedWithoutSnapshot(at: now, into: &actions) }
    case .dispersing(let deadline):
      for node in nodes { send(.stop(ending), to: node, into: &actions) }
      if now >= deadline { end(into: &actions) }
    case .finishing, .ended:
      break
    }
  }

  private mutating func expireLeases(at now: Instant, into actions: inout [Action]) {  // defence: leases
    if let server, now.since(server.node.heard) >= timing.lease {
      note(
        .error, "server_lost",
        "server (process \(server.node.processID)) has been silent for \(now.since(server.node.heard)) "
          + "at step \(progress.step): waiting for another one, which goes on from step \(restartState.step)",
        &actions)
      loseServer(at: now)
    }
    let lease = timing.lease
    let silent = workers.filter { now.since($0.heard) >= lease }
    guard !silent.isEmpty else { return }
    workers.removeAll { now.since($0.heard) >= lease }
    for worker in silent {
      note(
        .warning, "worker_evicted",
        "worker \(worker.rank) (process \(worker.processID) on \(worker.host)) has been silent for "
          + "\(now.since(worker.heard)) at step \(progress.step): \(shardsText(of: worker)) go to others", &actions)
    }
    if silent.contains(where: \.isAdmitted) { membershipChanged(at: now, into: &actions) }
  }

  mutating func loseServer(at now: Instant) {
    if let server {
      if lostServers.count == Self.maximumLostServers { lostServers.removeFirst() }
      lostServers.append(server.node.incarnation)
    }
    server = nil
    queue.removeAll()
    stage = .gathering(until: now + timing.rendezvous)
  }

  private mutating func rendezvousFailed(at now: Instant, into actions: inout [Action]) {
    let missing = server == nil ? "no server" : workers.isEmpty ? "no worker" : "the server is not ready"
    let message =
      "\(missing) after \(timing.rendezvous) (found \(workers.count) workers, expected "
      + "\(configuration.expectedWorkers))"
    abandon(.unavailable, message, at: now, into: &actions)
  }

  /// Everybody who still has to be told, or to say goodbye.
  var nodes: [Destination] {
    let workers = workers.map { Destination.node(.worker, $0.incarnation) }
    guard let server else { return workers }
    return workers + [.node(.server, server.node.incarnation)]
  }

  package func statusText(at now: Instant) -> String {
    var lines = ["step \(progress.step) of \(plan.totalSteps)  epoch \(epoch)  \(stageText(at: now))"]
    if let server {
      lines.append(
        "server    process \(server.node.processID)  \(server.endpoint)  heard \(now.since(server.node.heard)) ago"
      )
    } else {
      lines.append("server    none")
    }
    for worker in workers {
      lines.append(
        "worker \(worker.rank)  process \(worker.processID) on \(worker.host)  \(shardsText(of: worker))  heard "
          + "\(now.since(worker.heard)) ago")
    }
    if refusedPushes > 0 || stalePushes > 0 {
      lines.append("pushes    \(refusedPushes) refused, \(stalePushes) not asked for")
    }
    if let newestCheckpoint { lines.append("checkpoint \(newestCheckpoint)") }
    return lines.joined(separator: "\n")
  }

  private func shardsText(of worker: Node) -> String {
    let shards = assignment.members.first { $0.incarnation == worker.incarnation }?.shards
    return shards.map { $0.isEmpty ? "no shards" : "shards \($0)" } ?? "no shards yet"
  }

  private func stageText(at now: Instant) -> String {
    switch stage {
    case .gathering(let deadline):
      "waiting for \(server == nil ? "a server" : "workers"), \(deadline.since(now)) more; found \(workers.count) "
        + "workers, expected \(configuration.expectedWorkers)"
    case .running: "running"
    case .interrupted: "stopping"
    case .finishing: "finishing"
    case .dispersing, .ended: "ended"
    }
  }
}
