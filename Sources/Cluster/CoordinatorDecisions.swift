import Diagnostics
import Messaging
import Optimization

/// Evaluation, checkpoints, and when the run is over.
extension CoordinatorMachine {
  // MARK: Snapshots

  mutating func receive(
    _ snapshot: Message.Snapshot, step: UInt64, from sender: Incarnation, at now: Instant,
    into actions: inout [Action]
  ) {
    switch stage {
    case .running, .interrupted, .gathering: break
    case .finishing, .dispersing, .ended: return
    }
    guard let known = server?.newestSerial, snapshot.serial > known else {
      if isProcessed(snapshot.serial) { acknowledge(snapshot.serial, of: sender, into: &actions) }
      return
    }
    // One more than the server may have outstanding: a sender that does not wait is not listened to.
    guard snapshot.serial == known + 1, queue.count < Self.maximumQueuedSnapshots,
      TrainingState(plan: plan, step: step, payload: snapshot.state) != nil
    else { return }
    server?.newestSerial = snapshot.serial
    queue.append(QueuedSnapshot(snapshot: snapshot, step: step, server: sender))
    processNext(at: now, into: &actions)
  }

  private func isProcessed(_ serial: UInt64) -> Bool {
    current?.snapshot.serial != serial && !queue.contains { $0.snapshot.serial == serial }
  }

  /// - Parameter sender: the server that numbered the snapshot; another one has the same numbers for other ones.
  private func acknowledge(
    _ serial: UInt64, of sender: Incarnation, into actions: inout [Action]
  ) {
    guard let server, server.node.incarnation == sender else { return }
    send(.snapshotReceived(serial: serial), to: .node(.server, server.node.incarnation), into: &actions)
  }

  /// Snapshots are dealt with one by one in the order of their steps, so that every decision is a function
  /// of the step and not of who was quick.
  private mutating func processNext(at now: Instant, into actions: inout [Action]) {
    while current == nil, !queue.isEmpty {
      let next = queue.removeFirst()
      progress.step = max(progress.step, next.step)
      switch next.snapshot.occasion {
      case .diverged:
        diverged(next, at: now, into: &actions)
        return
      case .requested:
        keep(next)
        acknowledge(next.snapshot.serial, of: next.server, into: &actions)
        write(next, into: &actions)
        if case .interrupted = stage { interrupted(with: next, at: now, into: &actions) }
      case .interval, .final:
        current = next
        actions.append(
          .evaluate(serial: next.snapshot.serial, .validation, parameters: next.snapshot.state))
      }
    }
  }

  mutating func evaluated(
    _ serial: UInt64, _ split: EvaluationSplit, _ evaluation: Evaluation, at now: Instant,
    into actions: inout [Action]
  ) {
    switch split {
    case .validation:
      guard let current, current.snapshot.serial == serial else { return }
      decide(current, validation: evaluation, at: now, into: &actions)
    case .test:
      outcome?.test = evaluation
      outcomeAwaitsTest = false
      finishIfReady(at: now, into: &actions)
    }
  }

  /// The newest state a server could be started with, and a checkpoint be made of.
  private mutating func keep(_ snapshot: QueuedSnapshot) {
    restartState.step = snapshot.step
    restartState.shardClocks = snapshot.snapshot.shardClocks
    restartState.totals = snapshot.snapshot.totals
    restartState.state = snapshot.snapshot.state
    restartState.monitor = monitor
  }

  /// The state this run begins with may be one that met a stopping criterion or was the last of the plan, saved by a
  /// coordinator that was killed before it had written the result. The decision stands: no step is trained past it, and
  /// nobody else is needed.
  mutating func repeatDecision(into actions: inout [Action]) {
    guard monitor.verdict != nil || restartState.step >= plan.totalSteps else { return }
    let snapshot = Message.Snapshot(
      serial: 0, occasion: .final, totals: restartState.totals, interval: .zero, gradientNorm: .nan,
      shardClocks: restartState.shardClocks, stepSecondsP50: .nan, stepSecondsP99: .nan, state: restartState.state)
    current = QueuedSnapshot(snapshot: snapshot, step: restartState.step, server: incarnation)
    actions.append(.evaluate(serial: 0, .validation, parameters: restartState.state))
  }

