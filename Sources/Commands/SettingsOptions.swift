import ArgumentParser
import Diagnostics
import FoundationEssentials
import NodeRuntime
import RunConfiguration

/// The help of a flag, from the table of settings.
func help(_ key: SettingKey) -> ArgumentHelp {
  ArgumentHelp("\(SettingDefinition.of(key).flagHelp).", valueName: "x")
}

/// The one decision about security that is no setting: it cannot be left behind in a file or a variable.
struct ExposureOptions: ParsableArguments {
  static let flag = "--insecure-plaintext-beyond-this-host"

  @Flag(
    name: .customLong("insecure-plaintext-beyond-this-host"),
    help: "Talk to other hosts without keys: whoever reaches this process can read, forge and stop the training.")
  var allowsPlaintext = false

  func security(_ settings: ResolvedSettings) -> SecurityOptions {
    SecurityOptions(settings, allowsPlaintextBeyondThisHost: allowsPlaintext)
  }
}

/// The flags of all settings. Their texts go to the table of settings, which knows types, bounds and defaults,
/// so that a flag, a variable and a line of a file are checked by the same rule and named in the same words.
struct SettingsOptions: ParsableArguments {
  @Option(help: "YAML file with settings; flags and DESCENT_ variables come before it.")
  var config: String?

  @Option(help: help(.data)) var data: String?
  @Option(help: help(.validationExamples)) var validationExamples: String?
  @Option(help: help(.shards)) var shards: String?
  @Option(help: help(.seed)) var seed: String?
  @Option(help: help(.loss)) var loss: String?
  @Option(help: help(.l2)) var l2: String?
  @Option(help: help(.initialStandardDeviation)) var initialStandardDeviation: String?
  @Option(help: help(.batchSize)) var batchSize: String?
  @Option(help: help(.learningRate)) var learningRate: String?
  @Option(help: help(.schedule)) var schedule: String?
  @Option(help: help(.stepEvery)) var stepEvery: String?
  @Option(help: help(.stepFactor)) var stepFactor: String?
  @Option(help: help(.warmupSteps)) var warmupSteps: String?
  @Option(help: help(.momentum)) var momentum: String?
  @Option(help: help(.momentumKind)) var momentumKind: String?
  @Option(help: help(.epochs)) var epochs: String?
  @Option(help: help(.maxSteps)) var maxSteps: String?
  @Option(help: help(.targetAccuracy)) var targetAccuracy: String?
  @Option(help: help(.patience)) var patience: String?
  @Option(help: help(.tolerance)) var tolerance: String?
  @Option(help: help(.gradientNorm)) var gradientNorm: String?
  @Option(help: help(.workers)) var workers: String?
  @Option(help: help(.consistency)) var consistency: String?
  @Option(help: help(.transport)) var transport: String?
  @Option(help: help(.bind)) var bind: String?
  @Option(help: help(.port)) var port: String?
  @Option(help: help(.keys)) var keys: String?
  @Option(help: help(.key)) var key: String?
  @Option(help: help(.heartbeatSeconds)) var heartbeatSeconds: String?
  @Option(help: help(.leaseSeconds)) var leaseSeconds: String?
  @Option(help: help(.rendezvousSeconds)) var rendezvousSeconds: String?
  @Option(help: help(.runDirectory)) var runDir: String?
  @Option(help: help(.resume)) var resume: String?
  @Option(help: help(.evaluateEvery)) var evaluateEvery: String?
  @Option(help: help(.checkpointEvery)) var checkpointEvery: String?
  @Option(help: help(.checkpointSeconds)) var checkpointSeconds: String?
  @Option(help: help(.keepLast)) var keepLast: String?

  /// What was given on the command line.
  var flags: [(name: String, text: String)] {
    let texts: [(SettingKey, String?)] = [
      (.data, data), (.validationExamples, validationExamples), (.shards, shards), (.seed, seed),
      (.loss, loss), (.l2, l2), (.initialStandardDeviation, initialStandardDeviation),
      (.batchSize, batchSize), (.learningRate, learningRate), (.schedule, schedule),
      (.stepEvery, stepEvery), (.stepFactor, stepFactor), (.warmupSteps, warmupSteps),
      (.momentum, momentum), (.momentumKind, momentumKind), (.epochs, epochs), (.maxSteps, maxSteps),
      (.targetAccuracy, targetAccuracy), (.patience, patience), (.tolerance, tolerance),
      (.gradientNorm, gradientNorm), (.workers, workers), (.consistency, consistency),
      (.transport, transport), (.bind, bind), (.port, port), (.keys, keys), (.key, key),
      (.heartbeatSeconds, heartbeatSeconds),
      (.leaseSeconds, leaseSeconds), (.rendezvousSeconds, rendezvousSeconds), (.runDirectory, runDir),
      (.resume, resume), (.evaluateEvery, evaluateEvery), (.checkpointEvery, checkpointEvery),
      (.checkpointSeconds, checkpointSeconds), (.keepLast, keepLast),
    ]
    return texts.compactMap { key, text in text.map { (key.rawValue, $0) } }
  }

  /// Defaults, file, environment and flags in rising precedence.
  func resolve() throws(Failure) -> ResolvedSettings {
    let file = try config.map { path throws(Failure) in try ConfigurationFile(readingFrom: path) }
    return try ResolvedSettings.resolve(
      file: file, environment: ProcessInfo.processInfo.environment, flags: flags)
  }
}
