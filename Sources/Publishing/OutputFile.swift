import Diagnostics
import Files
import Glibc

/// A place for a result that a person names: found to be usable before the work, and never that of a foreign file.
public struct OutputFile: Sendable {
  public let path: String

  /// - Parameters:
  ///   - extensions: what the name must end in: [".html"].
  ///   - isOwn: whether a file with these bytes is one that may be replaced.
  /// - Throws: `usage` for another extension; `cannotCreate` where the directory does not exist or may not be written to,
  ///   and where another file has the name.
  public init(_ path: String, extensions: [String], isOwn: ([UInt8]) -> Bool) throws(Failure) {
    let name = FileSystem.split(path).name
    guard extensions.contains(where: { name.lowercased().hasSuffix($0) && name.utf8.count > $0.utf8.count }) else {
      let choices = extensions.joined(separator: " or ")
      throw Failure(.usage, "the name of the output must end in \(choices), but is \(printable(path))")
    }
    try Self.requireDirectory(FileSystem.split(path).directory, for: path)
    self.path = path
    try requireFree(isOwn)
  }

  /// Returns if a file can be created in the directory.
  package static func requireDirectory(_ directory: String, for path: String) throws(Failure) {
    let remedy = "Choose a directory that exists and that may be written to"
    let kind = FileSystem().kind(of: directory, followingLinks: true)
    guard kind == .directory else {
      let error = ErrorNumber(kind == nil ? ENOENT : ENOTDIR)
      throw .cannot("create \(printable(path))", error, status: .cannotCreate, remedy: remedy)
    }
    guard access(directory, W_OK | X_OK) == 0 else {
      throw .cannot("create \(printable(path))", status: .cannotCreate, remedy: remedy)
    }
  }

  private func requireFree(_ isOwn: ([UInt8]) -> Bool) throws(Failure) {
    guard let kind = FileSystem().kind(of: path, followingLinks: true) else { return }
    guard kind != .directory else {
      throw .cannot("create \(printable(path))", ErrorNumber(EISDIR), status: .cannotCreate)
    }
    let bytes = try? FileSystem().read(path, limit: 1 << 30, followingLinks: true)
    guard kind == .file, bytes.map({ $0.isEmpty || isOwn($0) }) ?? false else {
      throw Failure(
        .cannotCreate, "\(printable(path)) exists, and this command did not write it",
        remedy: "Choose another name with --output, or remove it")
    }
  }

  /// Replaces the file, durably and as a whole.
  public func write(_ bytes: [UInt8]) throws(Failure) { try FileSystem().replace(path, with: bytes) }

  public func write(_ text: String) throws(Failure) { try write(Array(text.utf8)) }
}

extension OutputFile {
  /// Of `descent export`: an archive that it has written.
  public static func archive(_ path: String, extensions: [String]) throws(Failure) -> OutputFile {
    let comment = Array(ZIPWriter.comment.utf8)
    return try OutputFile(path, extensions: extensions) { $0.suffix(comment.count).elementsEqual(comment) }
  }

  /// Of `descent export`: a table of metrics.
  public static func table(_ path: String) throws(Failure) -> OutputFile {
    try OutputFile(path, extensions: [".csv"]) { $0.starts(with: Array("step,epoch,".utf8)) }
  }

  /// Of `descent report`.
  public static func page(_ path: String) throws(Failure) -> OutputFile {
    try OutputFile(path, extensions: [".html", ".htm"]) { bytes in
      bytes.starts(with: Array(HTMLPage.beginning.utf8))
    }
  }
}
