import CSodium
import Diagnostics
import Files
import Glibc
import Messaging
import Synchronization

/// The processes that may take part: a name and a public key on each line, separated by blanks. Lines that begin with
/// `#` are comments. One name has one key and one key one name, so that a key identifies its holder.
public struct AllowList: Sendable {
  public struct Entry: Sendable, Hashable {
    public let name: KeyName
    public let key: PublicKey

    /// The line of the file. It is also the user id of the connections of the key's owner, so that a key is told from
    /// its replacement under the same name.
    public var line: String { "\(name) \(key)" }
  }

  /// More than any cluster has processes.
  public static let maximumEntries = 4096

  /// In the order of the file.
  public let entries: [Entry]

  /// - Parameter path: for messages.
  /// - Throws: `badConfiguration`, with the line, for a line that is not a name and a key, and for a name or key listed
  ///   twice.
  public init(text: String, path: String) throws(Failure) {
    var entries: [Entry] = []
    var names: Set<KeyName> = []
    var keys: Set<PublicKey> = []
    for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
      let words = line.split { $0 == " " || $0 == "\t" }
      guard let first = words.first, !first.hasPrefix("#") else { continue }
      guard words.count == 2, let name = KeyName(first), let key = PublicKey(words[1]) else {
        throw Failure(
          .badConfiguration,
          "\(path):\(index + 1) must be a name (\(KeyName.expectation)) and a public key of \(PublicKey.textCount) "
            + "characters, but is \"\(line.prefix(100))\"")
      }
      guard names.insert(name).inserted, keys.insert(key).inserted else {  // defence: listed-once
        throw Failure(
          .badConfiguration, "\(path):\(index + 1): \(name) or its key is listed twice",
          remedy: "List each name and each key once")
      }
      entries.append(Entry(name: name, key: key))
    }
    guard entries.count <= Self.maximumEntries else {
      throw Failure(
        .badConfiguration, "\(path) must list at most \(Self.maximumEntries) keys, but lists \(entries.count)")
    }
    self.entries = entries
  }

  /// The entry of a key. Compares with all of them, so that the time does not reveal where the list begins to differ.
  package func entry(of key: [UInt8]) -> Entry? {
    var found: Entry?
    for entry in entries where entry.key.isEqual(to: key) { found = entry }
    return found
  }

  package func key(of name: KeyName) -> PublicKey? { entries.first { $0.name == name }?.key }
}

/// The allow-list of a process that listens, read again when the file changes, so that keys can be added and withdrawn
/// while the cluster runs.
final class AccessList: Sendable {
  private struct State {
    var list: AllowList
    var lines: Set<String>
    var version: FileStatus?
    var problem: Failure?

    init(readingFrom path: String) throws(Failure) {
      let file = try File(path, as: .trusted)
      version = try file.status()
      list = try AllowList(text: file.text(), path: path)
      lines = Set(list.entries.map(\.line))
    }
  }

  let path: String
  private let state: Mutex<State>
  private let changes = Atomic<UInt64>(0)

  /// How often the list has changed.
  var changeCount: UInt64 { changes.load(ordering: .relaxed) }

  init(path: String) throws(Failure) {
    self.path = path
    state = Mutex(try State(readingFrom: path))
  }

  var list: AllowList { state.withLock { $0.list } }

  /// Reads the file again if it has changed. A list that cannot be used changes only `problem`.
  func refresh() {
    let version = FileSystem().status(of: path)
    guard version != state.withLock({ $0.version }) else { return }
    do throws(Failure) {
      let newest = try State(readingFrom: path)
      state.withLock { $0 = newest }
      changes.add(1, ordering: .relaxed)
    } catch {
      state.withLock {
        $0.version = version
        $0.problem = error
      }
    }
  }

  /// Why the newest version of the list is not in force; reported once.
  func takeProblem() -> Failure? { state.withLock { $0.problem.take() } }

  func entry(of key: [UInt8]) -> AllowList.Entry? { state.withLock { $0.list.entry(of: key) } }

  /// Whether a key that was accepted under this line may still take part.
  func holds(_ line: String) -> Bool { state.withLock { $0.lines.contains(line) } }
}

/// Small files that access depends on.
extension File {
  package enum Protection {
    /// Only its owner can read or change it.
    case secret
    /// Everyone may read it; only its owner can change it, or put another file in its place.
    case trusted
  }

  private static let maximumBytes = 1 << 20

