import Diagnostics
import Files
import Glibc
import Messaging

/// The keys of the processes of one host, or of several that share a directory:
///
///     allow-list      the public keys of all processes that may take part, on all hosts
///     NAME.key        the secret key of a process that runs here, readable by its owner alone
///     NAME.pub        its line of the allow-list, for the hosts that the process talks to
///     NAME.lease-N    the process that has reserved the key
public struct KeyDirectory: Sendable {
  public let path: String

  public init(path: String) { self.path = path }

  /// The processes of a run on one host, and one observer.
  public static func usualNames(workers: Int) -> [KeyName] {
    let texts = ["coordinator", "server"] + (0..<workers).map { "worker-\($0)" } + ["observer"]
    return texts.compactMap { KeyName($0) }
  }

  public var allowListPath: String { "\(path)/allow-list" }
  func secretPath(_ name: KeyName) -> String { "\(path)/\(name).key" }
  func publicPath(_ name: KeyName) -> String { "\(path)/\(name).pub" }

  public var exists: Bool { FileSystem().exists(path) }

  public func allowList() throws(Failure) -> AllowList {
    try AllowList(text: File(allowListPath, as: .trusted).text(), path: allowListPath)
  }

  /// The names whose secret keys are here.
  ///
  /// - Throws: `missingInput` where the directory cannot be read.
  public func names() throws(Failure) -> [KeyName] {
    let files = try FileSystem().entries(of: path, remedy: "Make keys with: descent keygen --output \(path)")
    return files.compactMap { $0.hasSuffix(".key") ? KeyName($0.dropLast(4)) : nil }.sorted()
  }

  /// Whether the keys are here that `usualNames` names for so many workers.
  public func hasUsualKeys(workers: Int) -> Bool {
    guard FileSystem().exists(allowListPath), let names = try? names() else { return false }
    return Set(Self.usualNames(workers: workers)).isSubset(of: names)
  }

  // MARK: Taking a key

  /// The key of a process of this role, reserved for as long as the result lives.
  ///
  /// A key belongs to one process at a time, so this is the first one that no other process has reserved; observers may
  /// share theirs. A process reserves a key by a lock (flock) and, where it can write to the directory, by a lease
  /// (`FileLease`), which other hosts see. Where it can do neither, the peers see to it that one process uses the key.
  ///
  /// - Parameters:
  ///   - name: the only key to consider.
  ///   - lease: how long the key stays reserved for a process that is seen no more; nil to find out what is wrong with the
  ///     keys, without a lease and without waiting for one.
  ///   - say: says for what this waits: the lease of a process on another host, if no other key is free.
  /// - Throws: `missingInput` without a key, `cannotCreate` when all are reserved, `badConfiguration` for a key that
  ///   other users can read, that is another role's, or that the allow-list contradicts, `badData` for a damaged file.
  public func take(
    for role: NodeRole, named name: KeyName? = nil, lease: Interval? = .seconds(7.5), say: (String) -> Void = { _ in }
  ) throws(Failure) -> Credentials {
    let candidates = try candidates(for: role, named: name)
    var unseen: [Reservation] = []
    var patience = Interval.seconds(0)
    for candidate in candidates {
      let file = try File(secretPath(candidate), as: .secret)
      if role == .observer { return try credentials(candidate, file, nil) }
      var reservation = Reservation(name: candidate, file: file, in: self, lease)
      switch try reservation.attempt(isOnly: candidates.count == 1) {
      case .reserved(let lease): return try credentials(candidate, file, lease)
      case .taken: continue
      case .unseen(let remaining):
        unseen.append(reservation)
        patience = max(patience, remaining)
      }
    }
    if !unseen.isEmpty {
      let names = unseen.map(\.name.description).joined(separator: ", ")
      say("waiting for the lease of the key \(names), up to \(patience)")
    }
    while !unseen.isEmpty {
      usleep(UInt32(clamping: patience.nanoseconds / 10_000))
      for index in unseen.indices.reversed() {
        switch try unseen[index].attempt(isOnly: candidates.count == 1) {
        case .reserved(let lease): return try credentials(unseen[index].name, unseen[index].file, lease)
        case .taken: unseen.remove(at: index)
        case .unseen: break
        }
      }
    }
    throw Failure(
      .cannotCreate, "other processes have taken every key for a \(role) in \(path)",
      found: candidates.map(\.description).joined(separator: ", "),
      remedy: role == .worker
        ? "Make one more: descent keygen --output \(path) --names worker-NAME" : "A run has one \(role)")
  }

