import Diagnostics
import Files
import Glibc
import Messaging
import Reporting

/// The names in the directory of a run.
public struct RunPaths: Sendable, Equatable {
  public let directory: String

  public init(directory: String) { self.directory = directory }

  /// The directory of a run without `run-dir`.
  public static func defaultDirectory(_ runIdentifier: String) -> String { "runs/\(runIdentifier)" }

  public var runFile: String { "\(directory)/\(RunFile.name)" }
  public var configuration: String { "\(directory)/config.yaml" }
  public var metrics: String { "\(directory)/metrics.jsonl" }
  public var result: String { "\(directory)/result.json" }
  public var checkpoints: String { "\(directory)/checkpoints" }
  public var logs: String { "\(directory)/logs" }
  public var lock: String { "\(directory)/lock" }
  /// Where the coordinator is reached; there while it lives.
  public var coordinatorEndpoint: String { "\(directory)/coordinator.endpoint" }

  /// The log of a process. One that is restarted continues it.
  /// - Parameter name: "worker-1@host".
  func log(_ name: String) -> String { "\(logs)/\(name).jsonl" }

  /// Gives the directory to one coordinator at a time, as long as the result lives. The kernel releases the lock with the
  /// process, so it is never stale; the file itself stays and means nothing.
  ///
  /// - Throws: `cannotCreate` when another process holds it, or the file cannot be created.
  package func lockDirectory() throws(Failure) -> File {
    let file = try File(lock, for: .locking)
    // `isLocked` of another process holds it for a moment.
    var isLocked = try file.lock()
    for _ in 0..<10 where !isLocked {
      usleep(10_000)
      isLocked = try file.lock()
    }
    guard isLocked else {
      throw Failure(
        .cannotCreate, "\(directory) is in use: another coordinator runs there",
        remedy: "Wait for it, stop it, or name another --run-dir")
    }
    return file
  }

  /// Whether a process works on the run.
  package var isLocked: Bool {
    guard let file = try? File(lock, for: .reading), let isFree = try? file.lock(shared: true) else { return false }
    return !isFree
  }

  /// Whether the directory holds a run.
  var holdsRun: Bool {
    FileSystem().exists(runFile) || (try? FileSystem().entries(of: checkpoints))?.isEmpty == false
  }
}

extension RunID {
  /// The number that messages carry for a run of this name: FNV-1a of its bytes, never 0, which
  /// stands for a process that does not know its run yet.
  public init(name: String) {
    self.init(max(fnv1a(name.utf8), 1))
  }
}
