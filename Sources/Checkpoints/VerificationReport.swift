import Diagnostics
import Files

/// What `descent verify` finds: every file of every checkpoint, its size, its SHA-256, and what differs.
public struct VerificationReport: Sendable, Equatable {
  /// One file as it is on the disk.
  public struct File: Sendable, Equatable {
    public var path: String
    /// Nil when the file could not be read or differs from what was written.
    public var bytes: Int?
    public var sha256: String?
    public var failure: Failure?
  }

  /// One checkpoint, or one bare model file.
  public struct Item: Sendable, Equatable {
    public var path: String
    public var files: [File]
    /// Set when every file is as it was written and yet they do not make a checkpoint, or the manifest is damaged.
    public var failure: Failure?

    public var firstFailure: Failure? { failure ?? files.lazy.compactMap(\.failure).first }
  }

  /// Newest first when a run was named.
  public var items: [Item]

  public var isValid: Bool { firstFailure == nil }
  /// The first failure, for the exit status.
  public var firstFailure: Failure? { items.lazy.compactMap(\.firstFailure).first }

  /// - Parameter path: a checkpoint directory, a run directory (all its checkpoints), or a model file.
  /// - Throws: `missingInput` when nothing is there, `badData` when it is something else. Damage is reported in
  ///   `items`, not thrown.
  public init(of path: String) throws(Failure) {
    switch try CheckpointPath(path) {
    case .checkpoint(let directory):
      items = [Item(directory)]
    case .run(let store):
      let names = try store.names()
      guard !names.isEmpty else { throw Failure(.missingInput, "\(store.directory) holds no checkpoint yet") }
      items = names.map { Item(store.contents(of: $0)) }
      for link in [CheckpointStore.latestName, CheckpointStore.bestName] {
        guard let failure = store.failure(ofLink: link, names) else { continue }
        items.append(Item(path: store.path(link), files: [], failure: failure))
      }
    case .file(let path):
      let file = File(path) { () throws(Failure) in
        let bytes = try FileSystem().read(path, limit: SafetensorsFile.fileLimit, followingLinks: true)
        _ = try TrainedModel(inspecting: SafetensorsFile(decoding: bytes, path: path), path: path)
        return bytes
      }
      items = [Item(path: path, files: [file])]
    }
  }

  // MARK: Rendering

  /// One JSON object: `valid`, and `items` with their `files`.
  public var json: String {
    let document: JSONValue = ["valid": .boolean(isValid), "items": .array(items.map(\.document))]
    return document.indentedText
  }

  /// Lines for people, one a file.
  public var text: String {
    items.map { item in
      let heading = "\(item.path): " + (item.firstFailure == nil ? "valid" : "NOT VALID") + "\n"
      let rows = item.files.map { file in
        ["", file.failure == nil ? "ok" : "WRONG", file.failure?.description ?? file.summary]
      }
      return heading + table(rows) + (item.failure.map { "  WRONG  \($0)\n" } ?? "")
    }.joined()
  }
}

extension VerificationReport.Item {
  fileprivate init(_ directory: CheckpointDirectory) {
    self.init(path: directory.path, files: [])
    do throws(Failure) {
      files = try directory.manifest().items.map { item in
        .init("\(directory.path)/\(item.name.rawValue)") { () throws(Failure) in try directory.bytes(of: item) }
      }
      if firstFailure == nil { _ = try directory.load() }
    } catch {
      failure = error
    }
  }

  fileprivate var document: JSONValue {
    [
      "path": .string(path), "valid": .boolean(firstFailure == nil),
      "failure": JSONValue(reflecting: failure as Any), "files": JSONValue(reflecting: files),
    ]
  }
}

extension VerificationReport.File {
  /// - Parameter read: reads and verifies its bytes.
  fileprivate init(_ path: String, _ read: () throws(Failure) -> [UInt8]) {
    self.path = path
    do throws(Failure) {
      let content = try read()
      (bytes, sha256) = (content.count, content.sha256)
    } catch {
      failure = error
    }
  }

  fileprivate var summary: String { "\(path)  \(bytes ?? 0) bytes  SHA-256 \(sha256 ?? "unknown")" }
}

extension CheckpointStore {
  /// What is wrong with the link `latest` or `best`, given the checkpoints there are. A copy may have lost them, or have
  /// copies of the checkpoints in their place.
  fileprivate func failure(ofLink link: String, _ names: [CheckpointName]) -> Failure? {
    if let target = target(of: link), names.contains(target) { return nil }
    switch fileSystem.kind(of: path(link)) {
    case nil: return nil
    case .directory:
      return VerificationReport.Item(CheckpointDirectory(path: path(link), fileSystem: fileSystem)).firstFailure
    case .file, .symbolicLink, .other: break
    }
    return Failure(
      .badData, "\(path(link)) does not point to a checkpoint here",
      found: fileSystem.symbolicLinkTarget(path(link)) ?? "no link",
      expected: link == Self.latestName ? names.first?.text : nil)
  }
}
