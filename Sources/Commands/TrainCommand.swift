import ArgumentParser
import Diagnostics
import Glibc
import NodeRuntime
import Optimization
import Reporting
import RunConfiguration
import ZeroMQTransport

struct TrainCommand: ParsableCommand {
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

  func run() throws {
    try reportingFailures {
      let resolved = try settings.resolve()
      if dryRun {
        print(try TrainingPreview(resolved).text)
        return
      }
      let identifier = RunOptions.drawIdentifier()
      let (status, result) =
        resolved.workers == 0
        ? try trainSequentially(resolved, identifier) : try trainInProcesses(resolved, identifier)
      if let result { print(json ? result.json : result.text, terminator: "") }
      if status != 0 { throw ExitCode(status) }
    }
  }

  private func trainSequentially(
    _ resolved: ResolvedSettings, _ identifier: String
  ) throws(Failure) -> (status: Int32, result: RunResult?) {
    let ending = try runSequentially(
      settings: resolved,
      options: RunOptions(
        runIdentifier: identifier, arguments: CommandLine.arguments, progressStyle: progressStyle(quiet: quiet)))
    if ending.status != .success { StandardError.write("descent: error: \(ending.reason)\n") }
    return (ending.status.rawValue, ending.result)
  }

  /// The coordinator gets the flags as they were given, so that `run.json` tells their true origin, and the run's
  /// directory, which the others look for it in.
  private func trainInProcesses(
    _ resolved: ResolvedSettings, _ identifier: String
  ) throws(Failure) -> (status: Int32, result: RunResult?) {
    let directory = resolved.runDirectory ?? RunOptions.defaultDirectory(identifier)
    let elsewhere = [SettingKey.runDirectory.rawValue, SettingKey.resume.rawValue]
    var coordinator = settings.flags.filter { !elsewhere.contains($0.name) }.flatMap { ["--\($0.name)", $0.text] }
    if let config = settings.config { coordinator += ["--config", config] }
    if quiet { coordinator.append("--quiet") }
    let security = try localKeys(resolved) + (exposure.allowsPlaintext ? [ExposureOptions.flag] : [])
    coordinator += security
    coordinator += ["--run-dir", directory, "--run-id", identifier, "--die-with-parent"]
    let common =
      [
        "--run-dir", directory, "--heartbeat-seconds", "\(resolved.heartbeatSeconds)", "--lease-seconds",
        "\(resolved.leaseSeconds)", "--rendezvous-seconds", "\(resolved.rendezvousSeconds)", "--quiet",
        "--die-with-parent", "--launch", identifier,
      ] + security
    var cluster = try LocalCluster(
      workers: resolved.workers,
      arguments: LocalCluster.Arguments(
        coordinator: coordinator + (settings.resume.map { ["--resume", $0] } ?? []),
        successor: coordinator + Self.goingOn(resolved), server: common + ["--bind", resolved.bindHost],
        worker: common + ["--data", try resolved.dataDirectory]),
      paths: RunPaths(directory: directory))
    let ending = cluster.run()
    let result = ending.resultJSON.flatMap { try? RunResult(json: $0, source: RunPaths(directory: directory).result) }
    return (ending.exitCode, result)
  }
}

extension TrainCommand {
  /// How a coordinator goes on that takes the place of one that was killed. One that began with a checkpoint from
  /// elsewhere must not begin at step 0 instead.
  private static func goingOn(_ resolved: ResolvedSettings) -> [String] {
    if case .checkpoint = resolved.resume { return ["--resume", "must"] }
    return ["--resume", "auto"]
  }

  /// The flags by which the processes of this host find their keys. A directory that is not there is made: nobody else
  /// can be waiting for keys that do not exist.
  private func localKeys(_ resolved: ResolvedSettings) throws(Failure) -> [String] {
    guard let path = resolved.keyDirectory else { return [] }
    guard resolved.keyName == nil else {
      throw Failure(
        .badConfiguration, "key is for one process, and this command starts several",
        found: "\(resolved.origin(of: .key))", remedy: "Leave it out: each takes the first of its role")
    }
    let directory = KeyDirectory(path: path)
    guard directory.exists else {
      let made = try directory.generate(KeyDirectory.usualNames(workers: resolved.workers))
      StandardError.write("descent: made \(made.count) keys in \(path)\n")
      return ["--keys", path]
    }
    let names = try directory.names()
    let workers = names.count { $0.role == .worker }
    guard workers >= resolved.workers else {
      let missing = KeyDirectory.usualNames(workers: resolved.workers).filter { !names.contains($0) }
      throw Failure(
        .badConfiguration, "\(path) has too few keys for \(resolved.workers) workers", found: "\(workers)",
        remedy: "Make more: descent keygen --output \(path) --names "
          + missing.filter { $0.role == .worker }.map(\.description).joined(separator: ","))
    }
    return ["--keys", path]
  }
}

/// What `descent train --dry-run` prints: the run as it would be, without a file or process made.
struct TrainingPreview {
  let text: String

  init(_ settings: ResolvedSettings) throws(Failure) {
    let job = try TrainingJob(settings: settings)
    let plan = job.plan
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
    text = lines.joined(separator: "\n")
  }
}
