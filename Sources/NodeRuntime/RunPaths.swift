import Checkpoints
import Diagnostics
import Glibc
import Messaging
import Reporting

/// The names in the directory of a run.
public struct RunPaths: Sendable, Equatable {
  public let directory: String

  public init(directory: String) { self.directory = directory }

  public var runFile: String { "\(directory)/\(RunFile.name)" }
  public var configuration: String { "\(directory)/config.yaml" }
  public var metrics: String { "\(directory)/metrics.jsonl" }
  public var result: String { "\(directory)/result.json" }
  public var checkpoints: String { "\(directory)/checkpoints" }
  public var logs: String { "\(directory)/logs" }
  public var lock: String { "\(directory)/lock" }
  /// Where the coordinator is reached; there while it lives.
  public var coordinatorEndpoint: String { "\(directory)/coordinator.endpoint" }

  /// The log of a process.
  func log(role: String) -> String { "\(logs)/\(role)-\(getpid()).jsonl" }

  /// Whether something of a run is here already.
  var holdsRun: Bool { FileNames.exists(runFile) || !FileNames.entries(of: checkpoints).isEmpty }
}

/// Small questions to the file system, whose answer may be no.
enum FileNames {
  static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  static func entries(of path: String) -> [String] { (try? FileSystem().entries(of: path)) ?? [] }

  /// A small text file; nil if it is not there, or not small, or no text.
  static func text(of path: String, limit: Int = 4096) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    return text(reading: descriptor, limit: limit)
  }

  /// The same of an open file, from its beginning.
  static func text(reading descriptor: Int32, limit: Int = 4096) -> String? {
    var bytes = [UInt8](repeating: 0, count: limit)
    let count = pread(descriptor, &bytes, limit, 0)
    guard count >= 0, count < limit else { return nil }
    return String(validating: bytes[..<count], as: UTF8.self)
  }

  /// Makes a directory and those above it.
  static func makeDirectories(_ path: String, mode: mode_t = 0o755) throws(Failure) {
    if mkdir(path, mode) == 0 || errno == EEXIST && isDirectory(path) { return }
    if errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
      try makeDirectories(String(path[..<slash]), mode: mode)
      if mkdir(path, mode) == 0 || errno == EEXIST && isDirectory(path) { return }
    }
    throw Failure(.cannotCreate, "cannot create the directory \(path)", found: systemErrorText())
  }

  static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    let saved = errno
    defer { errno = saved }
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }
}

extension RunID {
  /// The number that messages carry for a run of this name: FNV-1a of its bytes (Fowler, Noll, Vo), never 0, which
  /// stands for a process that does not know its run yet.
  public init(name: String) {
    let hash = name.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    self.init(max(hash, 1))
  }
}
