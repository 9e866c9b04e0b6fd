import Foundation
import Synchronization

/// A directory of its own, readable by its owner only and removed with the last reference to it.
public final class TemporaryDirectory: Sendable {
  public let path: String

  public var url: URL { URL(fileURLWithPath: path) }

  /// Stops the tests where no directory can be created: none of those that need one could run.
  public init() {
    let files = FileManager.default
    // Tests/Evidence shows no names of temporary directories: Scripts/faults/table.py knows them by this pattern.
    path = "\(files.temporaryDirectory.path)/descent-test-\(UUID().uuidString.prefix(8))"
    do {
      try files.createDirectory(
        atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
    } catch {
      preconditionFailure("cannot create \(path): \(error)")
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// A directory for the time of `body`.
  public static func with<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let directory = TemporaryDirectory()
    return try withExtendedLifetime(directory) { try body(directory.url) }
  }

  /// Writes a file, with its directories, and returns its path.
  @discardableResult
  public func write(_ bytes: some Sequence<UInt8>, to name: String) throws -> String {
    let file = url.appendingPathComponent(name)
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: file)
    return file.path
  }

  /// A directory for all tests of this process, removed when it exits.
  public static func untilExit() -> TemporaryDirectory {
    let directory = TemporaryDirectory()
    kept.withLock { kept in
      if kept.isEmpty { atexit { TemporaryDirectory.kept.withLock { $0 = [] } } }
      kept.append(directory)
    }
    return directory
  }

  private static let kept = Mutex<[TemporaryDirectory]>([])
}
