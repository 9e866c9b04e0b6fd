import Optimization

/// The table of settings, a row each, in the order in which people read them. `settings.batchSize` of a
/// `ResolvedSettings` reads the row `batchSize`, typed.
public struct SettingTable: Sendable {
  // MARK: Data

  public let data = Setting(
    "data", .data, .path, default: nil,
    "Directory of the data set: one that `descent data import` made, or data_batch_*.bin (one or more) and test_batch.bin "
      + "of CIFAR-10",
    "No default: `descent train` needs it.")
  public let validationExamples: Setting<Int> = Setting(
    "validation-examples", .data, .integer(0...10_000_000), unit: "examples", default: 5000, shapesTrajectory: true,
    when: { $0.validationFold == nil }, "Training examples held out for validation, chosen by the seed",
    "The default is at most a tenth of the training examples. With 0 there is no validation accuracy, so target-accuracy and patience have no effect."
  )
  public let validationFold: Setting<ValidationFold?> = Setting(
    "validation-fold", .data, .validationFold, default: nil, shapesTrajectory: true, absenceMeansDefault: true,
    when: { $0.validationFold != nil },
    "Part of the training examples held out for validation, in place of validation-examples: 2/5 for the second of five "
      + "equal parts",
    "A run for each of the parts 1/5 to 5/5 with the same seed is a cross-validation: every example is held out once.")
  public let shards = Setting(
    "shards", .data, .integer(1...1024), unit: "shards", default: 16, shapesTrajectory: true,
    "Parts that the training set is split into, and so the maximum number of workers",
    "Each worker owns some of the shards, and every step takes the same number of examples from each: batch-size must "
      + "be a multiple of it.")
  public let seed = Setting<UInt64>(
    "seed", .data, .integer(0...UInt64.max), default: 1, shapesTrajectory: true,
    "Random seed for the split, the order of the examples and the initial weights")

  public let preprocessing = Setting<Preprocessing>(
    "preprocessing", .data, .choice, default: .meanImage, shapesTrajectory: true, absenceMeansDefault: true,
    "What is subtracted from the pixels, before they are divided by 127.5: the mean image of the training examples, the "
      + "mean of each channel, or nothing",
    "With none the inputs are 0 to 2, not centred: training is slower. The model holds what was subtracted.")

  // MARK: Model and objective

