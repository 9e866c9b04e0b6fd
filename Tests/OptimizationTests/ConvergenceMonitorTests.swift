import Optimization
import Testing

@Suite struct ConvergenceMonitorTests {
  private func evaluation(loss: Double, correct: Int = 0, isFinite: Bool = true) -> Evaluation {
    Evaluation(
      MinibatchStatistics(
        examples: 100, lossSum: Int64(loss * 100 * 0x1p24), correct: correct, isFinite: isFinite), confusion: [])
  }

  @Test
  func `without criteria nothing but divergence stops a run`() {
    let rule = StoppingRule()
    var monitor = ConvergenceMonitor()
    #expect(monitor.observe(validation: evaluation(loss: 2), gradientNorm: 0, rule: rule) == nil)
    #expect(monitor.observe(validation: evaluation(loss: 9, correct: 100), gradientNorm: 1, rule: rule) == nil)
    #expect(monitor.observe(validation: evaluation(loss: 1), gradientNorm: .nan, rule: rule) == .diverged)
    #expect(monitor.observe(validation: evaluation(loss: 1), gradientNorm: .infinity, rule: rule) == .diverged)
    #expect(monitor.observe(validation: evaluation(loss: 1, isFinite: false), gradientNorm: 1, rule: rule) == .diverged)
  }

  @Test
  func `patience counts evaluations in a row that did not improve by more than the tolerance`() {
    let rule = StoppingRule(patience: 2, tolerance: 0.125)
    var monitor = ConvergenceMonitor()
    #expect(monitor.observe(validation: evaluation(loss: 2), gradientNorm: 1, rule: rule) == nil)
    #expect(monitor.observe(validation: evaluation(loss: 1.875), gradientNorm: 1, rule: rule) == nil)
    #expect(monitor.evaluationsWithoutImprovement == 1)
    #expect(monitor.bestValidationLoss == 2)
    #expect(monitor.observe(validation: evaluation(loss: 1.75), gradientNorm: 1, rule: rule) == nil)
    #expect(monitor.evaluationsWithoutImprovement == 0)
    #expect(monitor.bestValidationLoss == 1.75)
    #expect(monitor.observe(validation: evaluation(loss: 3), gradientNorm: 1, rule: rule) == nil)
    #expect(monitor.observe(validation: evaluation(loss: 1.75), gradientNorm: 1, rule: rule) == .converged)
  }

  @Test
  func `the target accuracy and the gradient norm are met at and below their bounds`() {
    let rule = StoppingRule(targetAccuracy: 0.4, gradientNorm: 0.5)
    var monitor = ConvergenceMonitor()
    #expect(monitor.observe(validation: evaluation(loss: 2, correct: 39), gradientNorm: 0.5, rule: rule) == nil)
    #expect(
      monitor.observe(validation: evaluation(loss: 2, correct: 40), gradientNorm: 1, rule: rule) == .targetAccuracy)
    #expect(
      monitor.observe(validation: evaluation(loss: 2, correct: 39), gradientNorm: 0.49, rule: rule) == .gradientNorm)
  }

  @Test
  func `of several criteria met at once, the first of the documented order is the reason`() {
    var rule = StoppingRule(targetAccuracy: 0.4, patience: 1, gradientNorm: 0.5)
    func reason(isFinite: Bool = true) -> StopReason? {
      var monitor = ConvergenceMonitor(bestValidationLoss: 1)
      return monitor.observe(
        validation: evaluation(loss: 2, correct: 50, isFinite: isFinite), gradientNorm: 0.1, rule: rule)
    }
    #expect(reason(isFinite: false) == .diverged)
    #expect(reason() == .targetAccuracy)
    rule.targetAccuracy = nil
    #expect(reason() == .gradientNorm)
    rule.gradientNorm = nil
    #expect(reason() == .converged)
    rule.patience = 0
    #expect(reason() == nil)
  }

  @Test
  func `without validation examples only the gradient norm is looked at`() {
    let nothing = Evaluation(MinibatchStatistics(examples: 0, lossSum: 0, correct: 0), confusion: [])
    let rule = StoppingRule(targetAccuracy: 0.4, patience: 1, gradientNorm: 0.5)
    var monitor = ConvergenceMonitor()
    #expect(monitor.observe(validation: nothing, gradientNorm: 1, rule: rule) == nil)
    #expect(monitor.evaluationsWithoutImprovement == 0)
    #expect(monitor.observe(validation: nothing, gradientNorm: 0.1, rule: rule) == .gradientNorm)
  }

  @Test
  func `the verdict is that of the newest evaluation, and is asked again under another rule`() {
    let rule = StoppingRule(targetAccuracy: 0.4)
    var monitor = ConvergenceMonitor()
    #expect(monitor.verdict(under: rule) == nil)
    let enough = Evaluation(MinibatchStatistics(examples: 10, lossSum: 0, correct: 4), confusion: [])
    #expect(monitor.observe(validation: enough, gradientNorm: 1, rule: rule) == .targetAccuracy)
    #expect(monitor.verdict(under: rule) == .targetAccuracy)
    #expect(monitor.verdict(under: StoppingRule(targetAccuracy: 0.5)) == nil)
  }

  @Test
  func `a resumed monitor continues to count`() {
    let rule = StoppingRule(patience: 3, tolerance: 0.1)
    var whole = ConvergenceMonitor()
    for loss in [2.0, 2.0] { _ = whole.observe(validation: evaluation(loss: loss), gradientNorm: 1, rule: rule) }
    var resumed = ConvergenceMonitor(
      bestValidationLoss: whole.bestValidationLoss,
      evaluationsWithoutImprovement: whole.evaluationsWithoutImprovement, newestAccuracy: whole.newestAccuracy,
      newestGradientNorm: whole.newestGradientNorm)
    #expect(resumed == whole)
    for _ in 0..<2 {
      #expect(
        whole.observe(validation: evaluation(loss: 2), gradientNorm: 1, rule: rule)
          == resumed.observe(validation: evaluation(loss: 2), gradientNorm: 1, rule: rule))
    }
  }

  @Test
  func `accuracies per class come from the rows of the confusion matrix`() {
    let evaluation = Evaluation(
      MinibatchStatistics(examples: 10, lossSum: 10 << 24, correct: 6), confusion: [3, 1, 3, 3])
    #expect(evaluation.score.meanLoss == 1)
    #expect(evaluation.score.accuracy == 0.6)
    #expect(evaluation.classAccuracy == [0.75, 0.5])
  }

  @Test
  func `the end of a plan is named as it was asked for`() {
    #expect(StoppingRule(stepsAreEpochs: true).endOfPlan == .epochs)
    #expect(StoppingRule(stepsAreEpochs: false).endOfPlan == .steps)
    #expect(StopReason.targetAccuracy.rawValue == "target-accuracy")
  }
}
