import Diagnostics
import Glibc

/// The system calls of the durable store.
///
/// All calls that change the disk pass through one place, so that a test can make any of them fail, or make
/// it the last one of a process that dies there.
package struct FileSystem: Sendable {
  /// One call that changes the disk.
  package enum Call: Sendable, Equatable {
    case makeDirectory(String)
    case create(String)
    case allocate(String)
    case write(String)
    case synchronize(String)
    case rename(String, to: String)
    case symbolicLink(String, target: String)
    case unlink(String)
    case removeDirectory(String)
  }

  package enum Kind: Sendable, Equatable {
    case file, directory, symbolicLink, other
  }

  /// Asked before every `Call`: an error number makes the call fail with it and leaves the disk alone.
  package var intercept: @Sendable (Call) -> Int32?
  /// The most bytes handed to one write(2). Smaller values show that short writes are continued.
  package var largestWrite: Int

  package init(
    largestWrite: Int = 1 << 30, intercept: @escaping @Sendable (Call) -> Int32? = { _ in nil }
  ) {
    self.largestWrite = largestWrite
    self.intercept = intercept
  }

  /// Makes one call; `body` returns the number of bytes or 0, or −1 with `errno` set.
  @discardableResult
  private func perform(_ call: Call, _ body: () -> Int) throws(Failure) -> Int {
    while true {
      var code: Int32 = 0
      if let injected = intercept(call) {
        code = injected
      } else {
        let result = body()
        if result >= 0 { return result }
        code = errno
      }
      // An interrupted fsync is an fsync that failed: the kernel may have marked pages clean already.
      if case .synchronize = call { throw Failure.systemCall(call, code) }
      if code != EINTR { throw Failure.systemCall(call, code) }
    }
  }
}

// MARK: - Writing

extension FileSystem {
  package func makeDirectory(_ path: String) throws(Failure) {
    try perform(.makeDirectory(path)) { Int(mkdir(path, 0o755)) }
  }

  /// Creates a file that must not exist yet, fills it, and returns when its bytes are on the disk.
  ///
  /// The space is reserved first, so that a full disk is found before anything was written. An fsync that
  /// fails is final: the kernel reports a lost page once, and a second fsync would claim success.
  package func createDurably(_ path: String, _ bytes: [UInt8]) throws(Failure) {
    let descriptor = Int32(
      try perform(.create(path)) { Int(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)) })
    defer { close(descriptor) }
    try perform(.allocate(path)) { allocate(descriptor, bytes.count) }
    try write(bytes, to: descriptor, path)
    try perform(.synchronize(path)) { Int(fsync(descriptor)) }
  }

  private func allocate(_ descriptor: Int32, _ count: Int) -> Int {
    guard count > 0 else { return 0 }
    let code = posix_fallocate(descriptor, 0, count)
    // A file system that cannot reserve space says so; the writes will then find out.
    if code == 0 || code == EOPNOTSUPP || code == EINVAL { return 0 }
    errno = code
    return -1
  }

  private func write(_ bytes: [UInt8], to descriptor: Int32, _ path: String) throws(Failure) {
    var written = 0
    while written < bytes.count {
      let count = min(bytes.count - written, largestWrite)
      written += try perform(.write(path)) {
        bytes.withUnsafeBytes {
          Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: $0[written...]).baseAddress, count)
        }
      }
    }
  }

  /// Makes the bytes of a file, or the names in a directory, durable.
  package func synchronize(_ path: String) throws(Failure) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard descriptor >= 0 else { throw Failure.systemCall(.synchronize(path), errno) }
    defer { close(descriptor) }
    try perform(.synchronize(path)) { Int(fsync(descriptor)) }
  }

  package func rename(_ path: String, to destination: String) throws(Failure) {
    try perform(.rename(path, to: destination)) { Int(Glibc.rename(path, destination)) }
  }

  package func makeSymbolicLink(_ path: String, target: String) throws(Failure) {
    try perform(.symbolicLink(path, target: target)) { Int(symlink(target, path)) }
  }

  package func unlink(_ path: String) throws(Failure) {
    try perform(.unlink(path)) { Int(Glibc.unlink(path)) }
  }

  /// Removes a directory and the files in it, never following a link and never descending further.
  package func removeDirectory(_ path: String) throws(Failure) {
    for name in try entries(of: path) { try unlink(path + "/" + name) }
    try perform(.removeDirectory(path)) { Int(rmdir(path)) }
  }
}

