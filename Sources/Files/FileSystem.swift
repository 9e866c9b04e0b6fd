import Diagnostics

/// Files and directories by name. Calls are repeated when a signal interrupts them, and every error names the path and
/// the reason.
package struct FileSystem: Sendable {
  let disk: any Disk

  package init(disk: any Disk = SystemDisk()) { self.disk = disk }

  /// A name beside `path` for a file that will be renamed to it. It begins with `.tmp-`; two writers never share one.
  package func temporaryPath(for path: String) -> String {
    let (directory, name) = Self.split(path)
    return "\(directory)/.tmp-\(name)-\(randomSuffix())"
  }

  /// Sixteen hexadecimal digits.
  package func randomSuffix() -> String { hexadecimal(disk.randomNumber()) }

  /// Directory and last component; "." for a bare name.
  package static func split(_ path: String) -> (directory: String, name: String) {
    // As the kernel sees it: a name may begin with what Swift takes for a part of the slash, such as an accent.
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return (".", path) }
    let directory = path.utf8[..<slash]
    return (directory.isEmpty ? "/" : String(Substring(directory)), String(path[path.utf8.index(after: slash)...]))
  }

  /// - Parameter action: for errors: "create runs/x".
  @discardableResult
  func perform<Result>(
    _ action: @autoclosure () -> String, _ call: @autoclosure () throws(ErrorNumber) -> Result
  ) throws(Failure) -> Result {
    do throws(ErrorNumber) {
      return try retrying(try call())
    } catch {
      throw .cannot(action(), error)
    }
  }
}

// MARK: - Changing names

extension FileSystem {
  package func makeDirectory(_ path: String, permissions: UInt32 = 0o755) throws(Failure) {
    try perform("create the directory \(path)", try disk.makeDirectory(path, permissions: permissions))
  }

  /// Makes a directory and those above it that do not exist.
  ///
  /// - Throws: `cannotCreate`, or `inputOutput` where the disk fails.
  package func makeDirectories(
    _ path: String, permissions: UInt32 = 0o755, remedy: String? = nil
  ) throws(Failure) {
    if kind(of: path, followingLinks: true) == .directory { return }
    let parent = Self.split(path).directory
    if kind(of: parent, followingLinks: true) == nil {
      try makeDirectories(parent, permissions: permissions, remedy: remedy)
    }
    do throws(ErrorNumber) {
      try retrying(try disk.makeDirectory(path, permissions: permissions))
    } catch {
      // Another process may have made it meanwhile.
      guard error == .exists, kind(of: path, followingLinks: true) == .directory else {
        if error == .exists, let target = symbolicLinkTarget(path) {  // defence: dangling-links
          throw .danglingLink(path, target)
        }
        throw .cannot("create the directory \(path)", error, remedy: remedy)
      }
    }
  }

  package func rename(_ path: String, to destination: String) throws(Failure) {
    try perform("rename \(path) to \(destination)", try disk.rename(path, to: destination))
  }

  package func makeSymbolicLink(_ path: String, target: String) throws(Failure) {
    try perform("create the link \(path)", try disk.makeSymbolicLink(path, target: target))
  }

  /// Makes a file or link under a temporary name beside `path`, and renames it to `path`.
  func replace(_ path: String, byMaking make: (String) throws(Failure) -> Void) throws(Failure) {
    let temporary = temporaryPath(for: path)
    do {
      try make(temporary)
      try rename(temporary, to: path)
    } catch {
      // The first failure is the one to report.
      try? unlink(temporary)
      throw error
    }
  }

  /// Removes the temporary files of `paths` that killed writers have left, and no other file. Call it where no other process
  /// writes to `paths`. A file that cannot be removed stays, which does no harm.
  package func removeUnfinished(_ paths: [String]) {
    for directory in Set(paths.map { Self.split($0).directory }).sorted() {
      let names = Set(paths.filter { Self.split($0).directory == directory }.map { Self.split($0).name })
      for name in (try? entries(of: directory)) ?? [] {
        let match = name.wholeMatch(of: /\.tmp-(.+)-[0-9a-f]{16}/)
        if let match, names.contains(String(match.1)) { try? unlink("\(directory)/\(name)") }
      }
    }
  }

  package func unlink(_ path: String) throws(Failure) {
    try perform("remove \(path)", try disk.unlink(path))
  }

  /// Removes a directory and the files in it, never following a link and never descending further. What others have put
  /// there stays, and the directory with it: a file that NFS keeps while it is open elsewhere, the directory of an indexer.
  package func removeDirectory(_ path: String) throws(Failure) {
    for name in try entries(of: path) {
      try unless([.busy, .isADirectory, .notFound], "remove \(path)/\(name)", try disk.unlink("\(path)/\(name)"))
    }
    try unless([.busy, .notEmpty, .exists], "remove the directory \(path)", try disk.removeDirectory(path))
  }

