import Diagnostics
import Files

/// The disk of this machine; subclasses override what is to go wrong.
class PassThroughDisk: Disk, @unchecked Sendable {
  private let disk = SystemDisk()

  func makeDirectory(_ path: String, permissions: UInt32) throws(ErrorNumber) {
    try disk.makeDirectory(path, permissions: permissions)
  }
  func createFile(_ path: String, permissions: UInt32?) throws(ErrorNumber) -> Int32 {
    try disk.createFile(path, permissions: permissions)
  }
  func allocate(_ descriptor: Int32, _ count: Int) throws(ErrorNumber) { try disk.allocate(descriptor, count) }
  func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(ErrorNumber) -> Int {
    try disk.write(descriptor, bytes)
  }
  func synchronize(_ descriptor: Int32) throws(ErrorNumber) { try disk.synchronize(descriptor) }
  func rename(_ path: String, to destination: String) throws(ErrorNumber) { try disk.rename(path, to: destination) }
  func makeSymbolicLink(_ path: String, target: String) throws(ErrorNumber) {
    try disk.makeSymbolicLink(path, target: target)
  }
  func unlink(_ path: String) throws(ErrorNumber) { try disk.unlink(path) }
  func removeDirectory(_ path: String) throws(ErrorNumber) { try disk.removeDirectory(path) }

  func open(_ path: String, followingLinks: Bool) throws(ErrorNumber) -> Int32 {
    try disk.open(path, followingLinks: followingLinks)
  }
  func close(_ descriptor: Int32) { disk.close(descriptor) }
  func status(of descriptor: Int32) throws(ErrorNumber) -> FileStatus { try disk.status(of: descriptor) }
  func status(of path: String, followingLinks: Bool) -> FileStatus? {
    disk.status(of: path, followingLinks: followingLinks)
  }
  func read(_ descriptor: Int32, into target: UnsafeMutableRawBufferPointer) throws(ErrorNumber) -> Int {
    try disk.read(descriptor, into: target)
  }
  func entries(of path: String) throws(ErrorNumber) -> [String] { try disk.entries(of: path) }
  func symbolicLinkTarget(_ path: String) -> String? { disk.symbolicLinkTarget(path) }
  func randomNumber() -> UInt64 { disk.randomNumber() }
}
