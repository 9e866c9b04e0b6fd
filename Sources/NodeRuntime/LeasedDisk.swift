import Diagnostics
import Files

/// The disk for the checkpoints of a run: changes nothing there once another coordinator has the directory.
package struct LeasedDisk: Disk {
  let lock: RunLock
  private let disk = SystemDisk()

  package init(lock: RunLock) { self.lock = lock }

  /// - Throws: `fenced` in the words of an error number where another coordinator has the directory.
  private func confirm() throws(ErrorNumber) {
    do throws(Failure) {
      try lock.confirm()  // defence: leased-disk
    } catch {
      throw error.status == .fenced ? .takenOver : .inputOutput
    }
  }

  package func makeDirectory(_ path: String, permissions: UInt32) throws(ErrorNumber) {
    try confirm()
    try disk.makeDirectory(path, permissions: permissions)
  }

  package func createFile(_ path: String, permissions: UInt32?) throws(ErrorNumber) -> Int32 {
    try confirm()
    return try disk.createFile(path, permissions: permissions)
  }

  package func rename(_ path: String, to destination: String) throws(ErrorNumber) {
    try confirm()
    try disk.rename(path, to: destination)
  }

  package func makeSymbolicLink(_ path: String, target: String) throws(ErrorNumber) {
    try confirm()
    try disk.makeSymbolicLink(path, target: target)
  }

  package func unlink(_ path: String) throws(ErrorNumber) {
    try confirm()
    try disk.unlink(path)
  }

  package func removeDirectory(_ path: String) throws(ErrorNumber) {
    try confirm()
    try disk.removeDirectory(path)
  }

  // MARK: What changes no name

  package func allocate(_ descriptor: Int32, _ count: Int) throws(ErrorNumber) { try disk.allocate(descriptor, count) }

  package func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(ErrorNumber) -> Int {
    try disk.write(descriptor, bytes)
  }

  package func synchronize(_ descriptor: Int32) throws(ErrorNumber) { try disk.synchronize(descriptor) }

  package func open(_ path: String, followingLinks: Bool) throws(ErrorNumber) -> Int32 {
    try disk.open(path, followingLinks: followingLinks)
  }

  package func close(_ descriptor: Int32) { disk.close(descriptor) }

  package func status(of descriptor: Int32) throws(ErrorNumber) -> FileStatus { try disk.status(of: descriptor) }

  package func status(of path: String, followingLinks: Bool) -> FileStatus? {
    disk.status(of: path, followingLinks: followingLinks)
  }

  package func read(_ descriptor: Int32, into target: UnsafeMutableRawBufferPointer) throws(ErrorNumber) -> Int {
    try disk.read(descriptor, into: target)
  }

  package func entries(of path: String) throws(ErrorNumber) -> [String] { try disk.entries(of: path) }

  package func symbolicLinkTarget(_ path: String) -> String? { disk.symbolicLinkTarget(path) }

  package func randomNumber() -> UInt64 { disk.randomNumber() }
}
