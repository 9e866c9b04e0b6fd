import Diagnostics
import Messaging
import Optimization

/// All that a checkpoint holds and only the roles know.
public struct CheckpointRequest: Sendable {
  public var step: UInt64
  public var membershipEpoch: MembershipEpoch
  public var shardClocks: [UInt64]
  public var totals: RunTotals
  public var monitor: ConvergenceMonitor
  public var validation: Evaluation?
  public var trainLoss: Double?
  /// Float32: the parameters, then the velocity if the plan has momentum.
  public var state: Payload

  public init(
    step: UInt64, membershipEpoch: MembershipEpoch, shardClocks: [UInt64], totals: RunTotals,
    monitor: ConvergenceMonitor, validation: Evaluation?, trainLoss: Double?, state: Payload
  ) {
    self.step = step
    self.membershipEpoch = membershipEpoch
    self.shardClocks = shardClocks
    self.totals = totals
    self.monitor = monitor
    self.validation = validation
    self.trainLoss = trainLoss
    self.state = state
  }
}

/// One row of the metrics.
public struct EvaluatedStep: Sendable, Equatable {
  public var step: UInt64
  /// Over the steps since the last row.
  public var train: MinibatchStatistics
  public var validation: Evaluation
  public var gradientNorm: Double
  public var examples: UInt64
  public var workers: Int

  public init(
    step: UInt64, train: MinibatchStatistics, validation: Evaluation, gradientNorm: Double, examples: UInt64,
    workers: Int
  ) {
    self.step = step
    self.train = train
    self.validation = validation
    self.gradientNorm = gradientNorm
    self.examples = examples
    self.workers = workers
  }
}

/// How a run ended.
public struct RunOutcome: Sendable {
  public var reason: StopReason
  public var status: ExitStatus
  /// For people: why, and what to do next where something can be done.
  public var message: String
  public var step: UInt64
  public var totals: RunTotals
  public var trainLoss: Double?
  public var validation: Evaluation?
  public var test: Evaluation?
  public var checkpoint: String?
  public var stepSecondsP50: Double
  public var stepSecondsP99: Double
  public var workers: Int
  /// Float32: the parameters, then the velocity if the plan has momentum.
  public var state: Payload

  public init(
    reason: StopReason, status: ExitStatus, message: String, step: UInt64, totals: RunTotals, trainLoss: Double?,
    validation: Evaluation?, test: Evaluation?, checkpoint: String?, stepSecondsP50: Double, stepSecondsP99: Double,
    workers: Int, state: Payload
  ) {
    self.reason = reason
    self.status = status
    self.message = message
    self.step = step
    self.totals = totals
    self.trainLoss = trainLoss
    self.validation = validation
    self.test = test
    self.checkpoint = checkpoint
    self.stepSecondsP50 = stepSecondsP50
    self.stepSecondsP99 = stepSecondsP99
    self.workers = workers
    self.state = state
  }
}
