import Messaging
import Synchronization

/// Memory for payloads of one size that is used again: a gradient is made at every step, and fresh pages cost more than
/// filling them. Two are in use at a time, the one that is being computed and the one that is being sent.
final class BufferPool: Sendable {
  /// Memory that exactly one payload, or the pool, owns.
  struct Buffer: @unchecked Sendable {
    let memory: UnsafeMutableRawBufferPointer
  }

  private static let largestReserve = 4

  private let byteCount: Int
  private let free = Mutex<[Buffer]>([])

  init(byteCount: Int) { self.byteCount = byteCount }

  deinit {
    free.withLock { buffers in
      for buffer in buffers { buffer.memory.deallocate() }
    }
  }

  /// Memory at a cache line's alignment, with anything in it.
  func take() -> Buffer {
    free.withLock { $0.popLast() }
      ?? Buffer(memory: .allocate(byteCount: byteCount, alignment: 64))
  }

  /// Gives memory back, from whatever thread the payload's last holder was on.
  func give(_ buffer: Buffer) {
    let isKept = free.withLock { buffers in
      guard buffers.count < Self.largestReserve else { return false }
      buffers.append(buffer)
      return true
    }
    if !isKept { buffer.memory.deallocate() }
  }
}

extension Payload {
  /// The first `count` elements as floats: in place where the bytes are aligned for them, which what was received
  /// need not be, else a copy.
  func withFloats<Result>(count: Int, _ body: (UnsafePointer<Float>) -> Result) -> Result {
    precondition(bytes.count >= count * MemoryLayout<Float>.stride, "payload too short")
    if let base = bytes.baseAddress, Int(bitPattern: base) % MemoryLayout<Float>.alignment == 0 {
      return body(base.assumingMemoryBound(to: Float.self))
    }
    return elements(of: Float.self, count: count).withUnsafeBufferPointer { body($0.baseAddress.unsafelyUnwrapped) }
  }
}
