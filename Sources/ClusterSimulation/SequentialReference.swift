import Cluster
import Messaging
import Optimization

/// What must come out under `bsp`: the sequential trainer on the same gradients, with the coordinator's decisions.
struct SequentialReference {
  var reason: StopReason
  var step: UInt64
  var fingerprint: UInt64

  init(plan: SimulationPlan, backend: any SimulatedBackend) {
    let training = plan.training
    var trainer = SequentialTrainer(
      plan: training, backend: backend, state: TrainingState(plan: training), kernel: plan.kernel)
    var monitor = ConvergenceMonitor()
    reason = plan.stoppingRule.endOfPlan
    while trainer.state.step < training.totalSteps {
      let norm = trainer.step().gradientNorm
      guard training.isEvaluationStep(trainer.state.step) else { continue }
      let validation = backend.evaluate(.validation, parameters: OptimizerState(trainer.state).payload)
      if let met = monitor.observe(validation: validation, gradientNorm: norm, rule: plan.stoppingRule) {
        reason = met
        break
      }
    }
    step = trainer.state.step
    fingerprint = trainer.state.fingerprint
  }
}
