import Diagnostics
import Files
import Glibc

/// One checkpoint on the disk. Reading never follows a link and never opens a name that a file chose.
struct CheckpointDirectory {
  let path: String
  var fileSystem = FileSystem()

  /// Whether the directory has a manifest, and so claims to be a checkpoint.
  var hasManifest: Bool { fileSystem.kind(of: manifestPath) != nil }

  private var manifestPath: String { "\(path)/\(CheckpointManifest.fileName)" }

  func manifest() throws(Failure) -> CheckpointManifest {
    let bytes = try read(CheckpointManifest.fileName, limit: CheckpointManifest.sizeLimit)
    return try CheckpointManifest(decoding: bytes, path: manifestPath)
  }

  private func path(of file: CheckpointFile) -> String { "\(path)/\(file.rawValue)" }

  /// The bytes as stored, not yet verified.
  private func read(_ name: String, limit: Int) throws(Failure) -> [UInt8] {
    do throws(Failure) {
      return try fileSystem.read("\(path)/\(name)", limit: limit)
    } catch {
      var failure = error
      // A file missing from inside a checkpoint is damage to the checkpoint, not a wrong path given by a person.
      if failure.status == .missingInput { failure.status = .badData }
      throw failure
    }
  }

  /// Size and SHA-256 first, then the parsers.
  func bytes(of item: CheckpointManifest.Item) throws(Failure) -> [UInt8] {
    let path = path(of: item.name)
    let bytes = try read(item.name.rawValue, limit: item.name.sizeLimit)
    guard bytes.count == item.bytes else {  // defence: digests
      throw Failure(
        .badData, "\(path) has the wrong size", found: "\(bytes.count) bytes", expected: "\(item.bytes)",
        remedy: bytes.count < item.bytes ? "It was truncated" : nil)
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
    for item in manifest.items { files[item.name] = try bytes(of: item) }
    let checkpoint = try Checkpoint(decoding: files, directory: path)
    let identity = CheckpointManifest(of: checkpoint, files: []).identity
    guard manifest.identity == identity else {
      throw Failure(
        .badData, "\(manifestPath) belongs to another checkpoint", found: manifest.identity, expected: identity)
    }
    return checkpoint
  }

  /// Loads the checkpoint and compares it with the bytes that were written, instead of with digests.
  ///
  /// - Parameter files: all of them, the manifest included.
  /// - Throws: `badData` as well when the stored bytes differ.
  func load(writtenFrom files: [(name: String, bytes: [UInt8])]) throws(Failure) -> Checkpoint {
    var found: [CheckpointFile: [UInt8]] = [:]
    for (name, bytes) in files {
      let stored = try read(name, limit: bytes.count)
      // Compared by memcmp, which costs next to nothing for a whole model.
      guard stored.count == bytes.count, memcmp(stored, bytes, bytes.count) == 0 else {  // defence: read-back
        throw Failure(.badData, "\(path)/\(name) has other bytes than were written")
      }
      if let file = CheckpointFile(rawValue: name) { found[file] = stored }
    }
    return try Checkpoint(decoding: found, directory: path)
  }
}
