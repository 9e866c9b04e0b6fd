import Diagnostics
import Files
import Glibc
import Synchronization

/// A disk that fails when it is told to, and that can lose power: whatever was not made durable by an fsync is then
/// lost, in the worst way that POSIX allows.
final class FaultyDisk: PassThroughDisk, @unchecked Sendable {
  /// A call that changes the disk.
  enum Call: Equatable {
    case makeDirectory(String)
    case create(String)
    case allocate(String)
    case write(String)
    case synchronize(String)
    case rename(String, to: String)
    case symbolicLink(String)
    case unlink(String)
    case removeDirectory(String)
  }

  enum Fault: Sendable {
    /// The n-th call fails with an error number; the ones after it work.
    case error(Int32, at: Int)
    /// From the n-th call on nothing reaches the disk any more.
    case death(at: Int)
  }

  /// A change to a directory, which a power cut may undo until the directory is synchronized.
  private struct Change {
    /// What appeared, under its present name.
    var path: String
    /// For a rename: the name before, and the target of the link that was replaced.
    var origin: String?
    var replacedLink: String?

    mutating func move(_ old: String, to new: String) {
      if path == old || path.hasPrefix(old + "/") { path = new + path.dropFirst(old.count) }
    }

    func undo() {
      if let origin {
        Glibc.rename(path, origin)
        if let replacedLink { symlink(replacedLink, path) }
      } else if Glibc.unlink(path) != 0 {
        rmdir(path)
      }
    }
  }

  private struct State {
    var calls: [Call] = []
    /// The paths of open descriptors.
    var paths: [Int32: String] = [:]
    var unsynchronizedFiles: Set<String> = []
    var pending: [Change] = []
    var isDead = false
  }

  private let state = Mutex(State())
  private let fault: Fault?

  private let largestWrite: Int

  init(_ fault: Fault? = nil, largestWrite: Int = 300) {
    self.fault = fault
    self.largestWrite = largestWrite
  }

  var calls: [Call] { state.withLock { $0.calls } }

  /// Fails where a fault is due.
  private func begin(_ call: Call) throws(ErrorNumber) {
    let error = state.withLock { state -> ErrorNumber? in
      state.calls.append(call)
      switch fault {
      case .error(let code, let index) where state.calls.count - 1 == index: return ErrorNumber(code)
      case .death(let index) where state.calls.count - 1 >= index:
        state.isDead = true
        return .inputOutput
      default: break
      }
      if !state.isDead { Self.note(call, &state) }
      return nil
    }
    if let error { throw error }
  }

  private func path(_ descriptor: Int32) -> String { state.withLock { $0.paths[descriptor] ?? "" } }

  override func makeDirectory(_ path: String, permissions: UInt32) throws(ErrorNumber) {
    try begin(.makeDirectory(path))
    try super.makeDirectory(path, permissions: permissions)
  }

  override func createFile(_ path: String, permissions: UInt32?) throws(ErrorNumber) -> Int32 {
    try begin(.create(path))
    let descriptor = try super.createFile(path, permissions: permissions)
    state.withLock { $0.paths[descriptor] = path }
    return descriptor
  }

  override func allocate(_ descriptor: Int32, _ count: Int) throws(ErrorNumber) {
    try begin(.allocate(path(descriptor)))
    try super.allocate(descriptor, count)
  }

  /// Short, so that a file can be torn in the middle.
  override func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(ErrorNumber) -> Int {
    try begin(.write(path(descriptor)))
    return try super.write(descriptor, UnsafeRawBufferPointer(rebasing: bytes.prefix(largestWrite)))
  }

  override func synchronize(_ descriptor: Int32) throws(ErrorNumber) {
    try begin(.synchronize(path(descriptor)))
    try super.synchronize(descriptor)
  }

  override func rename(_ path: String, to destination: String) throws(ErrorNumber) {
    try begin(.rename(path, to: destination))
    try super.rename(path, to: destination)
  }

  override func makeSymbolicLink(_ path: String, target: String) throws(ErrorNumber) {
    try begin(.symbolicLink(path))
    try super.makeSymbolicLink(path, target: target)
  }

  override func unlink(_ path: String) throws(ErrorNumber) {
    try begin(.unlink(path))
    try super.unlink(path)
  }

  override func removeDirectory(_ path: String) throws(ErrorNumber) {
    try begin(.removeDirectory(path))
    try super.removeDirectory(path)
  }

  override func open(_ path: String, followingLinks: Bool) throws(ErrorNumber) -> Int32 {
    let descriptor = try super.open(path, followingLinks: followingLinks)
    state.withLock { $0.paths[descriptor] = path }
    return descriptor
  }

  /// Called before the call is made; in these scenarios a call that is not intercepted succeeds.
  private static func note(_ call: Call, _ state: inout State) {
    switch call {
    case .create(let path):
      state.unsynchronizedFiles.insert(path)
      state.pending.append(Change(path: path))
    case .makeDirectory(let path), .symbolicLink(let path):
      state.pending.append(Change(path: path))
    case .rename(let path, let destination):
      for index in state.pending.indices { state.pending[index].move(path, to: destination) }
      let replaced = FileSystem().symbolicLinkTarget(destination)
      state.pending.append(Change(path: destination, origin: path, replacedLink: replaced))
      let moved = state.unsynchronizedFiles.map {
        $0.hasPrefix(path + "/") ? destination + $0.dropFirst(path.count) : $0
      }
      state.unsynchronizedFiles = Set(moved)
    case .synchronize(let path):
      state.unsynchronizedFiles.remove(path)
      state.pending.removeAll { parent($0.path) == path }
    case .allocate, .write, .unlink, .removeDirectory: break
    }
  }

  private static func parent(_ path: String) -> String {
    path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
  }

  /// Tears every file that was not synchronized, and undoes every change to a directory that was not; or of these
  /// only one rename, because a disk need not keep the order in which they were made.
  ///
  /// - Parameter rename: which rename, from 0; nil for everything.
  /// - Returns: false when there is no such rename.
  func losePower(undoingOnlyRename rename: Int? = nil) -> Bool {
    state.withLock { state in
      for path in state.unsynchronizedFiles { truncate(path, 5) }
      if let rename {
        let renames = state.pending.filter { $0.origin != nil }
        guard rename < renames.count else { return false }
        renames[rename].undo()
        return true
      }
      while let change = state.pending.popLast() {
        change.undo()
        guard let origin = change.origin else { continue }
        for index in state.pending.indices { state.pending[index].move(change.path, to: origin) }
      }
      return true
    }
  }
}
