import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import Transport

/// The checks of `descent doctor` that concern places: the directory of runs, sockets, ports, shared memory and keys. What
/// they create is gone when they return.
package struct PlaceChecks {
  /// Bytes that a small run takes; less is an error, and ten times that a warning.
  private static let leastRoom = 32 << 20
  private static let sequenceOfKeys = [NodeRole.coordinator, .server, .worker]

  /// The directory that is checked: the first one on the way to that of the run which is there.
  package let directory: String
  private let keys: String?

  /// - Parameters:
  ///   - runDirectory: of the run that is to be; nil for one in `runs`.
  ///   - keys: the directory of keys; nil for none.
  package init(runDirectory: String?, keys: String?) {
    var place = RunPaths(directory: runDirectory ?? "runs").directory
    while !FileSystem().exists(place), place != FileSystem.split(place).directory {
      place = FileSystem.split(place).directory
    }
    (directory, self.keys) = (place, keys)
  }

  package func all() -> [Finding] {
    [
      Finding("run directory") { () throws(Failure) in try runDirectory() },
      Finding("sockets") { () throws(Failure) in try sockets() },
      Finding("ports") { () throws(Failure) in try ports() },
      Finding("shared memory") { sharedMemory() },
      Finding("keys") { () throws(Failure) in try keyFiles() },
    ]
  }

  // MARK: - Files

  /// Makes a directory, uses it as a run does, and removes it.
  private func runDirectory() throws(Failure) -> Finding.Result {
    let files = FileSystem()
    let place = files.temporaryPath(for: "\(directory)/doctor")
    try files.makeDirectories(place, permissions: 0o700, remedy: RunPaths.remedy)
    let lacks: [(what: String, consequence: String)]
    do throws(Failure) {
      lacks = try shortcomings(in: place)
      try files.removeDirectory(place)
    } catch {
      try? files.removeDirectory(place)
      throw error
    }
    let kind = Self.kindOfFileSystem(of: directory, mounts: Processors.contents(of: "/proc/self/mounts"))
    return try room("\(directory), \(kind)", lacks)
  }

  private func shortcomings(in place: String) throws(Failure) -> [(what: String, consequence: String)] {
    let files = FileSystem()
    // Written, made durable, and given its name.
    try files.replace("\(place)/file", with: "The doctor was here.\n")
    guard try files.text(of: "\(place)/file") == "The doctor was here.\n" else {
      throw Failure(.inputOutput, "\(place)/file does not hold what was written to it")
    }
    var lacks: [(String, String)] = []
    let (first, second) = (try File("\(place)/lock", for: .locking), try File("\(place)/lock", for: .locking))
    let outcomes = (try first.lock(), try second.lock())
    if outcomes.0 != .acquired {
      lacks.append(("file locks", "after a crash another start waits for the lease of the run"))
    } else if outcomes.1 != .held {
      lacks.append(("file locks that exclude", "two coordinators could take the same run"))
    }
    if let reason = files.reasonAgainstLinks(in: place) {
      lacks.append(("symbolic links (\(reason))", "latest and best are files that name a checkpoint"))
    }
    if let reason = files.reasonAgainstSynchronizing(place) {
      lacks.append(("fsync of directories (\(reason))", "after a power cut the newest checkpoints may be missing"))
    }
    if try MappedFile(path: "\(place)/file").isCopied {
      lacks.append(("mapped files", "each process holds a copy of data that lie there"))
    }
    return lacks
  }

  private func room(
    _ found: String, _ lacks: [(what: String, consequence: String)]
  ) throws(Failure) -> Finding.Result {
    var system = statvfs()
    guard statvfs(directory, &system) == 0 else { return .fine(found) }
    let bytes = Int(clamping: UInt64(system.f_bavail).multipliedReportingOverflow(by: UInt64(system.f_frsize)).0)
    let found = "\(found), \(grouped(UInt64(max(0, bytes) >> 20))) MB free"
    // A file system without a limit of files has none in total.
    guard bytes >= Self.leastRoom, system.f_files == 0 || system.f_favail >= 100 else {
      throw Failure(
        .cannotCreate, "\(found), \(system.f_favail) files", remedy: "Free some space, or choose another --run-dir")
    }
    guard lacks.isEmpty else {
      return .poor(
        "\(found), without \(lacks.map(\.what).joined(separator: ", "))",
        remedy: "Choose a local --run-dir, or accept that \(lacks.map(\.consequence).joined(separator: "; "))")
    }
    guard bytes >= 10 * Self.leastRoom else {
      return .poor(found, remedy: "Checkpoints and data sets may not fit: free some space")
    }
    return .fine(found)
  }

  /// "ext4", "nfs4".
  ///
  /// - Parameter mounts: /proc/self/mounts.
  package static func kindOfFileSystem(of path: String, mounts: String?) -> String {
    let place = RunPaths.resolved(path) ?? path
    var best = (length: -1, kind: "file system unknown")
    for line in mounts?.split(separator: "\n") ?? [] {
      let fields = line.split(separator: " ")
      guard fields.count > 2 else { continue }
      // A blank is written as its octal number.
      let point = fields[1].replacing("\\040", with: " ")
      let isAbove = point == "/" || place == point || place.hasPrefix(point + "/")
      // The last of several at one place covers the others.
      if isAbove, point.count >= best.length { best = (point.count, String(fields[2])) }
    }
    return best.kind
  }

  // MARK: - Messages

  private func transport() throws(Failure) -> NodeTransport {
    NodeTransport(
      role: .coordinator, incarnation: .draw(),
      context: try MessagingContext(security: .plaintext(beyondThisHost: false), lease: .seconds(2)))
  }

  private func sockets() throws(Failure) -> Finding.Result {
    let transport = try transport()
    defer { transport.close() }
    let (sockets, address) = try SocketDirectory.listening(
      transport, of: RunPaths(directory: directory), runIdentifier: "doctor-\(FileSystem().randomSuffix())")
    defer { sockets.remove() }
    guard sockets.path.hasPrefix("@") else { return .fine("in \(FileSystem.split(sockets.path).directory)") }
    return .poor(
      address,
      remedy: "No directory takes sockets: they have addresses without files. Set TMPDIR to one of a local file system")
  }

  private func ports() throws(Failure) -> Finding.Result {
    let transport = try transport()
    defer { transport.close() }
    return .fine("listened at \(try transport.listen(at: .tcp(host: "127.0.0.1", port: nil)))")
  }

  private func sharedMemory() -> Finding.Result {
    do throws(Failure) {
      let bytes = 1 << 20
      _ = try MemoryChannels(weightsByteCount: bytes, count: 2)
      return .fine("\(2 * bytes >> 20) MB without a name (memfd_create)")
    } catch {
      return .poor(
        error.description,
        remedy: "Steps take longer. A sandbox or container must allow memfd_create and /proc/self/fd")
    }
  }

  // MARK: - Keys

  private func keyFiles() throws(Failure) -> Finding.Result {
    guard let keys else { return .fine("none: no connection leaves this host") }
    let directory = KeyDirectory(path: keys)
    guard directory.exists else {
      return .poor("\(keys) does not exist", remedy: "Make keys with: descent keygen --output \(keys)")
    }
    let names = try directory.names()
    _ = try directory.allowList()
    let roles = Self.sequenceOfKeys.filter { role in names.contains { $0.role == role } }
    // Of other users' eyes, of the allow-list, and whole.
    for role in roles { _ = try directory.take(for: role) }
    let found = "\(keys): \(names.map(\.description).joined(separator: ", "))"
    if let permissions = FileSystem().status(of: keys)?.permissions, permissions & 0o022 != 0 {
      return .poor(found, remedy: "Others may put keys into \(keys): chmod go-w \(keys)")
    }
    guard roles.count == Self.sequenceOfKeys.count else {
      let missing = Self.sequenceOfKeys.filter { !roles.contains($0) }.map { "\($0)" }.joined(separator: ", ")
      return .poor(found, remedy: "A run on this host alone needs keys of these roles as well: \(missing)")
    }
    return .fine(found)
  }
}
