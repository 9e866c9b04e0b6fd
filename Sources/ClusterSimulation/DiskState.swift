import Diagnostics

/// The contents of a simulated disk.
struct DiskState {
  struct File {
    var bytes: [UInt8] = []
    /// What a power cut leaves for certain; nil before the first synchronization.
    var durable: [UInt8]?
    /// An fsync failed: the kernel took its pages for clean, and a later one claims success and does nothing.
    var isPoisoned = false
  }

  /// One change of the names in a directory, made as a whole or not at all.
  struct Change {
    var removed: String?
    var added: (name: String, node: Int)?
  }

  struct Directory {
    var entries: [String: Int] = [:]
    var durable: [String: Int] = [:]
    /// From `durable` to `entries`, in the order they were made.
    var pending: [Change] = []

    /// Nil where a power cut may leave something else under the name.
    func durableNode(_ name: String) -> Int? {
      let isPending = pending.contains { $0.removed == name || $0.added?.name == name }
      return isPending ? nil : durable[name]
    }
  }

  enum Node {
    case file(File)
    case directory(Directory)
    case link(String)
  }

  var chance: Chance
  var faults = DiskFaults()
  var calls = 0
  private(set) var failures = 0
  /// Never reused. The first one is the root directory.
  private var nodes: [Node] = [.directory(Directory())]
  private var descriptors: [(node: Int, position: Int)?] = []

  init(chance: Chance) { self.chance = chance }

  // MARK: Faults

  mutating func beginCall(needsSpace: Bool) throws(ErrorNumber) {
    if let error = errorOfNextCall() { throw error }
    if faults.isFull, needsSpace {
      failures += 1
      throw .noSpace
    }
  }

  private mutating func errorOfNextCall() -> ErrorNumber? {
    defer { calls += 1 }
    if let dying = faults.dyingCall, calls >= dying { return .inputOutput }
    guard let failing = faults.failingCall, calls == failing || faults.goesOnFailing && calls > failing else {
      return nil
    }
    failures += 1
    return faults.error
  }

  private var isDead: Bool { faults.dyingCall.map { calls >= $0 } ?? false }

  mutating func losePower() {
    descriptors.removeAll()
    for index in nodes.indices {
      switch nodes[index] {
      case .directory(var directory):
        for change in survivors(of: directory.pending) { directory.durable.make(change) }
        directory.entries = directory.durable
        directory.pending.removeAll()
        nodes[index] = .directory(directory)
      case .file(var file):
        file.bytes = file.durable ?? torn(file.bytes)
        file.durable = file.bytes
        file.isPoisoned = false
        nodes[index] = .file(file)
      case .link: break
      }
    }
  }

  /// None, all, the first ones, or any: a disk need not keep the order in which names were changed.
  private mutating func survivors(of changes: [Change]) -> [Change] {
    if changes.isEmpty { return [] }
    switch chance.integer(below: 4) {
    case 0: return []
    case 1: return changes
    case 2: return Array(changes.prefix(chance.index(below: changes.count + 1)))
    default: return changes.filter { _ in chance.happens(0.5) }
    }
  }

  /// Nothing, a part, a part and zeros where the rest belongs, or all.
  private mutating func torn(_ bytes: [UInt8]) -> [UInt8] {
    let kept = chance.index(below: bytes.count + 1)
    switch chance.integer(below: 4) {
    case 0: return []
    case 1: return Array(bytes[..<kept])
    case 2: return bytes[..<kept] + [UInt8](repeating: 0, count: bytes.count - kept)
    default: return bytes
    }
  }

  func isDurable(_ path: String) -> Bool {
    var node = 0
    for name in Self.names(in: path) {
      guard case .directory(let directory) = nodes[node], let next = directory.durableNode(name) else {
        return false
      }
      node = next
    }
    guard case .directory(let directory) = nodes[node] else { return false }
    return directory.entries.allSatisfy { name, file in
      guard directory.durableNode(name) == file, case .file(let file) = nodes[file] else { return false }
      return file.durable == file.bytes
    }
  }

  // MARK: Names

  func node(
    at path: String, followingLinks: Bool = false, refusingLinks: Bool = false
  ) throws(ErrorNumber) -> Int {
    var node = 0
    for name in Self.names(in: path) {
      guard case .directory(let directory) = nodes[node] else { throw .notADirectory }
      guard let next = directory.entries[name] else { throw .notFound }
      node = next
    }
    guard case .link(let target) = nodes[node] else { return node }
    if followingLinks { return try self.node(at: Self.split(path).directory + "/" + target) }
    if refusingLinks { throw .isALink }
    return node
  }

  /// By bytes, as the kernel sees them; characters take several times as long.
  private static func names(in path: String) -> [String] {
    path.utf8.split(separator: UInt8(ascii: "/")).map { String(Substring($0)) }
  }

