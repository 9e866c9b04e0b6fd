import Diagnostics
import Files
import Messaging
import Synchronization

/// The processes that may take part: a name and a public key on each line, separated by blanks. Lines that begin with
/// `#` are comments. One name has one key and one key one name, so that a key identifies its holder.
public struct AllowList: Sendable {
  public struct Entry: Sendable, Hashable {
    public let name: KeyName
    public let key: PublicKey

    public init(name: KeyName, key: PublicKey) {
      self.name = name
      self.key = key
    }

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
          .badConfiguration, "\(path):\(index + 1): not a name and a public key", found: "\"\(line.prefix(100))\"",
          expected: "\(KeyName.expectation), and a key of \(PublicKey.textCount) characters")
      }
      guard names.insert(name).inserted, keys.insert(key).inserted else {  // defence: listed-once
        throw Failure(
          .badConfiguration, "\(path):\(index + 1): \(name) or its key is listed twice",
          expected: "each name and each key once")
      }
      entries.append(Entry(name: name, key: key))
    }
    guard entries.count <= Self.maximumEntries else {
      throw Failure(
        .badConfiguration, "\(path) has too many keys", found: "\(entries.count)",
        expected: "at most \(Self.maximumEntries)")
    }
    self.entries = entries
  }

  /// The entry of a key. Compares with all of them, so that the time does not reveal where the list begins to differ.
  package func entry(of key: [UInt8]) -> Entry? {
    var found: Entry?
    for entry in entries where entry.key.isEqual(to: key) { found = entry }
    return found
  }

  public func key(of name: KeyName) -> PublicKey? { entries.first { $0.name == name }?.key }

  /// The key under this name, by which others tell its owner from an impostor.
  /// - Throws: `badConfiguration` if the list does not have it.
  func requireKey(of name: KeyName, path: String) throws(Failure) -> PublicKey {
    guard let key = key(of: name) else {
      throw Failure(
        .badConfiguration, "\(path) does not name the \(name)",
        remedy: "Add the line of \(name).pub, as it is on the host of the \(name)")
    }
    return key
  }
}

/// The allow-list of a process that listens, read again when the file changes, so that keys can be added and withdrawn
/// while the cluster runs.
final class AccessList: Sendable {
  private struct State {
    var list: AllowList
    var lines: Set<String>
    var version: FileStatus?
    var problem: Failure?

    init(_ list: AllowList, _ version: FileStatus) {
      self.list = list
      self.version = version
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
    let file = try ProtectedFile(path, as: .trusted)
    state = Mutex(State(try AllowList(text: file.text(), path: path), file.status))
  }

  var list: AllowList { state.withLock { $0.list } }

  /// Reads the file again if it has changed. A list that cannot be used changes only `problem`.
  func refresh() {
    let version = FileSystem().status(of: path)
    guard version != state.withLock({ $0.version }) else { return }
    do throws(Failure) {
      let file = try ProtectedFile(path, as: .trusted)
      let list = try AllowList(text: file.text(), path: path)
      state.withLock { $0 = State(list, file.status) }
      changes.add(1, ordering: .relaxed)
    } catch {
      state.withLock {
        $0.version = version
        $0.problem = error
      }
    }
  }

  /// Why the newest version of the list is not in force; reported once.
  func takeProblem() -> Failure? {
    state.withLock { state in
      defer { state.problem = nil }
      return state.problem
    }
  }

  func entry(of key: [UInt8]) -> AllowList.Entry? { state.withLock { $0.list.entry(of: key) } }

  /// Whether a key that was accepted under this line may still take part.
  func holds(_ line: String) -> Bool { state.withLock { $0.lines.contains(line) } }
}
