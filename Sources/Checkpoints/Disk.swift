import Glibc

/// The system calls of the durable store, one by one as POSIX has them: those of this machine, or a disk that a
/// simulation plays.
package protocol Disk: Sendable {
  // What changes the disk.
  func makeDirectory(_ path: String) throws(ErrorNumber)
  /// Makes a file that must not exist yet and opens it for writing.
  func createFile(_ path: String) throws(ErrorNumber) -> Int32
  /// Reserves space for the first `count` bytes.
  func allocate(_ descriptor: Int32, _ count: Int) throws(ErrorNumber)
  /// Writes behind what was written before, at least one byte and perhaps not all.
  /// - Returns: how many bytes.
  func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(ErrorNumber) -> Int
  /// Makes the bytes of a file, or the names in a directory, durable.
  func synchronize(_ descriptor: Int32) throws(ErrorNumber)
  func rename(_ path: String, to destination: String) throws(ErrorNumber)
  func makeSymbolicLink(_ path: String, target: String) throws(ErrorNumber)
  func unlink(_ path: String) throws(ErrorNumber)
  func removeDirectory(_ path: String) throws(ErrorNumber)

  // What looks at it.
  /// Opens a file or directory for reading, without waiting.
  func open(_ path: String, followingLinks: Bool) throws(ErrorNumber) -> Int32
  func close(_ descriptor: Int32)
  func status(of descriptor: Int32) throws(ErrorNumber) -> (kind: FileSystem.Kind, byteCount: Int)
  /// - Returns: how many bytes were read; 0 at the end of the file.
  func read(_ descriptor: Int32, into target: UnsafeMutableRawBufferPointer) throws(ErrorNumber) -> Int
  /// Nil when there is nothing.
  func kind(of path: String, followingLinks: Bool) -> FileSystem.Kind?
  /// The names in a directory, without `.` and `..`, in any order.
  func entries(of path: String) throws(ErrorNumber) -> [String]
  func symbolicLinkTarget(_ path: String) -> String?

  /// For names that two writers never share.
  func randomNumber() -> UInt64
}

/// What a system call left in `errno`.
package struct ErrorNumber: Error, Equatable {
  package var code: Int32

  package init(_ code: Int32) { self.code = code }

  package static let inputOutput = ErrorNumber(EIO)
  package static let noSpace = ErrorNumber(ENOSPC)
  package static let notFound = ErrorNumber(ENOENT)
  package static let exists = ErrorNumber(EEXIST)
  package static let notEmpty = ErrorNumber(ENOTEMPTY)
  package static let notADirectory = ErrorNumber(ENOTDIR)
  package static let isADirectory = ErrorNumber(EISDIR)
  package static let isALink = ErrorNumber(ELOOP)
}

/// The disk of this machine.
package struct SystemDisk: Disk {
  package init() {}

  /// The result of a call, unless it is negative: then what is in `errno`.
  @discardableResult
  private func check<Result: BinaryInteger>(_ result: Result) throws(ErrorNumber) -> Result {
    guard result >= 0 else { throw ErrorNumber(errno) }
    return result
  }

  package func makeDirectory(_ path: String) throws(ErrorNumber) { try check(mkdir(path, 0o755)) }

  package func createFile(_ path: String) throws(ErrorNumber) -> Int32 {
    try check(Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644))
  }

  package func allocate(_ descriptor: Int32, _ count: Int) throws(ErrorNumber) {
    let code = posix_fallocate(descriptor, 0, count)
    // A file system that cannot reserve space says so; the writes will then find out.
    guard code == 0 || code == EOPNOTSUPP || code == EINVAL else { throw ErrorNumber(code) }
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
    // Without O_NONBLOCK, opening a named pipe would wait for a writer that never comes.
    try check(Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (followingLinks ? 0 : O_NOFOLLOW)))
  }

  package func close(_ descriptor: Int32) { Glibc.close(descriptor) }

  package func status(of descriptor: Int32) throws(ErrorNumber) -> (kind: FileSystem.Kind, byteCount: Int) {
    var status = stat()
    try check(fstat(descriptor, &status))
    return (FileSystem.Kind(status), Int(status.st_size))
  }

  package func read(
    _ descriptor: Int32, into target: UnsafeMutableRawBufferPointer
  ) throws(ErrorNumber) -> Int {
    try check(Glibc.read(descriptor, target.baseAddress, target.count))
  }

  package func kind(of path: String, followingLinks: Bool) -> FileSystem.Kind? {
    var status = stat()
    guard (followingLinks ? stat(path, &status) : lstat(path, &status)) == 0 else { return nil }
    return FileSystem.Kind(status)
  }

  package func entries(of path: String) throws(ErrorNumber) -> [String] {
    guard let directory = opendir(path) else { throw ErrorNumber(errno) }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  package func symbolicLinkTarget(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink(path, &buffer, buffer.count)
    guard count > 0 else { return nil }
    return String(validating: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  package func randomNumber() -> UInt64 { .random(in: .min ... .max) }
}

extension FileSystem.Kind {
  fileprivate init(_ status: stat) {
    switch status.st_mode & S_IFMT {
    case S_IFREG: self = .file
    case S_IFDIR: self = .directory
    case S_IFLNK: self = .symbolicLink
    default: self = .other
    }
  }
}
