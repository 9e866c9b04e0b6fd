import Diagnostics
import Glibc

/// A file that grows by whole lines. Each line is one `write(2)` on a descriptor with `O_APPEND`, so lines of several
/// processes do not mix and a crash leaves at most the last one torn.
final class AppendedLines: Sendable {
  let path: String
  private let descriptor: Int32

  /// Opens the file at `path`, and makes it if it is not there, readable by everybody and writable by its owner.
  init(path: String) throws(Failure) {
    descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
    self.path = path
    guard descriptor >= 0 else { throw Self.failure(.cannotCreate, "cannot open \(path)", errno) }
  }

  deinit { close(descriptor) }

  /// Appends `line`, to which the line feed is added.
  func append(_ line: consuming [UInt8]) throws(Failure) {
    line.append(UInt8(ascii: "\n"))
    var written = 0
    // A regular file takes the whole line at once, except where the disk is full or a signal comes: then the rest
    // follows, or what was written of it goes, for the next line would be torn with it.
    while written < line.count {
      let count = line.withUnsafeBytes { write(descriptor, $0.baseAddress.map { $0 + written }, $0.count - written) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else {
        let failure = Self.failure(.inputOutput, "cannot write to \(path)", errno)
        if written > 0 { ftruncate(descriptor, lseek(descriptor, 0, SEEK_END) - written) }
        throw failure
      }
      written += count
    }
  }

  /// Waits until everything appended is on the disk.
  func synchronize() throws(Failure) {
    guard fsync(descriptor) == 0 else { throw Self.failure(.inputOutput, "cannot save \(path)", errno) }
  }

  /// Cuts the file to its first `size` bytes.
  func truncate(to size: Int) throws(Failure) {
    guard ftruncate(descriptor, size) == 0 else { throw Self.failure(.inputOutput, "cannot cut \(path)", errno) }
    try synchronize()
  }

  static func failure(_ status: ExitStatus, _ message: String, _ code: Int32) -> Failure {
    Failure(status, "\(message): \(String(cString: strerror(code)))")
  }
}