  private mutating func decide(
    _ snapshot: QueuedSnapshot, validation: Evaluation, at now: Instant, into actions: inout [Action]
  ) {
    current = nil
    acknowledge(snapshot.snapshot.serial, of: snapshot.server, into: &actions)
    // A server that was started again comes through steps that have been judged.
    let isNew = snapshot.step > processedStep
    var reason: StopReason? = nil
    if isNew || newestValidation == nil {
      newestValidation = validation
      if snapshot.snapshot.interval.examples > 0 { newestTrainLoss = snapshot.snapshot.interval.meanLoss }
      report(snapshot, validation, into: &actions)
    }
    if isNew, plan.isEvaluationStep(snapshot.step) {
      reason = monitor.observe(validation: validation, gradientNorm: snapshot.snapshot.gradientNorm)
    }
    processedStep = max(processedStep, snapshot.step)
    if reason == .diverged {
      diverged(snapshot, at: now, into: &actions)
      return
    }
    keep(snapshot)
    if snapshot.snapshot.occasion == .final {
      reason = reason ?? monitor.verdict ?? configuration.stoppingRule.endOfPlan
    }
    if let reason {
      finish(reason, snapshot, at: now, into: &actions)
    } else {
      if plan.isCheckpointStep(snapshot.step) { write(snapshot, into: &actions) }
      processNext(at: now, into: &actions)
    }
  }

  private func report(
    _ snapshot: QueuedSnapshot, _ validation: Evaluation, into actions: inout [Action]
  ) {
    actions.append(
      .observe(
        .evaluated(
          EvaluatedStep(
            step: snapshot.step, train: snapshot.snapshot.interval, validation: validation,
            gradientNorm: snapshot.snapshot.gradientNorm, examples: snapshot.snapshot.totals.examples,
            workers: workers.count))))
  }

  // MARK: Checkpoints

  private mutating func write(_ snapshot: QueuedSnapshot, into actions: inout [Action]) {
    write(
      CheckpointRequest(
        step: snapshot.step, membershipEpoch: epoch, shardClocks: snapshot.snapshot.shardClocks,
        totals: snapshot.snapshot.totals, monitor: monitor, validation: newestValidation,
        trainLoss: newestTrainLoss, state: snapshot.snapshot.state),
      into: &actions)
  }

  /// At most one write is under way and one waits; a newer one takes the place of the one that waits.
  private mutating func write(_ request: CheckpointRequest, into actions: inout [Action]) {
    if writing == nil {
      writing = request.step
      actions.append(.write(request))
    } else {
      queuedWrite = request
    }
  }

  mutating func checkpointWritten(
    _ step: UInt64, _ result: Result<String, Failure>, at now: Instant, into actions: inout [Action]
  ) {
    switch result {
    case .success(let path):
      newestCheckpoint = path
      checkpointFailure = nil
      note(.info, "checkpoint", "step \(step) is durable: \(path)", &actions)
    case .failure(let failure):
      checkpointFailure = failure
      note(.error, "checkpoint_failed", "step \(step) was not saved: \(failure)", &actions)
    }
    writing = nil
    if let request = queuedWrite {
      queuedWrite = nil
      write(request, into: &actions)
    }
    finishIfReady(at: now, into: &actions)
  }

  mutating func requestTimedCheckpoint(at now: Instant, into actions: inout [Action]) {
    guard let due = nextTimedCheckpoint, now >= due, let interval = configuration.checkpointInterval,
      let server
    else { return }
    nextTimedCheckpoint = now + interval
    send(.snapshotRequest(hold: false), to: .node(.server, server.node.incarnation), into: &actions)
  }

  // MARK: The end

  /// The run's result is this snapshot. Everybody else waits until it is saved: if this coordinator dies before that, the
  /// next one needs them.
  private mutating func finish(
    _ reason: StopReason, _ snapshot: QueuedSnapshot, at now: Instant, into actions: inout [Action]
  ) {
    stage = .finishing
    setOutcome(reason, .success, "stopped at step \(snapshot.step): \(reason.rawValue)", snapshot)
    if newestCheckpoint == nil || snapshot.step > configuration.initial.step { write(snapshot, into: &actions) }
    if snapshot.snapshot.occasion != .final, let server {
      send(.snapshotRequest(hold: true), to: .node(.server, server.node.incarnation), into: &actions)
    }
    outcomeAwaitsTest = true
    actions.append(
      .evaluate(serial: snapshot.snapshot.serial, .test, parameters: snapshot.snapshot.state))
  }

  private mutating func setOutcome(
    _ reason: StopReason, _ status: ExitStatus, _ message: String, _ snapshot: QueuedSnapshot?
  ) {
    // Servers and workers have done their part, whatever it led to; after a signal they can be started again.
    ending = Message.Ending(status: status == .stoppedBySignal ? status : .success, reason: message)
    outcome = RunOutcome(
      reason: reason, status: status, message: message, step: snapshot?.step ?? restartState.step,
      totals: snapshot?.snapshot.totals ?? restartState.totals, trainLoss: newestTrainLoss,
      validation: newestValidation, test: nil, checkpoint: newestCheckpoint,
      stepSecondsP50: snapshot?.snapshot.stepSecondsP50 ?? .nan,
      stepSecondsP99: snapshot?.snapshot.stepSecondsP99 ?? .nan, workers: workers.count,
      state: snapshot?.snapshot.state ?? restartState.state)
  }

