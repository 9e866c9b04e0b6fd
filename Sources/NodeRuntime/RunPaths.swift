import Diagnostics
import Files
import Glibc
import Messaging
import Reporting

/// The names in the directory of a run.
public struct RunPaths: Sendable, Equatable {
  public let directory: String

  /// - Parameter directory: a link, such as `runs/latest`, stands for the directory that it points to now.
  public init(directory: String) {
    let isLink = FileSystem().kind(of: directory) == .symbolicLink
    self.directory = isLink ? Self.resolved(directory) ?? directory : directory
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
  public var result: String { "\(directory)/result.json" }
  public var checkpoints: String { "\(directory)/checkpoints" }
  public var logs: String { "\(directory)/logs" }
  public var lock: String { "\(directory)/lock" }
  /// Where the coordinator is reached; there while it lives.
  public var coordinatorEndpoint: String { "\(directory)/coordinator.endpoint" }

  /// The log of a process. One that is restarted continues it.
  /// - Parameter name: "worker-1@host".
  func log(_ name: String) -> String { "\(logs)/\(name).jsonl" }

  /// The command that resumes this run, with these flags in addition.
  func resumption(_ flags: [String] = [], policy: String = "must", program: [String] = ["descent", "train"]) -> String {
    shellCommand(program + ["--run-dir", directory, "--resume", policy] + flags)
  }

  /// Without links and relative to nothing; nil where it does not exist.
  static func resolved(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  /// Points `latest` to this run wherever `runs/latest` may be expected to name it: beside the directory, if its parent is
  /// named `runs` or has such a link, and in `runs` of the working directory.
  ///
  /// - Parameter isLaunched: whether a person started the run; a service has no working directory that means anything.
  func linkLatest(isLaunched: Bool) {
    guard let directory = Self.resolved(directory) else { return }
    let (parent, name) = FileSystem.split(directory)
    let files = FileSystem()
    // No link is no error.
    if FileSystem.split(parent).name == "runs" || files.symbolicLinkTarget("\(parent)/latest") != nil {
      try? files.replaceSymbolicLink("\(parent)/latest", target: name)
    }
    if isLaunched, let runs = Self.resolved("runs"), runs != parent {
      try? files.replaceSymbolicLink("\(runs)/latest", target: directory)
    }
  }

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

  /// Refuses what creating and locking the directory would refuse, and creates nothing.
  func requireUsableDirectory() throws(Failure) {
    if FileSystem().exists(lock) { _ = try lockDirectory() }
    var place = directory
    while !FileSystem().exists(place), place != FileSystem.split(place).directory {
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
