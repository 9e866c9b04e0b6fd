import CLinux
import Diagnostics
import Files
import Glibc

/// Memory without a name in any file system, released with the last process that maps it, however that process ends.
///
/// Its size is sealed: no process can truncate it under a reader, which would be a SIGBUS.
final class SharedRegion: Sendable {
  /// Nil in processes other than the one that made the region.
  private let file: Descriptor?
  nonisolated(unsafe) let bytes: UnsafeMutableRawBufferPointer
  /// Distinguishes regions, also those that a process had at the same descriptor one after the other.
  let inode: UInt64

  /// The descriptor that other processes open through /proc.
  var descriptor: Int32 { file?.number ?? -1 }

  /// A new region of zeros. Untouched pages cost nothing.
  /// - Throws: `internalError` when the system has no memory or descriptors left.
  convenience init(byteCount: Int) throws(Failure) {
    let number = memfd_create("descent", UInt32(DESCENT_MEMFD_CLOSE_ON_EXEC | DESCENT_MEMFD_ALLOW_SEALING))
    guard number >= 0 else { throw Self.failure("create", byteCount) }
    let file = Descriptor(number)
    guard ftruncate(number, byteCount) == 0, fcntl(number, Int32(DESCENT_ADD_SEALS), Self.seals) == 0 else {
      throw Self.failure("create", byteCount)
    }
    try self.init(mapping: file, byteCount, PROT_READ | PROT_WRITE, keepsOpen: true)
  }

  /// The region that another process of this user offers.
  /// - Throws: `internalError` when it cannot be opened or is not what such a region must be.
  convenience init(
    of processID: Int32, descriptor number: Int32, byteCount: UInt64, isWritable: Bool
  ) throws(Failure) {
    let opened = open("/proc/\(processID)/fd/\(number)", (isWritable ? O_RDWR : O_RDONLY) | O_CLOEXEC)
    guard opened >= 0 else { throw Self.failure("open", Int(clamping: byteCount)) }
    let file = Descriptor(opened)
    var status = stat()
    guard fstat(opened, &status) == 0, status.st_uid == geteuid(), status.st_mode & S_IFMT == S_IFREG,
      let count = Int(exactly: byteCount), count > 0, status.st_size == count,
      fcntl(opened, Int32(DESCENT_GET_SEALS)) & Self.seals == Self.seals
    else {
      throw Self.failure(
        "use", Int(clamping: byteCount), found: "something else at descriptor \(number) of process \(processID)")
    }
    // Mapped memory needs no descriptor.
    try self.init(mapping: file, count, isWritable ? PROT_READ | PROT_WRITE : PROT_READ, keepsOpen: false)
  }

  private init(
    mapping file: Descriptor, _ byteCount: Int, _ protection: Int32, keepsOpen: Bool
  ) throws(Failure) {
    var status = stat()
    let address = mmap(nil, byteCount, protection, MAP_SHARED, file.number, 0)
    guard address != MAP_FAILED, fstat(file.number, &status) == 0 else { throw Self.failure("map", byteCount) }
    bytes = UnsafeMutableRawBufferPointer(start: address, count: byteCount)
    inode = UInt64(status.st_ino)
    self.file = keepsOpen ? file : nil
  }

  deinit { munmap(bytes.baseAddress, bytes.count) }

  private static var seals: Int32 {
    Int32(DESCENT_SEAL_SEAL | DESCENT_SEAL_SHRINK | DESCENT_SEAL_GROW)
  }

  private static func failure(_ action: String, _ byteCount: Int, found: String? = nil) -> Failure {
    Failure(
      .internalError, "cannot \(action) shared memory of \(byteCount >> 10) kB", found: found ?? ErrorNumber.last.text,
      remedy: "Messages go through sockets instead, as with --transport ipc")
  }
}

/// A doorbell wakes a process that waits in poll(2): a pipe whose other end the peers open through /proc.
extension Descriptor {
  /// Readable once a peer has rung at the other end.
  /// - Throws: `internalError` when the system has no descriptors left.
  static func doorbell() throws(Failure) -> (bell: Descriptor, button: Descriptor) {
    let ends = try pipe()
    for end in [ends.read, ends.write] { _ = fcntl(end.number, F_SETFL, O_NONBLOCK) }
    return (ends.read, ends.write)
  }

  /// Forgets all rings so far.
  func forgetRings() {
    withUnsafeTemporaryAllocation(byteCount: 512, alignment: 1) { buffer in
      while read(number, buffer.baseAddress, buffer.count) == buffer.count {}
    }
  }

  /// The button of another process's doorbell. poll(2) reports an error there once that process is gone.
  ///
  /// - Throws: `internalError` when there is no such pipe.
  static func button(of processID: Int32, descriptor number: Int32) throws(Failure) -> Descriptor {
    let button = open("/proc/\(processID)/fd/\(number)", O_WRONLY | O_NONBLOCK | O_CLOEXEC)
    var status = stat()
    guard button >= 0, fstat(button, &status) == 0, status.st_mode & S_IFMT == S_IFIFO else {
      if button >= 0 { close(button) }
      throw Failure(
        .internalError, "cannot open the doorbell of process \(processID)", found: "descriptor \(number)",
        remedy: "Messages go through sockets instead, as with --transport ipc")
    }
    return Descriptor(button)
  }

  /// A full pipe has rung already; one whose owner is gone needs no ring.
  func ring() {
    var byte: UInt8 = 1
    _ = write(number, &byte, 1)
  }
}
