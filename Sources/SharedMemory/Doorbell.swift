import Diagnostics
import Glibc

/// What wakes a process that waits in poll(2): a pipe whose other end the peers open by way of /proc.
final class Doorbell: Sendable {
  /// Readable once somebody has rung.
  let descriptor: Int32
  /// What peers open.
  let button: Int32

  /// - Throws: `internalError` when the system has no descriptors left.
  init() throws(Failure) {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else {
      throw Failure(.internalError, "cannot make a pipe", found: String(cString: strerror(errno)))
    }
    for end in ends {
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
    }
    (descriptor, button) = (ends[0], ends[1])
  }

  deinit {
    close(descriptor)
    close(button)
  }

  /// Takes note of all that has rung so far.
  func clear() {
    withUnsafeTemporaryAllocation(byteCount: 512, alignment: 1) { buffer in
      while read(descriptor, buffer.baseAddress, buffer.count) == buffer.count {}
    }
  }
}

/// The other end: somebody else's doorbell.
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
        remedy: "--transport ipc does without")
    }
  }

  deinit { close(descriptor) }

  /// A full pipe has rung already, and nobody hears one whose owner is gone.
  func press() {
    var byte: UInt8 = 1
    _ = write(descriptor, &byte, 1)
  }
}
