import Diagnostics

/// Files that are either the old one or the new one, whatever happens in between.
public enum DurableFile {
  /// Replaces the file at `path`: temporary file beside it, fsync, rename, fsync of the directory.
  ///
  /// When this returns, the bytes survive a power cut. When it throws, or when the process dies inside it, the
  /// file has its previous content. A temporary file `.<name>.tmp-<random>` may stay behind after a crash.
  ///
  /// - Throws: `cannotCreate` when the file cannot be created or the disk is full, `inputOutput` when
  ///   writing fails in the middle.
  public static func write(_ bytes: [UInt8], to path: String) throws(Failure) {
    try write(bytes, to: path, fileSystem: FileSystem())
  }

  /// The same for text, as UTF-8.
  public static func write(_ text: String, to path: String) throws(Failure) {
    try write(Array(text.utf8), to: path)
  }

  package static func write(_ bytes: [UInt8], to path: String, fileSystem: FileSystem) throws(Failure) {
    let (directory, name) = split(path)
    let temporary = "\(directory)/.\(name).tmp-\(fileSystem.randomSuffix())"
    do {
      try fileSystem.createDurably(temporary, bytes)
      try fileSystem.rename(temporary, to: "\(directory)/\(name)")
    } catch {
      // Tidying up is a courtesy here; what failed first is what the caller must hear of.
      try? fileSystem.unlink(temporary)
      throw error
    }
    try fileSystem.synchronize(directory)
  }

  /// Directory and last component; "." for a bare name.
  private static func split(_ path: String) -> (directory: String, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return (".", path) }
    let directory = path[..<slash]
    return (directory.isEmpty ? "/" : String(directory), String(path[path.index(after: slash)...]))
  }
}
