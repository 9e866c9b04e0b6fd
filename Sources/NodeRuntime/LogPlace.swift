import Diagnostics
import Files
import Glibc

/// Where the log of a process goes.
package struct LogPlace: Sendable, Equatable {
  /// Nil where it can go nowhere.
  package var path: String?
  /// Whether people have to be told, because they have not chosen it.
  package var isLocal = false

  package init(path: String? = nil, isLocal: Bool = false) { (self.path, self.isLocal) = (path, isLocal) }
}

extension NodeOptions {
  /// The file for the log of a process, in a directory that exists: the one that was chosen, that of the run, or a place of
  /// this host. The name of the file has that of the host, so that two hosts never write the same file.
  ///
  /// - Parameter name: "worker-1@host".
  /// - Throws: `cannotCreate` where the directory that was chosen, or that of the run, cannot be made.
  package func logPlace(of name: String) throws(Failure) -> LogPlace {
    let chosen = logDirectory ?? settings.runDirectory.map { RunPaths(directory: $0).logs }
    if let chosen {
      try FileSystem().makeDirectories(chosen, remedy: "Choose a writable place with --log-dir")
      return LogPlace(path: RunPaths.log(name, in: chosen))
    }
    guard let directory = Self.localLogDirectory() else { return LogPlace() }
    return LogPlace(path: RunPaths.log(name, in: directory), isLocal: true)
  }

  /// A place of this host for logs that belong to no run directory; nil where there is none.
  public static func localLogDirectory() -> String? {
    localLogDirectories(NodeProcess.environment, user: getuid()).first { directory in
      (try? FileSystem().makeDirectories(directory, permissions: 0o700)) != nil && isOwn(directory)
    }
  }

  /// Another user may have put something of that name into /tmp.
  private static func isOwn(_ directory: String) -> Bool {
    var status = stat()
    return lstat(directory, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR && status.st_uid == getuid()
      && access(directory, W_OK | X_OK) == 0
  }

  /// Where logs go that belong to no run directory, in the order of preference: the state of the user (XDG Base Directory
  /// Specification), and a directory for temporary files.
  package static func localLogDirectories(_ environment: [String: String], user: UInt32) -> [String] {
    func absolute(_ name: String) -> String? { environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil } }
    let state = absolute("XDG_STATE_HOME") ?? absolute("HOME").map { "\($0)/.local/state" }
    let temporary = "\(absolute("TMPDIR") ?? "/tmp")/descent-logs-\(user)"
    return [state.map { "\($0)/descent/logs" }, temporary].compactMap(\.self)
  }
}
