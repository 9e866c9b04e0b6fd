import ArgumentParser
import Cluster
import Diagnostics
import Files
import FoundationEssentials
import Glibc
import Messaging
import NodeRuntime
import Reporting
import RunConfiguration
import Transport

/// What starts the processes of a run on several hosts.
enum Launcher: String, ExpressibleByArgument, CaseIterable {
  case slurm, none
}

/// A start by `--launcher slurm`: the part of this process, and the settings of the run.
struct SlurmLaunch {
  let allocation: SlurmAllocation
  let part: SlurmAllocation.Part
  let settings: ResolvedSettings
  /// Of all nodes.
  let workers: Int
  /// Whether the node that leads makes the keys, in the directory of the run.
  let makesKeys: Bool

  var paths: RunPaths { RunPaths(directory: settings.runDirectory ?? "") }

  /// Of the node that leads; nil for others.
  var leadingWorkers: Int? { if case .lead(let workers, _) = part { workers } else { nil } }

  /// Whether there is a key for the number of each worker, so that no two nodes can take the same.
  var hasNumberedKeys: Bool { settings.keys.map { KeyDirectory(path: $0).hasUsualKeys(workers: workers) } ?? false }
}

extension TrainCommand {
  /// What this process has to do in an allocation of Slurm; nil where it trains as it would elsewhere.
  ///
  /// - Throws: `usage` for a launcher outside an allocation, and in a step of several tasks without one, each of which would
  ///   start a run.
  func slurmLaunch() throws(Failure) -> SlurmLaunch? {
    let environment = ProcessInfo.processInfo.environment
    guard let launcher else {
      // Variables that are not as expected matter to the launcher alone.
      if let allocation = try? SlurmAllocation(environment) { try allocation.requireOneTask() }
      return nil
    }
    if launcher == .none { return nil }
    guard let allocation = try SlurmAllocation(environment) else {
      throw Failure(
        .usage, "--launcher slurm is for an allocation of Slurm, but SLURM_JOB_ID is not set",
        remedy: "Submit a script with sbatch, or get an allocation with salloc")
    }
    var place: [(name: String, text: String)] = []
    var base = try settings.resolve(isQuiet: quiet)
    if base.runDirectory == nil {
      place = [("run-dir", RunPaths.defaultDirectory(allocation.runName))]
      base = try settings.resolve(overriding: place, isQuiet: true)
    }
    guard base.workers > 0 else {
      throw Failure(.usage, "--workers 0 trains in one process, which needs no launcher", remedy: "Omit --launcher")
    }
    let workers = base.wasChosen(\.workers) ? base.workers : nil
    let part = try allocation.part(workers: workers, shards: base.shards)
    let total = allocation.totalWorkers(workers, shards: base.shards)
    let spansHosts = allocation.nodes > 1
    let makesKeys = spansHosts && !base.wasChosen(\.keys) && !exposure.allowsPlaintext
    var overrides = place + [("workers", "\(total)")]
    if spansHosts { overrides += try Self.settingsAcrossHosts(base, part, allocation, makesKeys: makesKeys) }
    return SlurmLaunch(
      allocation: allocation, part: part, settings: try settings.resolve(overriding: overrides, isQuiet: true),
      workers: total, makesKeys: makesKeys)
  }

  /// TCP, keys in the directory of the run, and the address of the node that leads, unless they were chosen.
  private static func settingsAcrossHosts(
    _ base: ResolvedSettings, _ part: SlurmAllocation.Part, _ allocation: SlurmAllocation, makesKeys: Bool
  ) throws(Failure) -> [(name: String, text: String)] {
    if base.wasChosen(\.transport), base.transport != .tcp {
      throw Failure(
        .usage, "--transport \(base.transport.settingName) does not reach the other \(allocation.nodes - 1) nodes",
        remedy: "Omit it, or pass tcp")
    }
    var overrides = [(name: "transport", text: "tcp")]
    if makesKeys { overrides.append(("keys", "\(base.runDirectory ?? "")/keys")) }
    if case .lead = part, !base.wasChosen(\.bind) {
      overrides.append(("bind", try HostInterfaces.ofThisHost.addressForOthers(allocation.namesOfHost)))
    }
    return overrides
  }

