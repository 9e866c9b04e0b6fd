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
    checkpoint: String? = nil, evaluatesTest: Bool = true
  ) -> RunController {
    var initial = RunState(beginning: plan)
    initial.snapshot.step = step
    return RunController(
      plan: plan, rule: rule, initial: initial, checkpoint: checkpoint, evaluatesTest: evaluatesTest)
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
    #expect(controller.state.train?.meanLoss == 0.25)
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
    #expect(controller.state.train?.meanLoss == 0.25)
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

  @Test func `an interrupted run is saved`() {
    var controller = controller()
    #expect(controller.mustSave(controller.interrupted()))
    controller.keep(row(3).snapshot)
    let interrupted = controller.interrupted()
    #expect(interrupted.reason == .signal)
    #expect(interrupted.status == .stoppedBySignal)
    #expect(interrupted.message == "interrupted at step 3")
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
    #expect(later.message == "gave up at step 3 after 2.0 s: no server connected")
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

  // MARK: The best model

  private func steps(_ states: [RunState]) -> [UInt64] { states.map(\.step) }

  @Test func `the model with the lowest validation loss is kept and saved with the next checkpoint`() {
    var controller = controller()
    #expect(controller.best == nil)
    _ = controller.evaluated(row(2, loss: 3))
    _ = controller.evaluated(row(4, loss: 2, correct: 5))
    #expect(controller.state.isBest)
    #expect(steps(controller.takeUnsaved()) == [4])
    _ = controller.saved(4, .success("step-4"))
    _ = controller.evaluated(row(6, loss: 1.5, correct: 7))
    _ = controller.evaluated(row(8, loss: 2.5))
    #expect(controller.state.best == RunState.Best(step: 6, score: .init(meanLoss: 1.5, accuracy: 0.35)))
    #expect(controller.best?.step == 6 && controller.best?.isBest == true && !controller.state.isBest)
    #expect(steps(controller.takeUnsaved()) == [6, 8])
    // Once is enough, unless it fails.
    #expect(steps(controller.takeUnsaved()) == [8])
    _ = controller.saved(6, .failure(Failure(.inputOutput, "the disk is full")))
    #expect(steps(controller.takeUnsaved()) == [6, 8])
    _ = controller.saved(6, .success("step-6"))
    #expect(controller.concluded(controller.interrupted()).status == .stoppedBySignal)
  }

  @Test func `nothing newer is saved before a best model whose save failed, and the end says so`() throws {
    var controller = controller()
    _ = controller.evaluated(row(2, loss: 1))
    _ = controller.evaluated(row(4, loss: 2))
    #expect(steps(controller.takeUnsaved()) == [2, 4] && !controller.lacksBest)
    _ = controller.saved(2, .failure(Failure(.inputOutput, "the disk is full")))
    #expect(controller.lacksBest)
    let end = try #require(outcome(controller.evaluated(row(10, loss: 2))))
    #expect(steps(controller.takeUnsaved()) == [2, 10])
    let failed = controller.concluded(end)
    #expect(failed.status == .inputOutput && failed.checkpoint == nil)
    #expect(failed.message.hasSuffix("; the last checkpoint was not saved: the disk is full"))
    _ = controller.saved(2, .success("step-2"))
    #expect(!controller.lacksBest)
    _ = controller.saved(10, .success("step-10"))
    let concluded = controller.concluded(end)
    #expect(concluded.status == .success && concluded.checkpoint == "step-10")
  }

  @Test func `neither the state before the first step nor a loss that is not finite is the best`() {
    var controller = controller()
    guard case .continue = controller.evaluated(row(0, loss: 0.5, trainExamples: 0)) else {
      Issue.record("step 0 is no checkpoint step")
      return
    }
    #expect(controller.state.best == nil)
    #expect(controller.state.validation?.meanLoss == 0.5)
    _ = controller.evaluated(row(2, loss: 3))
    #expect(controller.state.best?.step == 2)
    var last = row(10, loss: 0)
    last.validation.statistics.isFinite = false
    _ = controller.evaluated(last)
    #expect(controller.state.best?.step == 2)
  }

  @Test func `the last step counts for the best model and not for patience`() throws {
    let plan = plan(steps: 5, evaluateEvery: 2)
    var controller = controller(StoppingRule(patience: 9), plan: plan)
    _ = controller.evaluated(row(2, loss: 3))
    _ = controller.evaluated(row(4, loss: 3))
    let end = try #require(outcome(controller.evaluated(row(5, loss: 2))))
    #expect(end.state.best?.step == 5 && end.state.monitor.evaluationsWithoutImprovement == 1)
    #expect(end.state.monitor.bestValidationLoss == 3)
  }

  @Test func `the test split is for the best model after a stop because of patience, otherwise for the last, or never`()
    throws
  {
    for (evaluatesTest, patience, tested) in [(true, 2, 2), (true, 0, 10), (false, 2, nil)] as [(Bool, Int, UInt64?)] {
      var controller = controller(StoppingRule(patience: patience), evaluatesTest: evaluatesTest)
      var end: RunOutcome?
      for step in [2, 4, 6, 8, 10] as [UInt64] where end == nil {
        end = outcome(controller.evaluated(row(step, loss: Double(step))))
      }
      #expect(controller.snapshotToTest(try #require(end))?.step == tested)
      #expect(controller.snapshotToTest(controller.interrupted()) == nil)
    }
  }

  @Test func `an improvement within the tolerance is the best and does not count for patience`() {
    var controller = controller(StoppingRule(patience: 2, tolerance: 0.5))
    _ = controller.evaluated(row(2, loss: 3))
    _ = controller.evaluated(row(4, loss: 2.75))
    let end = outcome(controller.evaluated(row(6, loss: 3)))
    #expect(end?.message == "early stop: no improvement of more than 0.5 in 2 evaluations (best: step 4)")
  }

  @Test func `a resumed run knows its best model from its checkpoint`() {
    var first = controller()
    _ = first.evaluated(row(2, loss: 1))
    _ = first.evaluated(row(4, loss: 2))
    func resumed(_ best: RunState?) -> RunController {
      RunController(plan: Self.tenSteps, rule: StoppingRule(), initial: first.state, checkpoint: "step-4", best: best)
    }
    var controller = resumed(first.best)
    #expect(controller.best?.step == 2)
    // It is on the disk.
    #expect(steps(controller.takeUnsaved()) == [4])
    _ = controller.evaluated(row(6, loss: 1.5))
    #expect(controller.state.best?.step == 2)
    // In a fork it is not, until the first save there.
    var fork = RunController(
      plan: Self.tenSteps, rule: StoppingRule(), initial: first.state, checkpoint: "other/step-4", best: first.best,
      isFork: true)
    _ = fork.evaluated(row(6, loss: 1.5))
    #expect(steps(fork.takeUnsaved()) == [2, 6] && steps(fork.takeUnsaved()) == [6])
    // Another one is not taken for it.
    #expect(resumed(nil).best == nil && resumed(first.state).best == nil)
    #expect(resumed(nil).state.best?.step == 2)
  }
}
