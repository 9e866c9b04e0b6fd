import ArgumentParser
import Cluster
import Diagnostics
import Glibc
import Messaging
import NodeRuntime
import Optimization
import Reporting
import RunConfiguration
import Transport

struct TrainCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a classifier with one server, N workers and a coordinator on this host.",
    discussion: """
      Examples:
        descent train --data data/cifar10
        descent train --config Config/cifar10-svm.yaml --data data/cifar10 --workers 4 --json
        descent train --run-dir runs/mine --resume must
        descent train --run-dir runs/mine --resume must --epochs 24 --schedule-epochs 24
        descent train --config runs/mine/config.yaml --init-from runs/mine@best --learning-rate 0.01

      A resumed run has the settings in its config.yaml; what is given in addition is checked against the checkpoint. \
      Whatever does not shape the trajectory can change; epochs and schedule-epochs can as well. \
      Under the default consistency, bsp, the bits of the weights depend on settings, seed and data alone: any \
      number of workers gives the same weights_sha256. --workers 0 is the sequential trainer. Ctrl-C saves a \
      checkpoint and stops (exit status 75); a second one ends at once.
      """)

  @OptionGroup var settings: SettingsOptions
  @OptionGroup var exposure: ExposureOptions
  @Option(
    help: "slurm: one run on all nodes of an allocation, started from its script or by srun; none: one in each task.")
  var launcher: Launcher?
  @Flag(help: "Check everything, print the plan, and create nothing.") var dryRun = false
  @Flag(help: "Print the result as one JSON object on standard output.") var json = false
  @Flag(name: .shortAndLong, help: "Write nothing but errors to standard error.") var quiet = false
  @Flag(
    name: .shortAndLong,
    help: "Show processes, sockets, memberships and saved checkpoints as well; the logs hold them in any case.")
  var verbose = false
  @Flag(
    help: "Serve a page that shows the run for as long as it trains, by a process of its own; see descent dashboard.")
  var dashboard = false
  /// One of several runs of a command that has started this process: ends with it, and prints nothing but errors.
  @Flag(help: .hidden) var trial = false
  /// `ResolvedSettings.document`: takes the place of file and environment.
  @Option(help: .hidden) var resolved: String?

  func perform() throws {
    if !dryRun { holdTerminationSignals() }
    let launch = try trial ? nil : slurmLaunch()
    if let launch, !dryRun {
      let status = try takePart(in: launch)
      if let status { return try end(status) }
    }
    let resolved = try launch?.settings ?? settings.resolve(document: resolved, isQuiet: quiet || trial)
    if let finished = try finishedRun(resolved) {
      if trial { return }
      StandardError.write("descent: \(finished.reason)\n")
      if !dryRun {
        print(json ? finished.result.json : finished.result.text, terminator: "")
        return
      }
    }
    if resolved.workers > 0 { try prepareKeys(resolved) }
    if dryRun {
      var options = NodeOptions(resolved)
      options.allowsPlaintextBeyondThisHost = exposure.allowsPlaintext
      let preview = TrainingPreview(try Rehearsal(options))
      if !quiet { preview.warnings.forEach(warn) }
      print(json ? preview.json : preview.text, terminator: "")
      return
    }
    let identifier = launch?.allocation.launch ?? RunIdentifier.draw()
    let page = try startDashboard(of: resolved.runDirectory ?? RunPaths.defaultDirectory(identifier))
    defer { withExtendedLifetime(page) {} }
    let (status, result) =
      resolved.workers == 0
      ? try trainSequentially(resolved, identifier) : try trainInProcesses(resolved, identifier, launch)
    if let result, !trial { print(json ? result.json : result.text, terminator: "") }
    try end(status)
  }

  private func end(_ status: Int32) throws { if status != 0 { throw ExitCode(status) } }

  /// The page ends with what this returns.
  private func startDashboard(of directory: String) throws(Failure) -> ProcessSpawner? {
    guard dashboard else { return nil }
    let spawner = try ProcessSpawner()
    try spawner.start("descent", ["dashboard", "--die-with-parent", directory])
    return spawner
  }

  private func trainSequentially(
    _ resolved: ResolvedSettings, _ identifier: String
  ) throws(Failure) -> (exitCode: Int32, result: RunResult?) {
    var options = NodeOptions(resolved)
    options.arguments = CommandLine.arguments
    (options.isQuiet, options.isVerbose, options.isTrial) = (quiet || trial, verbose, trial)
    options.launch = identifier
    let ending = try runSequentially(options)
    if ending.status != .success { report(Failure(ending.status, ending.reason)) }
    return (ending.status.rawValue, ending.result)
  }

  /// Every process gets the resolved settings, whatever they came from, and the run's directory.
  private func trainInProcesses(
    _ resolved: ResolvedSettings, _ identifier: String, _ launch: SlurmLaunch?
  ) throws(Failure) -> (exitCode: Int32, result: RunResult?) {
    let directory = resolved.runDirectory ?? RunPaths.defaultDirectory(identifier)
    let all =
      ["--run-dir", directory, "--launch", identifier, "--resolved", resolved.document, "--die-with-parent"]
      + (exposure.allowsPlaintext ? [ExposureOptions.flag] : [])
    let namesKeys = launch?.hasNumberedKeys ?? false
    var cluster = try LocalCluster(
      workers: launch?.leadingWorkers ?? resolved.workers, settings: resolved, paths: RunPaths(directory: directory)
    ) { name, formerExit in
      let common = all + (formerExit.map { ["--former-exit", $0] } ?? [])
      switch name.role {
      case .coordinator:
        let display =
          (quiet || trial ? ["--quiet"] : []) + (trial ? ["--trial"] : []) + (verbose ? ["--verbose"] : [])
          + (json ? ["--json-errors"] : [])
        return common + ["--command", LaunchOptions.text(of: CommandLine.arguments)] + display
          + (formerExit == nil ? [] : Self.resumption(resolved))
      case .worker: return common + ["--quiet", "--name", "\(name)"] + (namesKeys ? Joining.key(of: name) : [])
      default: return common + ["--quiet"]
      }
    }
    return cluster.run()
  }

  /// How a coordinator resumes that takes the place of one that was killed. If that one began from a checkpoint of another
  /// directory, its successor must not begin at step 0 instead.
  private static func resumption(_ settings: ResolvedSettings) -> [String] {
    if case .checkpoint = settings.resume { return ["--resume", "must"] }
    return ["--resume", "auto"]
  }

  /// Checks that there are enough keys for the processes of this host. A directory that does not exist is created, except
  /// for a dry run: no other host can have its keys.
  private func prepareKeys(_ settings: ResolvedSettings) throws(Failure) {
    guard let path = settings.keys else { return }
    guard settings.key == nil else {
      throw Failure(
        .badConfiguration,
        "key (from \(settings.origin(of: \.key))) names the key of one process, but `descent train` "
          + "starts several", remedy: "Omit it: each process takes the first free key of its role")
    }
    let directory = KeyDirectory(path: path)
    guard directory.exists else {
      if dryRun { return }
      let made = try directory.generate(KeyDirectory.usualNames(workers: settings.workers))
      StandardError.write("descent: created \(made.count) keys in \(path)\n")
      return
    }
    let names = try directory.names()
    let workers = names.count { $0.role == .worker }
    guard workers >= settings.workers else {
      let missing = KeyDirectory.usualNames(workers: settings.workers).filter { !names.contains($0) }
      throw Failure(
        .badConfiguration, "\(path) has keys for \(workers) of \(settings.workers) workers",
        remedy: "Make more: descent keygen --output \(path) --names "
          + missing.filter { $0.role == .worker }.map(\.description).joined(separator: ","))
    }
    // What is wrong with a key is said once, before the processes start; each of them takes its own.
    for role in [NodeRole.coordinator, .server, .worker] { _ = try directory.take(for: role, lease: nil) }
  }
}
