import ArgumentParser
import Cluster
import Diagnostics
import FoundationEssentials
import Messaging
import NodeRuntime
import Reporting
import RunConfiguration
import Transport

/// How `descent train` starts a process of its run.
struct LaunchOptions: ParsableArguments {
  @Flag(help: .hidden) var dieWithParent = false
  /// The name of the run; a process joins only the coordinator of the same launch.
  @Option(help: .hidden) var launch: String?
  /// `ResolvedSettings.document`: takes the place of file and environment.
  @Option(help: .hidden) var resolved: String?
  /// A process that was started by hand is always verbose.
  @Flag(help: .hidden) var verbose = false
  /// A worker of `descent join`.
  @Flag(help: .hidden) var joined = false
  /// One of several runs of a command: `runs/latest` does not lead to it.
  @Flag(help: .hidden) var trial = false
  /// Reports an error as JSON, as `descent train --json` does.
  @Flag(help: .hidden) var jsonErrors = false
  /// The command line of `descent train`, as `text(of:)`.
  @Option(help: .hidden) var command: String?
  /// How the process ended that this one replaces.
  @Option(help: .hidden) var formerExit: String?

  /// One JSON array.
  ///
  /// A long one loses its end, as the system passes on no argument of 128 KiB or more (execve).
  static func text(of command: [String]) -> String {
    let text = JSONValue.strings(command).compactText
    guard text.utf8.count >= 1 << 17, command.count > 2 else { return text }  // defence: long-command fails
    return Self.text(of: command.prefix(command.count / 2) + ["…"])
  }

  /// The command line as typed.
  private var arguments: [String] {
    guard let command, let json = try? JSONReader.parse(Array(command.utf8)[...], source: "--command") else {
      return CommandLine.arguments
    }
    return [String](json: json) ?? CommandLine.arguments
  }

  func nodeOptions(_ settings: ResolvedSettings, _ exposure: ExposureOptions, isQuiet: Bool) -> NodeOptions {
    var options = NodeOptions(settings)
    options.isQuiet = isQuiet
    options.isVerbose = verbose || !dieWithParent
    options.launch = launch
    options.arguments = arguments
    options.formerExit = formerExit
    options.diesWithParent = dieWithParent
    (options.isTrial, options.isJoined) = (trial, joined)
    options.allowsPlaintextBeyondThisHost = exposure.allowsPlaintext
    return options
  }
}

/// Where the logs of processes go that need not know the run directory.
struct LogOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Directory for the log of the process; default: that of the run, or without --run-dir a place that is printed.",
      valueName: "path"), completion: .directory)
  var logDir: String?
}

/// What a server, a worker or an observer needs: everything else comes from the coordinator.
struct NodeSettingsOptions<Selection: SettingSelection>: ParsableArguments {
  @Option(help: "The coordinator's address, such as tcp://127.0.0.1:5555 or ipc:///run/descent/coordinator.")
  var coordinator: String?
  @OptionGroup var flags: SettingFlags<Selection>
  @OptionGroup var exposure: ExposureOptions
  @Flag(name: .shortAndLong, help: "Write nothing but errors to standard error.") var quiet = false
  @OptionGroup var launch: LaunchOptions

  /// - Parameter run: settings of the run, below what is given.
  func nodeOptions(
    run: (ResumePolicy, _ directory: String?) -> [SettingLine] = { _, _ in [] }
  ) throws(Failure) -> NodeOptions {
    let settings = try ResolvedSettings.resolve(
      only: Selection.names, document: launch.resolved, environment: ProcessInfo.processInfo.environment,
      flags: flags.given, warn: quiet ? { _ in } : warn, run: run)
    var options = launch.nodeOptions(settings, exposure, isQuiet: quiet)
    options.endpoint = coordinator
    return options
  }

  /// Runs a role and reports how it ended, once: what the coordinator of `descent train` reports as well is left to it, and
  /// that of another host reports nothing here.
  func run(_ log: LogOptions, _ role: (NodeOptions) throws -> ExitReason) throws {
    try reportingFailures {
      do {
        var options = try nodeOptions()
        options.logDirectory = log.logDir
        let ending = try role(options)
        if ending.status != .success { throw Failure(ending.status, ending.reason) }
      } catch let failure as Failure
        where launch.dieWithParent && (!launch.joined || failure.status == .stoppedBySignal)
        && ExitStatus.reportedByCoordinator.contains(failure.status)
      {
        throw ExitCode(failure.status.rawValue)
      }
    }
  }
}

/// The settings of a process that finds a coordinator.
enum NodeSelection: SettingSelection {
  static let names = ["run-dir", "heartbeat-seconds", "lease-seconds", "rendezvous-seconds", "keys", "key"]
}

enum ServerSelection: SettingSelection {
  static let names = NodeSelection.names + ["bind", "advertise", "trace-steps"]
}

enum WorkerSelection: SettingSelection {
  static let names = NodeSelection.names + ["data", "trace-steps"]
}

public struct ServerCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "descent-server", abstract: "The parameter server: holds the weights and applies updates.",
    discussion: """
      Examples:
        descent-server --run-dir runs/today
        descent-server --coordinator tcp://127.0.0.1:5555
      """, version: versionText)

  @OptionGroup var node: NodeSettingsOptions<ServerSelection>
  @OptionGroup var log: LogOptions

  public init() {}

  public func run() throws {
    try node.run(log) { try runServer($0) }
  }
}

public struct WorkerCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "descent-worker", abstract: "A worker: computes gradients on its shards of the data.",
    discussion: """
      Examples:
        descent-worker --run-dir runs/today --data data/cifar10
        descent-worker --coordinator tcp://127.0.0.1:5555 --data data/cifar10

      Workers may join and leave at any time; the weights do not depend on them. The data set must have the same bytes as \
      the coordinator's.
      """, version: versionText)

  @OptionGroup var node: NodeSettingsOptions<WorkerSelection>
  @OptionGroup var log: LogOptions
  @Option(
    help: ArgumentHelp(
      "The name of this process in logs, status and messages; @ and the host follow. Default: worker-PID.",
      valueName: "worker-N"))
  var name: String?

  public init() {}

  public func validate() throws {
    if let name, KeyName(name)?.role != .worker {
      throw ValidationError("--name must be worker-N, of letters, digits, '.', '_' and '-', but is \"\(name)\".")
    }
  }

  public func run() throws {
    try node.run(log) {
      var options = $0
      options.name = name
      return try runWorker(options)
    }
  }
}

public struct CoordinatorCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "descent-coordinator",
    abstract: "The coordinator: assigns shards, evaluates, decides when to stop, saves checkpoints.",
    discussion: """
      Examples:
        descent-coordinator --run-dir runs/today --data data/cifar10 --workers 2
        descent-coordinator --run-dir runs/today --resume must

      Takes the settings of `descent train`; --workers is the number of workers to wait for before training begins. \
      The result is written to result.json in the run directory.
      """, version: versionText)

  @OptionGroup var settings: SettingsOptions
  @OptionGroup var exposure: ExposureOptions
  @Flag(name: .shortAndLong, help: "Write nothing but errors to standard error.") var quiet = false
  @OptionGroup var launch: LaunchOptions

  public init() {}

  public func run() throws {
    try reportingFailures {
      let options = launch.nodeOptions(
        try settings.resolve(document: launch.resolved, isQuiet: quiet), exposure, isQuiet: quiet)
      let ending = try runCoordinator(options)
      if ending.status != .success { throw Failure(ending.status, ending.reason) }
    }
  }
}
