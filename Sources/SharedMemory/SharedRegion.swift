import CLinux
import Diagnostics
import Files
import Glibc

/// Memory without a name in any file system, released with the last process that maps it, however that process ends.
///
/// Its size is sealed: no process can truncate it under a reader, which would be a SIGBUS.
final class SharedRegion: Sendable {
  /// The descriptor that other processes open through /proc, in the process that made the region.
  let descriptor: Int32
  nonisolated(unsafe) let bytes: UnsafeMutableRawBufferPointer
  /// Distinguishes regions, also those that a process had at the same descriptor one after the other.
  let inode: UInt64
  private let isOwner: Bool

  /// A new region of zeros. Untouched pages cost nothing.
  /// - Throws: `internalError` when the system has no memory or descriptors left.
  init(byteCount: Int) throws(Failure) {
    let descriptor = memfd_create(
      "descent", UInt32(DESCENT_MEMFD_CLOSE_ON_EXEC | DESCENT_MEMFD_ALLOW_SEALING))
    guard descriptor >= 0 else { throw Self.failure("create") }
    var status = stat()
    guard ftruncate(descriptor, byteCount) == 0, fstat(descriptor, &status) == 0,
      fcntl(descriptor, Int32(DESCENT_ADD_SEALS), Self.seals) == 0,
      let bytes = Self.map(descriptor, byteCount, PROT_READ | PROT_WRITE)
    else {
      let failure = Self.failure("create")
      close(descriptor)
      throw failure
    }
    self.descriptor = descriptor
    self.bytes = bytes
    inode = UInt64(status.st_ino)
    isOwner = true
  }

  /// The region that another process of this user offers.
  /// - Throws: `internalError` when it cannot be opened or is not what such a region must be.
  init(of processID: Int32, descriptor number: Int32, byteCount: UInt64, isWritable: Bool) throws(Failure) {
    let opened = open("/proc/\(processID)/fd/\(number)", (isWritable ? O_RDWR : O_RDONLY) | O_CLOEXEC)
    guard opened >= 0 else { throw Self.failure("open") }
    // Mapped memory needs no descriptor.
    defer { close(opened) }
    var status = stat()
    guard fstat(opened, &status) == 0, status.st_uid == geteuid(), status.st_mode & S_IFMT == S_IFREG,
      let count = Int(exactly: byteCount), count > 0, status.st_size == count,
      fcntl(opened, Int32(DESCENT_GET_SEALS)) & Self.seals == Self.seals
    else { throw Self.failure("use", found: "something else at descriptor \(number) of process \(processID)") }
    guard let bytes = Self.map(opened, count, isWritable ? PROT_READ | PROT_WRITE : PROT_READ) else {
      throw Self.failure("map")
    }
    descriptor = opened
    self.bytes = bytes
    inode = UInt64(status.st_ino)
    isOwner = false
  }

  deinit {
    munmap(bytes.baseAddress, bytes.count)
    if isOwner { close(descriptor) }
  }

  private static var seals: Int32 {
    Int32(DESCENT_SEAL_SEAL | DESCENT_SEAL_SHRINK | DESCENT_SEAL_GROW)
  }

  private static func map(
    _ descriptor: Int32, _ byteCount: Int, _ protection: Int32
  ) -> UnsafeMutableRawBufferPointer? {
    let address = mmap(nil, byteCount, protection, MAP_SHARED, descriptor, 0)
    guard address != MAP_FAILED else { return nil }
    return UnsafeMutableRawBufferPointer(start: address, count: byteCount)
  }

  private static func failure(_ action: String, found: String? = nil) -> Failure {
    Failure(
      .internalError, "cannot \(action) shared memory", found: found ?? ErrorNumber.last.text,
      remedy: "Use --transport ipc, which needs no shared memory")
  }
}