  public let hidden = Setting<[Int]>(
    "hidden", .model, .hiddenLayers, default: [], shapesTrajectory: true, absenceMeansDefault: true,
    "Units of each hidden layer, such as 100 or 256,128; 0 for the linear classifier",
    "Each hidden layer is fully connected, has a bias, and is followed by the activation.")
  public let activation = Setting<Activation>(
    "activation", .model, .choice, default: .relu, shapesTrajectory: true, absenceMeansDefault: true,
    when: { !$0.hidden.isEmpty }, "Activation of the hidden units",
    """

      relu        max(0, z)
      leaky-relu  z above 0, else leaky-slope times z
      elu         z above 0, else elu-alpha times (exp(z) - 1)
      tanh        of z
      sigmoid     1 / (1 + exp(-z))
      identity    z: the layers then are no more than a linear classifier
    Only with hidden.
    """)
  public let leakySlope = Setting(
    "leaky-slope", .model, .number(0...10), default: 0.2, shapesTrajectory: true, absenceMeansDefault: true,
    when: { !$0.hidden.isEmpty && $0.activation.settingName == "leaky-relu" }, "Slope of leaky-relu below 0",
    "Only with `activation: leaky-relu`.")
  public let eluAlpha = Setting(
    "elu-alpha", .model, .number(0...10), default: 1, shapesTrajectory: true, absenceMeansDefault: true,
    when: { !$0.hidden.isEmpty && $0.activation.settingName == "elu" }, "Value that elu falls to, without its sign",
    "Only with `activation: elu`.")
  public let dropout = Setting(
    "dropout", .model, .number(0..<1), default: 0, shapesTrajectory: true, absenceMeansDefault: true,
    when: { !$0.hidden.isEmpty }, "Fraction of the hidden units that a training step leaves out",
    "Chosen for each example of each step by the seed; the outputs of the other units are divided by 1 - dropout. "
      + "Evaluation leaves out none. Only with hidden.")
  public let initialization = Setting<Initialization?>(
    "initialization", .model, .initialization, default: nil, shapesTrajectory: true, absenceMeansDefault: true,
    "Distribution of the initial weights; biases start at zero",
    """

      normal  of standard deviation initial-standard-deviation
      he      of standard deviation sqrt(2 / inputs of the layer)
      xavier  of standard deviation sqrt(2 / (inputs + outputs of the layer))
      auto    normal for the linear classifier, he with relu, leaky-relu and elu, xavier with the others
    All are normal distributions around zero.
    """)
  public let initialStandardDeviation = Setting(
    "initial-standard-deviation", .model, .number(0...10), default: 0.001, shapesTrajectory: true,
    when: { $0.initializationInUse == .normal },
    "Standard deviation of the initial weights with `initialization: normal`",
    "With 0 all weights start at zero, which only the linear classifier learns from.")
  public let loss = Setting<Loss>(
    "loss", .model, .choice, default: .softmaxCrossEntropy, shapesTrajectory: true,
    "Loss function: softmax cross-entropy, the multiclass SVM loss of Weston and Watkins or its square, one-versus-all "
      + "logistic, or the squared error of the scores or of their sigmoids",
    "svm is the sum of max(0, s_j - s_y + margin) over the wrong classes j, squared-hinge that of the squares. The errors are "
      + "those against the label as a unit vector. The default of learning-rate depends on the loss.")
  public let margin = Setting(
    "margin", .model, .number(0...1000), default: 1, shapesTrajectory: true, absenceMeansDefault: true,
    when: { $0.loss.hasMargin }, "By how much the score of the label must exceed each other one for a loss of zero",
    "Only with `loss: svm` and `loss: squared-hinge`.")
  public let reduction = Setting<Reduction>(
    "reduction", .model, .choice, default: .mean, shapesTrajectory: true, absenceMeansDefault: true,
    "Whether the objective has the mean or the sum of the losses of a minibatch",
    "With sum the gradient is batch-size times as large: divide learning-rate by it. What is shown is always the mean.")
  public let l2 = Setting(
    "l2", .model, .number(0...1000), default: 0.001, shapesTrajectory: true,
    "L2 regularization strength, bias excluded", "l2 times the sum of the squared weights is added to the mean loss.")
  public let l1: Setting<Double> = Setting(
    "l1", .model, .number(0...1000), default: 0, shapesTrajectory: true, absenceMeansDefault: true,
    when: { $0.l1 != 0 }, "L1 regularization strength, bias excluded",
    "l1 times the sum of the weights' magnitudes is added to the mean loss. With l2 it is the elastic net, which the lecture "
      + "writes as a strength times the sum of b w^2 + |w|: l1 is the strength, l2 the strength times b.")
  public let maxNorm: Setting<Double?> = Setting(
    "max-norm", .model, .positive(.number(0...1_000_000)), default: nil, shapesTrajectory: true,
    absenceMeansDefault: true, when: { $0.maxNorm != nil },
    "Largest Euclidean norm of the weights of one unit, bias excluded; 0 for no limit",
    "After each update the weights of a unit with a larger norm are scaled to it. 3 or 4 are typical for networks.")

  // MARK: Optimization

