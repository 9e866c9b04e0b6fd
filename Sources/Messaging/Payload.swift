import CKernels
import Synchronization

/// The third frame of a message: one array as it is in memory, little-endian, with the shape and the type that the
/// message states. Holders share the bytes without a copy, such as the weights of one step that are sent to every worker,
/// or a received frame. The last holder releases them, on any thread.
public final class Payload: @unchecked Sendable {
  /// The bytes, valid as long as the payload lives. Received bytes have no alignment to rely on.
  public private(set) var bytes: UnsafeRawBufferPointer
  private let release: @Sendable () -> Void
  /// The checksum in the lower half and a one above it, or zero until it is computed.
  private let knownChecksum = Atomic<UInt64>(0)

  public static let empty = Payload(borrowing: UnsafeRawBufferPointer(start: nil, count: 0)) {}

  /// Wraps bytes of another owner until `release` is called, once.
  public init(borrowing bytes: UnsafeRawBufferPointer, release: @escaping @Sendable () -> Void) {
    self.bytes = bytes
    self.release = release
  }

  /// Allocates `count` bytes at a cache line's alignment and lets `fill` write all of them.
  public convenience init(count: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) {
    nonisolated(unsafe) let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
    fill(memory)
    self.init(borrowing: UnsafeRawBufferPointer(memory)) { memory.deallocate() }
  }

  /// Copies arrays of trivial elements one behind the other, little-endian as in memory.
  public convenience init<Element: BitwiseCopyable>(concatenating arrays: [Element]...) {
    self.init(concatenating: arrays)
  }

  public convenience init<Element: BitwiseCopyable>(concatenating arrays: [[Element]]) {
    let count = arrays.reduce(0) { $0 + $1.count } * MemoryLayout<Element>.stride
    self.init(count: count) { target in
      var offset = 0
      for array in arrays {
        array.withUnsafeBytes { source in
          UnsafeMutableRawBufferPointer(rebasing: target[offset...]).copyMemory(from: source)
          offset += source.count
        }
      }
    }
  }

  /// Some of the bytes, without a copy: they live as long as either payload.
  /// - Parameter range: in 0 ..< `count`.
  public func slice(_ range: Range<Int>) -> Payload {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "a slice within the payload")
    return Payload(borrowing: UnsafeRawBufferPointer(rebasing: bytes[range])) { [self] in _ = self }
  }

  deinit { release() }

  public var count: Int { bytes.count }

  /// CRC-32C of the bytes, computed once however many peers they are sent to.
  public var checksum: UInt32 {
    let known = knownChecksum.load(ordering: .relaxed)
    if known != 0 { return UInt32(truncatingIfNeeded: known) }
    let checksum = descent_crc32c(0, bytes.baseAddress, bytes.count)
    knownChecksum.store(1 << 32 | UInt64(checksum), ordering: .relaxed)
    return checksum
  }

  /// Makes the payload stand for other bytes, or for new contents of the same, if its one holder is the caller; false
  /// if others hold it. So a payload can be used again without allocating anything.
  package static func reuse(_ payload: inout Payload, for bytes: UnsafeRawBufferPointer) -> Bool {
    guard isKnownUniquelyReferenced(&payload) else { return false }
    payload.bytes = bytes
    payload.knownChecksum.store(0, ordering: .relaxed)
    return true
  }

  /// A copy of `count` elements from byte `offset` on, whatever the alignment of the bytes.
  public func elements<Element: BitwiseCopyable>(
    of type: Element.Type, at offset: Int = 0, count: Int
  ) -> [Element] {
    let byteCount = count * MemoryLayout<Element>.stride
    precondition(offset >= 0 && count >= 0 && offset + byteCount <= bytes.count, "payload too short")
    return Array(unsafeUninitializedCapacity: count) { target, initialized in
      if byteCount > 0 {
        UnsafeMutableRawBufferPointer(target).copyMemory(
          from: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + byteCount]))
      }
      initialized = count
    }
  }
}

extension Payload: Equatable {
  /// Whether the bytes are the same, wherever they are.
  public static func == (left: Payload, right: Payload) -> Bool { areEqual(left.bytes, right.bytes) }
}

/// Bit for bit, so that of floating-point numbers NaN equals itself and −0 does not equal 0.
package func areEqual(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
  guard left.count == right.count else { return false }
  let whole = left.count / 8 * 8
  var difference: UInt64 = 0
  for offset in stride(from: 0, to: whole, by: 8) {
    difference |=
      left.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      ^ right.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
  }
  for offset in whole..<left.count { difference |= UInt64(left[offset] ^ right[offset]) }
  return difference == 0
}
