import Diagnostics
import Files
import Glibc
import Messaging
import Transport

/// The directory of a run's Unix-domain sockets. libzmq lets every process connect that can reach the file, so the directory
/// is what keeps other users out: mode 0700, in `$XDG_RUNTIME_DIR`, `$TMPDIR` or `/tmp`, the first in which the coordinator
/// can listen. Where it can in none, it listens at an abstract address, which has no file, and libzmq refuses other users.
package final class SocketDirectory: Sendable {
  package let path: String

  /// Makes the directory, or takes over the one that a dead coordinator of the same run has left, together with a server
  /// that outlived it and still listens there. Hold the run's lock.
  ///
  /// - Parameter listen: lets the coordinator listen. It cannot on a file system that knows no sockets.
  /// - Throws: what `listen` throws at the abstract address, or anywhere for a reason that is not the place.
  package init(
    of paths: RunPaths, runIdentifier: String, environment: [String: String],
    listening listen: (Endpoint) throws(Failure) -> Void = { _ in }
  ) throws(Failure) {
    for candidate in Self.candidates(for: paths, runIdentifier, environment) {
      do throws(Failure) {
        try Self.make(candidate)
        try listen(Endpoint(socketPath: "\(candidate)/coordinator"))
        path = candidate
        return
      } catch {
        Self.removeSockets(in: candidate) { !Self.isListenedAt($0) }
        rmdir(candidate)
        guard [.cannotCreate, .badConfiguration].contains(error.status) else { throw error }  // defence: socket-places
      }
    }
    path = "@\(Self.name(of: paths, runIdentifier))"
    try listen(coordinator)
  }

  /// Lets a coordinator listen in the directory of its run.
  ///
  /// - Returns: the directory, and the address that peers connect to.
  static func listening(
    _ transport: NodeTransport, of paths: RunPaths, runIdentifier: String
  ) throws(Failure) -> (directory: SocketDirectory, address: String) {
    var address = ""
    let directory = try SocketDirectory(
      of: paths, runIdentifier: runIdentifier, environment: NodeProcess.environment
    ) { (endpoint) throws(Failure) in
      address = try transport.listen(at: endpoint)
      guard !isReachable(endpoint) else { return }
      transport.close()
      throw Failure(.cannotCreate, "nothing can connect to \(endpoint), where the coordinator listens")
    }
    return (directory, address)
  }

  private static func make(_ path: String) throws(Failure) {
    // The server's socket has the longest name.
    _ = try Endpoint(socketPath: "\(path)/server-\(UInt64.max)")
    if mkdir(path, 0o700) == 0 { return }
    guard errno == EEXIST else { throw .cannot("create the socket directory \(path)", status: .cannotCreate) }
    guard isOurs(path) else {
      throw Failure(
        .cannotCreate, "cannot create the socket directory \(path)",
        found: "something else has that name, or its owner is another user")
    }
    guard chmod(path, 0o700) == 0 else { throw .cannot("protect the directory \(path)", status: .cannotCreate) }
    removeSockets(in: path) { !isListenedAt($0) }
  }

  /// Not a link, which another user could have put into a directory that all can write to.
  private static func isOurs(_ path: String) -> Bool {
    let status = FileSystem().status(of: path, followingLinks: false)
    return status?.kind == .directory && status?.owner == geteuid()
  }

  /// Removes what a coordinator that was killed has left.
  ///
  /// - Parameter isOver: no process of the run is alive; otherwise sockets with a listener stay.
  static func removeLeftover(
    of paths: RunPaths, runIdentifier: String, environment: [String: String], isOver: Bool
  ) {
    for path in candidates(for: paths, runIdentifier, environment) {
      removeSockets(in: path) { isOver || !isListenedAt($0) }
      rmdir(path)
    }
  }

  /// Whether peers reach a socket that listens there. Some file systems make the file and forget the socket behind it.
  private static func isReachable(_ endpoint: Endpoint) -> Bool {
    if case .ipc(let path) = endpoint, !path.hasPrefix("@") { isListenedAt(path) } else { true }
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
  private static func name(of paths: RunPaths, _ runIdentifier: String) -> String {
    let place = RunID(name: RunPaths.resolved(paths.directory) ?? paths.directory).value & 0xFFFF_FFFF
    return "descent-\(runIdentifier)-\(String(place, radix: 16))"
  }

  /// In the order in which they are tried.
  private static func candidates(
    for paths: RunPaths, _ runIdentifier: String, _ environment: [String: String]
  ) -> [String] {
    var parents: [String] = []
    for parent in [environment["XDG_RUNTIME_DIR"], environment["TMPDIR"], "/tmp"].compactMap(\.self)
    where parent.hasPrefix("/") && !parents.contains(parent) {
      parents.append(parent)
    }
    return parents.map { "\($0)/\(name(of: paths, runIdentifier))" }
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
    guard isOurs(directory) else { return }
    for name in (try? FileSystem().entries(of: directory)) ?? [] where isSuperfluous("\(directory)/\(name)") {
      unlink("\(directory)/\(name)")
    }
  }
}
