import Checkpoints
import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Reporting

/// What there was at the place of a run directory before a start. A start that failed before the first step removes what it
/// has made there, and only that, so that the same command works once the cause is gone.
struct StartRollback {
  let paths: RunPaths
  /// Whether there was a run that took a step: nothing of it may be removed.
  private let heldRun: Bool
  /// What was there, except for a run that never took a step.
  private let former: Set<String>
  /// The directories that did not exist, the innermost first.
  private let missing: [String]
  private let configuration: [UInt8]?

  init(of paths: RunPaths) {
    self.paths = paths
    heldRun = paths.holdsRun && paths.tookStep
    let former = Set([paths.directory, paths.logs, paths.traces, paths.checkpoints].flatMap(Self.contents))
    self.former = heldRun || !paths.holdsRun ? former : former.subtracting(Self.records(of: paths))
    configuration = try? FileSystem().read(paths.configuration, limit: 1 << 20, followingLinks: true)
    var missing: [String] = []
    var place = paths.checkpoints
    while place != FileSystem.split(place).directory, !FileSystem().exists(place) {
      missing.append(place)
      place = FileSystem.split(place).directory
    }
    self.missing = [paths.eventFiles, paths.logs, paths.traces].filter { !FileSystem().exists($0) } + missing
  }

  /// Removes what a start has made, unless it took a step or continued a run.
  ///
  /// - Parameters:
  ///   - file: the `run.json` of this start, if it came so far.
  ///   - held: the lock of the directory, if this process holds it.
  ///   - log: the one log to remove; nil for those of all processes.
  /// - Returns: whether there is nothing left of the start.
  @discardableResult
  func removeStart(of file: RunFile?, holding held: RunLock? = nil, log: String? = nil) -> Bool {
    guard !heldRun, file.map({ $0.starts.count == 1 && !paths.tookStep }) ?? !paths.holdsRun else { return false }
    // Another start may have the directory meanwhile.
    let lock = held ?? (try? paths.lockDirectory())
    guard lock != nil || !FileSystem().exists(paths.directory) else { return false }
    lock?.abandon()
    let logs = Self.contents(of: paths.logs).filter { $0.hasSuffix(".jsonl") && (log == nil || $0 == log) }
    Self.remove(Self.records(of: paths) + logs, except: former)  // defence: rollback
    if let configuration {
      // What the user had put there.
      if configuration != (try? FileSystem().read(paths.configuration, limit: 1 << 20, followingLinks: true)) {
        try? FileSystem().replace(paths.configuration, with: configuration)
      }
    } else {
      Self.remove([paths.configuration], except: [])
    }
    // The lease last: until then another host waits for it.
    Self.remove([paths.lock] + paths.leases, except: former)
    for directory in missing { rmdir(directory) }
    return true
  }

  /// Removes a run that never took a step, for another one in its place. Hold the lock.
  static func removeRun(in paths: RunPaths) { remove(records(of: paths), except: []) }

  /// What a run writes, and nothing that others keep beside it: without its logs, its lock and `config.yaml`, which may be
  /// what the user has put there.
  private static func records(of paths: RunPaths) -> [String] {
    let temporary = contents(of: paths.directory).filter { FileSystem.split($0).name.hasPrefix(".tmp-") }
    let saved = CheckpointStore(runDirectory: paths.directory).ownNames.map { "\(paths.checkpoints)/\($0)" }
    let traces = contents(of: paths.traces).filter { $0.hasSuffix(TraceFile.suffix) }
    return saved + temporary + traces + EventDirectory(path: paths.eventFiles).files
      + [paths.metrics, paths.workers, paths.confusion, paths.result, paths.coordinatorEndpoint, paths.runFile]
  }

  private static func contents(of directory: String) -> [String] {
    ((try? FileSystem().entries(of: directory)) ?? []).map { "\(directory)/\($0)" }
  }

  private static func remove(_ names: [String], except kept: Set<String>) {
    for name in names where !kept.contains(name) {
      // A checkpoint is a directory.
      if FileSystem().kind(of: name) == .directory {
        try? FileSystem().removeDirectory(name)
      } else {
        try? FileSystem().unlink(name)
      }
    }
  }
}

extension RunPaths {
  /// Whether the run in the directory has trained: a step beyond its first one is on disk, or may have been taken. True for a
  /// run that cannot be read.
  var tookStep: Bool {
    // defence: took-step
    guard let file = try? RunFile(readingFrom: runFile), let summary = try? RunSummary(of: self) else { return true }
    // A copy of a run begins at the step of the run that it continues.
    let first = summary.setting("init-from") == .null ? file.startedFrom?.step ?? 0 : 0
    let saved = CheckpointStore(runDirectory: directory).ownNames.compactMap { name in
      UInt64(name.drop { !$0.isNumber }.prefix { $0.isNumber })
    }.max()
    if max(summary.step ?? 0, saved ?? 0) > first { return true }
    let hadWorkers = !file.membershipEpochs.isEmpty
    // After a signal the server says at which step it is; else steps may be lost that were taken.
    if let ended = file.ended { return ended.step > first || ended.reason != .signal && hadWorkers }
    return hadWorkers || summary.setting("workers") == .number("0") && summary.step != nil
  }

  /// Ends the record of a run whose processes could not: all have ended, or this one is about to. Does nothing where
  /// `run.json` is not of a run that is under way.
  ///
  /// - Parameter signal: "SIGTERM", if one has ended it.
  func recordEnd(_ signal: String?) {
    guard var file = try? RunFile(readingFrom: runFile), file.status == .running else { return }
    file.end(
      signal == nil ? .failed : .interrupted, .killed, signal: signal,
      message: signal.map { "ended at once by a second signal, \($0)" } ?? "its coordinator was killed",
      step: (try? RunSummary(of: self))?.step ?? 0, at: .now())
    try? file.save(to: runFile, at: .now())
  }
}
