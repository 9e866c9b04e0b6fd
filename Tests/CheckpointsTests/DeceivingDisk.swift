import Diagnostics
import Synchronization

/// What a disk that reports no error does to a file.
enum Deception: Sendable {
  case flippedBit(at: Int)
  case missingTail
}

/// The disk of this machine, except that one file reads back otherwise than it was written.
final class DeceivingDisk: PassThroughDisk, @unchecked Sendable {
  private let file: String
  private let deception: Deception
  /// How far the descriptors of that file have been read.
  private let positions = Mutex<[Int32: Int]>([:])

  /// - Parameter file: the end of its path.
  init(file: String, _ deception: Deception) {
    self.file = file
    self.deception = deception
  }

  override func open(_ path: String, followingLinks: Bool) throws(ErrorNumber) -> Int32 {
    let descriptor = try super.open(path, followingLinks: followingLinks)
    if path.hasSuffix(file) { positions.withLock { $0[descriptor] = 0 } }
    return descriptor
  }

  override func close(_ descriptor: Int32) {
    positions.withLock { $0[descriptor] = nil }
    super.close(descriptor)
  }

  override func status(of descriptor: Int32) throws(ErrorNumber) -> FileStatus {
    var status = try super.status(of: descriptor)
    if case .missingTail = deception, positions.withLock({ $0[descriptor] != nil }) { status.byteCount -= 1 }
    return status
  }

  override func read(_ descriptor: Int32, into target: UnsafeMutableRawBufferPointer) throws(ErrorNumber) -> Int {
    let count = try super.read(descriptor, into: target)
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
}
