import Diagnostics
import Glibc

/// The bytes of one regular file, mapped read-only: every process on the host that opens it shares the same
/// pages of the page cache, and nothing is copied.
///
/// A file that is cut short while it is mapped ends the process with SIGBUS on the next access to the missing
/// part, so files in use are to be replaced by `rename`, never rewritten in place. Everything in this module
/// writes that way.
package final class MappedFile: @unchecked Sendable {
  // Unchecked because of the raw pointer; the mapping is read-only, set once, and lives as long as the object.

  /// A large page of x86-64 and, most of the time, aarch64. The system puts a file into some where it is written in
  /// pieces of this size and more (Linux 6.16 on ext4, XFS before that).
  package static let largePageByteCount = 2 << 20

  package let path: String
  package let bytes: UnsafeRawBufferPointer

  /// Maps the whole file. An empty file gives an empty buffer.
  ///
  /// - Throws: `.missingInput` if the file does not exist, cannot be read or is not a regular file.
  package init(path: String) throws(Failure) {
    // Without O_NONBLOCK, opening a FIFO by mistake would wait for a writer for ever.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw .unreadable(path) }
    defer { close(descriptor) }

    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .unreadable(path) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      let kind = status.st_mode & S_IFMT == S_IFDIR ? "a directory" : "a special file"
      throw Failure(.missingInput, "cannot read \(path)", found: kind, expected: "a regular file")
    }
    self.path = path
    let byteCount = Int(status.st_size)
    guard byteCount > 0 else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let base = mmap(nil, byteCount, PROT_READ, MAP_SHARED, descriptor, 0), base != MAP_FAILED else {
      throw .unreadable(path)
    }
    // Only hints about a cold file. A long one is best read ahead in large pages, where kernel and file system have them:
    // it arrives sooner (15 instead of 20 ms for 31 MB), and a large page is one entry in the processor's tables instead
    // of 512. A short one is read at once.
    if byteCount < Self.largePageByteCount || madvise(base, byteCount, MADV_HUGEPAGE) != 0 {
      madvise(base, byteCount, MADV_WILLNEED)
    }
    bytes = UnsafeRawBufferPointer(start: base, count: byteCount)
  }

  deinit {
    if let base = bytes.baseAddress {
      munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
    }
  }
}

extension Failure {
  /// A file or directory that could not be opened or examined, with the system's reason from `errno`.
  static func unreadable(
    _ path: String, expected: String = "a readable file", remedy: String? = nil
  ) -> Failure {
    Failure(
      // defence: missing-data
      .missingInput, "cannot read \(path)", found: systemErrorText(), expected: expected, remedy: remedy)
  }
}

/// The system's words for the present value of `errno`, as in "No such file or directory".
func systemErrorText() -> String {
  String(cString: strerror(errno))
}
