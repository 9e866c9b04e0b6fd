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
    /// Save `state`, and continue.
    case save
    case stop(RunOutcome)
  }

  public let plan: TrainingPlan
  public let rule: StoppingRule
  /// The newest state with a finite loss. Training can restart from it, and all that is saved is saved of it.
  public private(set) var state: RunState
  /// Path of the newest checkpoint.
  public private(set) var checkpoint: String?
  /// Why the newest save failed; nil after one that succeeded.
  private var saveFailure: Failure?
  private let firstStep: UInt64

  /// - Parameters:
  ///   - initial: a state that fits the plan.
  ///   - checkpoint: the path that `initial` was loaded from; nil if the run begins.
  public init(plan: TrainingPlan, rule: StoppingRule, initial: RunState, checkpoint: String?) {
    self.plan = plan
    self.rule = rule
    self.checkpoint = checkpoint
    state = initial
    firstStep = initial.step
  }

  // MARK: Snapshots

  /// Whether `state` is the last one of its run: the coordinator was killed between this decision and its result. It is
  /// evaluated once more, and no step is trained past it.
  public var isOver: Bool { endOfRun != nil }

  private var endOfRun: StopReason? {
    state.monitor.verdict(under: rule) ?? (state.step >= plan.totalSteps ? rule.endOfPlan : nil)
  }

  /// Whether a snapshot of this step has not been decided on. A server that restarts repeats steps that have been.
  public func isNew(_ step: UInt64) -> Bool { step > state.step }

  /// Decides on a snapshot that was evaluated.
  public mutating func evaluated(_ row: EvaluatedStep) -> Decision {
    let isNew = isNew(row.step)
    if isNew, plan.isEvaluationStep(row.step) {
      let reason = state.monitor.observe(validation: row.validation, gradientNorm: row.gradientNorm, rule: rule)
      if reason == .diverged { return .stop(diverged(at: row.step)) }
    }
    guard row.step >= state.step else { return .continue }
    state.snapshot = row.snapshot
    state.validation = row.validation.score
    if isNew, row.train.examples > 0 { state.trainLoss = row.train.meanLoss }
    if let reason = endOfRun { return .stop(finished(reason)) }
    return plan.isCheckpointStep(row.step) ? .save : .continue
  }

  /// Takes over a snapshot that is to be saved without an evaluation, unless a newer one is known.
  public mutating func keep(_ snapshot: TrainingSnapshot) {
    if snapshot.step >= state.step { state.snapshot = snapshot }
  }

  /// The membership changed.
  public mutating func beginEpoch(_ epoch: MembershipEpoch) { state.membershipEpoch = epoch }

  // MARK: Checkpoints

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
      return (.info, "checkpoint", "saved checkpoint at step \(step): \(path)")
    case .failure(let failure):
      saveFailure = failure
      return (.error, "checkpoint_failed", "checkpoint at step \(step) not saved: \(failure)")
    }
  }

  /// Whether `state` has to be saved before the run ends like this.
  public func mustSave(_ outcome: RunOutcome) -> Bool {
    guard outcome.reason != .diverged else { return false }
    return state.step > firstStep || checkpoint == nil && outcome.status != .unavailable
  }

  // MARK: The end

  private func finished(_ reason: StopReason) -> RunOutcome {
    let (step, steps) = (state.step, grouped(state.step))
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
      case .converged: "early stop: no improvement in \(waitedEvaluations) (best: step \(bestStep))"
      default: "finished: all \(steps) steps done"
      }
    return RunOutcome(reason: reason, status: .success, message: text, state: state)
  }

  private var waitedEvaluations: String {
    let count = state.monitor.evaluationsWithoutImprovement
    return count == 1 ? "1 evaluation" : "\(count) evaluations"
  }

  /// Evaluations are made at multiples of their interval, each either the best or one more without improvement.
  private var bestStep: UInt64 {
    guard plan.evaluateEvery > 0 else { return state.step }
    let newest = state.step - state.step % plan.evaluateEvery
    return newest - min(newest, UInt64(state.monitor.evaluationsWithoutImprovement) * plan.evaluateEvery)
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

  /// The run cannot continue without the processes that are missing.
  public func gaveUp(_ reason: StopReason, after wait: Interval, _ missing: String) -> RunOutcome {
    stopped(reason, .unavailable, "gave up at step \(state.step) after \(wait): \(missing)")
  }

  private func stopped(_ reason: StopReason, _ status: ExitStatus, _ text: String) -> RunOutcome {
    var outcome = RunOutcome(reason: reason, status: status, message: text, state: state)
    if checkpoint != nil || mustSave(outcome) { outcome.message += "; resume with --resume must" }
    return outcome
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
