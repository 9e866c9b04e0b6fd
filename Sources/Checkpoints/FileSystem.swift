import Diagnostics
import Glibc

/// The durable store's view of a disk: its calls with their errors as failures that people can read.
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

  package let disk: any Disk
  /// Asked before every `Call`: an error number makes the call fail with it and leaves the disk alone.
  package var intercept: @Sendable (Call) -> Int32?
  /// The most bytes handed to one write(2). Smaller values show that short writes are continued.
  package var largestWrite: Int

  package init(
    disk: any Disk = SystemDisk(), largestWrite: Int = 1 << 30,
    intercept: @escaping @Sendable (Call) -> Int32? = { _ in nil }
  ) {
    self.disk = disk
    self.largestWrite = largestWrite
    self.intercept = intercept
  }

  /// Makes one call, again if a signal interrupted it.
  @discardableResult
  private func perform<Result>(
    _ call: Call, _ body: () throws(ErrorNumber) -> Result
  ) throws(Failure) -> Result {
    while true {
      let code: Int32
      do throws(ErrorNumber) {
        if let injected = intercept(call) { throw ErrorNumber(injected) }
        return try body()
      } catch {
        code = error.code
      }
      // An interrupted fsync is an fsync that failed: the kernel may have marked pages clean already.
      if case .synchronize = call { throw Failure.systemCall(call, code) }
      if code != EINTR { throw Failure.systemCall(call, code) }
    }
  }

  /// Sixteen hexadecimal digits, so that two writers never share a temporary name.
  func randomSuffix() -> String { hexadecimal(disk.randomNumber()) }
}

// MARK: - Writing

extension FileSystem {
  package func makeDirectory(_ path: String) throws(Failure) {
    try perform(.makeDirectory(path)) { () throws(ErrorNumber) in try disk.makeDirectory(path) }
  }

  /// Creates a file that must not exist yet, fills it, and returns when its bytes are on the disk.
  package func createDurably(_ path: String, _ bytes: [UInt8]) throws(Failure) {
    try createDurably([(path, bytes)])
  }

  /// The same for several files. All of them are written before the first one is waited for: what they have in
  /// common, such as their inodes' block, then goes to the disk once.
  ///
  /// The space of each is reserved first, so that a full disk is found before anything was written. An fsync that
  /// fails is final: the kernel reports a lost page once, and a second fsync would claim success.
  package func createDurably(_ files: [(path: String, bytes: [UInt8])]) throws(Failure) {
    var descriptors: [Int32] = []
    defer { for descriptor in descriptors { disk.close(descriptor) } }
    for (path, bytes) in files {
      let descriptor = try perform(.create(path)) { () throws(ErrorNumber) in try disk.createFile(path) }
      descriptors.append(descriptor)
      try perform(.allocate(path)) { () throws(ErrorNumber) in
        if !bytes.isEmpty { try disk.allocate(descriptor, bytes.count) }
      }
      try write(bytes, to: descriptor, path)
    }
    for ((path, _), descriptor) in zip(files, descriptors) {
      try perform(.synchronize(path)) { () throws(ErrorNumber) in try disk.synchronize(descriptor) }
    }
  }

  private func write(_ bytes: [UInt8], to descriptor: Int32, _ path: String) throws(Failure) {
    var written = 0
    while written < bytes.count {
      let next = written..<min(bytes.count, written + largestWrite)
      written += try perform(.write(path)) { () throws(ErrorNumber) in
        try bytes.withUnsafeBufferPointer { (bytes) throws(ErrorNumber) in
          try disk.write(descriptor, UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: bytes[next])))
        }
      }
    }
  }

  /// Makes the bytes of a file, or the names in a directory, durable.
  package func synchronize(_ path: String) throws(Failure) {
    let descriptor: Int32
    do throws(ErrorNumber) {
      descriptor = try disk.open(path, followingLinks: false)
    } catch {
      throw Failure.systemCall(.synchronize(path), error.code)
    }
    defer { disk.close(descriptor) }
    try perform(.synchronize(path)) { () throws(ErrorNumber) in try disk.synchronize(descriptor) }
  }

  package func rename(_ path: String, to destination: String) throws(Failure) {
    try perform(.rename(path, to: destination)) { () throws(ErrorNumber) in
      try disk.rename(path, to: destination)
    }
  }

  package func makeSymbolicLink(_ path: String, target: String) throws(Failure) {
    try perform(.symbolicLink(path, target: target)) { () throws(ErrorNumber) in
      try disk.makeSymbolicLink(path, target: target)
    }
  }

  package func unlink(_ path: String) throws(Failure) {
    try perform(.unlink(path)) { () throws(ErrorNumber) in try disk.unlink(path) }
  }

  /// Removes a directory and the files in it, never following a link and never descending further.
  package func removeDirectory(_ path: String) throws(Failure) {
    for name in try entries(of: path) { try unlink(path + "/" + name) }
    try perform(.removeDirectory(path)) { () throws(ErrorNumber) in try disk.removeDirectory(path) }
  }
}

// MARK: - Reading

extension FileSystem {
  /// What a path names, or nil when there is nothing.
  package func kind(of path: String, followingLinks: Bool = false) -> Kind? {
    disk.kind(of: path, followingLinks: followingLinks)
  }

  /// The names in a directory, without `.` and `..`, sorted.
  package func entries(of path: String) throws(Failure) -> [String] {
    do throws(ErrorNumber) {
      return try disk.entries(of: path).sorted()
    } catch {
      throw Failure.reading(path, error.code)
    }
  }

  package func symbolicLinkTarget(_ path: String) -> String? { disk.symbolicLinkTarget(path) }

  /// The bytes of a regular file of at most `limit` bytes.
  ///
  /// - Throws: `missingInput` when it does not exist or may not be read, `badData` when it is too large or
  ///   not a regular file, `inputOutput` when reading fails.
  package func read(_ path: String, limit: Int, followingLinks: Bool = false) throws(Failure) -> [UInt8] {
    let (descriptor, kind, count): (Int32, Kind, Int)
    do throws(ErrorNumber) {
      descriptor = try disk.open(path, followingLinks: followingLinks)
    } catch {
      throw Failure.reading(path, error.code)
    }
    defer { disk.close(descriptor) }
    do throws(ErrorNumber) {
      (kind, count) = try disk.status(of: descriptor)
    } catch {
      throw Failure.reading(path, error.code)
    }
    guard kind == .file else { throw Failure(.badData, "\(path) is not a regular file") }
    guard count <= limit else {
      throw Failure(.badData, "\(path) is too large", found: "\(count) bytes", expected: "at most \(limit)")
    }
    return try read(descriptor, count, path)
  }

  private func read(_ descriptor: Int32, _ count: Int, _ path: String) throws(Failure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var filled = 0
    while filled < count {
      do throws(ErrorNumber) {
        let result = try bytes.withUnsafeMutableBufferPointer { (bytes) throws(ErrorNumber) in
          let rest = UnsafeMutableBufferPointer(rebasing: bytes[filled...])
          return try disk.read(descriptor, into: UnsafeMutableRawBufferPointer(rest))
        }
        filled += result
        if result == 0 { break }
      } catch {
        if error.code != EINTR { throw Failure.reading(path, error.code) }
      }
    }
    guard filled == count else {
      throw Failure(.badData, "\(path) shrank while it was read", found: "\(filled) bytes", expected: "\(count)")
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