// MARK: - Reading

extension FileSystem {
  /// What a path names, or nil when there is nothing.
  package func kind(of path: String, followingLinks: Bool = false) -> Kind? {
    var status = stat()
    guard (followingLinks ? stat(path, &status) : lstat(path, &status)) == 0 else { return nil }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return .file
    case S_IFDIR: return .directory
    case S_IFLNK: return .symbolicLink
    default: return .other
    }
  }

  /// The names in a directory, without `.` and `..`, sorted.
  package func entries(of path: String) throws(Failure) -> [String] {
    guard let directory = opendir(path) else { throw Failure.reading(path, errno) }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  package func symbolicLinkTarget(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink(path, &buffer, buffer.count)
    guard count > 0 else { return nil }
    return String(validating: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// The bytes of a regular file of at most `limit` bytes.
  ///
  /// - Throws: `missingInput` when it does not exist or may not be read, `badData` when it is too large or
  ///   not a regular file, `inputOutput` when reading fails.
  package func read(_ path: String, limit: Int, followingLinks: Bool = false) throws(Failure) -> [UInt8] {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer that never comes.
    let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (followingLinks ? 0 : O_NOFOLLOW)
    let descriptor = open(path, flags)
    guard descriptor >= 0 else { throw Failure.reading(path, errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw Failure.reading(path, errno) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw Failure(.badData, "\(path) is not a regular file")
    }
    let count = Int(status.st_size)
    guard count <= limit else {
      throw Failure(.badData, "\(path) is too large", found: "\(count) bytes", expected: "at most \(limit)")
    }
    return try read(descriptor, count, path)
  }

  private func read(_ descriptor: Int32, _ count: Int, _ path: String) throws(Failure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var filled = 0
    while filled < count {
      let result = bytes.withUnsafeMutableBytes {
        Glibc.read(descriptor, UnsafeMutableRawBufferPointer(rebasing: $0[filled...]).baseAddress, count - filled)
      }
      if result > 0 {
        filled += result
      } else if result == 0 {
        throw Failure(
          .badData, "\(path) shrank while it was read", found: "\(filled) bytes", expected: "\(count)")
      } else if errno != EINTR {
        throw Failure.reading(path, errno)
      }
    }
    return bytes
  }
}

// MARK: - Failures

extension Failure {
  fileprivate static func systemCall(_ call: FileSystem.Call, _ code: Int32) -> Failure {
    let action =
      switch call {
      case .makeDirectory(let path): "cannot create the directory \(path)"
      case .create(let path): "cannot create \(path)"
      case .allocate(let path): "cannot reserve space for \(path)"
      case .write(let path): "cannot write \(path)"
      case .synchronize(let path): "cannot make \(path) durable"
      case .rename(let path, let destination): "cannot rename \(path) to \(destination)"
      case .symbolicLink(let path, _): "cannot create the link \(path)"
      case .unlink(let path): "cannot remove \(path)"
      case .removeDirectory(let path): "cannot remove the directory \(path)"
      }
    switch code {
    case ENOSPC, EDQUOT:
      return Failure(
        .cannotCreate, action, found: errorText(code),
        remedy: "Free some space; the checkpoints already saved are untouched")
    case EACCES, EPERM, EROFS, EEXIST, ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG, ELOOP:
      return Failure(.cannotCreate, action, found: errorText(code))
    default:
      return Failure(.inputOutput, action, found: errorText(code))
    }
  }

  fileprivate static func reading(_ path: String, _ code: Int32) -> Failure {
    let status: ExitStatus =
      switch code {
      case ENOENT, ENOTDIR, EACCES, EPERM, ENAMETOOLONG: .missingInput
      case ELOOP: .badData
      default: .inputOutput
      }
    return Failure(status, "cannot read \(path)", found: errorText(code))
  }

  private static func errorText(_ code: Int32) -> String {
    code == ELOOP ? "a symbolic link" : String(cString: strerror(code))
  }
}
