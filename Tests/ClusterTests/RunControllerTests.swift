import Cluster
import Diagnostics
import Messaging
import Optimization
import Testing

/// What a run does with an evaluated snapshot, and what it says.
@Suite struct RunControllerTests {
  private static let tenSteps = plan(steps: 10, evaluateEvery: 2, checkpointEvery: 4)

  private func controller(
    _ rule: StoppingRule = StoppingRule(), plan: TrainingPlan = tenSteps, from step: UInt64 = 0,
    checkpoint: String? = nil
  ) -> RunController {
    var initial = RunState(beginning: plan)
    initial.snapshot.step = step
    return RunController(plan: plan, rule: rule, initial: initial, checkpoint: checkpoint)
  }

  private func row(
    _ step: UInt64, loss: Double = 1, correct: Int = 0, gradientNorm: Double = 1, trainExamples: Int = 16
  ) -> EvaluatedStep {
    var snapshot = TrainingSnapshot(beginning: Self.tenSteps)
    snapshot.step = step
    return EvaluatedStep(
      snapshot: snapshot,
      train: MinibatchStatistics(examples: trainExamples, lossSum: Int64(step) << 24, correct: 0, isFinite: true),
      validation: Evaluation(
        MinibatchStatistics(examples: 20, lossSum: Int64(loss * 20 * 0x1p24), correct: correct), confusion: []),
      gradientNorm: gradientNorm, workers: 2)
  }

  private func outcome(_ decision: RunController.Decision) -> RunOutcome? {
    if case .stop(let outcome) = decision { outcome } else { nil }
  }

  @Test func `a run continues, saves at checkpoint steps and stops at the end of its plan`() throws {
    var controller = controller()
    guard case .continue = controller.evaluated(row(2)) else { throw Failure(.internalError, "step 2") }
    guard case .save = controller.evaluated(row(4)) else { throw Failure(.internalError, "step 4") }
    #expect(controller.state.step == 4)
    #expect(controller.state.validation == Evaluation.Score(meanLoss: 1, accuracy: 0))
    #expect(controller.state.trainLoss == 0.25)
    let end = try #require(outcome(controller.evaluated(row(10))))
    #expect(end.reason == .steps)
    #expect(end.status == .success)
    #expect(end.message == "finished: all 10 steps done")
    #expect(end.isResult && controller.mustSave(end) && controller.isOver)
  }

  @Test func `the end of a plan of epochs names them`() {
    // 80 training examples of 4 shards, 8 a step.
    for (epochs, text) in [
      (1, "finished: 1 epoch done (10 steps)"), (120, "finished: all 120 epochs done (1,200 steps)"),
    ] {
      let plan = plan(steps: UInt64(epochs * 10))
      var controller = controller(StoppingRule(stepsAreEpochs: true), plan: plan)
      let end = outcome(controller.evaluated(row(plan.totalSteps)))
      #expect(end?.reason == .epochs)
      #expect(end?.message == text)
    }
  }