  public let batchSize = Setting(
    "batch-size", .optimization, .integer(1...1_048_576), unit: "examples", default: 512, shapesTrajectory: true,
    "Examples per step, over all workers; a multiple of shards",
    "Each shard contributes batch-size / shards of them. A larger batch means fewer steps per epoch.")
  public let learningRate = Setting(
    "learning-rate", .optimization, .number(above: 0, upTo: 1000), alias: "lr",
    default: Loss.softmaxCrossEntropy.defaultLearningRate, by: { $0.optimizer.defaultLearningRate($0.loss) },
    shapesTrajectory: true, "Learning rate at the start of the schedule, after the warm-up")
  public let schedule = Setting<LearningRateSchedule.Kind>(
    "schedule", .optimization, .choice, default: .cosine, shapesTrajectory: true,
    "How the learning rate decays after the warm-up",
    "constant: not at all; step: by step-factor every step-every steps; cosine: as half a cosine wave that reaches zero "
      + "at the end of the last epoch.")
  public let scheduleEpochs = Setting<UInt64?>(
    "schedule-epochs", .optimization, .positive(.integer(0...1_000_000)), unit: "epochs", default: nil,
    shapesTrajectory: true, absenceMeansDefault: true, when: { $0.schedule == .cosine },
    "Epochs after which the cosine schedule reaches zero; 0 for the value of epochs",
    "At least epochs. A resumed run continues the schedule that it has; with another value the schedule is stretched "
      + "over so many epochs from the checkpoint on. Only with `schedule: cosine`.")
  public let stepEvery = Setting<UInt64>(
    "step-every", .optimization, .integer(1...1_000_000_000), unit: "steps", default: 400, shapesTrajectory: true,
    when: { $0.schedule == .step }, "Steps between two decays of the step schedule", "Only with `schedule: step`.")
  public let stepFactor = Setting(
    "step-factor", .optimization, .number(above: 0, upTo: 1), default: 0.5, shapesTrajectory: true,
    when: { $0.schedule == .step }, "Factor of the learning rate at each decay of the step schedule",
    "Only with `schedule: step`.")
  public let warmupSteps = Setting<UInt64>(
    "warmup-steps", .optimization, .integer(0...1_000_000_000), unit: "steps", default: 0, shapesTrajectory: true,
    "Steps of linear warm-up from near zero to the learning rate",
    "With `schedule: cosine` there must be fewer than the steps of all epochs.")
  public let optimizer: Setting<Optimizer.Kind> = Setting(
    "optimizer", .optimization, .choice, default: .sgd, shapesTrajectory: true, when: { $0.optimizer != .sgd },
    "How gradients become updates: SGD, with the momentum of Polyak or of Nesterov, AdaGrad, RMSProp, Adam, or AdamW",
    "adamw is Adam whose penalty shrinks the weights directly, past the moments; PyTorch's weight_decay is twice l2. The "
      + "defaults of learning-rate and momentum depend on the optimizer.")
  public let momentum: Setting<Double> = Setting(
    "momentum", .optimization, .number(Optimizer.Hyperparameter.momentum.range), default: 0,
    by: {
      $0.optimizer.hyperparameters.contains(.momentum) ? Optimizer.Hyperparameter.momentum.defaultValue : 0
    }, shapesTrajectory: true, when: { $0.optimizer.takesMomentum }, "Momentum coefficient; 0 is plain SGD",
    "With 0.9 a gradient eventually moves the weights ten times as far: consider a lower learning-rate. Only with "
      + "`optimizer: sgd`, `momentum` or `nesterov`.")
  public let momentumKind = Setting<MomentumKind>(
    "momentum-kind", .optimization, .choice, default: .polyak, shapesTrajectory: true,
    when: { $0.optimizer == .sgd && $0.momentum != 0 }, "Momentum of Polyak (heavy ball) or of Nesterov (look-ahead)",
    "Only with `optimizer: sgd` and momentum above 0, which is another way to write `optimizer: momentum` or `nesterov`."
  )
  public let beta1 = SettingTable.hyperparameter(
    .beta1, "Share of the average gradient that each step of Adam keeps", "Only with `optimizer: adam` or `adamw`.")
  public let beta2 = SettingTable.hyperparameter(
    .beta2, "Share of the average squared gradient that each step of Adam keeps",
    "Only with `optimizer: adam` or `adamw`.")
  public let epsilon = SettingTable.hyperparameter(
    .epsilon, "What is added to the root of the squares that a gradient is divided by",
    "Only with `optimizer: adagrad`, `rmsprop`, `adam` or `adamw`.")
  public let decayRate = SettingTable.hyperparameter(
    .decayRate, "Share of the average squared gradient that each step of RMSProp keeps",
    "Only with `optimizer: rmsprop`.")

