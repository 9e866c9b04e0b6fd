import Diagnostics
import Glibc

/// The mark of the one coordinator that a run directory can have at a time. The kernel takes it away with the process,
/// so it is never stale; the file stays, and says nothing by being there.
package final class RunLock: Sendable {
  /// Whoever asks `isHeld` has the lock for some microseconds; a holder has it for longer than all of these tries.
  private static let attempts = 25
  private static let pauseMicroseconds: UInt32 = 10_000

  private let descriptor: Descriptor

  /// - Throws: `cannotCreate` when another process has it, or the file cannot be made.
  package init(_ paths: RunPaths) throws(Failure) {
    descriptor = try Descriptor(
      open(paths.lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o644), "create \(paths.lock)", status: .cannotCreate)
    for _ in 0..<Self.attempts {
      if flock(descriptor.number, LOCK_EX | LOCK_NB) == 0 { return }
      guard errno == EWOULDBLOCK || errno == EINTR else {
        throw Failure(.cannotCreate, "cannot lock \(paths.lock)", found: systemErrorText())
      }
      usleep(Self.pauseMicroseconds)
    }
    throw Failure(
      .cannotCreate, "\(paths.directory) is in use: another coordinator runs there",
      remedy: "Wait for it, stop it, or name another --run-dir")
  }

  /// Whether a coordinator lives in this run directory.
  package static func isHeld(_ paths: RunPaths) -> Bool {
    let number = open(paths.lock, O_RDONLY | O_CLOEXEC)
    guard number >= 0 else { return false }
    defer { close(number) }
    return flock(number, LOCK_SH | LOCK_NB) != 0
  }
}
