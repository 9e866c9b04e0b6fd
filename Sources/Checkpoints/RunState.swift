import Cluster
import Diagnostics
import Messaging
import Optimization

/// What every checkpoint of a run holds and the roles do not know.
public struct CheckpointOrigin: Sendable {
  public var runIdentifier: String
  public var plan: TrainingPlan
  /// In pixel units, `plan.shape.pixels` values.
  public var meanImage: [Float]
  /// In label order, `plan.shape.classes` names.
  public var classNames: [String]
  public var settings: [Checkpoint.Setting]
  /// `CIFAR10Dataset.fingerprint` of the training files.
  public var datasetFingerprint: UInt64

  public init(
    runIdentifier: String, plan: TrainingPlan, meanImage: [Float], classNames: [String],
    settings: [Checkpoint.Setting], datasetFingerprint: UInt64
  ) {
    self.runIdentifier = runIdentifier
    self.plan = plan
    self.meanImage = meanImage
    self.classNames = classNames
    self.settings = settings
    self.datasetFingerprint = datasetFingerprint
  }
}

extension Checkpoint {
  /// All that is to be saved of a request whose state fits the plan.
  ///
  /// - Parameter seconds: time spent in training so far, over all resumptions.
  public init(_ request: CheckpointRequest, of origin: CheckpointOrigin, seconds: Double) {
    let plan = origin.plan
    let count = plan.shape.parameterCount
    let hasVelocity = plan.momentum.coefficient != 0
    self.init(
      step: request.step, runIdentifier: origin.runIdentifier, membershipEpoch: request.membershipEpoch.value,
      shape: plan.shape, parameters: ParameterVector(request.state.elements(of: Float.self, count: count)),
      velocity: hasVelocity
        ? ParameterVector(request.state.elements(of: Float.self, at: count * 4, count: count)) : nil,
      shardClocks: request.shardClocks, meanImage: origin.meanImage, classNames: origin.classNames, loss: plan.loss,
      settings: origin.settings, datasetFingerprint: origin.datasetFingerprint,
      convergence: Convergence(
        bestValidationLoss: request.monitor.bestValidationLoss,
        evaluationsWithoutImprovement: request.monitor.evaluationsWithoutImprovement,
        newestAccuracy: request.monitor.newestAccuracy, newestGradientNorm: request.monitor.newestGradientNorm),
      validation: request.validation.map { Validation(loss: $0.meanLoss, accuracy: $0.accuracy) },
      trainLoss: request.trainLoss, examplesProcessed: request.totals.examples, seconds: seconds,
      staleness: request.totals.staleness, lateShards: request.totals.lateShards)
  }
}

extension InitialState {
  /// Where a run goes on after its checkpoint.
  ///
  /// - Throws: `badData` when the checkpoint contradicts the plan that its own settings lead to.
  public init(
    _ checkpoint: Checkpoint, plan: TrainingPlan, stoppingRule: StoppingRule, path: String
  ) throws(Failure) {
    let hasMomentum = plan.momentum.coefficient != 0
    guard checkpoint.shape == plan.shape, checkpoint.shardClocks.count == plan.shardCount,
      hasMomentum == (checkpoint.velocity != nil)
    else { throw Failure(.badData, "\(path) does not hold what its own settings ask for") }
    var totals = RunTotals()
    totals.examples = checkpoint.examplesProcessed
    totals.lateShards = checkpoint.lateShards
    for (clocks, count) in checkpoint.staleness.prefix(RunTotals.stalenessBuckets).enumerated() {
      totals.staleness[clocks] = count
    }
    let monitor = ConvergenceMonitor(
      stoppingRule, bestValidationLoss: checkpoint.convergence.bestValidationLoss,
      evaluationsWithoutImprovement: checkpoint.convergence.evaluationsWithoutImprovement,
      newestAccuracy: checkpoint.convergence.newestAccuracy,
      newestGradientNorm: checkpoint.convergence.newestGradientNorm)
    self.init(
      step: checkpoint.step, shardClocks: checkpoint.shardClocks, totals: totals, monitor: monitor,
      membershipEpoch: MembershipEpoch(checkpoint.membershipEpoch), trainLoss: checkpoint.trainLoss, checkpoint: path,
      state: Payload(concatenating: checkpoint.parameters.values, checkpoint.velocity?.values ?? []))
  }
}