  // MARK: Stopping

  public let epochs = Setting<UInt64>(
    "epochs", .stopping, .integer(1...1_000_000), unit: "epochs", default: 12, shapesTrajectory: true,
    when: { $0.schedule == .cosine }, "Passes over the training examples",
    "A finished run can be resumed with more; with `schedule: cosine` this requires schedule-epochs as well.")
  public let maxSteps = Setting<UInt64?>(
    "max-steps", .stopping, .positive(.integer(0...1_000_000_000_000)), unit: "steps", default: nil,
    "Stop early after this many steps; 0 for no limit",
    "The schedule remains that of all epochs, so a run that is stopped here and resumed with a higher limit follows the "
      + "trajectory of one that never stopped.")
  public let targetAccuracy = Setting<Double?>(
    "target-accuracy", .stopping, .positive(.number(0...1)), default: nil,
    "Stop at this validation accuracy, a fraction; 0 for off", "Checked at every evaluation.")
  public let patience = Setting(
    "patience", .stopping, .integer(0...1_000_000), unit: "evaluations", default: 0,
    "Stop after this many evaluations without an improvement of the validation loss; 0 for off",
    "An improvement is a decrease by more than tolerance. The test split is then evaluated with the best model, not with "
      + "the last.")
  public let tolerance = Setting(
    "tolerance", .stopping, .number(0...1000), default: 0.0001,
    "Decrease of the validation loss that counts as an improvement", "Only with patience above 0.")
  public let gradientNorm = Setting<Double?>(
    "gradient-norm", .stopping, .positive(.number(0...1_000_000)), default: nil,
    "Stop when the Euclidean norm of the gradient, regularization included, is below this; 0 for off",
    "Checked at every evaluation.")

  // MARK: Cluster

