import Optimization

/// Defaults that were found by training rather than chosen: change them where a sweep says so.
enum TunedDefaults {
  static let softmaxLearningRate = 0.05
  static let svmLearningRate = 0.005
  static let l2 = 0.001
  static let batchSize: UInt64 = 512
  static let epochs: UInt64 = 12
}

extension SettingDefinition {
  /// The table of settings: the one place that says which exist, what they accept and what they default to.
  /// In the order of `SettingKey.allCases`.
  public static let all: [SettingDefinition] =
    dataSettings + modelSettings + optimizationSettings + stoppingSettings + clusterSettings + runSettings

  /// The row of `key`.
  public static func of(_ key: SettingKey) -> SettingDefinition {
    guard let definition = byKey[key] else { preconditionFailure("the table has no row for \(key.rawValue)") }
    return definition
  }

  private static let byKey = Dictionary(uniqueKeysWithValues: all.map { ($0.key, $0) })

  private static func integer(_ value: UInt64) -> SettingDefault { .value(.integer(value)) }
  private static func number(_ value: Double) -> SettingDefault { .value(.number(value)) }
  private static func text(_ value: String) -> SettingDefault { .value(.text(value)) }

  private static let dataSettings: [SettingDefinition] = [
    SettingDefinition(
      .data, .data, .path, default: .unset,
      "Directory with data_batch_*.bin and test_batch.bin of CIFAR-10"),
    SettingDefinition(
      .validationExamples, .data, .integer(0...10_000_000), unit: "examples", default: integer(5000),
      shapesTrajectory: true, "Training examples that are held out for validation, chosen by the seed"),
    SettingDefinition(
      .shards, .data, .integer(1...1024), unit: "shards", default: integer(16), shapesTrajectory: true,
      "Parts of the training set that workers own; the most workers that can ever share the run"),
    SettingDefinition(
      .seed, .data, .integer(0...UInt64.max), default: integer(1), shapesTrajectory: true,
      "What every random choice is derived from"),
  ]

  private static let modelSettings: [SettingDefinition] = [
    SettingDefinition(
      .loss, .model, .choice(Loss.allCases.map(\.settingName)), default: text(Loss.softmaxCrossEntropy.settingName),
      shapesTrajectory: true,
      "Softmax cross-entropy, or the multiclass hinge loss of Weston and Watkins"),
    SettingDefinition(
      .l2, .model, .number(.from(0, through: 1000)), default: number(TunedDefaults.l2),
      shapesTrajectory: true, "Strength of the penalty on the sum of squared weights, bias excluded"),
    SettingDefinition(
      .initialStandardDeviation, .model, .number(.from(0, through: 10)), default: number(0.001),
      shapesTrajectory: true, "Standard deviation of the initial weights"),
  ]

  private static let optimizationSettings: [SettingDefinition] = [
    SettingDefinition(
      .batchSize, .optimization, .integer(1...1_048_576), unit: "examples",
      default: integer(TunedDefaults.batchSize), shapesTrajectory: true,
      "Examples per step over all workers, a multiple of the shards"),
    SettingDefinition(
      .learningRate, .optimization, .number(.above(0, through: 1000)),
      default: .byLoss(
        softmax: .number(TunedDefaults.softmaxLearningRate), svm: .number(TunedDefaults.svmLearningRate)),
      shapesTrajectory: true, "Learning rate after the warm-up, where the schedule starts"),
    SettingDefinition(
      .schedule, .optimization, .choice(["constant", "step", "cosine"]), default: text("cosine"),
      shapesTrajectory: true, "How the learning rate falls over the epochs"),
    SettingDefinition(
      .stepEvery, .optimization, .integer(1...1_000_000_000), unit: "steps", default: integer(400),
      shapesTrajectory: true, "Steps between two falls of the learning rate under the step schedule"),
    SettingDefinition(
      .stepFactor, .optimization, .number(.above(0, through: 1)), default: number(0.5),
      shapesTrajectory: true, "What the step schedule multiplies the learning rate by"),
    SettingDefinition(
      .warmupSteps, .optimization, .integer(0...1_000_000_000), unit: "steps", default: integer(0),
      shapesTrajectory: true, "Steps over which the learning rate first rises linearly"),
    SettingDefinition(
      .momentum, .optimization, .number(.from(0, below: 1)), default: number(0), shapesTrajectory: true,
      "Momentum coefficient, 0 for plain gradient descent"),
    SettingDefinition(
      .momentumKind, .optimization, .choice(["polyak", "nesterov"]), default: text("polyak"),
      shapesTrajectory: true, "Which momentum, where there is any"),
  ]

