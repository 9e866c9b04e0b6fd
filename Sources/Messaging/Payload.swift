/// Immutable bytes that many holders share: the weights of one step on their way to every worker, or a
/// received frame that nobody needs to copy. The last holder releases them, on whatever thread it is.
public final class Payload: @unchecked Sendable {
  /// The bytes, valid as long as the payload lives. Received bytes have no alignment to rely on.
  public let bytes: UnsafeRawBufferPointer
  private let release: @Sendable () -> Void

  public static let empty = Payload(borrowing: UnsafeRawBufferPointer(start: nil, count: 0)) {}

  /// Wraps bytes that somebody else owns until `release` is called, once.
  public init(borrowing bytes: UnsafeRawBufferPointer, release: @escaping @Sendable () -> Void) {
    self.bytes = bytes
    self.release = release
  }

  /// Allocates `count` bytes at a cache line's alignment and lets `fill` write all of them.
  public convenience init(count: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
    fill(memory)
    let box = Allocation(memory)
    self.init(borrowing: UnsafeRawBufferPointer(memory)) { box.free() }
  }

  /// Copies arrays of trivial elements one behind the other, little-endian as in memory.
  public convenience init<Element: BitwiseCopyable>(concatenating arrays: [Element]...) {
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

  deinit { release() }

  public var count: Int { bytes.count }

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

/// Memory that exactly one payload owns; the box lets a Sendable closure carry the pointer.
private final class Allocation: @unchecked Sendable {
  private let memory: UnsafeMutableRawBufferPointer
  init(_ memory: UnsafeMutableRawBufferPointer) { self.memory = memory }
  func free() { memory.deallocate() }
}