  public let workers = Setting(
    "workers", .cluster, .integer(0...1024), unit: "processes", default: 2,
    "Worker processes on this host; 0 trains sequentially in one process",
    "The sequential trainer needs no server and under bsp gives the same bits as any number of workers. At most as many "
      + "as shards; 0 only with `consistency: bsp`. With `transport: memory` and bsp no more compute at a time than the host has "
      + "processors; the others stand by until one of these is late.")
  public let minWorkers = Setting(
    "min-workers", .cluster, .integer(1...1024), unit: "processes", default: 1,
    "Workers without which training does not begin, those of other hosts included",
    "It begins once max(workers, min-workers) have joined, or when rendezvous-seconds are over and at least min-workers have. "
      + "With fewer for longer than rendezvous-seconds, at the start or later, the run saves and ends with status 69. At most "
      + "as many as shards.")
  public let consistency = Setting<ConsistencyModel>(
    "consistency", .cluster, .consistency, default: .bsp(backup: 0), shapesTrajectory: true,
    "When the server answers a push, and so how old the weights are that a worker computes on",
    """

      bsp           when all shards of the step have arrived; always the same bits
      bsp:backup=B  when all but B shards have arrived; late ones are dropped and counted
      ssp:S         when the slowest worker is at most S steps behind
      asp           at once
    B must be less than shards.
    """)
  public let transport = Setting<Transport>(
    "transport", .cluster, .choice, default: .memory, "How the processes communicate",
    "memory: gradients and weights through memory shared by server and workers, everything else over Unix-domain "
      + "sockets; ipc: everything over Unix-domain sockets; tcp: everything over TCP. A worker that cannot open the "
      + "server's memory logs so and uses the sockets.")
  public let bind = Setting(
    "bind", .cluster, .host, default: "127.0.0.1",
    "Where to listen with TCP; other than loopback requires --keys",
    "An address, or the name of this host or of one of its network interfaces. `*` is all addresses; of a host with several "
      + "that others can reach, advertise says which they connect to. Only with `transport: tcp`.")
  public let advertise = Setting(
    "advertise", .cluster, .hostIfGiven, default: nil,
    "What the other processes connect to, where it is not what bind says",
    "An address, also one that leads to this host through others, the name of one of its network interfaces, or a host name, "
      + "which each process looks up itself. Loopback is refused where other hosts may connect. Only with `transport: tcp`."
  )
  public let port = Setting<UInt16?>(
    "port", .cluster, .positive(.integer(0...65_535)), default: nil, "TCP port of the coordinator; 0 for any free port",
    "The server listens on a free port, which the coordinator passes on. Only with `transport: tcp`.")
  public let keys = Setting(
    "keys", .cluster, .path, default: nil, "Directory of the keys that authenticate the processes",
    "`descent keygen` creates it, as does `descent train` if it does not exist. All connections are then encrypted, and "
      + "only keys in the directory's allow-list can join. Without keys no connection leaves this host.")
  public let key = Setting(
    "key", .cluster, .keyName, default: nil, "Name of the key of this process",
    "Not set, it is the first key of its role that no other process has taken.")
  public let heartbeatSeconds = Setting(
    "heartbeat-seconds", .cluster, .number(0.01...60), unit: "seconds", default: 0.5,
    "Interval between the heartbeats of an otherwise idle process", "At most half of lease-seconds.")
  public let leaseSeconds = Setting(
    "lease-seconds", .cluster, .number(0.05...3600), unit: "seconds", default: 2,
    "How long a worker may be silent before it is considered lost",
    "Its shards are then reassigned. A shorter lease detects a crash sooner; a longer one tolerates a busy host. At "
      + "least twice heartbeat-seconds.")
  public let rendezvousSeconds = Setting(
    "rendezvous-seconds", .cluster, .number(0.1...86_400), unit: "seconds", default: 30,
    "How long to wait for coordinator, server and first worker to connect",
    "A server or worker that hears nothing from the coordinator gives up after half of it, so that its replacement joins in "
      + "time. Allow at least four times lease-seconds.")

  public let warningSignal = Setting<WarningSignal>(
    "warning-signal", .cluster, .warningSignal, default: .term,
    "Signal that means: save, and stop with status 75",
    "For schedulers that warn before they end a job, such as Slurm with --signal. TERM, USR2 and XCPU always mean it. USR1 "
      + "saves a checkpoint and goes on, unless it is named here.")

  // MARK: Run and checkpoints

