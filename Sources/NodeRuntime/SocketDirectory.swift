import Diagnostics
import Files
import Glibc
import Messaging
import Transport

/// The directory of a run's Unix-domain sockets. libzmq lets every process connect that can reach the file, so the directory
/// is what keeps other users out: mode 0700, in `$XDG_RUNTIME_DIR` or else in `/tmp`.
package final class SocketDirectory: Sendable {
  package let path: String

  /// Makes the directory, or takes over the one that a dead coordinator of the same run has left, together with a server
  /// that outlived it and still listens there. Hold the run's lock.
  ///
  /// - Throws: `cannotCreate` when something else has the name, such as another user's directory.
  package init(of paths: RunPaths, runIdentifier: String, environment: [String: String]) throws(Failure) {
    path = Self.path(of: paths, runIdentifier, environment)
    if mkdir(path, 0o700) == 0 { return }
    guard errno == EEXIST else { throw failure(ErrorNumber.last.text) }
    guard let status = FileSystem().status(of: path, followingLinks: false), status.kind == .directory,
      status.owner == geteuid()
    else { throw failure("something else has that name, or its owner is another user") }
    guard chmod(path, 0o700) == 0 else { throw failure(ErrorNumber.last.text) }
    Self.removeSockets(in: path) { !Self.isListenedAt($0) }
  }

  private func failure(_ found: String) -> Failure {
    Failure(
      .cannotCreate, "cannot create the socket directory \(path)", found: found,
      remedy: "Point XDG_RUNTIME_DIR to a directory of your own")
  }

  /// Removes what a coordinator that was killed has left.
  ///
  /// - Parameter isOver: no process of the run is alive; otherwise sockets with a listener stay.
  static func removeLeftover(
    of paths: RunPaths, runIdentifier: String, environment: [String: String], isOver: Bool
  ) {
    let path = path(of: paths, runIdentifier, environment)
    removeSockets(in: path) { isOver || !isListenedAt($0) }
    rmdir(path)
  }

  /// Whether a process has this socket open. A file that is no socket has no owner.
  private static func isListenedAt(_ path: String) -> Bool {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { return true }
    defer { close(descriptor) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let fits = withUnsafeMutableBytes(of: &address.sun_path) { target in
      guard path.utf8.count < target.count else { return false }
      target.copyBytes(from: path.utf8)
      return true
    }
    guard fits else { return false }
    let status = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    // A full queue belongs to a process as well.
    return status == 0 || errno == EAGAIN
  }

  /// The run's name alone would not do: a copy of a run directory is another run with the same name, and the lock
  /// that allows to replace the sockets is that of the directory.
  private static func path(of paths: RunPaths, _ runIdentifier: String, _ environment: [String: String]) -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let resolved =
      realpath(paths.directory, &buffer) == nil
      ? paths.directory : String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    let place = String(RunID(name: resolved).value & 0xFFFF_FFFF, radix: 16)
    return "\(parent(environment))/descent-\(runIdentifier)-\(place)"
  }

  private static func parent(_ environment: [String: String]) -> String {
    guard let named = environment["XDG_RUNTIME_DIR"], named.hasPrefix("/"),
      FileSystem().kind(of: named, followingLinks: true) == .directory, access(named, W_OK) == 0
    else { return "/tmp" }
    return named
  }

  /// Where the coordinator listens.
  var coordinator: Endpoint { get throws(Failure) { try Endpoint(socketPath: "\(path)/coordinator") } }

  /// Removes the directory and the sockets in it; does nothing where there is none. Safe at any time: only plain system
  /// calls.
  package func remove() {
    Self.removeSockets(in: path) { _ in true }
    rmdir(path)
  }

  private static func removeSockets(in directory: String, where isSuperfluous: (String) -> Bool) {
    for name in (try? FileSystem().entries(of: directory)) ?? [] where isSuperfluous("\(directory)/\(name)") {
      unlink("\(directory)/\(name)")
    }
  }
}
