/// The system calls that change and read a directory tree, one by one as POSIX defines them. The kernel implements them
/// for programs, and the simulation implements them with faults.
///
/// A call may fail with `ErrorNumber.interrupted`; the caller repeats it, except `synchronize`.
package protocol Disk: Sendable {
  // Calls that change the disk.
  func makeDirectory(_ path: String, permissions: UInt32) throws(ErrorNumber)
  /// Creates a file that must not exist and opens it for writing.
  /// - Parameter permissions: nil for 0644 less the process's umask.
  func createFile(_ path: String, permissions: UInt32?) throws(ErrorNumber) -> Int32
  /// Reserves space for the first `count` bytes.
  func allocate(_ descriptor: Int32, _ count: Int) throws(ErrorNumber)
  /// Writes after the previous write.
  /// - Returns: how many bytes were written: at least one, perhaps not all.
  func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(ErrorNumber) -> Int
  /// Makes the bytes of a file, or the names in a directory, durable.
  func synchronize(_ descriptor: Int32) throws(ErrorNumber)
  func rename(_ path: String, to destination: String) throws(ErrorNumber)
  func makeSymbolicLink(_ path: String, target: String) throws(ErrorNumber)
  func unlink(_ path: String) throws(ErrorNumber)
  func removeDirectory(_ path: String) throws(ErrorNumber)

  // Calls that read it.
  /// Opens a file or directory for reading. Never waits.
  func open(_ path: String, followingLinks: Bool) throws(ErrorNumber) -> Int32
  func close(_ descriptor: Int32)
  func status(of descriptor: Int32) throws(ErrorNumber) -> FileStatus
  /// Nil when nothing has that name.
  func status(of path: String, followingLinks: Bool) -> FileStatus?
  /// - Returns: how many bytes were read; 0 at the end of the file.
  func read(_ descriptor: Int32, into target: UnsafeMutableRawBufferPointer) throws(ErrorNumber) -> Int
  /// The names in a directory, without `.` and `..`, in any order. Those that are not UTF-8 are left out.
  func entries(of path: String) throws(ErrorNumber) -> [String]
  func symbolicLinkTarget(_ path: String) -> String?

  /// For names that two writers never share.
  func randomNumber() -> UInt64
}

/// The value of `errno` after a system call that failed.
package struct ErrorNumber: Error, Hashable {
  package var code: Int32

  package init(_ code: Int32) { self.code = code }

  // The numbers of Linux, the same on x86-64 and aarch64. The pure targets cannot ask the C library for them.
  package static let notFound = ErrorNumber(2)
  package static let interrupted = ErrorNumber(4)
  package static let inputOutput = ErrorNumber(5)
  /// EBUSY: NFS keeps a file under a name of its own while it is open elsewhere.
  package static let busy = ErrorNumber(16)
  package static let exists = ErrorNumber(17)
  /// EXDEV: another file system, or a directory of the lower layer of an overlay.
  package static let crossDevice = ErrorNumber(18)
  package static let notADirectory = ErrorNumber(20)
  package static let isADirectory = ErrorNumber(21)
  package static let noSpace = ErrorNumber(28)
  package static let notEmpty = ErrorNumber(39)
  /// ELOOP: a symbolic link where none is followed.
  package static let isALink = ErrorNumber(40)
  /// No number of the kernel: another process has the directory that was to be changed.
  package static let takenOver = ErrorNumber(4096)
  /// ESTALE: the file was replaced by another host after it was opened here.
  package static let stale = ErrorNumber(116)
}

/// What the file system knows about a file. Two values differ when the file was changed or replaced between them.
package struct FileStatus: Sendable, Equatable {
  package enum Kind: Sendable, Equatable {
    case file, directory, symbolicLink, other
  }

  package var kind: Kind
  package var byteCount: Int
  /// The lowest twelve bits of the mode.
  package var permissions: UInt32 = 0
  /// The user number of the owner.
  package var owner: UInt32 = 0
  package var inode: UInt64 = 0
  /// Nanoseconds since 1970 of the last change of its bytes, name or mode (ctime).
  package var changed: Int64 = 0

  package init(kind: Kind, byteCount: Int) {
    self.kind = kind
    self.byteCount = byteCount
  }
}
