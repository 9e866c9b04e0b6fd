import Cluster
import Diagnostics
import Files
import Optimization

/// The checkpoints of one run, in `<run directory>/checkpoints`.
///
///     checkpoints/step-000000001200/{model.safetensors, optimizer.safetensors, state.json, MANIFEST.json}
///     checkpoints/latest -> step-000000001200
///     checkpoints/best -> step-000000000900
///
/// A checkpoint is written beside the others under a name starting with `.tmp-`, made durable, and only then renamed; the
/// links are replaced in the same way. So whenever the process or the machine dies, every `step-…` is whole and each link
/// points to one. `best` is the one with the lowest validation loss, absent before there is one. One process at a time may
/// write; any number may read meanwhile.
///
/// Where the file system has no links, `latest` and `best` are files with the name in them. A copy may have lost both, or
/// have copies of the checkpoints in their place: the newest checkpoint is the one with the highest step, and its state
/// names the step of the best one.
public struct CheckpointStore: Sendable {
  public let runDirectory: String
  let fileSystem: FileSystem

  package init(runDirectory: String, disk: some Disk = SystemDisk()) {
    self.runDirectory = runDirectory
    fileSystem = FileSystem(disk: disk)
  }

  /// Where the checkpoints are.
  public var directory: String { runDirectory + "/checkpoints" }

  static let latestName = "latest"
  static let bestName = "best"
  static let temporaryPrefix = ".tmp-"

  func path(_ name: String) -> String { "\(directory)/\(name)" }

  func contents(of name: CheckpointName) -> CheckpointDirectory {
    CheckpointDirectory(path: path(name.text), fileSystem: fileSystem)
  }

  /// The target of `latest`, if it is the name of a checkpoint here.
  var latestTarget: CheckpointName? { target(of: Self.latestName) }

  /// The target of `best`, if it is the name of a checkpoint here.
  var bestTarget: CheckpointName? { target(of: Self.bestName) }

  func target(of link: String) -> CheckpointName? {
    fileSystem.pointerTarget(path(link)).flatMap(CheckpointName.init)
  }

  /// The names in `directory` that a store has given: of checkpoints, of the links to them, and of what a writer left
  /// unfinished. Others may keep files there as well, such as where `checkpoints` is a link. Empty where it cannot be read.
  package var ownNames: [String] { ((try? fileSystem.entries(of: directory)) ?? []).filter(isOwn) }

  private func isOwn(_ name: String) -> Bool {
    // defence: own-names
    if [Self.latestName, Self.bestName].contains(name) { return fileSystem.pointerTarget(path(name)) != nil }
    return CheckpointName(name) != nil || name.hasPrefix(Self.temporaryPrefix)
  }

  // MARK: Saving

  /// Creates the directory, durably, and finishes or removes what a crashed writer left unfinished. Call once before
  /// `save`; the run directory itself must exist.
  ///
  /// - Parameter state: that the run resumes at; its writer may have died before it pointed the links to it.
  /// - Throws: `cannotCreate` or `inputOutput`.
  public func prepareForWriting(resuming state: RunState? = nil) throws(Failure) {
    if let kind = fileSystem.kind(of: directory, followingLinks: true) {
      guard kind == .directory else {
        throw Failure(.cannotCreate, "\(directory) is in the way", expected: "a directory")
      }
    } else if let target = fileSystem.symbolicLinkTarget(directory) {  // defence: dangling-links
      throw .danglingLink(directory, target)
    } else {
      try fileSystem.makeDirectory(directory)
    }
    // Also when it exists: its creator may have died before synchronizing it.
    try fileSystem.synchronize(runDirectory)
    for name in try fileSystem.entries(of: directory) where name.hasPrefix(Self.temporaryPrefix) {
      try removeTemporary(name)
    }
    let stored = try names()
    if let state, let name = stored.first(where: { $0.step == state.step }) {
      try pointLinks(to: name, of: state, among: stored)
    }
  }

  /// Saves a checkpoint; when this returns, it survives a power cut, and `latest` points to it, as does `best` if it is
  /// the best of its run.
  ///
  /// A step that is stored already with the same bytes is a success. With other bytes it is replaced, and the old one is
  /// removed last. After an error everything saved before is unchanged, and the call may be repeated.
  ///
  /// - Returns: the path of the checkpoint directory.
  /// - Throws: `cannotCreate` when the disk is full or read-only, `inputOutput` when writing or reading back
  ///   fails, `internalError` when the checkpoint contradicts itself or holds values that are not finite.
  @discardableResult
  public func save(_ checkpoint: Checkpoint) throws(Failure) -> String {
    try checkpoint.validate()
    let files = checkpoint.files
    let stored = try names()
    let existing = stored.filter { $0.step == checkpoint.step }
    if let same = existing.first(where: { (try? verify($0, files)) != nil }) {
      try synchronizeAgain(same)
      try pointLinks(to: same, of: checkpoint.run, among: stored)
      return path(same.text)
    }
    let name = try freeName(for: checkpoint.step, among: existing)
    try write(files, as: name, epoch: checkpoint.run.membershipEpoch.value)
    do {
      try verify(name, files)
    } catch {
      throw Failure(.inputOutput, "a checkpoint does not read back as it was written", found: error.description)
    }
    try pointLinks(to: name, of: checkpoint.run, among: stored)
    for old in existing where old != name && old.step == name.step { try remove(old) }
    return path(name.text)
  }

