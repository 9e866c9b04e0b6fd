import CLinux
import Diagnostics
import Glibc
import Synchronization

/// The bytes of one regular file, mapped read-only: every process on the host that opens it shares the same
/// pages of the page cache, and nothing is copied.
///
/// Another process may do anything to the file meanwhile. A file that is replaced by `rename` or removed stays mapped as
/// it was. Where one is cut short, or the disk can no longer be read, the process lives on, and its mapping reads as zeros:
/// what was computed from the bytes counts once `verify` has returned.
package final class MappedFile: @unchecked Sendable {
  // Unchecked because of the raw pointer; the mapping is read-only, set once, and lives as long as the object.

  /// Bytes of a large page of x86-64 and, most of the time, aarch64. The system stores a file in large pages where it is
  /// written in pieces of at least this size (Linux 6.16 on ext4, XFS before that).
  package static let largePageByteCount = 2 << 20

  package let path: String
  package let bytes: UnsafeRawBufferPointer
  /// Whether the bytes are a copy in the memory of this process, because the file system cannot map its files.
  package let isCopied: Bool
  /// Of the file when its bytes were last known to be those that were mapped; nil once the name is another file's.
  private let status: Mutex<FileStatus?>
  private let guardNumber: Int32

  /// Maps the whole file, or reads it where the file system cannot map it. An empty file gives an empty buffer.
  ///
  /// - Throws: `.missingInput` if the file does not exist, cannot be read or is not a regular file.
  package init(path: String) throws(Failure) {
    let file = try File(path, for: .reading)
    let status = try file.requireRegular()
    self.path = path
    self.status = Mutex(status)
    let byteCount = status.byteCount
    guard byteCount > 0 else {
      (bytes, isCopied, guardNumber) = (UnsafeRawBufferPointer(start: nil, count: 0), false, -1)
      return
    }
    guard let base = mmap(nil, byteCount, PROT_READ, MAP_SHARED, file.descriptor.number, 0), base != MAP_FAILED else {
      let error = ErrorNumber.last
      guard error.isRefusalOfMapping else { throw .cannotRead(path, error) }  // defence: unmappable fails
      (bytes, isCopied, guardNumber) = (try Self.copy(of: file, byteCount), true, -1)
      return
    }
    (isCopied, guardNumber) = (false, descent_guard_mapping(base, byteCount))
    // Only hints about a cold file. A long one is best read ahead in large pages, where kernel and file system have them:
    // it arrives sooner (15 instead of 20 ms for 31 MB), and a large page is one entry in the processor's tables instead
    // of 512. A short one is read at once.
    if byteCount < Self.largePageByteCount || madvise(base, byteCount, MADV_HUGEPAGE) != 0 {
      madvise(base, byteCount, MADV_WILLNEED)
    }
    bytes = UnsafeRawBufferPointer(start: base, count: byteCount)
  }

  private static func copy(of file: File, _ byteCount: Int) throws(Failure) -> UnsafeRawBufferPointer {
    let contents = try file.read(limit: byteCount)
    let memory = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let memory, memory != MAP_FAILED else { throw .cannotRead(file.path, .last) }
    memory.copyMemory(from: contents, byteCount: contents.count)
    mprotect(memory, byteCount, PROT_READ)
    return UnsafeRawBufferPointer(start: memory, count: byteCount)
  }

  deinit {
    descent_end_guard(guardNumber)
    if let base = bytes.baseAddress {
      munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
    }
  }

  /// Returns if the bytes are those that were mapped: at once where size, inode and time of the last change are the same,
  /// otherwise as `isSame` finds.
  ///
  /// - Parameters:
  ///   - thoroughly: whether `isSame` is asked in any case.
  ///   - isSame: compares all bytes with what they were.
  /// - Throws: `badData` for a file that was cut short or rewritten, `inputOutput` for one that cannot be read.
  package func verify(thoroughly: Bool, isSame: (UnsafeRawBufferPointer) -> Bool) throws(Failure) {
    try requireNoFault()
    let now = try currentStatus()
    if !thoroughly, now == status.withLock({ $0 }) { return }
    let isSame = isSame(bytes)  // defence: data-renamed
    try requireNoFault()
    guard isSame else {  // defence: data-bytes
      throw Failure(
        .badData, "\(path) was rewritten while it was in use", remedy: "Restore its former bytes to resume the run")
    }
    status.withLock { $0 = now }
  }

  /// Nil if the name is gone, or may no longer be followed: what is mapped stays.
  private func currentStatus() throws(Failure) -> FileStatus? {
    do throws(ErrorNumber) {
      return try retrying(try SystemDisk().currentStatus(of: path))
    } catch {
      switch error.code {
      case ENOENT, ENOTDIR, EACCES, ELOOP: return nil
      default: throw .cannotRead(path, error)
      }
    }
  }

  private func requireNoFault() throws(Failure) {
    let fault = descent_mapping_fault(guardNumber)
    guard fault > 0 else { return }
    let now = try currentStatus()
    if let now, now.byteCount < bytes.count {
      throw Failure(
        .badData, "\(path) was cut short from \(bytes.count) to \(now.byteCount) bytes while it was in use",
        remedy: "Restore its former bytes to resume the run")
    }
    // Reading says why, if the file still has this name.
    let file = try File(path, for: .reading)
    var byte: UInt8 = 0
    if pread(file.descriptor.number, &byte, 1, fault - 1) < 0 { throw .cannotRead(path, .last) }
    throw Failure(.inputOutput, "\(path) could not be read at byte offset \(fault - 1) while it was in use")
  }
}
