import CLinux
import Diagnostics
import Glibc

/// The disk of this machine.
package struct SystemDisk: Disk {
  package init() {}

  package func makeDirectory(_ path: String, permissions: UInt32) throws(ErrorNumber) {
    try check(mkdir(path, permissions))
  }

  package func createFile(_ path: String, permissions: UInt32?) throws(ErrorNumber) -> Int32 {
    let descriptor = try check(Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, permissions ?? 0o644))
    // The umask would take away permissions that were asked for.
    guard let permissions, fchmod(descriptor, permissions) != 0 else { return descriptor }
    let error = ErrorNumber.last
    // FAT and SMB give every file the permissions of the mount, which may grant nothing more.
    if let granted = try? status(of: descriptor).permissions,  // defence: file-modes
      granted & 0o077 & ~permissions == 0
    {
      return descriptor
    }
    close(descriptor)
    throw error
  }

  package func allocate(_ descriptor: Int32, _ count: Int) throws(ErrorNumber) {
    // Not posix_fallocate, which writes to each block where the file system cannot reserve space. There a full disk shows
    // in the writes.
    guard fallocate(descriptor, 0, 0, count) != 0 else { return }
    let error = ErrorNumber.last
    if ![ENOSPC, EDQUOT, EFBIG, EINTR, EIO].contains(error.code) { return }  // defence: reserving
    throw error
  }

  package func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(ErrorNumber) -> Int {
    try check(Glibc.write(descriptor, bytes.baseAddress, bytes.count))
  }

  package func synchronize(_ descriptor: Int32) throws(ErrorNumber) { try check(fsync(descriptor)) }

  package func rename(_ path: String, to destination: String) throws(ErrorNumber) {
    try check(Glibc.rename(path, destination))
  }

  package func makeSymbolicLink(_ path: String, target: String) throws(ErrorNumber) {
    try check(symlink(target, path))
  }

  package func unlink(_ path: String) throws(ErrorNumber) { try check(Glibc.unlink(path)) }

  package func removeDirectory(_ path: String) throws(ErrorNumber) { try check(rmdir(path)) }

  package func open(_ path: String, followingLinks: Bool) throws(ErrorNumber) -> Int32 {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer.
    try check(Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (followingLinks ? 0 : O_NOFOLLOW)))
  }

  package func close(_ descriptor: Int32) { Glibc.close(descriptor) }

  package func status(of descriptor: Int32) throws(ErrorNumber) -> FileStatus {
    var status = stat()
    try check(fstat(descriptor, &status))
    return FileStatus(status)
  }

  package func status(of path: String, followingLinks: Bool) -> FileStatus? {
    var status = stat()
    guard (followingLinks ? stat(path, &status) : lstat(path, &status)) == 0 else { return nil }
    return FileStatus(status)
  }

  /// Follows links, and says why there is none.
  func currentStatus(of path: String) throws(ErrorNumber) -> FileStatus {
    var status = stat()
    try check(stat(path, &status))
    return FileStatus(status)
  }

  package func read(_ descriptor: Int32, into target: UnsafeMutableRawBufferPointer) throws(ErrorNumber) -> Int {
    try check(Glibc.read(descriptor, target.baseAddress, target.count))
  }

  package func entries(of path: String) throws(ErrorNumber) -> [String] {
    guard let directory = opendir(path) else { throw .last }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      // A repaired name would be that of another file.
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(validating: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if let name, name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  /// The names in a directory that are not UTF-8, which `entries` leaves out, with escapes.
  package func oddNames(of path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
      guard String(validating: bytes, as: UTF8.self) == nil else { continue }
      names.append(
        bytes.map { (32..<127).contains($0) ? String(UnicodeScalar($0)) : "\\x" + hexadecimal($0) }.joined())
    }
    return names.sorted()
  }

  package func symbolicLinkTarget(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink(path, &buffer, buffer.count)
    return count > 0 ? String(validating: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
  }

  package func randomNumber() -> UInt64 { .random(in: .min ... .max) }
}

extension FileStatus {
  fileprivate init(_ status: stat) {
    let kind: Kind =
      switch status.st_mode & S_IFMT {
      case S_IFREG: .file
      case S_IFDIR: .directory
      case S_IFLNK: .symbolicLink
      default: .other
      }
    self.init(kind: kind, byteCount: Int(status.st_size))
    permissions = status.st_mode & 0o7777
    owner = status.st_uid
    inode = UInt64(status.st_ino)
    changed = Int64(status.st_ctim.tv_sec) * 1_000_000_000 + Int64(status.st_ctim.tv_nsec)
  }
}
