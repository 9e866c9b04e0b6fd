import Messaging

/// A node as ROUTER sockets know it: nine bytes that its DEALER socket announces at connection.
///
/// Byte 0 is the role, which is never zero (libzmq keeps ids that begin with a zero to itself), bytes 1-8 are the
/// incarnation, little-endian. A process that comes back is another incarnation, so it never meets the routing
/// state of its predecessor.
struct PeerAddress: Equatable {
  static let byteCount = 9

  var role: NodeRole
  var incarnation: Incarnation

  init(role: NodeRole, incarnation: Incarnation) {
    self.role = role
    self.incarnation = incarnation
  }

  /// Nil for anything that is not such an id.
  init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count == Self.byteCount, let role = NodeRole(rawValue: bytes[0]) else { return nil }
    self.role = role
    incarnation = Incarnation(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt64.self)))
  }

  func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    withUnsafeTemporaryAllocation(byteCount: Self.byteCount, alignment: 1) { target in
      target[0] = role.rawValue
      target.storeBytes(of: incarnation.value.littleEndian, toByteOffset: 1, as: UInt64.self)
      return body(UnsafeRawBufferPointer(target))
    }
  }
}
