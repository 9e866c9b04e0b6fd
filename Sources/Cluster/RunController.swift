import Diagnostics
import Messaging
import Optimization

/// Decides what a run does with its snapshots: continue, save, or stop, and in which words. The coordinator and the
/// sequential run evaluate and save as it says.
///
/// Every decision is a function of the step. The states are given in the order of their steps, so a run with any number
/// of workers, crashes and resumptions makes the decisions of the sequential one.
public struct RunController: Sendable {
  public enum Decision: Sendable {
    case `continue`
    /// Save `takeUnsaved()`, and continue.
    case save
    case stop(RunOutcome)
  }

  public let plan: TrainingPlan
  public let rule: StoppingRule
  /// The newest state with a finite loss. Training can restart from it.
  public private(set) var state: RunState
  /// The newest state that certainly comes from the data as they were at the start: they were found unchanged after it.
  public private(set) var confirmed: RunState
  /// The state at `state.best`; nil before the first evaluation, and in a resumed run without the checkpoint of it.
  ///
  /// An improvement is kept here and saved with the next checkpoint. So it costs no write of its own, and a crash loses
  /// only what the resumed run, which starts at an earlier checkpoint, evaluates again.
  public private(set) var best: RunState?
  /// Path of the newest checkpoint.
  public private(set) var checkpoint: String?
  /// Whether `best` is saved or being saved.
  private var isBestTaken: Bool
  /// Whether the newest save of `best` has failed. Then no newer state is saved before it, so that the directory holds the
  /// best of all evaluations up to its newest checkpoint.
  public private(set) var lacksBest = false
  /// Why the newest save failed; nil after one that succeeded.
  private var saveFailure: Failure?
  private let evaluatesTest: Bool
  private let firstStep: UInt64

  /// - Parameters:
  ///   - initial: a state that fits the plan.
  ///   - checkpoint: the path that `initial` was loaded from; nil if the run begins.
  ///   - best: the state of the best checkpoint, if there is one.
  ///   - isFork: whether `initial` and `best` are of another run, whose directory has their checkpoints.
  ///   - evaluatesTest: whether a model that is a result is evaluated on the test split.
  public init(
    plan: TrainingPlan, rule: StoppingRule, initial: RunState, checkpoint: String?, best: RunState? = nil,
    isFork: Bool = false, evaluatesTest: Bool = true
  ) {
    self.plan = plan
    self.rule = rule
    self.checkpoint = checkpoint
    self.evaluatesTest = evaluatesTest
    self.best = initial.isBest ? initial : best?.step == initial.best?.step ? best : nil
    (state, confirmed) = (initial, initial)
    firstStep = initial.step
    isBestTaken = !isFork
  }

  // MARK: Snapshots

  /// Whether `state` is the last one of its run: the coordinator was killed between this decision and its result. It is
  /// evaluated once more, and no step is trained past it.
  public var isOver: Bool { endOfRun != nil }

  /// Why `state` is the last one; nil if it is not.
  public var endOfRun: StopReason? {
    state.monitor.verdict(under: rule) ?? (state.step >= plan.totalSteps ? rule.endOfPlan : nil)
  }

  /// Whether a snapshot of this step has not been decided on. A server that restarts repeats steps that have been.
  public func isNew(_ step: UInt64) -> Bool { step > state.step }

  /// Decides on a snapshot that was evaluated on data that were unchanged afterwards.
  public mutating func evaluated(_ row: EvaluatedStep) -> Decision {
    let isNew = isNew(row.step)
    if isNew, plan.isEvaluationStep(row.step) {
      let reason = state.monitor.observe(validation: row.validation, gradientNorm: row.gradientNorm, rule: rule)
      if reason == .diverged { return .stop(diverged(at: row.step)) }
    }
    guard row.step >= state.step else { return .continue }
    state.snapshot = row.snapshot
    state.validation = row.validation.score
    if isNew, row.train.examples > 0 { state.train = row.train.score }
    if row.step > 0 { keepIfBest(row.validation) }
    confirmed = state
    if let reason = endOfRun { return .stop(finished(reason)) }
    return isNew && plan.isCheckpointStep(row.step) ? .save : .continue
  }

  /// The best is that of the lowest loss, whereas patience counts only decreases by more than the tolerance. A model that
  /// was not trained is none.
  private mutating func keepIfBest(_ validation: Evaluation) {
    let score = validation.score
    guard validation.statistics.isFinite, score.meanLoss < state.best?.score.meanLoss ?? .infinity else { return }
    state.best = RunState.Best(step: state.step, score: score)
    (best, isBestTaken, lacksBest) = (state, false, false)
  }

  /// Takes over a snapshot that is to be saved without an evaluation, unless a newer one is known.
  public mutating func keep(_ snapshot: TrainingSnapshot) {
    if snapshot.step >= state.step { state.snapshot = snapshot }
  }

  /// The data were found unchanged after this snapshot was taken.
  public mutating func confirm(_ snapshot: TrainingSnapshot) {
    guard snapshot.step > confirmed.step else { return }
    confirmed = state
    confirmed.snapshot = snapshot
  }

  /// The membership changed.
  public mutating func beginEpoch(_ epoch: MembershipEpoch) { state.membershipEpoch = epoch }

  // MARK: Checkpoints

  /// The states to save now, in the order of their steps: the best one if it is older and no save has had it, then the
  /// newest. Checkpoints are written in the order of their steps, so that `latest` never moves back.
  public mutating func takeUnsaved() -> [RunState] {
    defer { isBestTaken = true }
    guard let best, !isBestTaken, best.step < state.step else { return [state] }
    return [best, state]
  }

