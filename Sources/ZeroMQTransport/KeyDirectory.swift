import Diagnostics
import Glibc
import Messaging

/// The keys of the processes of one host:
///
///     allow-list      the public keys of all processes that may take part, on all hosts
///     NAME.key        the secret key of a process that runs here, for its owner alone
///     NAME.pub        its line of the allow-list, for the hosts that the process talks to
public struct KeyDirectory: Sendable {
  public let path: String

  public init(path: String) { self.path = path }

  /// The processes of a run on one host, and somebody who asks how it goes.
  public static func usualNames(workers: Int) -> [KeyName] {
    let texts = ["coordinator", "server"] + (0..<workers).map { "worker-\($0)" } + ["observer"]
    return texts.compactMap { KeyName($0) }
  }

  public var allowListPath: String { "\(path)/allow-list" }
  func secretPath(_ name: KeyName) -> String { "\(path)/\(name).key" }
  func publicPath(_ name: KeyName) -> String { "\(path)/\(name).pub" }

  public var exists: Bool { access(path, F_OK) == 0 }

  public func allowList() throws(Failure) -> AllowList {
    try AllowList(text: ProtectedFile.read(allowListPath, as: .trusted).text, path: allowListPath)
  }

  /// The names whose secret keys are here.
  ///
  /// - Throws: `missingInput` where the directory cannot be read.
  public func names() throws(Failure) -> [KeyName] {
    guard let directory = opendir(path) else {
      throw Failure(
        .missingInput, "cannot read the key directory \(path)", found: String(cString: strerror(errno)),
        remedy: "Make keys with: descent keygen --output \(path)")
    }
    defer { closedir(directory) }
    var names: [KeyName] = []
    while let entry = readdir(directory) {
      let file = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
      }
      if file.hasSuffix(".key"), let name = KeyName(file.dropLast(4)) { names.append(name) }
    }
    return names.sorted()
  }

  // MARK: Taking a key

  /// The key of a process of this role, for as long as the result lives.
  ///
  /// A key belongs to one process at a time, so the first one that no other process of this host has taken is taken;
  /// observers, who only ask, may share theirs.
  /// - Parameter name: the key to take, and no other.
  /// - Throws: `missingInput` where there is none, `cannotCreate` where all are taken, `badConfiguration` for a key that
  ///   others can read, that is another role's, or that the allow-list contradicts, `badData` for a damaged file.
  public func take(for role: NodeRole, named name: KeyName? = nil) throws(Failure) -> Credentials {
    let candidates = try candidates(for: role, named: name)
    for candidate in candidates {
      let file = try ProtectedFile.OpenFile(secretPath(candidate), as: .secret)
      guard role == .observer || file.lock() else { continue }
      return try Credentials(
        name: candidate, keys: Self.keys(in: file), access: AccessList(path: allowListPath), file: file)
    }
    let taken = candidates.map(\.description).joined(separator: ", ")
    throw Failure(
      .cannotCreate, "another process of this host has taken every key for a \(role) in \(path)", found: taken,
      remedy: role == .worker
        ? "Make one more: descent keygen --output \(path) --names worker-NAME" : "A run has one \(role)")
  }

  private func candidates(for role: NodeRole, named name: KeyName?) throws(Failure) -> [KeyName] {
    if let name {
      guard name.role == role else {
        throw Failure(.badConfiguration, "the key \(name) is not for a \(role)", expected: "\(role)…")
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

  private static func keys(in file: ProtectedFile.OpenFile) throws(Failure) -> KeyPair {
    var values: [Substring: Substring] = [:]
    for line in try file.text().split(separator: "\n") where !line.hasPrefix("#") {
      let words = line.split(separator: " ")
      if words.count == 2 { values[words[0]] = words[1] }
    }
    guard let publicText = values["public"], let secretText = values["secret"],
      let keys = KeyPair(publicText: publicText, secretText: secretText)
    else {
      throw Failure(.badData, "\(file.path) is no key file, or damaged", expected: "the halves of one key pair")
    }
    return keys
  }

  // MARK: Making keys

  /// Makes a key pair for each name, in a directory that is made if it is not there, and adds them to the allow-list.
  ///
  /// - Throws: `cannotCreate` if a name has a key here already: keys are never overwritten; nothing is made then.
  public func generate(_ names: [KeyName]) throws(Failure) -> [AllowList.Entry] {
    try makeDirectory()
    var listed = access(allowListPath, F_OK) == 0 ? try allowList().entries : []
    for name in names {
      let isListed = listed.contains { $0.name == name }
      guard !isListed, access(secretPath(name), F_OK) != 0, access(publicPath(name), F_OK) != 0 else {
        throw Failure(
          .cannotCreate, "\(name) has a key in \(path) already",
          remedy: "To replace it, remove \(name).key, \(name).pub and its line of the allow-list first")
      }
    }
    var made: [AllowList.Entry] = []
    for name in names {
      let keys = KeyPair.generate()
      let entry = AllowList.Entry(name: name, key: keys.publicKey)
      try NewFile.write(Self.text(of: keys, name), to: secretPath(name), mode: 0o600)
      try NewFile.write(entry.line + "\n", to: publicPath(name), mode: 0o644)
      made.append(entry)
    }
    listed += made
    try NewFile.replace(allowListPath, with: Self.text(of: listed), mode: 0o644)
    return made
  }

  private func makeDirectory() throws(Failure) {
    guard mkdir(path, 0o700) != 0, errno != EEXIST else { return }
    throw Failure(.cannotCreate, "cannot create the directory \(path)", found: String(cString: strerror(errno)))
  }

  private static func text(of keys: KeyPair, _ name: KeyName) -> String {
    """
    # The secret key of \(name). It stays on the host of that process and is for its user's eyes alone.
    public \(keys.publicKey)
    secret \(keys.secretText)

    """
  }

  private static func text(of entries: [AllowList.Entry]) -> String {
    """
    # Who may take part: a name, which begins with the role, and a public key. The same on all hosts.
    # A key that is added or removed here counts from the next second on; no process has to be started again.

    """ + entries.map { $0.line + "\n" }.joined()
  }
}

/// Files of keys: never half there, and never under a wider mode than they end with.
private enum NewFile {
  /// - Throws: `cannotCreate`, also where there is a file already.
  static func write(_ text: String, to path: String, mode: mode_t) throws(Failure) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
    guard descriptor >= 0 else { throw failure(path) }
    let bytes = Array(text.utf8)
    // Whatever the mask of this process: a list that others cannot read is no use to a role of another user.
    let isWritten =
      fchmod(descriptor, mode) == 0 && Glibc.write(descriptor, bytes, bytes.count) == bytes.count
      && fsync(descriptor) == 0
    let failure = failure(path)
    close(descriptor)
    guard isWritten else {
      unlink(path)
      throw failure
    }
  }

  static func replace(_ path: String, with text: String, mode: mode_t) throws(Failure) {
    let temporary = "\(path).\(getpid())"
    try write(text, to: temporary, mode: mode)
    guard rename(temporary, path) == 0 else {
      let failure = failure(path)
      unlink(temporary)
      throw failure
    }
  }

  private static func failure(_ path: String) -> Failure {
    Failure(.cannotCreate, "cannot write \(path)", found: String(cString: strerror(errno)))
  }
}
