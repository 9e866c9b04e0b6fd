import Diagnostics
import Files

/// A verified checkpoint and its place.
public struct StoredCheckpoint: Sendable, Equatable {
  public var checkpoint: Checkpoint
  /// Its directory.
  public var path: String
}

extension CheckpointStore {
  /// The names of all checkpoints, newest first; of two of one step, the one `latest` points to first.
  func names() throws(Failure) -> [CheckpointName] {
    guard fileSystem.kind(of: directory, followingLinks: true) == .directory else {
      try fileSystem.requireReadableIfPresent(directory)
      return []
    }
    let latest = latestTarget
    return try fileSystem.entries(of: directory)
      .compactMap { CheckpointName($0) }
      .filter { fileSystem.kind(of: path($0.text)) == .directory }
      .sorted { $0.step != $1.step ? $0.step > $1.step : $0 == latest || ($1 != latest && !$0.isReplacement) }
  }

  /// The newest checkpoint whose every file is as it was written, nil when there is none, and the newer ones that are
  /// damaged, newest first, each with the reason: report them to the user.
  ///
  /// - Throws: only when the directory itself cannot be read.
  public func newestValid() throws(Failure) -> (
    newest: StoredCheckpoint?, rejections: [(path: String, failure: Failure)]
  ) {
    var rejections: [(path: String, failure: Failure)] = []
    for name in try names() {
      let stored = contents(of: name)
      do {
        return (try Self.load(stored, named: name), rejections)
      } catch {
        rejections.append((stored.path, error))
      }
    }
    return (nil, rejections)
  }

  /// The best one of the run; nil if that is no whole checkpoint.
  public func best() -> StoredCheckpoint? {
    guard let name = bestTarget ?? (try? names()).flatMap(recordedBest) else { return nil }
    return try? Self.load(contents(of: name), named: name)
  }

  /// The path and the step of the newest checkpoint, which is not verified; nil if there is none.
  package func newest() -> (path: String, step: UInt64)? {
    (latestTarget ?? (try? names())?.first).map { (path($0.text), $0.step) }
  }

  /// The best checkpoint as the newest one records it, for a copy that has lost the link.
  func recordedBest(_ names: [CheckpointName]) -> CheckpointName? {
    guard !names.isEmpty else { return nil }  // defence: recorded-best fails
    let newest = names.lazy.compactMap { name in try? Self.load(contents(of: name), named: name) }.first
    return names.first { $0.step == newest?.checkpoint.run.best?.step }
  }

  private static func load(_ stored: CheckpointDirectory, named name: CheckpointName) throws(Failure)
    -> StoredCheckpoint
  {
    let checkpoint = try stored.load()
    guard checkpoint.step == name.step else {
      throw Failure(
        .badData, "\(stored.path) is a renamed checkpoint", found: "step \(checkpoint.step)", expected: "\(name.step)")
    }
    return StoredCheckpoint(checkpoint: checkpoint, path: stored.path)
  }

  /// Loads what a selector given by the user names (see `locate`): a checkpoint, or the newest one of a run directory. A
  /// damaged one is an error, so that an older model is never taken for the newest.
  ///
  /// - Throws: `missingInput` when nothing is there, `badData` when it is damaged or something else.
  public static func load(_ path: String) throws(Failure) -> StoredCheckpoint {
    switch try CheckpointPath(path) {
    case .checkpoint(let directory):
      return StoredCheckpoint(checkpoint: try directory.load(), path: directory.path)
    case .run(let store):
      return try store.latestOrNewestValid()
    case .file:
      throw Failure(.badData, "\(path) is a file", expected: "the directory of a checkpoint or of a run")
    }
  }

  private func latestOrNewestValid() throws(Failure) -> StoredCheckpoint {
    if let latest = latestTarget, fileSystem.kind(of: path(latest.text)) == .directory {
      do {
        return try Self.load(contents(of: latest), named: latest)
      } catch {
        var failure = error
        failure.remedy = "Name an older checkpoint in \(directory); `descent verify` tells which are valid"
        throw failure
      }
    }
    let search = try newestValid()
    if let newest = search.newest { return newest }
    guard let rejection = search.rejections.first else {
      throw Failure(.missingInput, "\(directory) holds no checkpoint yet")
    }
    throw Failure(
      .badData, "no checkpoint in \(directory) is valid; the newest of \(search.rejections.count)",
      found: rejection.failure.description)
  }

  /// Reads a bare model file. Links are followed: model hubs keep their files behind them.
  static func readModelFile(_ path: String) throws(Failure) -> SafetensorsFile {
    let bytes = try FileSystem().read(path, limit: SafetensorsFile.fileLimit, followingLinks: true)
    return try SafetensorsFile(decoding: bytes, path: path)
  }
}

/// What a selector given by the user names.
enum CheckpointPath {
  case checkpoint(CheckpointDirectory)
  case run(CheckpointStore)
  case file(String)

  init(_ selector: String) throws(Failure) {
    let path = try CheckpointStore.locate(selector)
    let fileSystem = FileSystem()
    guard fileSystem.kind(of: path, followingLinks: true) == .directory else {
      self = .file(path)
      return
    }
    let directory = CheckpointDirectory(path: path, fileSystem: fileSystem)
    let store = CheckpointStore(runDirectory: path)
    if directory.hasManifest {
      self = .checkpoint(directory)
    } else if fileSystem.kind(of: store.directory, followingLinks: true) == .directory {
      self = .run(store)
    } else {
      let names = try fileSystem.entries(of: path)
      throw Failure(
        .badData, "\(path) is neither a checkpoint nor a run",
        found: names.isEmpty ? "an empty directory" : names.prefix(5).joined(separator: ", "),
        expected: "\(CheckpointManifest.fileName) or checkpoints/ in it")
    }
  }
}