  private static let stoppingSettings: [SettingDefinition] = [
    SettingDefinition(
      .epochs, .stopping, .integer(1...1_000_000), unit: "epochs", default: integer(TunedDefaults.epochs),
      shapesTrajectory: true, "Passes over the training examples; the cosine schedule ends with the last"),
    SettingDefinition(
      .maxSteps, .stopping, .integer(0...1_000_000_000_000), unit: "steps", default: integer(0),
      "Steps after which to stop early, 0 for none; the schedule stays that of the epochs"),
    SettingDefinition(
      .targetAccuracy, .stopping, .number(.from(0, through: 1)), default: number(0),
      "Validation accuracy at which to stop, as a fraction, 0 for off"),
    SettingDefinition(
      .patience, .stopping, .integer(0...1_000_000), unit: "evaluations", default: integer(0),
      "Evaluations without improvement of the validation loss after which to stop, 0 for off"),
    SettingDefinition(
      .tolerance, .stopping, .number(.from(0, through: 1000)), default: number(0.0001),
      "Fall of the validation loss that counts as an improvement"),
    SettingDefinition(
      .gradientNorm, .stopping, .number(.from(0, through: 1_000_000)), default: number(0),
      "Euclidean norm of the gradient below which to stop, 0 for off"),
  ]

  private static let clusterSettings: [SettingDefinition] = [
    SettingDefinition(
      .workers, .cluster, .integer(0...1024), unit: "processes", default: integer(2),
      "Worker processes, 0 for the sequential trainer in this process"),
    SettingDefinition(
      .consistency, .cluster, .consistency, default: .value(.consistency(.bsp(backup: 0))),
      shapesTrajectory: true, "When a push is answered: which weights a worker may compute on"),
    SettingDefinition(
      .transport, .cluster, .choice(["memory", "ipc", "tcp"]), default: text("memory"),
      "Shared memory for gradients and weights on this host, Unix-domain sockets for everything, or TCP"),
    SettingDefinition(
      .bind, .cluster, .text, default: text("127.0.0.1"), "Where TCP listens; beyond this host it takes keys"),
    SettingDefinition(
      .port, .cluster, .integer(0...65_535), default: integer(0),
      "Port of the coordinator under TCP, 0 for any that is free"),
    SettingDefinition(
      .keys, .cluster, .path, default: .unset,
      "Directory of keys, by which processes know each other"),
    SettingDefinition(
      .key, .cluster, .keyName, default: .unset,
      "Name of this process's key; where it is not set, the first of its role that is free"),
    SettingDefinition(
      .heartbeatSeconds, .cluster, .number(.from(0.01, through: 60)), unit: "seconds", default: number(0.5),
      "Time between two signs of life of a process with nothing else to say"),
    SettingDefinition(
      .leaseSeconds, .cluster, .number(.from(0.05, through: 3600)), unit: "seconds", default: number(2),
      "Silence after which a worker's shards go to others"),
    SettingDefinition(
      .rendezvousSeconds, .cluster, .number(.from(0.1, through: 86_400)), unit: "seconds",
      default: number(30), "Time within which everybody must have come together"),
  ]

  private static let runSettings: [SettingDefinition] = [
    SettingDefinition(
      .runDirectory, .run, .path, default: .unset,
      "This run's own directory, runs/<run id> where it is not set"),
    SettingDefinition(
      .resume, .run, .resume, default: text("never"),
      "Go on from a checkpoint: if there is one, only if there is one, never, or from this one"),
    SettingDefinition(
      .evaluateEvery, .run, .integer(0...1_000_000_000), unit: "steps", default: integer(200),
      "Steps between two evaluations on the validation examples, 0 for only at the end"),
    SettingDefinition(
      .checkpointEvery, .run, .integer(0...1_000_000_000), unit: "steps", default: integer(1000),
      "Steps between two checkpoints, 0 for only at the end"),
    SettingDefinition(
      .checkpointSeconds, .run, .number(.from(0, through: 604_800)), unit: "seconds", default: number(0),
      "Time after which a checkpoint is due whatever the step, 0 for off"),
    SettingDefinition(
      .keepLast, .run, .integer(1...10_000), unit: "checkpoints", default: integer(3),
      "Newest checkpoints to keep; the best one is kept as well"),
  ]
}
