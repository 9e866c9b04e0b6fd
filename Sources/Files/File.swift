import Diagnostics
import Glibc

/// A file held open, to be read, appended to or locked; closed with its last holder.
package final class File: Sendable {
  package enum Access: Sendable {
    case reading
    /// For reading and writing a file that must not exist yet.
    case creating
    /// For writing at the end of a file, which is made if it is not there.
    case appending
    /// For locking a file, which is made if it is not there.
    case locking
    /// For reading a file and locking it. An exclusive lock on NFS takes the right to write, which is used for nothing else.
    case readingLocked
    /// For reading and overwriting a file that is there.
    case updating
  }

  package let path: String
  let descriptor: Descriptor

  /// - Throws: `missingInput` or `inputOutput` when it cannot be opened for reading, otherwise `cannotCreate`.
  package init(_ path: String, for access: Access) throws(Failure) {
    self.path = path
    let flags: Int32 =
      switch access {
      // Without O_NONBLOCK, opening a named pipe would wait for a writer.
      case .reading: O_RDONLY | O_NONBLOCK
      case .creating: O_RDWR | O_CREAT | O_EXCL
      case .appending: O_WRONLY | O_CREAT | O_APPEND
      case .locking: O_RDWR | O_CREAT
      case .readingLocked, .updating: O_RDWR | O_NONBLOCK
      }
    do throws(ErrorNumber) {
      descriptor = Descriptor(try Self.open(path, flags, orReading: access == .readingLocked))
    } catch {
      switch access {
      case .reading, .readingLocked, .updating: throw .cannotRead(path, error)
      case .creating, .appending, .locking: throw .cannot("create \(path)", error, status: .cannotCreate)
      }
    }
  }

  /// - Parameter orReading: for reading alone where writing is refused.
  private static func open(_ path: String, _ flags: Int32, orReading: Bool) throws(ErrorNumber) -> Int32 {
    do throws(ErrorNumber) {
      return try retrying(try check(Glibc.open(path, flags | O_CLOEXEC, 0o644)))
    } catch {
      guard orReading, [EACCES, EPERM, EROFS, EISDIR, ETXTBSY].contains(error.code) else { throw error }
      return try retrying(try check(Glibc.open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)))
    }
  }

  package func status() throws(Failure) -> FileStatus {
    try FileSystem().reading(path, try SystemDisk().status(of: descriptor.number))
  }

  /// Its status, if it holds bytes that stay: not a directory, a pipe or a device.
  ///
  /// - Throws: `missingInput` for another kind.
  @discardableResult
  package func requireRegular() throws(Failure) -> FileStatus {
    let status = try status()
    guard status.kind == .file else {  // defence: regular-file
      let kind = status.kind == .directory ? "a directory" : "a pipe, device or socket"
      throw Failure(.missingInput, "\(path) must be a file, but is \(kind)")
    }
    return status
  }

  /// Its bytes. Call it once.
  ///
  /// - Throws: `badData` when there are more than `limit` or it is not a regular file, `inputOutput`.
  package func read(limit: Int) throws(Failure) -> [UInt8] {
    try FileSystem().read(descriptor.number, path, limit: limit)
  }

  /// The bytes from `offset` on, at most `count`; fewer at the end of the file, and none behind it.
  package func read(at offset: Int, count: Int) throws(Failure) -> [UInt8] {
    try FileSystem().reading(
      path,
      try [UInt8](unsafeUninitializedCapacity: count) { (buffer, filled) throws(ErrorNumber) in
        while filled < count {
          let rest = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[filled...])
          let read = try retrying(try check(pread(descriptor.number, rest.baseAddress, rest.count, offset + filled)))
          if read == 0 { break }
          filled += read
        }
      })
  }

  package func write(_ bytes: [UInt8]) throws(Failure) {
    try FileSystem().write(bytes, to: descriptor.number, path)
  }

  /// Puts bytes in the place of the first ones, with one pwrite(2).
  package func overwrite(_ bytes: [UInt8]) throws(Failure) {
    let written = try FileSystem().perform(
      "write to \(path)", try check(pwrite(descriptor.number, bytes, bytes.count, 0)))
    guard written == bytes.count else {
      throw Failure(.inputOutput, "cannot write to \(path): \(written) of \(bytes.count) bytes were written")
    }
  }

  /// Appends `line` and a line feed with one write(2), so that lines of several processes do not mix. What was written
  /// of a line when the disk is full is cut off again.
  package func append(line: consuming [UInt8]) throws(Failure) {
    line.append(UInt8(ascii: "\n"))
    try append(line)
  }

  /// Appends all bytes with one write(2) or, where the disk is full, none of them.
  package func append(_ bytes: [UInt8]) throws(Failure) {
    try FileSystem().write(bytes, to: descriptor.number, path) { written in
      if written > 0 { ftruncate(descriptor.number, lseek(descriptor.number, 0, SEEK_END) - written) }
    }
  }

  /// Returns when everything that was written is on the disk.
  package func synchronize() throws(Failure) { try FileSystem().synchronize(descriptor.number, path) }

  /// Cuts the file to its first `byteCount` bytes, durably.
  package func truncate(to byteCount: Int) throws(Failure) {
    try FileSystem().perform("cut \(path)", try check(ftruncate(descriptor.number, byteCount)))
    try synchronize()
  }

  /// What became of a request for a lock.
  package enum LockOutcome: Sendable {
    case acquired
    /// Another process holds a lock that excludes this one.
    case held
    /// The file system has no locks.
    case unsupported
  }

  /// Locks the file against other processes (flock) until this value or the process ends. Never waits.
  package func lock(shared: Bool = false) throws(Failure) -> LockOutcome {
    do throws(ErrorNumber) {
      try retrying(try check(flock(descriptor.number, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB)))
      return .acquired
    } catch {
      if error.code == EWOULDBLOCK { return .held }
      if error.isRefusalOfLocks { return .unsupported }  // defence: no-locks
      throw .cannot("lock \(path)", error, status: .cannotCreate)
    }
  }
}