  /// Records what came of saving the state of a step.
  /// - Parameter result: the path of the checkpoint, or why there is none.
  /// - Returns: a line for the log.
  public mutating func saved(_ step: UInt64, _ result: Result<String, Failure>) -> (
    level: NoteLevel, event: String, text: String
  ) {
    switch result {
    case .success(let path):
      checkpoint = path
      saveFailure = nil
      if step == state.step { confirmed = state }
      if step == best?.step { lacksBest = false }
      return (.info, "checkpoint", "saved checkpoint at step \(step): \(path)")
    case .failure(let failure):
      saveFailure = failure
      if step == best?.step { (lacksBest, isBestTaken) = (true, false) }
      return (.error, "checkpoint_failed", "checkpoint at step \(step) not saved: \(failure)")
    }
  }

  /// Whether `state` has to be saved before the run ends like this.
  public func mustSave(_ outcome: RunOutcome) -> Bool {
    guard outcome.reason != .diverged, outcome.reason != .takenOver else { return false }
    return state.step > firstStep || checkpoint == nil && outcome.status != .unavailable
  }

  // MARK: The end

  private func finished(_ reason: StopReason) -> RunOutcome {
    let (step, steps) = (state.step, grouped(state.step))
    let best = state.best.map { " (best: step \($0.step))" } ?? ""
    let text =
      switch reason {
      case .epochs where plan.totalSteps == plan.stepsPerEpoch: "finished: 1 epoch done (\(steps) steps)"
      case .epochs: "finished: all \(plan.totalSteps / plan.stepsPerEpoch) epochs done (\(steps) steps)"
      case .targetAccuracy:
        "early stop: validation accuracy \(number(state.monitor.newestAccuracy)) reached the target "
          + "\(number(rule.targetAccuracy)) (step \(step))"
      case .gradientNorm:
        "early stop: gradient norm \(number(state.monitor.newestGradientNorm)) is below \(number(rule.gradientNorm)) "
          + "(step \(step))"
      case .converged: "early stop: no improvement\(ofMore) in \(waitedEvaluations)\(best)"
      default: "finished: all \(steps) steps done"
      }
    return RunOutcome(reason: reason, status: .success, message: text, state: state)
  }

  private var waitedEvaluations: String {
    let count = state.monitor.evaluationsWithoutImprovement
    return count == 1 ? "1 evaluation" : "\(count) evaluations"
  }

  /// Where the best evaluation is among those that count as no improvement.
  private var ofMore: String {
    guard let best = state.best, best.score.meanLoss < state.monitor.bestValidationLoss else { return "" }
    return " of more than \(rule.tolerance)"
  }

  /// The model to evaluate on the test split: the best one after a stop because of `patience`, which the newest are worse
  /// than; otherwise the newest. Nil if the outcome is no result, or the test split is not to be looked at.
  public func snapshotToTest(_ outcome: RunOutcome) -> TrainingSnapshot? {
    guard evaluatesTest, outcome.isResult else { return nil }
    return outcome.reason == .converged ? best?.snapshot ?? outcome.state.snapshot : outcome.state.snapshot
  }

  /// A loss or a gradient of this step is not finite: nothing of the step is used.
  public func diverged(at step: UInt64) -> RunOutcome {
    let good = checkpoint.map { "the last good checkpoint is \($0)" } ?? "there is no checkpoint"
    return RunOutcome(
      reason: .diverged, status: .internalError,  // defence: diverged
      message: "diverged: the loss of step \(step) is not finite; \(good). Try a lower learning rate",
      state: state)
  }

  /// A signal ends the run at `state`.
  public func interrupted() -> RunOutcome {
    stopped(.signal, .stoppedBySignal, "interrupted at step \(state.step)")  // defence: stopped
  }

  /// The data files are no longer those of the start, or cannot be read. What was trained since they were known to be
  /// unchanged is dropped: it may come from other data.
  public mutating func dataFailed(_ failure: Failure) -> RunOutcome {
    confirmed.membershipEpoch = state.membershipEpoch
    state = confirmed  // defence: data-rollback
    return stopped(.data, failure.status, "stopped at step \(state.step): \(failure)")
  }

  /// Another coordinator has the run directory: nothing may be written there any more.
  public func takenOver(_ failure: Failure) -> RunOutcome {
    stopped(.takenOver, failure.status, "stopped at step \(state.step): \(failure)")
  }

  /// The run cannot continue without the processes that are missing.
  public func gaveUp(_ reason: StopReason, after wait: Interval, _ missing: String) -> RunOutcome {
    stopped(reason, .unavailable, "gave up at step \(state.step) after \(wait): \(missing)")
  }

  private func stopped(_ reason: StopReason, _ status: ExitStatus, _ text: String) -> RunOutcome {
    RunOutcome(reason: reason, status: status, message: text, state: state)
  }

  /// The outcome when nothing is being saved any more: with the newest checkpoint, or why the last one is missing.
  public func concluded(_ outcome: RunOutcome) -> RunOutcome {
    var outcome = outcome
    outcome.checkpoint = checkpoint
    if let saveFailure {
      if outcome.status == .success { outcome.status = .inputOutput }
      outcome.message += "; the last checkpoint was not saved: \(saveFailure)"
    }
    return outcome
  }
}

private func number(_ value: Double?) -> String { value.map(\.description) ?? "-" }
