import CSodium
import Diagnostics
import Files
import Glibc

/// A small file that access depends on, held open; refused if users other than its owner could have read or changed it.
final class ProtectedFile: Sendable {
  enum Protection {
    /// Only its owner can read or change it.
    case secret
    /// Everyone may read it; only its owner can change it, or put another file in its place.
    case trusted
  }

  static let maximumBytes = 1 << 20

  /// Which version of the file this is.
  let status: FileStatus
  private let file: File

  var path: String { file.path }

  /// - Throws: `missingInput` when it does not exist, `badConfiguration` when it is not protected.
  init(_ path: String, as protection: Protection) throws(Failure) {
    file = try File(path, for: .reading)
    status = try file.status()
    try Self.require(protection, of: status, path)
    if protection == .trusted { try Self.requireTrustedDirectory(of: path) }
  }

  /// Locks the file against other processes of this host until this value or the process ends; false if one holds it.
  func lock() throws(Failure) -> Bool { try file.lock() }

  /// Call it once.
  /// - Throws: `badData` for a file that is too long or not text.
  func text() throws(Failure) -> String {
    var bytes = try file.read(limit: Self.maximumBytes)
    defer { sodium_memzero(&bytes, bytes.count) }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(.badData, "\(path) is not text in UTF-8")
    }
    return text
  }

  private static func require(_ protection: Protection, of status: FileStatus, _ path: String) throws(Failure) {
    guard status.kind == .file else { throw Failure(.badConfiguration, "\(path) is not a regular file") }
    try requireOwner(of: status, path)
    let isSecret = protection == .secret
    guard status.permissions & (isSecret ? 0o077 : 0o022) == 0 else {
      throw Failure(
        .badConfiguration, "users other than its owner can \(isSecret ? "reach" : "change") \(path)",
        found: "mode \(String(status.permissions, radix: 8))", expected: isSecret ? "600 or 400" : "644 or less",
        remedy: isSecret
          ? "Make new keys if another user may have read it, and chmod 600 \(path)" : "chmod go-w \(path)")
    }
  }

  /// A user that may write to the directory may replace the list in it.
  private static func requireTrustedDirectory(of path: String) throws(Failure) {
    let directory = FileSystem.split(path).directory
    guard let status = FileSystem().status(of: directory) else { return }
    try requireOwner(of: status, directory)
    guard status.permissions & 0o022 == 0 || status.permissions & S_ISVTX != 0 else {
      throw Failure(
        .badConfiguration, "users other than its owner can change the directory \(directory)",
        found: "mode \(String(status.permissions, radix: 8))", expected: "755 or less",
        remedy: "chmod go-w \(directory)")
    }
  }

  private static func requireOwner(of status: FileStatus, _ path: String) throws(Failure) {
    guard status.owner == geteuid() || status.owner == 0 else {
      throw Failure(
        .badConfiguration, "\(path) belongs to another user", found: "user \(status.owner)",
        expected: "\(geteuid()) or root")
    }
  }
}
