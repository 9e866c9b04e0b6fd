import Diagnostics
import Glibc

/// The bytes of one regular file, mapped read-only: every process on the host that opens it shares the same
/// pages of the page cache, and nothing is copied.
///
/// A file that is cut short while it is mapped ends the process with SIGBUS on the next access to the missing part, so
/// files in use are to be replaced by `rename`, never rewritten in place.
package final class MappedFile: @unchecked Sendable {
  // Unchecked because of the raw pointer; the mapping is read-only, set once, and lives as long as the object.

  /// Bytes of a large page of x86-64 and, most of the time, aarch64. The system stores a file in large pages where it is
  /// written in pieces of at least this size (Linux 6.16 on ext4, XFS before that).
  package static let largePageByteCount = 2 << 20

  package let path: String
  package let bytes: UnsafeRawBufferPointer
  /// Whether the bytes are a copy in the memory of this process, because the file system cannot map its files.
  package let isCopied: Bool

  /// Maps the whole file, or reads it where the file system cannot map it. An empty file gives an empty buffer.
  ///
  /// - Throws: `.missingInput` if the file does not exist, cannot be read or is not a regular file.
  package init(path: String) throws(Failure) {
    let file = try File(path, for: .reading)
    let status = try file.status()
    guard status.kind == .file else {
      throw Failure(
        .missingInput, "\(path) must be a file, but is \(status.kind == .directory ? "a directory" : "a special file")")
    }
    self.path = path
    let byteCount = status.byteCount
    guard byteCount > 0 else {
      (bytes, isCopied) = (UnsafeRawBufferPointer(start: nil, count: 0), false)
      return
    }
    guard let base = mmap(nil, byteCount, PROT_READ, MAP_SHARED, file.descriptor.number, 0), base != MAP_FAILED else {
      let error = ErrorNumber.last
      guard error.isRefusalOfMapping else { throw .cannotRead(path, error) }  // defence: unmappable fails
      (bytes, isCopied) = (try Self.copy(of: file, byteCount), true)
      return
    }
    isCopied = false
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
    if let base = bytes.baseAddress {
      munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
    }
  }
}