  /// Opens a file for reading; refuses it if users other than its owner could have read or changed it.
  ///
  /// - Throws: `missingInput` when it does not exist or cannot be read, `badConfiguration` when it is not protected.
  convenience init(_ path: String, as protection: Protection) throws(Failure) {
    do throws(Failure) {
      try self.init(path, for: protection == .secret ? .readingLocked : .reading)
    } catch {
      throw Self.explained(error, path)
    }
    let status = try status()
    // defence: linked-secrets
    guard status.kind == .file else { throw Failure(.badConfiguration, "\(path) is not a regular file") }
    try Self.requireOwner(of: status, path)
    let isFixed = Self.isReadOnly(path)
    let forbidden = Self.forbiddenPermissions(protection, owner: status.owner, user: geteuid(), isFixed: isFixed)
    guard status.permissions & forbidden == 0 else {
      let isSecret = protection == .secret
      let modes = isSecret ? (forbidden & 0o040 == 0 ? "640 or 440" : "600 or 400") : "644 or less"
      throw Failure(
        .badConfiguration,
        "users other than its owner can \(isSecret ? "reach" : "change") \(path): its mode must be \(modes), but is "
          + String(status.permissions, radix: 8),
        remedy: Self.remedy(protection, status, path, isFixed: isFixed))
    }
    if protection == .trusted { try Self.requireTrustedDirectory(of: path) }
  }

  /// The permissions that a file must not have.
  ///
  /// A secret is for its owner alone, as with ssh. Where root owns it and the process is not root, it can only have been
  /// given by its group: so do secrets of Kubernetes (fsGroup) and credentials of systemd, and PostgreSQL accepts them as
  /// well. A read-only mount is such a gift for root too.
  ///
  /// - Parameter isFixed: whether the file system is mounted read-only.
  package static func forbiddenPermissions(
    _ protection: Protection, owner: UInt32, user: UInt32, isFixed: Bool
  ) -> UInt32 {
    guard protection == .secret else { return 0o022 }
    // defence: secret-of-root
    return owner == 0 && (user != 0 || isFixed) ? 0o037 : 0o077
  }

  /// What the user can do: the mode of a file on a read-only mount cannot be changed, and that of a file of root by root alone.
  private static func remedy(
    _ protection: Protection, _ status: FileStatus, _ path: String, isFixed: Bool
  ) -> String {
    let isSecret = protection == .secret
    if isFixed {
      return "It is mounted read-only: mount it with mode \(isSecret ? "0400" : "0444") (Kubernetes: defaultMode; "
        + "Docker: mode and uid of the secret), or copy it into a directory of user \(geteuid()), with mode "
        + (isSecret ? "600" : "644")
    }
    let isOwn = status.owner == geteuid()
    let change = isSecret ? (isOwn ? "600" : "440") : "go-w"
    let command = "chmod \(change) \(path)" + (isOwn ? "" : " as root, with a group of user \(geteuid())")
    return isSecret ? "Make new keys if another user may have read it, and \(command)" : command
  }

  private static func isReadOnly(_ path: String) -> Bool {
    var system = statvfs()
    return statvfs(path, &system) == 0 && system.f_flag & UInt(ST_RDONLY) != 0
  }

  /// With the owner and the mode of a file that exists and cannot be read.
  private static func explained(_ failure: Failure, _ path: String) -> Failure {
    guard let status = FileSystem().status(of: path), access(path, R_OK) != 0, errno == EACCES else { return failure }
    var failure = failure
    failure.remedy =
      "It belongs to user \(status.owner) with mode \(String(status.permissions, radix: 8)), but this process runs as user "
      + "\(geteuid()): make it this user's, or root's with mode 440 and a group of this user (Kubernetes: fsGroup)"
    return failure
  }

  /// Call it once.
  /// - Throws: `badData` for a file that is too long or not text.
  func text() throws(Failure) -> String {
    var bytes = try read(limit: Self.maximumBytes)
    defer { sodium_memzero(&bytes, bytes.count) }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(.badData, "\(path) is not text in UTF-8")
    }
    return String(text.withoutByteOrderMark)
  }

  /// A user that may write to the directory may replace the list in it.
  private static func requireTrustedDirectory(of path: String) throws(Failure) {
    let directory = FileSystem.split(path).directory
    guard let status = FileSystem().status(of: directory) else { return }
    try requireOwner(of: status, directory)
    guard status.permissions & 0o022 == 0 || status.permissions & S_ISVTX != 0 else {
      throw Failure(
        .badConfiguration,
        "users other than its owner can change the directory \(directory): its mode must be 755 or less, but is "
          + String(status.permissions, radix: 8),
        remedy: isReadOnly(directory)
          ? "It is mounted read-only: copy the keys into a directory of user \(geteuid())"
          : "chmod go-w \(directory)" + (status.owner == geteuid() ? "" : " as user \(status.owner)"))
    }
  }

  private static func requireOwner(of status: FileStatus, _ path: String) throws(Failure) {
    guard status.owner == geteuid() || status.owner == 0 else {
      throw Failure(
        .badConfiguration, "\(path) must belong to user \(geteuid()) or root, but belongs to user \(status.owner)",
        remedy: "Run as that user, or copy the keys into a directory of user \(geteuid())")
    }
  }
}
