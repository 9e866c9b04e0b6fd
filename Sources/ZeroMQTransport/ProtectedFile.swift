import CSodium
import Diagnostics
import Glibc

/// Small files that access depends on: refused if others than their owner could have read or changed them.
enum ProtectedFile {
  enum Protection {
    /// For the owner's eyes alone.
    case secret
    /// Everybody may read it; only its owner may change it, or put another file in its place.
    case trusted
  }

  static let maximumBytes = 1 << 20

  /// The text of a file, and which version of it that is.
  ///
  /// - Throws: `missingInput` where there is none, `badConfiguration` for one that is not protected, `badData` for one
  ///   that is too long or no text.
  static func read(_ path: String, as protection: Protection) throws(Failure) -> (text: String, FileVersion) {
    let file = try OpenFile(path, as: protection)
    return (try file.text(), file.version)
  }

  /// A protected file that is held open, to be read and locked.
  final class OpenFile: Sendable {
    let path: String
    let version: FileVersion
    private let descriptor: Int32

    init(_ path: String, as protection: Protection) throws(Failure) {
      self.path = path
      descriptor = open(path, O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else {
        throw Failure(.missingInput, "cannot open \(path)", found: String(cString: strerror(errno)))
      }
      var status = stat()
      guard fstat(descriptor, &status) == 0 else {
        let found = String(cString: strerror(errno))
        close(descriptor)
        throw Failure(.inputOutput, "cannot look at \(path)", found: found)
      }
      version = FileVersion(status)
      do throws(Failure) {
        try Self.require(protection, of: status, path)
        if protection == .trusted { try Self.requireTrustedDirectory(of: path) }
      } catch {
        close(descriptor)
        throw error
      }
    }

    deinit { close(descriptor) }

    /// Keeps other processes of this host from locking the file until this value or the process ends.
    func lock() -> Bool { flock(descriptor, LOCK_EX | LOCK_NB) == 0 }

    func text() throws(Failure) -> String {
      var bytes = [UInt8](repeating: 0, count: ProtectedFile.maximumBytes + 1)
      defer { sodium_memzero(&bytes, bytes.count) }
      let count = pread(descriptor, &bytes, bytes.count, 0)
      guard count >= 0 else {
        throw Failure(.inputOutput, "cannot read \(path)", found: String(cString: strerror(errno)))
      }
      guard count <= ProtectedFile.maximumBytes, let text = String(validating: bytes[..<count], as: UTF8.self) else {
        throw Failure(
          .badData, "\(path) is too long or no text", expected: "at most \(ProtectedFile.maximumBytes) bytes")
      }
      return text
    }

    private static func require(_ protection: Protection, of status: stat, _ path: String) throws(Failure) {
      guard status.st_mode & S_IFMT == S_IFREG else {
        throw Failure(.badConfiguration, "\(path) is no plain file")
      }
      try requireOwner(of: status, path)
      let forbidden: mode_t = protection == .secret ? 0o077 : 0o022
      guard status.st_mode & forbidden == 0 else {
        throw Failure(
          .badConfiguration, "others than its owner can \(protection == .secret ? "reach" : "change") \(path)",
          found: "mode \(String(status.st_mode & 0o7777, radix: 8))",
          expected: protection == .secret ? "600 or 400" : "644 or less",
          remedy: protection == .secret
            ? "Make new keys if anybody may have read it, and chmod 600 \(path)" : "chmod go-w \(path)")
      }
    }

    /// Whoever may write to the directory may put another list in the place of ours.
    private static func requireTrustedDirectory(of path: String) throws(Failure) {
      let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
      var status = stat()
      guard stat(directory, &status) == 0 else { return }
      try requireOwner(of: status, directory)
      guard status.st_mode & 0o022 == 0 || status.st_mode & S_ISVTX != 0 else {
        throw Failure(
          .badConfiguration, "others than its owner can change the directory \(directory)",
          found: "mode \(String(status.st_mode & 0o7777, radix: 8))", expected: "755 or less",
          remedy: "chmod go-w \(directory)")
      }
    }

    private static func requireOwner(of status: stat, _ path: String) throws(Failure) {
      guard status.st_uid == geteuid() || status.st_uid == 0 else {
        throw Failure(
          .badConfiguration, "\(path) belongs to another user", found: "user \(status.st_uid)",
          expected: "\(geteuid()) or root")
      }
    }
  }
}

/// Tells a file from what it was before, and from the one that took its place.
struct FileVersion: Sendable, Equatable {
  private let inode: UInt64
  private let size: Int
  private let seconds: Int
  private let nanoseconds: Int

  init(_ status: stat) {
    inode = UInt64(status.st_ino)
    size = Int(status.st_size)
    (seconds, nanoseconds) = (status.st_ctim.tv_sec, status.st_ctim.tv_nsec)
  }

  /// All zero where there is no file.
  init(path: String) {
    var status = stat()
    if stat(path, &status) != 0 { status = stat() }
    self.init(status)
  }
}
