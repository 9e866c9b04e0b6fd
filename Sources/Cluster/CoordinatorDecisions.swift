import Diagnostics
import Messaging
import Optimization

/// Evaluation, checkpoints, and the end of the run, as `RunController` decides.
extension CoordinatorMachine {
  // MARK: Snapshots

  mutating func receive(_ snapshot: Message.Snapshot, from sender: Incarnation) {
    switch stage {
    case .running, .interrupted, .rendezvous: break
    case .finishing, .draining, .ended: return
    }
    guard let known = server?.newestSerial, snapshot.serial > known else {
      if !pipeline.holds(snapshot.serial) { sendToServer(.snapshotReceived(serial: snapshot.serial)) }
      return
    }
    // The server sends the next one once an earlier one is acknowledged; what comes out of that order is dropped.
    guard snapshot.serial == known + 1, !pipeline.isFull, snapshot.training.fits(plan) else { return }
    server?.newestSerial = snapshot.serial
    snapshotHeard = turn.now
    pipeline.append(SnapshotPipeline.Entry(snapshot: snapshot, server: sender))
    processSnapshots()
  }

  /// Another server numbers other snapshots alike.
  private mutating func acknowledge(_ entry: SnapshotPipeline.Entry) {
    guard let server, server.incarnation == entry.server else { return }
    sendToServer(.snapshotReceived(serial: entry.snapshot.serial))
  }

  /// One by one in the order of their steps, so that every decision is a function of the step and not of how long
  /// evaluations take.
  private mutating func processSnapshots() {
    while let entry = pipeline.next() {
      progress.step = max(progress.step, entry.step)
      switch entry.snapshot.occasion {
      case .diverged: return conclude(run.diverged(at: entry.step))
      case .requested:
        run.keep(entry.snapshot.training)
        acknowledge(entry)
        if case .interrupted = stage { return conclude(stopped, of: entry.snapshot) }
        let isAskedFor = saveRequest?.isOpen == true
        saveRequest?.isOpen = false
        if !dataWatch.takes(entry.snapshot.training) || isAskedFor { write() }
      case .interval where !plan.isEvaluationStep(entry.step):
        acknowledge(entry)
        guard run.isNew(entry.step) else { continue }
        run.keep(entry.snapshot.training)
        write()
      case .interval, .final: evaluate(entry)
      }
    }
  }

  private mutating func evaluate(_ entry: SnapshotPipeline.Entry) {
    pipeline.beginEvaluation(entry)
    let training = entry.snapshot.training
    turn.request(.evaluate(serial: entry.snapshot.serial, .validation, training.state, step: training.step))
  }

  /// Evaluates the state before the first step, and the last state of a run whose coordinator was killed between the
  /// decision and the result. That decision stands: no step is trained past it, and no server or worker is needed.
  mutating func evaluateStart() {
    guard run.isOver || run.state.step == 0 else { return }
    let snapshot = Message.Snapshot(
      serial: 0, occasion: run.isOver ? .final : .interval, training: run.state.snapshot, interval: .zero,
      gradientNorm: .nan, stepSecondsP50: .nan, stepSecondsP99: .nan)
    evaluate(SnapshotPipeline.Entry(snapshot: snapshot, server: nil))
  }

  mutating func evaluated(_ serial: UInt64, _ split: EvaluationSplit, _ evaluation: Evaluation) {
    switch split {
    case .validation:
      if let entry = pipeline.endEvaluation(serial) { decide(entry, evaluation) }
    case .test:
      guard case .finishing(var outcome, true) = stage else { return }
      outcome.test = evaluation.score
      stage = .finishing(outcome, awaitsTest: false)
      finishIfReady()
    }
  }

  private mutating func decide(_ entry: SnapshotPipeline.Entry, _ validation: Evaluation) {
    acknowledge(entry)
    var row = EvaluatedStep(
      snapshot: entry.snapshot.training, train: entry.snapshot.interval, validation: validation,
      gradientNorm: entry.snapshot.gradientNorm, workers: workers.count)
    row.workersStatus = workersStatus
    // A server that was restarted repeats steps that have been decided on.
    if run.isNew(row.step) || entry.server == nil { turn.request(.observe(.evaluated(row))) }
    switch run.evaluated(row) {
    case .continue: processSnapshots()
    case .save:
      write()
      processSnapshots()
    case .stop(let outcome): conclude(outcome, of: entry.snapshot)
    }
  }

  // MARK: Checkpoints

  private mutating func write() {
    if let state = pipeline.write(run.takeUnsaved()) { write(state) }
  }

  private mutating func write(_ state: RunState) {
    turn.request(.write(state, isConfirmed: state.step <= run.confirmed.step))
  }

  mutating func checkpointWritten(_ step: UInt64, _ result: Result<String, Failure>) {
    let line = run.saved(step, result)
    turn.note(line.level, line.event, line.text)
    if run.lacksBest { pipeline.dropWaitingStates() }
    if let next = pipeline.endWriting() { write(next) }
    finishIfReady()
  }