  @Test func `a criterion stops the run and is named`() {
    var accuracy = controller(StoppingRule(targetAccuracy: 0.4))
    #expect(
      outcome(accuracy.evaluated(row(2, correct: 9)))?.message
        == "early stop: validation accuracy 0.45 reached the target 0.4 (step 2)")
    var norm = controller(StoppingRule(gradientNorm: 0.5))
    #expect(
      outcome(norm.evaluated(row(2, gradientNorm: 0.25)))?.message
        == "early stop: gradient norm 0.25 is below 0.5 (step 2)")
    var patience = controller(StoppingRule(patience: 3))
    for step in [2, 4, 6] as [UInt64] { #expect(outcome(patience.evaluated(row(step))) == nil) }
    let end = outcome(patience.evaluated(row(8)))
    #expect(end?.reason == .converged)
    #expect(end?.message == "early stop: no improvement in 3 evaluations (best: step 2)")
  }

  /// A restarted server repeats steps; each counts once for the criteria.
  @Test func `a step is decided on once`() {
    var controller = controller(StoppingRule(patience: 2))
    _ = controller.evaluated(row(2))
    _ = controller.evaluated(row(4))
    #expect(!controller.isNew(4))
    #expect(outcome(controller.evaluated(row(4))) == nil)
    #expect(outcome(controller.evaluated(row(2))) == nil)
    #expect(controller.state.step == 4)
    #expect(controller.state.monitor.evaluationsWithoutImprovement == 1)
  }

  @Test func `a snapshot is kept unless a newer one is known`() {
    var controller = controller()
    _ = controller.evaluated(row(4))
    controller.keep(row(5).snapshot)
    #expect(controller.state.step == 5)
    #expect(controller.state.trainLoss == 0.25)
    controller.keep(row(3).snapshot)
    #expect(controller.state.step == 5)
  }

  @Test func `a loss that is not finite ends the run at the state before`() throws {
    var controller = controller()
    _ = controller.evaluated(row(2))
    let early = try #require(outcome(controller.evaluated(row(4, gradientNorm: .infinity))))
    #expect(early.reason == .diverged)
    #expect(early.status == .internalError)
    #expect(early.state.step == 2)
    #expect(!early.isResult && !controller.mustSave(early))
    #expect(early.message.contains("step 4") && early.message.contains("no checkpoint"))
    _ = controller.saved(2, .success("step-2"))
    #expect(controller.diverged(at: 3).message.contains("the last good checkpoint is step-2"))
  }

  @Test func `an interrupted run is saved and says how to resume`() {
    var controller = controller()
    #expect(controller.mustSave(controller.interrupted()))
    controller.keep(row(3).snapshot)
    let interrupted = controller.interrupted()
    #expect(interrupted.reason == .signal)
    #expect(interrupted.status == .stoppedBySignal)
    #expect(interrupted.message == "interrupted at step 3; resume with --resume must")
    #expect(controller.mustSave(interrupted))
  }

  @Test func `a run that gives up saves what it has`() {
    let gaveUp = controller().gaveUp(.noServer, after: .seconds(2), "no server connected")
    #expect(gaveUp.status == .unavailable)
    #expect(gaveUp.message == "gave up at step 0 after 2.0 s: no server connected")
    #expect(!controller().mustSave(gaveUp))
    var begun = controller(from: 2, checkpoint: "step-2")
    #expect(!begun.mustSave(begun.gaveUp(.noServer, after: .seconds(2), "no server connected")))
    begun.keep(row(3).snapshot)
    let later = begun.gaveUp(.noServer, after: .seconds(2), "no server connected")
    #expect(begun.mustSave(later))
    #expect(later.message.hasSuffix("resume with --resume must"))
  }

  @Test func `a run that was killed after its decision decides the same`() {
    let rule = StoppingRule(patience: 1)
    var first = controller(rule)
    _ = first.evaluated(row(2))
    let decided = outcome(first.evaluated(row(4)))
    var resumed = RunController(plan: Self.tenSteps, rule: rule, initial: first.state, checkpoint: "step-4")
    #expect(resumed.isOver)
    let repeated = outcome(resumed.evaluated(row(4, trainExamples: 0)))
    #expect(repeated?.message == decided?.message)
    #expect(repeated?.state == decided?.state)
    #expect(repeated.map(resumed.mustSave) == false)
  }

  @Test func `the outcome names the checkpoint or what was not saved`() throws {
    var controller = controller()
    let end = try #require(outcome(controller.evaluated(row(10))))
    let line = controller.saved(10, .failure(Failure(.inputOutput, "the disk is full")))
    #expect(line.event == "checkpoint_failed")
    #expect(line.text == "checkpoint at step 10 not saved: the disk is full")
    #expect(controller.concluded(end).status == .inputOutput)
    #expect(controller.concluded(end).message.hasSuffix("; the last checkpoint was not saved: the disk is full"))
    #expect(controller.saved(10, .success("step-10")).text == "saved checkpoint at step 10: step-10")
    #expect(controller.concluded(end).status == .success)
    #expect(controller.concluded(end).checkpoint == "step-10")
  }
}