  /// Writes the files under a temporary name, then gives the directory its own.
  private func write(
    _ files: [(name: String, bytes: [UInt8])], as name: CheckpointName, epoch: UInt64
  ) throws(Failure) {
    let temporary = path("\(Self.temporaryPrefix)\(name.step)-\(epoch)-\(fileSystem.randomSuffix())")
    do {
      try fileSystem.makeDirectory(temporary)
      try fileSystem.createDurably(files.map { ("\(temporary)/\($0.name)", $0.bytes) })
      try fileSystem.synchronize(temporary)
      try fileSystem.rename(temporary, to: path(name.text))
    } catch {
      // The first failure is the one to report.
      try? fileSystem.removeDirectory(temporary)
      throw error
    }
    try fileSystem.synchronize(directory)
  }

  /// Reads a checkpoint back before it is announced: it must be stored byte for byte, and load.
  private func verify(
    _ name: CheckpointName, _ files: [(name: String, bytes: [UInt8])]
  ) throws(Failure) {
    _ = try contents(of: name).load(writtenFrom: files)
  }

  /// - Parameter stored: the checkpoints here, with or without `name`.
  private func pointLinks(
    to name: CheckpointName, of state: RunState, among stored: [CheckpointName]
  ) throws(Failure) {
    // A replaced checkpoint is removed, so `best` must not point to it any more.
    let isBest = state.isBest || bestTarget?.step == name.step
    // The writer of the best one may have died before it pointed the link to it.
    let best = isBest ? name : stored.first { $0.step == state.best?.step && $0.step != bestTarget?.step }
    for (link, name) in [(Self.latestName, name)] + (best.map { [(Self.bestName, $0)] } ?? [])
    where target(of: link) != name {
      do {
        try fileSystem.replacePointer(path(link), target: name.text)
      } catch {
        guard fileSystem.kind(of: path(link)) == .directory else { throw error }
        try removeCopy(link, of: stored + [name])
        try fileSystem.replacePointer(path(link), target: name.text)
      }
    }
    try fileSystem.synchronize(directory)
  }

  /// Removes a directory with the name of a link: a tool that follows links has copied the checkpoint.
  ///
  /// - Throws: `cannotCreate` when it is anything but a copy of a checkpoint that is there.
  private func removeCopy(_ link: String, of stored: [CheckpointName]) throws(Failure) {
    let copy = try? CheckpointDirectory(path: path(link), fileSystem: fileSystem).manifest()
    // defence: copies fails
    guard let copy, stored.contains(where: { (try? contents(of: $0).manifest()) == copy }) else {
      throw Failure(
        .cannotCreate, "\(path(link)) is a directory, but not a copy of a checkpoint in \(directory)",
        expected: "a link to one", remedy: "Move it to another place")
    }
    try fileSystem.removeDirectory(path(link), renamingTo: path(temporaryName))
  }

  /// Its writer may have died before its own fsync.
  private func synchronizeAgain(_ name: CheckpointName) throws(Failure) {
    for file in CheckpointFile.allCases.map(\.rawValue) + [CheckpointManifest.fileName] {
      try fileSystem.synchronize("\(path(name.text))/\(file)", followingLinks: false)
    }
    try fileSystem.synchronize(path(name.text))
    try fileSystem.synchronize(directory)
  }

  /// A free name for a checkpoint of `step`. When both are taken, the one that `latest` does not point to is left over
  /// from a crash or a failed replacement, and is removed.
  private func freeName(for step: UInt64, among existing: [CheckpointName]) throws(Failure) -> CheckpointName {
    let candidates = [CheckpointName(step: step), CheckpointName(step: step, isReplacement: true)]
    if let free = candidates.first(where: { fileSystem.kind(of: path($0.text)) == nil }) { return free }
    let (spare, other) = latestTarget == candidates[0] ? (candidates[1], candidates[0]) : (candidates[0], candidates[1])
    if bestTarget == spare {
      try fileSystem.replacePointer(path(Self.bestName), target: other.text)
      try fileSystem.synchronize(directory)
    }
    try remove(spare)
    return spare
  }

  // MARK: Pruning

  /// Removes checkpoints beyond the newest `keepLast`; the targets of `latest` and `best` stay. Call after `save` has
  /// returned, so that nothing is removed before its successor is durable.
  ///
  /// - Parameter keepLast: at least 1.
  /// - Returns: the paths of the removed directories, newest first.
  @discardableResult
  public func prune(keepLast: Int) throws(Failure) -> [String] {
    precondition(keepLast >= 1, "at least one checkpoint must stay")
    let all = try names()
    let kept = all.prefix(keepLast) + [latestTarget, bestTarget].compactMap(\.self)
    var removed: [String] = []
    for name in all where !kept.contains(name) {
      try remove(name)
      removed.append(path(name.text))
    }
    return removed
  }

  /// Renames the checkpoint first, so that a half-removed one is never listed.
  private func remove(_ name: CheckpointName) throws(Failure) {
    try fileSystem.removeDirectory(path(name.text), renamingTo: path(temporaryName))
  }

  private var temporaryName: String { "\(Self.temporaryPrefix)removed-\(fileSystem.randomSuffix())" }

  private func removeTemporary(_ name: String) throws(Failure) {
    switch fileSystem.kind(of: path(name)) {
    case .directory: try fileSystem.removeDirectory(path(name))
    case .file, .symbolicLink, .other: try fileSystem.unlink(path(name))
    case nil: break
    }
  }
}