  private static func split(_ path: String) -> (directory: String, name: String) {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return ("", path) }
    return (String(path[..<slash]), String(path[path.index(after: slash)...]))
  }

  private func directory(_ node: Int) throws(ErrorNumber) -> Directory {
    guard case .directory(let directory) = nodes[node] else { throw .notADirectory }
    return directory
  }

  private mutating func make(_ change: Change, in node: Int) throws(ErrorNumber) {
    var directory = try directory(node)
    directory.entries.make(change)
    directory.pending.append(change)
    nodes[node] = .directory(directory)
  }

  mutating func add(_ node: Node, at path: String) throws(ErrorNumber) {
    let (parent, name) = Self.split(path)
    let directory = try self.node(at: parent)
    guard try self.directory(directory).entries[name] == nil else { throw .exists }
    nodes.append(node)
    try make(Change(added: (name, nodes.count - 1)), in: directory)
  }

  mutating func rename(_ path: String, to destination: String) throws(ErrorNumber) {
    let (source, target) = (Self.split(path), Self.split(destination))
    precondition(source.directory == target.directory, "the store renames within one directory")
    let moved = try node(at: path)
    if let replaced = try? node(at: destination), case .directory = nodes[replaced] { throw .exists }
    try make(Change(removed: source.name, added: (target.name, moved)), in: try node(at: source.directory))
  }

  mutating func remove(_ path: String, isDirectory: Bool) throws(ErrorNumber) {
    let (parent, name) = Self.split(path)
    switch nodes[try node(at: path)] {
    case .directory(let directory):
      guard isDirectory else { throw .isADirectory }
      guard directory.entries.isEmpty else { throw .notEmpty }
    case .file, .link:
      guard !isDirectory else { throw .notADirectory }
    }
    try make(Change(removed: name), in: try node(at: parent))
  }

  func names(in path: String) throws(ErrorNumber) -> [String] {
    // Sorted, because the order of a dictionary differs from process to process.
    try directory(try node(at: path)).entries.keys.sorted()
  }

  func status(of node: Int) -> FileStatus {
    switch nodes[node] {
    case .file(let file): FileStatus(kind: .file, byteCount: file.bytes.count)
    case .directory: FileStatus(kind: .directory, byteCount: 0)
    case .link: FileStatus(kind: .symbolicLink, byteCount: 0)
    }
  }

  func target(of node: Int) -> String? {
    if case .link(let target) = nodes[node] { target } else { nil }
  }

  // MARK: Open files

  mutating func open(_ node: Int) -> Int32 {
    let slot = descriptors.firstIndex { $0 == nil } ?? descriptors.count
    if slot == descriptors.count { descriptors.append(nil) }
    descriptors[slot] = (node, 0)
    return Int32(slot)
  }

  mutating func close(_ descriptor: Int32) {
    if descriptors.indices.contains(Int(descriptor)) { descriptors[Int(descriptor)] = nil }
  }

  private func opened(_ descriptor: Int32) throws(ErrorNumber) -> (node: Int, position: Int) {
    guard descriptors.indices.contains(Int(descriptor)), let opened = descriptors[Int(descriptor)] else {
      throw .inputOutput
    }
    return opened
  }

  private func file(_ node: Int) throws(ErrorNumber) -> File {
    guard case .file(let file) = nodes[node] else { throw .isADirectory }
    return file
  }

  func status(of descriptor: Int32) throws(ErrorNumber) -> FileStatus { status(of: try opened(descriptor).node) }

  mutating func read(
    _ descriptor: Int32, into target: UnsafeMutableRawBufferPointer
  ) throws(ErrorNumber) -> Int {
    let (node, position) = try opened(descriptor)
    let part = try file(node).bytes[position...].prefix(target.count)
    target.copyBytes(from: part)
    descriptors[Int(descriptor)] = (node, position + part.count)
    return part.count
  }

  mutating func allocate(_ descriptor: Int32, _ count: Int) throws(ErrorNumber) {
    let node = try opened(descriptor).node
    var file = try file(node)
    if file.bytes.count < count { file.bytes += [UInt8](repeating: 0, count: count - file.bytes.count) }
    nodes[node] = .file(file)
  }

  mutating func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(ErrorNumber) {
    let (node, position) = try opened(descriptor)
    var file = try file(node)
    let overwritten = position..<min(position + bytes.count, file.bytes.count)
    file.bytes.replaceSubrange(overwritten, with: bytes)
    nodes[node] = .file(file)
    descriptors[Int(descriptor)] = (node, position + bytes.count)
  }

  mutating func synchronize(_ descriptor: Int32) throws(ErrorNumber) {
    let node = try opened(descriptor).node
    let error = errorOfNextCall()
    if error == nil, faults.ignoresSynchronize { return }
    switch nodes[node] {
    case .file(var file):
      if error != nil, !isDead, file.durable != file.bytes {
        file.isPoisoned = true
        file.durable = torn(file.bytes)
      } else if error == nil, !file.isPoisoned {
        file.durable = file.bytes
      }
      nodes[node] = .file(file)
    case .directory(var directory):
      if error == nil {
        directory.durable = directory.entries
        directory.pending.removeAll()
      }
      nodes[node] = .directory(directory)
    case .link: break
    }
    if let error { throw error }
  }
}

extension [String: Int] {
  fileprivate mutating func make(_ change: DiskState.Change) {
    if let removed = change.removed { self[removed] = nil }
    if let (name, node) = change.added { self[name] = node }
  }
}
