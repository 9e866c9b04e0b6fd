import Checkpoints
import Diagnostics
import Files
import Glibc
import Messaging
import Reporting

/// The names in the directory of a run.
public struct RunPaths: Sendable, Equatable {
  public let directory: String

  /// - Parameter directory: a pointer, such as `runs/latest`, stands for the directory that it leads to now.
  public init(directory: String) {
    let place = FileSystem().followingPointer(directory)
    let isLink = FileSystem().kind(of: place) == .symbolicLink
    self.directory = isLink ? Self.resolved(place) ?? place : place
  }

  /// Of the run that a checkpoint lies in; nil for one that was copied to another place.
  init?(ofCheckpoint path: String) {
    let parent = FileSystem.split(FileSystem.split(path).directory)
    guard parent.name == "checkpoints" else { return nil }
    directory = parent.directory
  }

  /// The directory of a run without `run-dir`.
  public static func defaultDirectory(_ runIdentifier: String) -> String { "runs/\(runIdentifier)" }

  public var runFile: String { "\(directory)/\(RunFile.name)" }
  public var configuration: String { "\(directory)/config.yaml" }
  public var metrics: String { "\(directory)/metrics.jsonl" }
  public var workers: String { "\(directory)/workers.jsonl" }
  public var confusion: String { "\(directory)/confusion.json" }
  /// The directory of event files for TensorBoard.
  public var eventFiles: String { "\(directory)/tensorboard" }
  public var result: String { "\(directory)/result.json" }
  public var checkpoints: String { "\(directory)/checkpoints" }
  public var logs: String { "\(directory)/logs" }
  var traces: String { TraceTimeline.directory(of: directory) }
  public var lock: String { "\(directory)/lock" }
  /// Where the coordinator is reached; there while it lives.
  public var coordinatorEndpoint: String { "\(directory)/coordinator.endpoint" }

  /// The files that the holder of the directory replaces, and no other process.
  var ownFiles: [String] { [runFile, configuration, confusion, result, coordinatorEndpoint] }

  /// The log of a process. One that is restarted continues it.
  /// - Parameter name: "worker-1@host".
  func log(_ name: String) -> String { Self.log(name, in: logs) }

  static func log(_ name: String, in directory: String) -> String {
    "\(directory)/\(name.split(separator: "/").joined(separator: "_")).jsonl"
  }

  /// The command that resumes this run, with these flags in addition.
  func resumption(_ flags: [String] = [], policy: String = "must", program: [String] = ["descent", "train"]) -> String {
    shellCommand(program + ["--run-dir", directory, "--resume", policy] + flags)
  }

  /// Without links and relative to nothing; nil where it does not exist, or leads through a name that is not UTF-8.
  static func resolved(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(validatingCString: resolved)
  }

  /// Points `latest` to this run wherever `runs/latest` may be expected to name it: beside the directory, if its parent is
  /// named `runs` or has such a pointer, and in `runs` of the working directory.
  ///
  /// - Parameter isLaunched: whether a person started the run; a service has no working directory that means anything.
  /// - Returns: what could not be done, for the log: `latest` is a convenience.
  func pointLatest(isLaunched: Bool) -> [String] {
    guard let directory = Self.resolved(directory) else { return [] }
    let (parent, name) = FileSystem.split(directory)
    var pointers: [(path: String, target: String)] = []
    if FileSystem.split(parent).name == "runs" || FileSystem().pointerTarget("\(parent)/latest") != nil {
      pointers.append(("\(parent)/latest", name))
    }
    if isLaunched, let runs = Self.resolved("runs"), runs != parent { pointers.append(("\(runs)/latest", directory)) }
    return pointers.compactMap { pointer in
      do throws(Failure) {
        try FileSystem().replacePointer(pointer.path, target: pointer.target)
        return nil
      } catch {
        return "\(pointer.path) does not lead to this run: \(error)"
      }
    }
  }

  /// What the file system of the directory lacks, each with the consequence: a link is made and removed to find out.
  ///
  /// - Parameter lock: that of the directory.
  func shortcomings(_ lock: RunLock) -> [String] {
    let files = FileSystem()
    let links = files.reasonAgainstLinks(in: checkpoints).map {
      "\(checkpoints) takes no symbolic links (\($0)): latest and best are files that name a checkpoint"
    }
    let synchronization = files.reasonAgainstSynchronizing(checkpoints).map {
      "\(checkpoints) cannot be synchronized (\($0)): after a power cut the newest checkpoints may be missing"
    }
    let locks =
      lock.isLocked
      ? nil
      : "\(directory) has no file locks: this process renews a lease there instead, and after a crash another host waits "
        + "for it"
    return [links, synchronization, locks].compactMap(\.self)
  }

  /// Refuses what creating and locking the directory would refuse, and creates nothing.
  func requireUsableDirectory() throws(Failure) {
    if FileSystem().exists(lock) { try requireFree() }
    var place = directory
    while !FileSystem().exists(place), place != FileSystem.split(place).directory {
      if let target = FileSystem().symbolicLinkTarget(place) {  // defence: dangling-links
        throw .danglingLink(place, target)
      }
      place = FileSystem.split(place).directory
    }
    let isDirectory = FileSystem().kind(of: place, followingLinks: true) == .directory
    guard isDirectory, access(place, W_OK | X_OK) == 0 else {
      throw .cannot(
        "create the directory \(directory)", isDirectory ? .last : ErrorNumber(ENOTDIR), status: .cannotCreate,
        remedy: Self.remedy)
    }
  }

  static let remedy = "Choose a writable place with --run-dir"

  /// Whether the directory holds a run.
  var holdsRun: Bool {
    FileSystem().exists(runFile) || !CheckpointStore(runDirectory: directory).ownNames.isEmpty
  }
}

extension RunID {
  /// The number that messages carry for a run of this name: FNV-1a of its bytes, never 0, which
  /// stands for a process that does not know its run yet.
  public init(name: String) {
    self.init(max(fnv1a(name.utf8), 1))
  }
}