  private func credentials(_ name: KeyName, _ file: File, _ lease: FileLease?) throws(Failure) -> Credentials {
    try Credentials(
      name: name, keys: Self.keys(in: file), access: AccessList(path: allowListPath), file: file, lease: lease)
  }

  /// The tries of a process to reserve a key.
  private struct Reservation {
    enum Outcome {
      case reserved(FileLease?)
      case taken
      case unseen(remaining: Interval)
    }

    let name: KeyName
    let file: File
    private let directory: String
    private let isChecked: Bool
    private var request: FileLease.Request

    init(name: KeyName, file: File, in directory: KeyDirectory, _ lease: Interval?) {
      (self.name, self.file, self.directory, isChecked) = (name, file, directory.path, lease == nil)
      request = FileLease.Request(
        "\(directory.path)/\(name).lease", of: "the key \(name)", length: lease ?? .seconds(0))
    }

    /// - Parameter isOnly: whether there is no other key to take.
    mutating func attempt(isOnly: Bool) throws(Failure) -> Outcome {
      let lock = try file.lock()
      do throws(Failure) {
        if lock == .held, try request.trustsLock { return .taken }
        if isChecked { return .reserved(nil) }
        switch try request.attempt(hasLock: lock == .acquired) {
        case .taken(let lease): return .reserved(lease)
        case .refused: return .taken
        case .unseen(_, let remaining): return .unseen(remaining: remaining)
        }
      } catch {
        // No lease can be written there, as on a read-only mount.
        switch lock {
        case .held: return .taken
        case .acquired: return .reserved(nil)
        case .unsupported:
          if isOnly { return .reserved(nil) }
          throw Failure(
            .badConfiguration,
            "cannot reserve a key in \(directory): its file system has no locks, and no file can be "
              + "written there", remedy: "Name the key of each process with --key")
        }
      }
    }
  }

  private func candidates(for role: NodeRole, named name: KeyName?) throws(Failure) -> [KeyName] {
    if let name {
      guard name.role == role else {
        throw Failure(.badConfiguration, "the key of a \(role) must be \(role) or \(role)-NAME, but is \(name)")
      }
      return [name]
    }
    let names = try names()
    let candidates = names.filter { $0.role == role }
    guard !candidates.isEmpty else {
      throw Failure(
        .missingInput, "\(path) holds no key for a \(role)",
        found: names.isEmpty ? "none at all" : names.map { "\($0).key" }.joined(separator: ", "),
        remedy: "Make one with: descent keygen --output \(path) --names \(role)")
    }
    return candidates
  }

  private static func keys(in file: File) throws(Failure) -> KeyPair {
    var values: [Substring: Substring] = [:]
    for line in try file.text().split(whereSeparator: \.isNewline) where !line.hasPrefix("#") {
      let words = line.split(whereSeparator: \.isWhitespace)
      if words.count == 2 { values[words[0]] = words[1] }
    }
    guard let publicText = values["public"], let secretText = values["secret"],
      let keys = KeyPair(publicText: publicText, secretText: secretText)
    else {
      throw Failure(.badData, "\(file.path) must hold the two halves of a key pair: it is no key file, or is damaged")
    }
    return keys
  }

  // MARK: Making keys

