import Diagnostics
import Files
import Glibc

/// Wakes a process that waits in poll(2): a pipe whose other end the peers open through /proc.
final class Doorbell: Sendable {
  private let ends: (read: Descriptor, write: Descriptor)
  /// Readable once a peer has rung.
  var descriptor: Int32 { ends.read.number }
  /// The end that peers open.
  var button: Int32 { ends.write.number }

  /// - Throws: `internalError` when the system has no descriptors left.
  init() throws(Failure) {
    ends = try Descriptor.pipe()
    for end in [descriptor, button] { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
  }

  /// Forgets all rings so far.
  func clear() {
    withUnsafeTemporaryAllocation(byteCount: 512, alignment: 1) { buffer in
      while read(descriptor, buffer.baseAddress, buffer.count) == buffer.count {}
    }
  }
}

/// The peer's end of another process's doorbell.
final class DoorbellButton: Sendable {
  /// poll(2) reports an error here once the process that waits at the doorbell is gone.
  let descriptor: Int32

  /// - Throws: `internalError` when there is no such pipe.
  init(of processID: Int32, descriptor number: Int32) throws(Failure) {
    descriptor = open("/proc/\(processID)/fd/\(number)", O_WRONLY | O_NONBLOCK | O_CLOEXEC)
    var status = stat()
    guard descriptor >= 0, fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFIFO else {
      if descriptor >= 0 { close(descriptor) }
      throw Failure(
        .internalError, "cannot open the doorbell of process \(processID)", found: "descriptor \(number)",
        remedy: "Use --transport ipc, which needs no shared memory")
    }
  }

  deinit { close(descriptor) }

  /// A full pipe has rung already; one whose owner is gone needs no ring.
  func press() {
    var byte: UInt8 = 1
    _ = write(descriptor, &byte, 1)
  }
}
