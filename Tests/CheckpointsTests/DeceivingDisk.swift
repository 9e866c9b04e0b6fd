import Checkpoints
import Synchronization

/// What a disk that reports no error does to a file.
enum Deception: Sendable {
  case flippedBit(at: Int)
  case missingTail
}

/// The disk of this machine, except that one file reads back otherwise than it was written.
final class DeceivingDisk: Disk {
  private let disk = SystemDisk()
  private let file: String
  private let deception: Deception
  /// How far the descriptors of that file have been read.
  private let positions = Mutex<[Int32: Int]>([:])

  /// - Parameter file: the end of its path.
  init(file: String, _ deception: Deception) {
    self.file = file
    self.deception = deception
  }

  func open(_ path: String, followingLinks: Bool) throws(ErrorNumber) -> Int32 {
    let descriptor = try disk.open(path, followingLinks: followingLinks)
    if path.hasSuffix(file) { positions.withLock { $0[descriptor] = 0 } }
    return descriptor
  }

  func close(_ descriptor: Int32) {
    positions.withLock { $0[descriptor] = nil }
    disk.close(descriptor)
  }

  func status(of descriptor: Int32) throws(ErrorNumber) -> (kind: FileSystem.Kind, byteCount: Int) {
    var status = try disk.status(of: descriptor)
    if case .missingTail = deception, positions.withLock({ $0[descriptor] != nil }) { status.byteCount -= 1 }
    return status
  }

  func read(_ descriptor: Int32, into target: UnsafeMutableRawBufferPointer) throws(ErrorNumber) -> Int {
    let count = try disk.read(descriptor, into: target)
    let start = positions.withLock { positions -> Int? in
      let start = positions[descriptor]
      if let start { positions[descriptor] = start + count }
      return start
    }
    if let start, case .flippedBit(let position) = deception, (start..<start + count).contains(position) {
      target[position - start] ^= 1
    }
    return count
  }

  // MARK: Everything else is as it is

  func makeDirectory(_ path: String) throws(ErrorNumber) { try disk.makeDirectory(path) }
  func createFile(_ path: String) throws(ErrorNumber) -> Int32 { try disk.createFile(path) }
  func allocate(_ descriptor: Int32, _ count: Int) throws(ErrorNumber) { try disk.allocate(descriptor, count) }
  func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(ErrorNumber) -> Int {
    try disk.write(descriptor, bytes)
  }
  func synchronize(_ descriptor: Int32) throws(ErrorNumber) { try disk.synchronize(descriptor) }
  func rename(_ path: String, to destination: String) throws(ErrorNumber) {
    try disk.rename(path, to: destination)
  }
  func makeSymbolicLink(_ path: String, target: String) throws(ErrorNumber) {
    try disk.makeSymbolicLink(path, target: target)
  }
  func unlink(_ path: String) throws(ErrorNumber) { try disk.unlink(path) }
  func removeDirectory(_ path: String) throws(ErrorNumber) { try disk.removeDirectory(path) }
  func kind(of path: String, followingLinks: Bool) -> FileSystem.Kind? {
    disk.kind(of: path, followingLinks: followingLinks)
  }
  func entries(of path: String) throws(ErrorNumber) -> [String] { try disk.entries(of: path) }
  func symbolicLinkTarget(_ path: String) -> String? { disk.symbolicLinkTarget(path) }
  func randomNumber() -> UInt64 { disk.randomNumber() }
}
