import Cluster
import Messaging
import Optimization

/// What must come out under `bsp`: the loop of `SequentialTrainer` and the coordinator's decisions, with nobody to
/// wait for.
struct SequentialReference {
  var reason: StopReason
  var step: UInt64
  var fingerprint: UInt64

  init(plan: SimulationPlan, source: any GradientSource) {
    let training = plan.training
    let count = training.shape.parameterCount
    let rule = UpdateRule(plan: training)
    var state = TrainingState(plan: training)
    var monitor = ConvergenceMonitor(plan.stoppingRule)
    var payload = state.payload
    var sum = [Int32](repeating: 0, count: count)
    reason = plan.stoppingRule.endOfPlan
    while state.step < training.totalSteps {
      sum.withUnsafeMutableBufferPointer { $0.update(repeating: 0) }
      let norm = sum.withUnsafeMutableBufferPointer { sum in
        let base = sum.baseAddress.unsafelyUnwrapped
        let statistics = source.add(
          step: state.step, shards: training.allShards, parameters: payload, to: base)
        return rule.apply(base, examples: statistics.examples, learningRate: state.step, to: &state)
      }
      state.step += 1
      payload = state.payload
      if training.isEvaluationStep(state.step) {
        let validation = source.evaluate(.validation, parameters: payload)
        if let met = monitor.observe(validation: validation, gradientNorm: norm) {
          reason = met
          break
        }
      }
    }
    step = state.step
    fingerprint = state.fingerprint
  }
}
