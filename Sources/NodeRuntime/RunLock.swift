import Diagnostics
import Glibc

/// The mark of the one coordinator that a run directory can have at a time. The kernel takes it away with the process,
/// so it is never stale; the file stays, and says nothing by being there.
package final class RunLock: Sendable {
  private let descriptor: Descriptor

  /// - Throws: `cannotCreate` when another process has it, or the file cannot be made.
  package init(_ paths: RunPaths) throws(Failure) {
    descriptor = try Descriptor(
      open(paths.lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o644), "create \(paths.lock)", status: .cannotCreate)
    while flock(descriptor.number, LOCK_EX | LOCK_NB) != 0 {
      if errno == EINTR { continue }
      guard errno == EWOULDBLOCK else {
        throw Failure(.cannotCreate, "cannot lock \(paths.lock)", found: systemErrorText())
      }
      throw Failure(
        .cannotCreate, "\(paths.directory) is in use: another coordinator runs there",
        remedy: "Wait for it, stop it, or name another --run-dir")
    }
  }
}