  /// Gives a directory the name `temporary` and removes it, so that it is never half removed under its own name.
  package func removeDirectory(_ path: String, renamingTo temporary: String) throws(Failure) {
    do throws(ErrorNumber) {
      try retrying(try disk.rename(path, to: temporary))
    } catch {
      // An overlay may not rename a directory that lies in its lower layer.
      // defence: overlay fails
      guard error == .crossDevice else { throw .cannot("rename \(path) to \(temporary)", error) }
      return try removeDirectory(path)
    }
    try removeDirectory(temporary)
  }

  /// Makes a call whose failure with one of `harmless` is none.
  private func unless(
    _ harmless: [ErrorNumber], _ action: @autoclosure () -> String, _ call: @autoclosure () throws(ErrorNumber) -> Void
  ) throws(Failure) {
    do throws(ErrorNumber) {
      try retrying(try call())
    } catch {
      guard harmless.contains(error) else { throw .cannot(action(), error) }  // defence: leftovers fails
    }
  }
}

// MARK: - Writing

extension FileSystem {
  /// Replaces the file at `path`: temporary file beside it, fsync, rename, fsync of the directory.
  ///
  /// When this returns, the bytes survive a power cut. When it throws, or when the process dies inside it, the file has
  /// its previous content. A temporary file may stay behind after a crash, until `removeUnfinished`.
  ///
  /// - Parameter permissions: nil for 0644 less the process's umask.
  /// - Throws: `cannotCreate` when the file cannot be created or the disk is full, `inputOutput` when writing fails in
  ///   the middle.
  package func replace(_ path: String, with bytes: [UInt8], permissions: UInt32? = nil) throws(Failure) {
    try replace(path) { (temporary) throws(Failure) in
      try createDurably([(temporary, bytes)], permissions: permissions)
    }
    try synchronize(Self.split(path).directory)
  }

  package func replace(_ path: String, with text: String, permissions: UInt32? = nil) throws(Failure) {
    try replace(path, with: Array(text.utf8), permissions: permissions)
  }

  /// Creates files that must not exist, fills them, and returns when their bytes are on the disk.
  ///
  /// All of them are written before the first fsync: what they share, such as the block of their inodes, then goes to
  /// the disk once. The space of each is reserved first, so that a full disk is found before anything was written. An
  /// fsync that fails is final: the kernel reports a lost page once, and a second fsync would claim success.
  package func createDurably(
    _ files: [(path: String, bytes: [UInt8])], permissions: UInt32? = nil
  ) throws(Failure) {
    var descriptors: [Int32] = []
    defer { for descriptor in descriptors { disk.close(descriptor) } }
    for (path, bytes) in files {
      let descriptor: Int32
      do throws(ErrorNumber) {
        descriptor = try retrying(try disk.createFile(path, permissions: permissions))
      } catch {
        let isPublic = permissions != nil && error.isRefusalOfPermissions
        throw .cannot("create \(path)", error, remedy: isPublic ? Self.permissionsRemedy : nil)
      }
      descriptors.append(descriptor)
      if !bytes.isEmpty {
        try perform("reserve space for \(path)", try disk.allocate(descriptor, bytes.count))
      }
      try write(bytes, to: descriptor, path)
    }
    for ((path, _), descriptor) in zip(files, descriptors) { try synchronize(descriptor, path) }
  }

  private static let permissionsRemedy =
    "If the file system gives all files the same permissions, others could read or change this one: choose a directory on "
    + "another file system"

  /// Writes all bytes to an open file.
  ///
  /// - Parameters:
  ///   - path: for errors.
  ///   - undo: called before an error is thrown, with the number of bytes that were written.
  package func write(
    _ bytes: [UInt8], to descriptor: Int32, _ path: String, undo: (Int) -> Void = { _ in }
  ) throws(Failure) {
    var written = 0
    do throws(Failure) {
      while written < bytes.count {
        written += try perform(
          "write to \(path)",
          try bytes.withUnsafeBufferPointer { (bytes) throws(ErrorNumber) in
            try disk.write(descriptor, UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: bytes[written...])))
          })
      }
    } catch {
      undo(written)
      throw error
    }
  }

  /// Makes the bytes of a file, or the names in a directory, durable. Does nothing for a directory where the file system
  /// cannot: see `reasonAgainstSynchronizing`.
  package func synchronize(_ path: String, followingLinks: Bool = true) throws(Failure) {  // defence: named-links
    do throws(ErrorNumber) {
      let descriptor = try retrying(try disk.open(path, followingLinks: followingLinks))
      defer { disk.close(descriptor) }
      // Not repeated when it is interrupted: the kernel may have marked pages clean already.
      try disk.synchronize(descriptor)
    } catch {
      if error.isRefusalOfDirectorySynchronization,  // defence: directory-sync
        kind(of: path, followingLinks: followingLinks) == .directory
      {
        return
      }
      throw .cannot("make \(path) durable", error)
    }
  }

  /// Not repeated when it is interrupted: the kernel may have marked pages clean already.
  func synchronize(_ descriptor: Int32, _ path: String) throws(Failure) {
    do throws(ErrorNumber) {
      try disk.synchronize(descriptor)
    } catch {
      throw .cannot("make \(path) durable", error)
    }
  }
}

