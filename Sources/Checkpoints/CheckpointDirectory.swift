import Diagnostics
import Files
import Glibc
import Optimization

/// One checkpoint on the disk. Reading never follows a link and never opens a name that a file chose.
struct CheckpointDirectory {
  let path: String
  private let fileSystem: FileSystem

  init(_ path: String, _ fileSystem: FileSystem = FileSystem()) {
    self.path = path
    self.fileSystem = fileSystem
  }

  /// Whether the directory has a manifest, and so claims to be a checkpoint.
  var hasManifest: Bool { fileSystem.kind(of: manifestPath) != nil }

  private var manifestPath: String { "\(path)/\(CheckpointManifest.fileName)" }

  func manifest() throws(Failure) -> CheckpointManifest {
    let bytes: [UInt8]
    do {
      bytes = try fileSystem.read(manifestPath, limit: CheckpointManifest.sizeLimit)
    } catch {
      throw error.insideCheckpoint
    }
    return try CheckpointManifest(decoding: bytes, path: manifestPath)
  }

  private func path(of file: CheckpointFile) -> String { "\(path)/\(file.rawValue)" }

  /// The bytes as stored, not yet verified.
  private func bytes(of file: CheckpointFile) throws(Failure) -> [UInt8] {
    do {
      return try fileSystem.read(path(of: file), limit: file.sizeLimit)
    } catch {
      throw error.insideCheckpoint
    }
  }

  /// Size and SHA-256 first, then the parsers.
  func bytes(of item: CheckpointManifest.Item) throws(Failure) -> [UInt8] {
    let path = path(of: item.file)
    let bytes = try bytes(of: item.file)
    guard bytes.count == item.byteCount else {  // defence: digests
      throw Failure(
        .badData, "\(path) has the wrong size", found: "\(bytes.count) bytes", expected: "\(item.byteCount)",
        remedy: bytes.count < item.byteCount ? "It was truncated" : nil)
    }
    let digest = bytes.sha256
    guard digest == item.sha256 else {  // defence: digests
      throw Failure(
        .badData, "\(path) was changed after it was written", found: "SHA-256 \(digest)", expected: item.sha256)
    }
    return bytes
  }

  /// The verified checkpoint.
  ///
  /// - Throws: `badData` naming the file that is missing, damaged, or not of this checkpoint.
  func load() throws(Failure) -> Checkpoint {
    let manifest = try manifest()
    var files: [CheckpointFile: [UInt8]] = [:]
    for item in manifest.items { files[item.file] = try bytes(of: item) }
    return try checkpoint(in: files, manifest)
  }

  /// Loads the checkpoint and compares it with the bytes that were written, instead of with digests.
  ///
  /// - Parameter manifest: that of `files`.
  /// - Throws: `badData` as well when the stored bytes differ.
  func load(
    writtenFrom files: [(file: CheckpointFile, bytes: [UInt8])], _ manifest: CheckpointManifest
  ) throws(Failure) -> Checkpoint {
    guard try self.manifest() == manifest else { throw Failure(.badData, "\(path) holds another checkpoint") }
    var found: [CheckpointFile: [UInt8]] = [:]
    for (file, bytes) in files {
      let stored = try self.bytes(of: file)
      guard stored.isSame(as: bytes) else {  // defence: read-back
        throw Failure(.badData, "\(path(of: file)) has other bytes than were written")
      }
      found[file] = stored
    }
    return try checkpoint(in: found, manifest)
  }

  /// - Parameter files: as the manifest has them.
  private func checkpoint(
    in files: [CheckpointFile: [UInt8]], _ manifest: CheckpointManifest
  ) throws(Failure) -> Checkpoint {
    let checkpoint = try Checkpoint(decoding: files, directory: path)
    guard manifest.names(checkpoint) else {
      throw Failure(
        .badData, "\(manifestPath) belongs to another checkpoint",
        found: "run \(manifest.runIdentifier), step \(manifest.step), epoch \(manifest.membershipEpoch)",
        expected:
          "run \(checkpoint.origin.runIdentifier), step \(checkpoint.step), epoch \(checkpoint.run.membershipEpoch)")
    }
    return checkpoint
  }

  /// The validation result alone, of which pruning needs many.
  func validation() throws(Failure) -> Evaluation.Score? {
    guard let item = try manifest().items.first(where: { $0.file == .state }) else { return nil }
    return try Checkpoint.validation(state: bytes(of: item), path: "\(path)/\(item.file.rawValue)")
  }
}

extension [UInt8] {
  /// Equality that costs next to nothing for a whole model.
  fileprivate func isSame(as other: [UInt8]) -> Bool {
    withUnsafeBytes { bytes in
      other.withUnsafeBytes { other in
        guard let base = bytes.baseAddress, let otherBase = other.baseAddress else { return bytes.count == other.count }
        return bytes.count == other.count && memcmp(base, otherBase, bytes.count) == 0
      }
    }
  }
}

extension Failure {
  /// A file missing from inside a checkpoint is damage to the checkpoint, not a wrong path given by a person.
  fileprivate var insideCheckpoint: Failure {
    var failure = self
    if status == .missingInput { failure.status = .badData }
    return failure
  }
}
