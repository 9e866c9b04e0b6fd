import ArgumentParser
import Cluster
import Diagnostics
import FoundationEssentials
import Messaging
import NodeRuntime
import Reporting
import RunConfiguration

/// What a server and a worker have to be told: everything else comes from the coordinator.
struct NodeSettingsOptions: ParsableArguments {
  @Option(help: "The coordinator's address, such as tcp://127.0.0.1:5555 or ipc:///run/descent/coordinator.")
  var coordinator: String?
  @Option(help: "The run directory, where the coordinator writes its address.") var runDir: String?
  @Option(help: help(.heartbeatSeconds)) var heartbeatSeconds: String?
  @Option(help: help(.leaseSeconds)) var leaseSeconds: String?
  @Option(help: help(.rendezvousSeconds)) var rendezvousSeconds: String?
  @Option(help: help(.keys)) var keys: String?
  @Option(help: help(.key)) var key: String?
  @OptionGroup var exposure: ExposureOptions
  @Flag(help: "Say nothing on standard error but errors.") var quiet = false
  @Flag(help: .hidden) var dieWithParent = false
  @Option(help: .hidden) var launch: String?

  /// The settings table with these flags and `more`, over the environment.
  func resolve(_ more: [(SettingKey, String?)]) throws(Failure) -> ResolvedSettings {
    let given: [(SettingKey, String?)] =
      [
        (.runDirectory, runDir), (.heartbeatSeconds, heartbeatSeconds), (.leaseSeconds, leaseSeconds),
        (.rendezvousSeconds, rendezvousSeconds), (.keys, keys), (.key, key),
      ] + more
    return try ResolvedSettings.resolve(
      environment: ProcessInfo.processInfo.environment,
      flags: given.compactMap { key, text in text.map { (key.rawValue, $0) } })
  }

  func nodeOptions(_ settings: ResolvedSettings) throws(Failure) -> NodeOptions {
    NodeOptions(
      coordinator: try location(settings), timing: Timing(settings), isQuiet: quiet,
      diesWithParent: dieWithParent, launch: launch, security: exposure.security(settings))
  }

  func location(_ settings: ResolvedSettings) throws(Failure) -> CoordinatorLocation {
    if let coordinator { return .endpoint(coordinator) }
    if let directory = settings.runDirectory { return .runDirectory(directory) }
    throw Failure(
      .usage, "nothing says where the coordinator is", expected: "--run-dir DIR or --coordinator ENDPOINT")
  }
}

/// Ends the process as the role did.
private func finish(_ status: ExitStatus, _ reason: String) throws(Failure) {
  if status != .success { throw Failure(status, reason) }
}

extension NodeSettingsOptions {
  /// Runs a role; what is wrong is said once.
  func reportingEnd(_ role: (ResolvedSettings) throws -> Message.Ending, more: [(SettingKey, String?)]) throws {
    try reportingFailures {
      do {
        let ending = try role(try resolve(more))
        try finish(ending.status, ending.reason)
      } catch let failure as Failure where dieWithParent && ExitStatus.reportedByCoordinator.contains(failure.status) {
        throw ExitCode(failure.status.rawValue)
      }
    }
  }
}

public struct ServerCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "descent-server", abstract: "The parameter server: holds the weights and applies updates.",
    discussion: """
      Examples:
        descent-server --run-dir runs/today
        descent-server --coordinator tcp://127.0.0.1:5555
      """)

  @OptionGroup var node: NodeSettingsOptions
  @Option(help: "Host to listen on for workers when the coordinator is reached by TCP.") var bind: String?

  public init() {}

  public func run() throws {
    try node.reportingEnd(
      { settings in try runServer(try node.nodeOptions(settings), bindHost: settings.bindHost) },
      more: [(.bind, bind)])
  }
}

public struct WorkerCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "descent-worker", abstract: "A worker: computes gradients on its shards of the data.",
    discussion: """
      Examples:
        descent-worker --run-dir runs/today --data data/cifar10
        descent-worker --coordinator tcp://127.0.0.1:5555 --data data/cifar10

      A worker may join and leave at any time; the weights do not depend on it.
      """)

  @OptionGroup var node: NodeSettingsOptions
  @Option(help: "Directory of the data set, the same bytes as the coordinator's.") var data: String?

  public init() {}

  public func run() throws {
    try node.reportingEnd(
      { settings in
        try runWorker(try node.nodeOptions(settings), dataDirectory: try settings.dataDirectory)
      }, more: [(.data, data)])
  }
}

public struct CoordinatorCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "descent-coordinator",
    abstract: "The coordinator: assigns shards, evaluates, decides when to stop, saves checkpoints.",
    discussion: """
      Examples:
        descent-coordinator --run-dir runs/today --data data/cifar10 --workers 2
        descent-coordinator --run-dir runs/today --data data/cifar10 --resume must

      Takes the settings of `descent train`; --workers is how many to wait for before the training begins. \
      The result is written to result.json in the run directory.
      """)

  @OptionGroup var settings: SettingsOptions
  @OptionGroup var exposure: ExposureOptions
  @Flag(help: "Show no progress.") var quiet = false
  @Option(help: .hidden) var runId: String?
  @Flag(help: .hidden) var dieWithParent = false

  public init() {}

  public func run() throws {
    try reportingFailures {
      let resolved = try settings.resolve()
      let options = RunOptions(
        runIdentifier: runId, arguments: CommandLine.arguments, progressStyle: progressStyle(quiet: quiet),
        diesWithParent: dieWithParent, security: exposure.security(resolved))
      let ending = try runCoordinator(settings: resolved, options: options)
      try finish(ending.status, ending.reason)
    }
  }
}

/// How progress is shown: a live line in a terminal, plain lines elsewhere.
func progressStyle(quiet: Bool) -> ProgressStyle {
  ProgressStyle(
    isQuiet: quiet, isTerminal: StandardError.isTerminal, environment: ProcessInfo.processInfo.environment)
}