  /// Does what is to be done in an allocation besides leading the run.
  ///
  /// - Returns: the exit status; nil for the process that leads, which trains as it would elsewhere.
  func takePart(in launch: SlurmLaunch) throws(Failure) -> Int32? {
    switch launch.part {
    case .lead:
      if launch.makesKeys { try makeKeys(launch) }
      return nil
    case .idle(let reason):
      say("nothing to do in this task: \(reason)")
      return 0
    case .join(let workers, let first):
      guard try awaitKeys(launch) else { return ExitStatus.stoppedBySignal.rawValue }
      var joining = Joining(settings: launch.settings, workers: workers)
      (joining.firstWorker, joining.namesKeys) = (first, launch.hasNumberedKeys)
      (joining.launch, joining.allowsPlaintext) = (launch.allocation.launch, exposure.allowsPlaintext)
      joining.isQuiet = quiet
      return try joining.run()
    case .startTasks:
      guard let program = FileSystem().symbolicLinkTarget("/proc/self/exe") else {
        throw Failure(.internalError, "cannot find this program: /proc/self/exe cannot be read")
      }
      let given = Array(CommandLine.arguments.dropFirst())
      let count = settings.flags.contains { $0.name == "workers" } ? [] : ["--workers", "\(launch.workers)"]
      say("starting a task on each of \(launch.allocation.nodes) nodes: \(launch.workers) workers")
      var tasks = try SlurmTasks(
        [program] + given + count, in: launch.allocation, paths: launch.paths, warning: launch.settings.warningSignal)
      return tasks.run()
    }
  }

  private func say(_ text: String) {
    if !quiet { StandardError.write(message: "descent: \(text)") }
  }

  /// Those that are missing: a requeued job may have more nodes.
  private func makeKeys(_ launch: SlurmLaunch) throws(Failure) {
    // Not as private as the keys in it.
    try FileSystem().makeDirectories(launch.paths.directory, remedy: "Choose a writable place with --run-dir")
    let directory = KeyDirectory(path: launch.settings.keys ?? "")
    let there = directory.exists ? try directory.names() : []
    let missing = KeyDirectory.usualNames(workers: launch.workers).filter { !there.contains($0) }
    if !missing.isEmpty { _ = try directory.generate(missing) }
  }

  /// Waits until the node that leads has made the keys.
  ///
  /// - Returns: false when a signal came meanwhile.
  /// - Throws: `unavailable` when that takes longer than the rendezvous.
  private func awaitKeys(_ launch: SlurmLaunch) throws(Failure) -> Bool {
    guard launch.makesKeys else { return true }
    let timeout = Timing(launch.settings).rendezvous
    let deadline = Instant.now + timeout
    while !launch.hasNumberedKeys {
      if pendingTerminationSignal(warning: launch.settings.warningSignal) != nil { return false }
      guard Instant.now < deadline else {
        throw Failure(
          .unavailable, "no keys in \(launch.settings.keys ?? "") after \(timeout)",
          remedy: "The task that leads makes them, in a directory that all nodes share: see what it says")
      }
      usleep(100_000)
    }
    return true
  }
}

extension ResolvedSettings {
  /// Whether a setting was given for this start, and does not come from the start before it, on other hosts.
  fileprivate func wasChosen(_ row: KeyPath<SettingTable, Setting<some Any>>) -> Bool {
    let origin = origin(of: row)
    let configuration = self.runDirectory.map { RunPaths(directory: $0).configuration }
    return origin != .defaultValue && !(configuration.map { origin.description.hasPrefix("\($0):") } ?? false)
  }
}