  mutating func requestTimedCheckpoint() {
    guard let due = nextTimedCheckpoint, turn.now >= due, let interval = checkpointInterval else { return }
    nextTimedCheckpoint = turn.now + interval
    sendToServer(.snapshotRequest(hold: false))
  }

  /// Saves now, and goes on. All processes of a run may get the same signal, and each tells the coordinator.
  mutating func saveRequested(by sender: String) {
    if let saveRequest, turn.now.since(saveRequest.time) < Timing.copyWindow { return }
    switch stage {
    case .running:
      saveRequest = (turn.now, true)
      turn.note(.info, "save_requested", "saving a checkpoint, as \(sender) asks (step \(progress.step))")
      sendToServer(.snapshotRequest(hold: false))
    case .rendezvous:
      // The newest state is here.
      saveRequest = (turn.now, false)
      turn.note(.info, "save_requested", "saving a checkpoint, as \(sender) asks (step \(run.state.step))")
      write()
    case .interrupted, .finishing, .draining, .ended: break
    }
  }

  /// A server that was replaced does not know what the former one was asked for.
  mutating func repeatSaveRequest() {
    guard let request = saveRequest, request.isOpen, turn.now.since(request.time) >= timing.lease else { return }
    saveRequest = (turn.now, true)
    sendToServer(.snapshotRequest(hold: false))
  }

  // MARK: The end

  mutating func stopRequested() {
    switch stage {
    case .running, .rendezvous:
      guard server?.isReady == true else { return conclude(run.interrupted()) }  // defence: stop-snapshot fails
      stopTraining()
    case .interrupted, .finishing, .draining, .ended: break
    }
  }

  /// Asks the server for its last snapshot.
  mutating func stopTraining() {
    stage = .interrupted(until: turn.now + timing.shutdownGrace + Timing.transfer(of: plan))
    turn.note(.info, "stop_requested", "stopping at step \(progress.step): saving a checkpoint")
    sendToServer(.snapshotRequest(hold: true))
  }

  /// How a run ends whose training was stopped.
  var stopped: RunOutcome { lacksWorkers ? run.gaveUp(.noWorker, after: timing.rendezvous, tooFew) : run.interrupted() }

  /// Ends at once, and without a word to the nodes: they look for the coordinator that has the directory now.
  mutating func directoryLost(_ failure: Failure) {
    pipeline.dropAll()
    let outcome = run.takenOver(failure)
    turn.request(.observe(.finished(outcome)))
    stage = .ended
    turn.append(.stop(outcome.status, reason: outcome.message))
  }

  /// The outcome is known. The nodes stay until it is saved: if this coordinator dies before that, the next one needs
  /// them.
  /// - Parameter snapshot: the newest one, if the outcome is of it.
  mutating func conclude(_ outcome: RunOutcome, of snapshot: Message.Snapshot? = nil) {
    var outcome = outcome
    (outcome.workers, outcome.workersStatus) = (workers.count, workersStatus)
    outcome.stepSecondsP50 = snapshot?.stepSecondsP50 ?? .nan
    outcome.stepSecondsP99 = snapshot?.stepSecondsP99 ?? .nan
    let tested = run.snapshotToTest(outcome)
    outcome.testStep = tested?.step
    outcome.slowestWorker = slowWorker.map { describe($0) }
    pipeline.dropAll()
    stage = .finishing(outcome, awaitsTest: tested != nil)
    if run.mustSave(outcome) { write() }
    if outcome.isResult, outcome.state.step < plan.totalSteps { sendToServer(.snapshotRequest(hold: true)) }
    if let tested {
      turn.request(.evaluate(serial: snapshot?.serial ?? 0, .test, tested.state, step: tested.step))
    }
    finishIfReady()
  }

  private mutating func finishIfReady() {
    guard case .finishing(let decided, awaitsTest: false) = stage, !pipeline.isWriting else { return }
    let outcome = run.concluded(decided)
    turn.request(.observe(.finished(outcome)))
    stage = .draining(outcome, until: turn.now + timing.shutdownGrace)
    sendStop(outcome)
    endIfDrained()
  }

  mutating func sendStop(_ outcome: RunOutcome) {
    for worker in workers { send(.stop(outcome.nodeEnding), to: worker.destination) }
    sendToServer(.stop(outcome.nodeEnding))
  }

  mutating func endIfDrained() {
    if case .draining(let outcome, _) = stage, workers.isEmpty, server == nil { end(outcome) }
  }

  mutating func end(_ outcome: RunOutcome) {
    for join in workers.map(\.join) + [server?.join].compactMap(\.self) {
      turn.note(.warning, "no_farewell", "\(join.process) did not answer the stop")
    }
    stage = .ended
    turn.append(.stop(outcome.status, reason: outcome.message))
  }
}

extension RunOutcome {
  /// How servers and workers end: they have done their part, whatever it led to. After an interruption they can be
  /// started again.
  var nodeEnding: ExitReason {
    ExitReason(status: isOfTheTraining ? .success : status, reason: message)
  }
}