// MARK: - Reading

extension FileSystem {
  /// Nil when nothing has that name.
  package func status(of path: String, followingLinks: Bool = true) -> FileStatus? {
    disk.status(of: path, followingLinks: followingLinks)
  }

  /// What a path names, or nil when nothing has that name.
  package func kind(of path: String, followingLinks: Bool = false) -> FileStatus.Kind? {
    status(of: path, followingLinks: followingLinks)?.kind
  }

  package func exists(_ path: String) -> Bool { status(of: path) != nil }

  /// The names in a directory, without `.` and `..`, sorted by their bytes.
  ///
  /// - Parameter remedy: what to do where it does not exist, for the error.
  package func entries(of path: String, remedy: String? = nil) throws(Failure) -> [String] {
    try reading(path, remedy: remedy, try disk.entries(of: path).sorted())
  }

  package func symbolicLinkTarget(_ path: String) -> String? { disk.symbolicLinkTarget(path) }

  /// The bytes of a regular file of at most `limit` bytes.
  ///
  /// - Throws: `missingInput` when it does not exist or may not be read, `badData` when it is too large or
  ///   not a regular file, `inputOutput` when reading fails.
  package func read(_ path: String, limit: Int, followingLinks: Bool = false) throws(Failure) -> [UInt8] {
    var attempts = 1
    while true {
      let descriptor: Int32
      do throws(ErrorNumber) {
        descriptor = try retrying(try disk.open(path, followingLinks: followingLinks))
      } catch {
        guard error == .isALink, !followingLinks else { throw .cannotRead(path, error) }
        throw Failure(.badData, "cannot read \(path): a symbolic link")
      }
      defer { disk.close(descriptor) }
      let result: Result<[UInt8], Failure>
      do throws(ErrorNumber) {
        result = try contents(of: descriptor, path, limit: limit)
      } catch {
        attempts += 1
        // defence: stale fails
        guard error == .stale, attempts <= Self.attempts else { throw .cannotRead(path, error) }
        continue
      }
      return try result.get()
    }
  }

  /// How often a file is opened that other hosts replace meanwhile.
  private static let attempts = 5

  /// The text of a regular file of at most `limit` bytes of UTF-8.
  ///
  /// - Throws: what `read` throws, and `badData` when it is not UTF-8.
  package func text(of path: String, limit: Int = 1 << 20) throws(Failure) -> String {
    let bytes = try read(path, limit: limit, followingLinks: true)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(.badData, "\(path) is not text in UTF-8")
    }
    return text
  }

  /// The bytes of an open file that has not been read.
  func read(_ descriptor: Int32, _ path: String, limit: Int) throws(Failure) -> [UInt8] {
    try reading(path, try contents(of: descriptor, path, limit: limit)).get()
  }

  private func contents(
    of descriptor: Int32, _ path: String, limit: Int
  ) throws(ErrorNumber) -> Result<[UInt8], Failure> {
    let status = try retrying(try disk.status(of: descriptor))
    guard status.kind == .file else { return .failure(Failure(.badData, "\(path) is not a regular file")) }
    guard status.byteCount <= limit else {
      return .failure(Failure(.badData, "\(path) must have at most \(limit) bytes, but has \(status.byteCount)"))
    }
    var bytes = [UInt8](repeating: 0, count: status.byteCount)
    var filled = 0
    while filled < bytes.count {
      let count = try retrying(
        try bytes.withUnsafeMutableBufferPointer { (bytes) throws(ErrorNumber) in
          let rest = UnsafeMutableBufferPointer(rebasing: bytes[filled...])
          return try disk.read(descriptor, into: UnsafeMutableRawBufferPointer(rest))
        })
      guard count > 0 else {
        return .failure(Failure(.badData, "\(path) shrank from \(bytes.count) to \(filled) bytes while it was read"))
      }
      filled += count
    }
    return .success(bytes)
  }

  func reading<Result>(
    _ path: String, remedy: String? = nil, _ call: @autoclosure () throws(ErrorNumber) -> Result
  ) throws(Failure) -> Result {
    do throws(ErrorNumber) {
      return try retrying(try call())
    } catch {
      throw .cannotRead(path, error, remedy: remedy)
    }
  }
}