  /// A loss that is not finite: nothing of the snapshot is used.
  private mutating func diverged(
    _ snapshot: QueuedSnapshot, at now: Instant, into actions: inout [Action]
  ) {
    stage = .finishing
    let good = newestCheckpoint.map { "the last good checkpoint is \($0)" } ?? "there is no checkpoint yet"
    setOutcome(
      .diverged, .internalError,  // defence: diverged
      "diverged: the loss of step \(snapshot.step) is not finite; \(good). Try a lower learning rate", nil)
    finishIfReady(at: now, into: &actions)
  }

  mutating func stopRequested(at now: Instant, into actions: inout [Action]) {
    switch stage {
    case .running, .gathering:
      guard let server, server.isReady else {  // defence: stop-snapshot fails
        interruptedWithoutSnapshot(at: now, into: &actions)
        return
      }
      stage = .interrupted(until: now + timing.farewell)
      note(.info, "stop_requested", "stopping at step \(progress.step): saving a checkpoint", &actions)
      send(.snapshotRequest(hold: true), to: .node(.server, server.node.incarnation), into: &actions)
    case .interrupted, .finishing, .dispersing, .ended:
      break
    }
  }

  /// The server was told to stop by a signal of its own; its last snapshot came before its leave, and may have to wait
  /// until the one before it is evaluated. One that had not even begun may have been told by an earlier coordinator, late:
  /// the run waits for another one.
  mutating func serverLeft(at now: Instant, into actions: inout [Action]) {
    let hadBegun = server?.isReady ?? false
    switch stage {
    case .running, .gathering, .interrupted:
      note(.warning, "server_left", "the server left at step \(progress.step)", &actions)
      if case .gathering = stage, !hadBegun {
        loseServer(at: now)
      } else {
        server = nil
        if queue.contains(where: { $0.snapshot.occasion == .requested }) {
          stage = .interrupted(until: now + timing.farewell)
        } else {
          interruptedWithoutSnapshot(at: now, into: &actions)
        }
      }
    case .dispersing:
      server = nil
      endIfAlone(at: now, into: &actions)
    case .finishing, .ended:
      server = nil
    }
  }

  private mutating func interrupted(
    with snapshot: QueuedSnapshot, at now: Instant, into actions: inout [Action]
  ) {
    stage = .finishing
    setOutcome(
      // defence: stopped
      .stopped, .stoppedBySignal, "stopped by a signal at step \(snapshot.step); go on with --resume must",
      snapshot)
    finishIfReady(at: now, into: &actions)
  }

  mutating func interruptedWithoutSnapshot(at now: Instant, into actions: inout [Action]) {
    abandon(.stoppedBySignal, "stopped by a signal", at: now, into: &actions)
  }

  /// The run cannot go on: what is known of it is saved, and everybody goes.
  mutating func abandon(
    _ status: ExitStatus, _ message: String, at now: Instant, into actions: inout [Action]
  ) {
    stage = .finishing
    queue.removeAll()
    current = nil
    let hint = restartState.step > 0 ? "; go on with --resume must" : ""
    setOutcome(.stopped, status, message + " at step \(restartState.step)" + hint, nil)
    if restartState.step > configuration.initial.step {
      let state = restartState
      // What is being written is of this step already if the newest snapshot was to be a checkpoint.
      if writing != state.step {
        write(
          CheckpointRequest(
            step: state.step, membershipEpoch: epoch, shardClocks: state.shardClocks, totals: state.totals,
            monitor: state.monitor, validation: newestValidation, trainLoss: newestTrainLoss, state: state.state),
          into: &actions)
      }
    }
    ending = Message.Ending(status: status, reason: message)
    finishIfReady(at: now, into: &actions)
  }

  private func tellEverybody(into actions: inout [Action]) {
    for node in nodes { send(.stop(ending), to: node, into: &actions) }
  }

  private mutating func finishIfReady(at now: Instant, into actions: inout [Action]) {
    guard case .finishing = stage, writing == nil, !outcomeAwaitsTest, var outcome else { return }
    outcome.checkpoint = newestCheckpoint
    if let failure = checkpointFailure {
      outcome.status = outcome.status == .success ? .inputOutput : outcome.status
      outcome.message += "; the last checkpoint was not saved: \(failure)"
    }
    self.outcome = outcome
    actions.append(.observe(.finished(outcome)))
    stage = .dispersing(until: now + timing.farewell)
    tellEverybody(into: &actions)
    endIfAlone(at: now, into: &actions)
  }

  mutating func endIfAlone(at now: Instant, into actions: inout [Action]) {
    if nodes.isEmpty { end(into: &actions) }
  }

  mutating func end(into actions: inout [Action]) {
    var silent = workers.map { "worker \($0.rank) (process \($0.processID) on \($0.host))" }
    if let server { silent.append("the server (process \(server.node.processID))") }
    for name in silent { note(.warning, "no_farewell", "\(name) did not answer the stop", &actions) }
    stage = .ended
    actions.append(.stop(outcome?.status ?? .internalError, reason: outcome?.message ?? ""))
  }
}
