/// Payloads of one size, each used again once all its holders have released it: a gradient is made at every step, and
/// fresh pages cost more than filling them. In the steady state of a training it allocates nothing.
///
/// To be used by one thread at a time; the payloads may be held and released on any thread.
public final class PayloadPool {
  /// Where the pool's payloads live, and what keeps it, for they may outlive the pool: `nil` is the heap.
  private let arena: (bytes: UnsafeMutableRawBufferPointer, owner: any AnyObject & Sendable)?
  private let byteCount: Int
  private let limit: Int
  private var payloads: [Payload] = []

  /// The distance of two payloads in an arena: whole cache lines.
  public static func stride(of byteCount: Int) -> Int { (byteCount + 63) / 64 * 64 }

  /// - Parameters:
  ///   - limit: how many payloads are kept for another use; in an arena at most as many as fit.
  ///   - arena: memory that others read as well, at a cache line's alignment, and what keeps it; `nil` for the heap.
  public init(
    byteCount: Int, limit: Int, arena: (bytes: UnsafeMutableRawBufferPointer, owner: any AnyObject & Sendable)? = nil
  ) {
    self.arena = arena
    self.byteCount = byteCount
    self.limit = limit
    payloads.reserveCapacity(limit)
  }

  /// A payload whose `byteCount` bytes `fill` writes. When all that the pool may have are in use, one on the heap that
  /// is gone after its use.
  public func make(_ fill: (UnsafeMutableRawBufferPointer) -> Void) -> Payload {
    for index in payloads.indices where Payload.reuse(&payloads[index], for: payloads[index].bytes) {
      fill(UnsafeMutableRawBufferPointer(mutating: payloads[index].bytes))
      return payloads[index]
    }
    guard payloads.count < limit, let arena else {
      let payload = Payload(count: byteCount, fill: fill)
      if payloads.count < limit { payloads.append(payload) }
      return payload
    }
    let start = payloads.count * Self.stride(of: byteCount)
    let memory = UnsafeMutableRawBufferPointer(rebasing: arena.bytes[start..<start + byteCount])
    fill(memory)
    let payload = Payload(borrowing: UnsafeRawBufferPointer(memory)) { [owner = arena.owner] in _ = owner }
    payloads.append(payload)
    return payload
  }
}
