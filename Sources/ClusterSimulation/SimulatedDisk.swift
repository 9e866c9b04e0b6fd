import Diagnostics

/// A disk in memory that keeps apart what was written and what would survive a power cut, and that fails as `DiskFaults`
/// say. It promises no more than POSIX does: the bytes of a file are safe once the file was synchronized, a name once its
/// directory was, and what was not synchronized may survive in part and in any order.
///
/// To be used by one thread.
package final class SimulatedDisk: Disk, @unchecked Sendable {
  private struct File {
    var bytes: [UInt8] = []
    /// What a power cut leaves for certain; nil before the first synchronization.
    var durable: [UInt8]?
    /// An fsync failed: the kernel took its pages for clean, and a later one claims success and does nothing.
    var isPoisoned = false
  }

  /// One change of the names in a directory, made as a whole or not at all.
  fileprivate struct Change {
    var removed: String?
    var added: (name: String, node: Int)?
  }

  private struct Directory {
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

  private enum Node {
    case file(File)
    case directory(Directory)
    case link(String)
  }

  private var random: SeededRandom
  /// The most bytes that one call writes.
  private let largestWrite: Int
  private var faults = DiskFaults()
  /// Calls since `begin` that change the disk.
  private var calls = 0
  /// Calls that failed because of the faults, since the beginning.
  package private(set) var failures = 0
  /// Never reused. The first one is the root directory.
  private var nodes: [Node] = [.directory(Directory())]
  private var descriptors: [(node: Int, position: Int)?] = []

  /// - Parameter largestWrite: short, so that a file can be torn in the middle of one.
  package init(seed: UInt64, largestWrite: Int = 1 << 10) {
    random = SeededRandom(seed: seed, purpose: .disk)
    self.largestWrite = largestWrite
  }

  /// From here on these faults, and the count of calls from zero.
  package func begin(_ faults: DiskFaults) {
    self.faults = faults
    calls = 0
  }

  // MARK: Faults

  /// Begins a call that changes the disk.
  private func beginCall(needsSpace: Bool = true) throws(ErrorNumber) {
    if let error = errorOfNextCall() { throw error }
    if faults.isFull, needsSpace {
      failures += 1
      throw .noSpace
    }
  }

  private func errorOfNextCall() -> ErrorNumber? {
    defer { calls += 1 }
    if let dying = faults.dyingCall, calls >= dying { return .inputOutput }
    guard let failing = faults.failingCall, calls == failing || faults.failsFromThere && calls > failing else {
      return nil
    }
    failures += 1
    return faults.error
  }

  private var isDead: Bool { faults.dyingCall.map { calls >= $0 } ?? false }

  /// All that was not made durable is lost, torn or kept, at random.
  package func losePower() {
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
  private func survivors(of changes: [Change]) -> [Change] {
    if changes.isEmpty { return [] }
    switch random.integer(below: 4) {
    case 0: return []
    case 1: return changes
    case 2: return Array(changes.prefix(random.index(below: changes.count + 1)))
    default: return changes.filter { _ in random.happens(0.5) }
    }
  }

  /// Nothing, a part, a part and zeros where the rest belongs, or all.
  private func torn(_ bytes: [UInt8]) -> [UInt8] {
    let kept = random.index(below: bytes.count + 1)
    switch random.integer(below: 4) {
    case 0: return []
    case 1: return Array(bytes[..<kept])
    case 2: return bytes[..<kept] + [UInt8](repeating: 0, count: bytes.count - kept)
    default: return bytes
    }
  }

  /// Whether the directory at `path`, its name and all files in it would survive any power cut.
  package func isDurable(_ path: String) -> Bool {
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

  private func node(
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

  private func make(_ change: Change, in node: Int) throws(ErrorNumber) {
    var directory = try directory(node)
    directory.entries.make(change)
    directory.pending.append(change)
    nodes[node] = .directory(directory)
  }

  package func makeDirectory(_ path: String, permissions: UInt32) throws(ErrorNumber) {
    try add(.directory(Directory()), at: path)
  }

  package func createFile(_ path: String, permissions: UInt32?) throws(ErrorNumber) -> Int32 {
    try add(.file(File()), at: path)
    return open(try node(at: path))
  }

  package func makeSymbolicLink(_ path: String, target: String) throws(ErrorNumber) { try add(.link(target), at: path) }

  private func add(_ node: Node, at path: String) throws(ErrorNumber) {
    try beginCall()
    let (parent, name) = Self.split(path)
    let directory = try self.node(at: parent)
    guard try self.directory(directory).entries[name] == nil else { throw .exists }
    nodes.append(node)
    try make(Change(added: (name, nodes.count - 1)), in: directory)
  }

  package func rename(_ path: String, to destination: String) throws(ErrorNumber) {
    try beginCall()
    let (source, target) = (Self.split(path), Self.split(destination))
    precondition(source.directory == target.directory, "the store renames within one directory")
    let moved = try node(at: path)
    if let replaced = try? node(at: destination), case .directory = nodes[replaced] { throw .exists }
    try make(Change(removed: source.name, added: (target.name, moved)), in: try node(at: source.directory))
  }

  package func unlink(_ path: String) throws(ErrorNumber) { try remove(path, isDirectory: false) }

  package func removeDirectory(_ path: String) throws(ErrorNumber) { try remove(path, isDirectory: true) }

  private func remove(_ path: String, isDirectory: Bool) throws(ErrorNumber) {
    try beginCall(needsSpace: false)
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

  package func entries(of path: String) throws(ErrorNumber) -> [String] {
    // Sorted, because the order of a dictionary differs from process to process.
    try directory(try node(at: path)).entries.keys.sorted()
  }

  package func status(of path: String, followingLinks: Bool) -> FileStatus? {
    (try? node(at: path, followingLinks: followingLinks)).map { status(of: $0) }
  }

  package func status(of descriptor: Int32) throws(ErrorNumber) -> FileStatus {
    status(of: try opened(descriptor).node)
  }

  private func status(of node: Int) -> FileStatus {
    switch nodes[node] {
    case .file(let file): FileStatus(kind: .file, byteCount: file.bytes.count)
    case .directory: FileStatus(kind: .directory, byteCount: 0)
    case .link: FileStatus(kind: .symbolicLink, byteCount: 0)
    }
  }

  package func symbolicLinkTarget(_ path: String) -> String? {
    guard let node = try? node(at: path), case .link(let target) = nodes[node] else { return nil }
    return target
  }

  package func randomNumber() -> UInt64 { random.word() }

  // MARK: Open files

  package func open(_ path: String, followingLinks: Bool) throws(ErrorNumber) -> Int32 {
    open(try node(at: path, followingLinks: followingLinks, refusingLinks: true))
  }

  private func open(_ node: Int) -> Int32 {
    let slot = descriptors.firstIndex { $0 == nil } ?? descriptors.count
    if slot == descriptors.count { descriptors.append(nil) }
    descriptors[slot] = (node, 0)
    return Int32(slot)
  }

  package func close(_ descriptor: Int32) {
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

  package func read(_ descriptor: Int32, into target: UnsafeMutableRawBufferPointer) throws(ErrorNumber) -> Int {
    let (node, position) = try opened(descriptor)
    let part = try file(node).bytes[position...].prefix(target.count)
    target.copyBytes(from: part)
    descriptors[Int(descriptor)] = (node, position + part.count)
    return part.count
  }

  package func allocate(_ descriptor: Int32, _ count: Int) throws(ErrorNumber) {
    try beginCall()
    let node = try opened(descriptor).node
    var file = try file(node)
    if file.bytes.count < count { file.bytes += [UInt8](repeating: 0, count: count - file.bytes.count) }
    nodes[node] = .file(file)
  }

  package func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(ErrorNumber) -> Int {
    try beginCall()
    let bytes = UnsafeRawBufferPointer(rebasing: bytes.prefix(largestWrite))
    let (node, position) = try opened(descriptor)
    var file = try file(node)
    let overwritten = position..<min(position + bytes.count, file.bytes.count)
    file.bytes.replaceSubrange(overwritten, with: bytes)
    nodes[node] = .file(file)
    descriptors[Int(descriptor)] = (node, position + bytes.count)
    return bytes.count
  }

  package func synchronize(_ descriptor: Int32) throws(ErrorNumber) {
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
  fileprivate mutating func make(_ change: SimulatedDisk.Change) {
    if let removed = change.removed { self[removed] = nil }
    if let (name, node) = change.added { self[name] = node }
  }
}

/// What goes wrong on a disk.
package struct DiskFaults {
  /// This call, counted from 0, fails with the error...
  package var failingCall: Int?
  package var error = ErrorNumber.inputOutput
  /// ...and all that follow fail, too.
  package var failsFromThere = false
  /// From this call on nothing reaches the disk: the process that makes the calls is dead.
  package var dyingCall: Int?
  /// There is no space left.
  package var isFull = false
  /// A bug put in on purpose: nothing is ever made durable by being synchronized.
  package var ignoresSynchronize = false

  package init(_ change: (inout DiskFaults) -> Void = { _ in }) { change(&self) }
}
