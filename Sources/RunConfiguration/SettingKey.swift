/// Every setting of a training run, in the order in which people read them.
///
/// The raw value is the one spelling of the name: the key in a YAML file is `batch-size`, the flag is
/// `--batch-size`, and the environment variable is `DESCENT_BATCH_SIZE`.
public enum SettingKey: String, CaseIterable, Sendable, Hashable {
  // Data
  case data
  case validationExamples = "validation-examples"
  case shards
  case seed
  // Model and objective
  case loss
  case l2
  case initialStandardDeviation = "initial-standard-deviation"
  // Optimization
  case batchSize = "batch-size"
  case learningRate = "learning-rate"
  case schedule
  case stepEvery = "step-every"
  case stepFactor = "step-factor"
  case warmupSteps = "warmup-steps"
  case momentum
  case momentumKind = "momentum-kind"
  // When to stop
  case epochs
  case maxSteps = "max-steps"
  case targetAccuracy = "target-accuracy"
  case patience
  case tolerance
  case gradientNorm = "gradient-norm"
  // Cluster
  case workers
  case consistency
  case transport
  case bind
  case port
  case keys
  case key
  case heartbeatSeconds = "heartbeat-seconds"
  case leaseSeconds = "lease-seconds"
  case rendezvousSeconds = "rendezvous-seconds"
  // Run and checkpoints
  case runDirectory = "run-dir"
  case resume
  case evaluateEvery = "evaluate-every"
  case checkpointEvery = "checkpoint-every"
  case checkpointSeconds = "checkpoint-seconds"
  case keepLast = "keep-last"

  /// What every environment variable of ours starts with.
  public static let environmentPrefix = "DESCENT_"

  /// Variables with our prefix that are not settings: they choose a code path or find test data, and other
  /// parts of the program read them. Anything else with the prefix is taken for a misspelt setting.
  public static let otherEnvironmentNames: Set<String> = [
    "DESCENT_KERNEL",  // forces the instruction set of the kernels
    "DESCENT_FAULT",  // what happens to a process in tests (NodeRuntime/FaultPoint)
    "DESCENT_CIFAR10",  // where the tests and scripts find the real data set
  ]

  /// `DESCENT_LEARNING_RATE` for `learning-rate`.
  public var environmentName: String {
    Self.environmentPrefix + String(rawValue.map { $0 == "-" ? "_" : $0 }).uppercased()
  }

  /// `--learning-rate` for `learning-rate`.
  public var flagName: String { "--" + rawValue }
}
