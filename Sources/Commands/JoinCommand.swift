import ArgumentParser
import Cluster
import Diagnostics
import Files
import FoundationEssentials
import NodeRuntime
import Reporting
import RunConfiguration

/// Workers of this host in a run that is led elsewhere.
struct JoinCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "join", abstract: "Take part in a run that is led elsewhere, with K workers of this host.",
    discussion: """
      Examples:
        descent join --run-dir /shared/runs/mine --workers 4 --data data/cifar10 --keys /shared/keys
        descent join --coordinator tcp://10.0.0.1:5555 --workers 4 --data data/cifar10 --keys keys

      One command for each host: it starts the workers, restarts those that fail as descent train does, and ends with the run. \
      The exit status is that of the run: 0 when it has finished, 75 when it was interrupted or a signal came here, \
      69 when no coordinator was found in twice rendezvous-seconds; otherwise that of the first worker that failed.
      """)

  /// What the workers need; everything else comes from the coordinator.
  enum Selection: SettingSelection {
    static let names = [
      "run-dir", "data", "keys", "heartbeat-seconds", "lease-seconds", "rendezvous-seconds", "warning-signal",
      "trace-steps",
    ]
  }

  @Option(help: "The coordinator's address, such as tcp://10.0.0.1:5555, where there is no shared --run-dir.")
  var coordinator: String?
  @Option(help: ArgumentHelp("Worker processes to start; default: one for each processor.", valueName: "n"))
  var workers: Int?
  @Option(
    help: ArgumentHelp(
      "Give the workers the keys worker-N, worker-(N+1), … instead of the first that are free: for a directory of keys "
        + "that hosts share and cannot write to.", valueName: "n"))
  var firstWorker: Int?
  @OptionGroup var log: LogOptions
  @OptionGroup var flags: SettingFlags<Selection>
  @OptionGroup var exposure: ExposureOptions
  @Flag(name: .shortAndLong, help: "Write nothing but errors to standard error.") var quiet = false

  func validate() throws {
    if let workers, !(1...1024).contains(workers) {
      throw ValidationError("--workers must be 1 to 1024, but is \(workers)")
    }
    if let firstWorker, !(0...1_000_000).contains(firstWorker) {
      throw ValidationError("--first-worker must be 0 to 1000000, but is \(firstWorker)")
    }
  }

  func perform() throws {
    holdTerminationSignals()
    let settings = try ResolvedSettings.resolve(
      only: Selection.names, environment: ProcessInfo.processInfo.environment, flags: flags.given,
      warn: quiet ? { _ in } : warn)
    guard coordinator != nil || settings.runDirectory != nil else {
      throw Failure(.usage, "which run? Pass --run-dir DIR or --coordinator ENDPOINT")
    }
    var joining = Joining(settings: settings, workers: workers ?? Processors.count)
    (joining.coordinator, joining.logDirectory) = (coordinator, log.logDir)
    (joining.firstWorker, joining.namesKeys) = (firstWorker ?? 0, firstWorker != nil)
    (joining.allowsPlaintext, joining.isQuiet) = (exposure.allowsPlaintext, quiet)
    let status = try joining.run()
    if status != 0 { throw ExitCode(status) }
  }
}

/// Workers of this host that join a run: what `descent join` and the hosts of a launcher that do not lead have in common.
struct Joining {
  let settings: ResolvedSettings
  let workers: Int
  var coordinator: String?
  var logDirectory: String?
  var firstWorker = 0
  /// Whether each worker has the key of its number.
  var namesKeys = false
  /// Of the run to be joined; nil for whichever is there.
  var launch: String?
  var allowsPlaintext = false
  var isQuiet = false

  init(settings: ResolvedSettings, workers: Int) { (self.settings, self.workers) = (settings, workers) }

  /// Starts the workers, and returns when all have ended.
  ///
  /// - Returns: the exit status.
  /// - Throws: what keeps them from being started.
  func run() throws(Failure) -> Int32 {
    // Said once, and not by each worker.
    _ = try settings.dataDirectory
    let logs = try logs()
    if !isQuiet {
      let run = coordinator ?? settings.runDirectory ?? ""
      let count = workers == 1 ? "1 worker joins" : "\(workers) workers join"
      StandardError.write(message: "descent: \(count) the run at \(run); logs in \(logs)")
    }
    var cluster = try LocalCluster(
      joining: workers, first: firstWorker, settings: settings, logDirectory: logs,
      arguments: { name, formerExit in arguments(of: name, formerExit, logs) })
    return cluster.run().exitCode
  }

  private func arguments(of name: ProcessName, _ formerExit: String?, _ logs: String) -> [String] {
    let place = coordinator.map { ["--coordinator", $0] } ?? []
    return place + ["--resolved", settings.document, "--die-with-parent", "--joined", "--quiet", "--log-dir", logs]
      + ["--name", "\(name)"] + (namesKeys ? Self.key(of: name) : []) + (launch.map { ["--launch", $0] } ?? [])
      + (allowsPlaintext ? [ExposureOptions.flag] : []) + (formerExit.map { ["--former-exit", $0] } ?? [])
  }

  /// The flag that gives a worker the key of its number.
  static func key(of name: ProcessName) -> [String] {
    if case .worker(let number) = name { ["--key", "worker-\(number)"] } else { [] }
  }

  private func logs() throws(Failure) -> String {
    if let logDirectory { return logDirectory }
    if let directory = settings.runDirectory { return RunPaths(directory: directory).logs }
    guard let directory = NodeOptions.localLogDirectory() else {
      throw Failure(.cannotCreate, "found no writable place for the logs", remedy: "Name one with --log-dir")
    }
    return directory
  }
}
