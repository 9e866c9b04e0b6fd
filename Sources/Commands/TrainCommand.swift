import ArgumentParser
import Cluster
import Diagnostics
import Glibc
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

      Under the default consistency, bsp, the bits of the weights depend on settings, seed and data alone: any \
      number of workers gives the same weights_sha256. --workers 0 is the sequential trainer. Ctrl-C saves a \
      checkpoint and stops (exit status 75); a second one ends at once.
      """)

  @OptionGroup var settings: SettingsOptions
  @OptionGroup var exposure: ExposureOptions
  @Flag(help: "Print the plan and touch nothing.") var dryRun = false
  @Flag(help: "Print the result as one JSON object on standard output.") var json = false
  @Flag(help: "Show no progress.") var quiet = false

  func perform() throws {
    let resolved = try settings.resolve()
    if dryRun {
      print(try preview(of: resolved))
      return
    }
    let identifier = RunIdentifier.draw()
    let (status, result) =
      resolved.workers == 0
      ? try trainSequentially(resolved, identifier) : try trainInProcesses(resolved, identifier)
    if let result { print(json ? result.json : result.text, terminator: "") }
    if status != 0 { throw ExitCode(status) }
  }

  private func trainSequentially(
    _ resolved: ResolvedSettings, _ identifier: String
  ) throws(Failure) -> (exitCode: Int32, result: RunResult?) {
    var options = NodeOptions(resolved)
    options.arguments = CommandLine.arguments
    options.isQuiet = quiet
    options.launch = identifier
    let ending = try runSequentially(options)
    if ending.status != .success { StandardError.write("descent: error: \(ending.reason)\n") }
    return (ending.status.rawValue, ending.result)
  }

  /// Every process gets the resolved settings, whatever they came from, and the run's directory.
  private func trainInProcesses(
    _ resolved: ResolvedSettings, _ identifier: String
  ) throws(Failure) -> (exitCode: Int32, result: RunResult?) {
    try prepareKeys(resolved)
    let directory = resolved.runDirectory ?? RunPaths.defaultDirectory(identifier)
    let all =
      ["--run-dir", directory, "--launch", identifier, "--resolved", resolved.document, "--die-with-parent"]
      + (exposure.allowsPlaintext ? [ExposureOptions.flag] : [])
    var cluster = try LocalCluster(
      workers: resolved.workers, timing: Timing(resolved), paths: RunPaths(directory: directory)
    ) { name, formerExit in
      let common = all + (formerExit.map { ["--former-exit", $0] } ?? [])
      switch name.role {
      case .coordinator:
        return common + ["--command", LaunchOptions.text(of: CommandLine.arguments)] + (quiet ? ["--quiet"] : [])
          + (formerExit == nil ? [] : Self.resumption(resolved))
      case .worker: return common + ["--quiet", "--name", "\(name)"]
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

  /// Checks that there are enough keys for the processes of this host. A directory that does not exist is created: no
  /// other host can have its keys.
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
  }
}

/// What `descent train --dry-run` prints: the run as it would be, without creating a file or process.
private func preview(of settings: ResolvedSettings) throws(Failure) -> String {
  let plan = try TrainingJob(settings: settings).plan
  let parameterBytes = plan.shape.parameterCount * MemoryLayout<Float>.size
  let stateBytes = parameterBytes * (plan.momentum.coefficient == 0 ? 1 : 2)
  let workers = settings.workers
  var lines = [
    settings.listing,
    "training examples    \(plan.exampleCount - plan.validationCount) in \(plan.shardCount) shards, "
      + "\(plan.validationCount) for validation",
    "steps                \(plan.totalSteps), \(plan.stepsPerEpoch) per epoch, "
      + "\(plan.examplesPerShard) examples of each shard per step",
    "checkpoint           \(stateBytes) bytes of parameters and optimizer state, \(plan.shape.pixels * 4) of mean image",
  ]
  if workers > 0 {
    lines.append("bytes per step       \(2 * parameterBytes * workers) between \(workers) workers and the server")
    lines += (0..<workers).map { rank in
      let shards = rank * plan.shardCount / workers..<(rank + 1) * plan.shardCount / workers
      return "worker \(rank)             shards \(ShardSet(range: shards))"
    }
  }
  return lines.joined(separator: "\n")
}
