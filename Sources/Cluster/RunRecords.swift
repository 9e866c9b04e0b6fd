import Diagnostics
import Messaging
import Optimization

/// Where a run stands: what a checkpoint holds of it, and what a resumed run continues from.
public struct RunState: Sendable, Equatable {
  public var snapshot: TrainingSnapshot
  /// Of the newest assignment of shards; a resumed run continues with higher ones.
  public var membershipEpoch: MembershipEpoch
  public var monitor: ConvergenceMonitor
  /// The newest evaluation on the validation split; nil before the first.
  public var validation: Evaluation.Score?
  /// On the minibatches of the steps before that evaluation, each with the weights of its step.
  public var train: Evaluation.Score?
  /// The evaluation with the lowest validation loss so far; nil before the first.
  public var best: Best?

  public struct Best: Sendable, Equatable {
    public var step: UInt64
    /// On the validation split.
    public var score: Evaluation.Score

    public init(step: UInt64, score: Evaluation.Score) {
      self.step = step
      self.score = score
    }
  }

  public init(
    snapshot: TrainingSnapshot, membershipEpoch: MembershipEpoch = MembershipEpoch(0),
    monitor: ConvergenceMonitor = ConvergenceMonitor(), validation: Evaluation.Score? = nil,
    train: Evaluation.Score? = nil, best: Best? = nil
  ) {
    self.best = best
    self.snapshot = snapshot
    self.membershipEpoch = membershipEpoch
    self.monitor = monitor
    self.validation = validation
    self.train = train
  }

  /// Before the first step of a plan.
  public init(beginning plan: TrainingPlan) { self.init(snapshot: TrainingSnapshot(beginning: plan)) }

  public var step: UInt64 { snapshot.step }

  /// Whether no model of the run so far had a lower validation loss than this one.
  public var isBest: Bool { best?.step == step }
}

/// A snapshot and how good its model is: a row of the metrics.
public struct EvaluatedStep: Sendable, Equatable {
  public var snapshot: TrainingSnapshot
  /// Over the steps since the last multiple of the evaluation interval.
  public var train: MinibatchStatistics
  public var validation: Evaluation
  /// ‖g‖₂ of the newest step, penalty included.
  public var gradientNorm: Double
  public var workers: Int
  public var workersStatus = WorkersStatus()

  public init(
    snapshot: TrainingSnapshot, train: MinibatchStatistics, validation: Evaluation, gradientNorm: Double, workers: Int
  ) {
    self.snapshot = snapshot
    self.train = train
    self.validation = validation
    self.gradientNorm = gradientNorm
    self.workers = workers
  }

  public var step: UInt64 { snapshot.step }
}

/// What the coordinator knows of the workers: what `descent status` says of them, as of the server's newest heartbeat.
public struct WorkersStatus: Sendable, Equatable {
  public struct Member: Sendable, Equatable {
    /// "worker-1@host".
    public var name: String
    public var incarnation: Incarnation
    /// Of the newest membership epoch; empty if there are more workers than shards, nil until the next epoch.
    public var shards: ShardSet?
    /// Nil before its first answer.
    public var pace: Message.WorkerPace?
    /// Whether steps wait for it or another worker: under `bsp`, where there are others.
    public var isOneOfSeveral: Bool

    /// Of the steps in which it took part: those that its push completed. This and the next are nil where no step waits for
    /// one of several workers.
    public var shareLast: Double? { isOneOfSeveral ? pace?.shareLast : nil }
    /// Of its time as a member: in which steps waited for this worker alone.
    public var shareAwaited: Double? { isOneOfSeveral ? pace?.shareAwaited : nil }
  }

  /// In the order of their ranks.
  public var members: [Member] = []
  /// What the server has counted since its start: pushes that cannot have been computed, and that answer no item.
  public var rejectedPushes: UInt64 = 0
  public var unsolicitedPushes: UInt64 = 0

  public init() {}
}

/// How a run ended. `RunController` makes it; the owner of the run adds what only it knows.
public struct RunOutcome: Sendable {
  public var reason: StopReason
  public var status: ExitStatus
  /// For people: why, and what to do next where something can be done.
  public var message: String
  /// The newest state with a finite loss.
  public var state: RunState
  /// The step of the model that is evaluated on the test split; nil where none is.
  public var testStep: UInt64?
  public var test: Evaluation.Score?
  /// Path of the newest checkpoint.
  public var checkpoint: String?
  /// Seconds from one step to the next; not a number where they were not measured.
  public var stepSecondsP50 = Double.nan
  public var stepSecondsP99 = Double.nan
  public var workers = 0
  public var workersStatus = WorkersStatus()

  /// The worker that held up the others, with the numbers that show it; nil if none did.
  public var slowestWorker: String?

  /// Whether the model is what the run was to come to, and so is evaluated on the test split.
  public var isResult: Bool {
    switch reason {
    case .epochs, .steps, .targetAccuracy, .converged, .gradientNorm: true
    case .diverged, .signal, .data, .serverLost, .noServer, .noWorker, .inputOutput, .takenOver, .killed: false
    }
  }

  /// Whether the training itself came to this: a run that is resumed comes to it again.
  package var isOfTheTraining: Bool { isResult || reason == .diverged }
}