  /// Makes a key pair for each name and adds them to the allow-list. Creates the directory if it does not exist.
  ///
  /// - Throws: `cannotCreate` if a name has a key here already: keys are never overwritten, and nothing is made then.
  public func generate(_ names: [KeyName]) throws(Failure) -> [AllowList.Entry] {
    let files = FileSystem()
    try files.makeDirectories(path, permissions: 0o700)
    var listed = files.exists(allowListPath) ? try allowList().entries : []
    for name in names {
      let isListed = listed.contains { $0.name == name }
      guard !isListed, !files.exists(secretPath(name)), !files.exists(publicPath(name)) else {
        throw Failure(
          .cannotCreate, "\(name) has a key in \(path) already",
          remedy: "To replace it, remove \(name).key, \(name).pub and its line of the allow-list first")
      }
    }
    var made: [AllowList.Entry] = []
    for name in names {
      let keys = KeyPair.generate()
      let entry = AllowList.Entry(name: name, key: keys.publicKey)
      try files.replace(secretPath(name), with: Self.text(of: keys, name), permissions: 0o600)
      try files.replace(publicPath(name), with: entry.line + "\n", permissions: 0o644)
      made.append(entry)
    }
    listed += made
    // Whatever the umask: roles of other users must be able to read the list.
    try files.replace(allowListPath, with: Self.text(of: listed), permissions: 0o644)
    return made
  }

  private static func text(of keys: KeyPair, _ name: KeyName) -> String {
    """
    # The secret key of \(name). Keep it on the host of that process, readable by its user alone.
    public \(keys.publicKey)
    secret \(keys.secretText)

    """
  }

  private static func text(of entries: [AllowList.Entry]) -> String {
    """
    # The processes that may take part: a name, which begins with the role, and a public key. The same on all hosts.
    # Adding or removing a key takes effect within a second; no process needs a restart.

    """ + entries.map { $0.line + "\n" }.joined()
  }
}

/// The keys of a process and the allow-list of its peers. Holds the lock on its key file while it lives.
public final class Credentials: Sendable {
  public let name: KeyName
  let keys: KeyPair
  let access: AccessList
  /// Locked as long as this value lives.
  private let file: File
  private let lease: FileLease?

  /// - Throws: `badConfiguration` if the allow-list knows another key under this name.
  init(name: KeyName, keys: KeyPair, access: AccessList, file: File, lease: FileLease?) throws(Failure) {
    self.name = name
    self.keys = keys
    self.access = access
    (self.file, self.lease) = (file, lease)
    if let listed = access.list.key(of: name), listed != keys.publicKey {
      throw Failure(
        .badConfiguration,
        "\(access.path) has another key for \(name) (fingerprint \(listed.fingerprint)) than \(file.path) "
          + "(\(keys.publicKey.fingerprint))")
    }
    // A core file would hold the secret key.
    var none = rlimit(rlim_cur: 0, rlim_max: 0)
    setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
  }

  public var fingerprint: String { keys.publicKey.fingerprint }

  /// Gives the key back, whatever else holds this value: a process of another host may take it at once.
  package func release() { lease?.release() }

  /// The key that a node must prove to hold.
  /// - Throws: `badConfiguration` if the allow-list does not have it.
  func requireKey(of name: KeyName) throws(Failure) -> PublicKey {
    guard let key = access.list.key(of: name) else {
      throw Failure(
        .badConfiguration, "\(access.path) does not name the \(name)",
        remedy: "Add the line of \(name).pub, as it is on the host of the \(name)")
    }
    return key
  }
}

/// How a process authenticates its peers.
public enum ConnectionSecurity: Sendable {
  /// Not at all: every process that reaches the address is a peer. For Unix-domain sockets in a private directory and
  /// for loopback; for other addresses only where the user has insisted on it.
  case plaintext(beyondThisHost: Bool)
  /// CurveZMQ: all connections are encrypted, and both ends prove to hold a key that the other knows.
  case keys(Credentials)

  package var credentials: Credentials? { if case .keys(let credentials) = self { credentials } else { nil } }
}

extension Endpoint {
  /// Refuses an address beyond this host without keys, because any process there could pass for a peer.
  ///
  /// - Throws: `badConfiguration`.
  public func requireProtection(by security: ConnectionSecurity) throws(Failure) {
    guard isBeyondThisHost, case .plaintext(beyondThisHost: false) = security else { return }
    throw Failure(
      .badConfiguration, "an address beyond this host needs keys: \(self)",
      remedy: "Make keys with `descent keygen --output DIR` and pass --keys DIR, or use 127.0.0.1, ::1 or localhost. "
        + "See Deploy/security.md")
  }
}