  public let runDirectory = Setting(
    "run-dir", .run, .path, default: nil, "Directory of this run: settings, metrics, logs and checkpoints",
    "Not set, it is runs/<run id>.")
  public let resume = Setting<ResumePolicy>(
    "resume", .run, .resume, default: .never,
    "Resume from a checkpoint: auto (if there is one), must (fail if there is none), never, or its path",
    "A resumed run takes every setting that is not given from its config.yaml. never fails if run-dir already contains "
      + "a run. A path is RUN[@best|@latest|@STEP] or that of a checkpoint; with another run-dir it starts a copy of the "
      + "run.")
  public let initFrom = Setting(
    "init-from", .run, .path, default: nil,
    "Start a new run from the weights of a checkpoint, RUN[@best|@latest|@STEP] or FILE.safetensors",
    "All other settings are free. The run starts at step 0 with the optimizer's state at zero; the bias is adjusted to the mean image of "
      + "the new training examples. A file without mean_image is taken to be trained with that mean image. Has no effect "
      + "if `resume: auto` finds a checkpoint.")
  public let evaluateEvery = Setting<UInt64?>(
    "evaluate-every", .run, .stepsOrEpoch, unit: "steps", default: nil,
    "Steps between evaluations on the validation examples, or epoch for once an epoch; 0 for only at the end",
    "The weights before the first step and those after the last one are always evaluated.")
  public let test = Setting<TestPolicy>(
    "test", .run, .choice, default: .end, "Whether to evaluate on the test split: at the end of the run, or never",
    "A search over settings chooses by the validation accuracy: with never the test files are not even opened.")
  public let checkpointEvery = Setting<UInt64>(
    "checkpoint-every", .run, .integer(0...1_000_000_000), unit: "steps", default: 1000,
    "Steps between checkpoints; 0 for only at the end",
    "If every process is killed, at most the work since the last checkpoint is lost. The best model so far is saved "
      + "together with it, as checkpoints/best.")
  public let checkpointSeconds = Setting<Double?>(
    "checkpoint-seconds", .run, .positive(.number(0...604_800)), unit: "seconds", default: nil,
    "Time between checkpoints, in addition to checkpoint-every; 0 for off")
  public let keepLast = Setting(
    "keep-last", .run, .integer(1...10_000), unit: "checkpoints", default: 3,
    "Number of newest checkpoints to keep",
    "The one with the lowest validation loss, checkpoints/best, is kept as well.")
  public let traceSteps = Setting<ClosedRange<UInt64>?>(
    "trace-steps", .run, .stepRange, default: nil,
    "Steps of which every process records when it computed, sent, waited, summed, updated, evaluated and saved",
    "`descent trace` shows them. Each process writes a file into run-dir/traces once the steps are over. It keeps at most "
      + "262,144 spans a track in memory (13 MB): 3 a step for a worker, 3 a step and worker for the server. What does not "
      + "fit is counted. A resumed run records only if it is given again.")
  public let eventFiles = Setting<EventFilesPolicy>(
    "event-files", .run, .choice, default: .on, "Whether to write event files for TensorBoard, in the run directory",
    "`tensorboard --logdir runs` then shows and compares the runs in runs: curves, weights, gradients, the confusion matrix, "
      + "settings. They take at most a percent of the processor's time.")

  private init() {}

  private static func hyperparameter(
    _ hyperparameter: Optimizer.Hyperparameter, _ help: String, _ details: String
  ) -> Setting<Double> {
    Setting(
      hyperparameter.settingName, .optimization, .number(hyperparameter.range), default: hyperparameter.defaultValue,
      shapesTrajectory: true, when: { $0.optimizer.hyperparameters.contains(hyperparameter) }, help, details)
  }
}

extension SettingTable {
  public static let rows = SettingTable()

  /// Every setting, in order.
  public static let all: [SettingDefinition] =
    Mirror(reflecting: rows).children.compactMap { ($0.value as? any AnySetting)?.definition }

  /// The setting of this name.
  public static func setting(named name: String) -> SettingDefinition? { all.first { $0.name == name } }

  /// What every environment variable of ours begins with.
  public static let environmentPrefix = "DESCENT_"

  /// Variables with our prefix that are not settings: other parts of the program read them to choose a code path, or the
  /// scripts do. Anything else with the prefix is a misspelt setting.
  public static let otherEnvironmentNames: Set<String> = [
    "DESCENT_KERNEL",  // forces the instruction set of the kernels
    "DESCENT_FAULT",  // injects a fault into a process, in tests (NodeRuntime/FaultPoint)
    // Those of the scripts: built programs, the archive of CIFAR-10, the Swift toolchain.
    "DESCENT_PROGRAMS", "DESCENT_CIFAR10_URL", "DESCENT_CIFAR10_SHA256", "DESCENT_SWIFT_DIR", "DESCENT_SWIFT_MIRROR",
    "DESCENT_SWIFT_PLATFORM", "DESCENT_SWIFT_SHA256",
  ]
}
