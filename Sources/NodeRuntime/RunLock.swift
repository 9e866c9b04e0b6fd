import Diagnostics
import Files

/// The lock that gives a run directory one coordinator at a time. The kernel releases it with the process, so it is never
/// stale; the file itself stays and means nothing.
package final class RunLock: Sendable {
  private let file: File

  /// - Throws: `cannotCreate` when another process holds it, or the file cannot be created.
  package init(_ paths: RunPaths) throws(Failure) {
    file = try File(paths.lock, for: .locking)
    guard try file.lock() else {
      throw Failure(
        .cannotCreate, "\(paths.directory) is in use: another coordinator runs there",
        remedy: "Wait for it, stop it, or name another --run-dir")
    }
  }
}
