import Messaging

/// A node as ROUTER sockets know it: nine bytes that its DEALER socket announces at connection.
///
/// Byte 0 is the role, which is never zero (libzmq keeps ids that begin with a zero to itself), bytes 1-8 are the
/// incarnation, little-endian. A process that comes back is another incarnation, so it never meets the routing
/// state of its predecessor.
package struct PeerAddress: Equatable {
  static let byteCount = 9

  var role: NodeRole
  var incarnation: Incarnation

  func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    withUnsafeTemporaryAllocation(byteCount: Self.byteCount, alignment: 1) { target in
      target[0] = role.rawValue
      target.storeBytes(of: incarnation.value.littleEndian, toByteOffset: 1, as: UInt64.self)
      return body(UnsafeRawBufferPointer(target))
    }
  }
}

extension PeerAddress {
  /// Nil for anything that is not such an id.
  init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count == Self.byteCount, let role = NodeRole(rawValue: bytes[0]) else { return nil }
    self.role = role
    incarnation = Incarnation(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt64.self)))
  }
}

/// Decides whether a peer may send a message. Each socket has one.
///
/// With keys, the key identifies the peer: the role and the incarnation that it claims must be those of the key. One
/// incarnation at a time uses a key, and none that used another key. A restarted process may use the key once its
/// predecessor has been silent for a lease, the time after which the coordinator declares the predecessor dead as well.
struct PeerAuthorizer {
  /// Incarnations remembered for each key; older ones are forgotten.
  static let maximumRemembered = 64

  struct Holder {
    /// The newest last; the others may not use the key again.
    var incarnations: [Incarnation] = []
    var heard: Instant
    /// The next process may use the key at once: this one, if any, has announced that it leaves. Its messages still count.
    var isReleased = true
  }

  /// The role of the node that receives.
  let receiver: NodeRole
  /// The role at the other end of a socket that connects; nil for a socket that listens.
  let peer: NodeRole?
  /// Nil without keys.
  let access: AccessList?
  let lease: Interval
  /// By the line of their key in the allow-list.
  private(set) var holders: [String: Holder] = [:]
  /// The line of the key that each incarnation uses.
  private(set) var keys: [Incarnation: String] = [:]

  /// - Parameters:
  ///   - sender: the address that the peer announced; nil on a socket that connects, whose peer has proved by its key
  ///     that it is the one node of its role.
  ///   - userID: the line of the allow-list under which the peer's key was accepted, if it has a key.
  mutating func admits(
    _ message: Message, from sender: PeerAddress?, userID: @autoclosure () -> String?,
    at now: @autoclosure () -> Instant
  ) -> Bool {
    guard let role = sender?.role ?? peer,
      message.type.isAllowed(from: role, to: receiver)  // defence: directions
    else { return false }
    if case .join(let join) = message, join.role != role { return false }
    guard let sender, let access else { return true }
    guard let line = line(of: sender, userID(), access) else { return false }
    // Observers only ask, and several processes may share a key.
    if role == .observer { return true }
    let isBound = bind(sender.incarnation, to: line, at: now())
    if case .leave = message, isBound { holders[line]?.isReleased = true }
    return isBound
  }

  /// The line of the allow-list of a peer's key, if it is still there and names the role that the peer claims.
  private func line(of sender: PeerAddress, _ userID: String?, _ access: AccessList) -> String? {
    guard let line = userID,
      access.holds(line),  // defence: withdrawal
      let name = line.split(separator: " ").first.flatMap({ KeyName($0) }),
      name.role == sender.role  // defence: role-of-key
    else { return nil }
    return line
  }

  /// Whether another process has taken over the sender's key because the sender was silent for longer than its lease.
  func hasSuccessor(_ sender: PeerAddress, userID: String?) -> Bool {
    guard let access, let line = line(of: sender, userID, access), let holder = holders[line] else { return false }
    return holder.incarnations.last != sender.incarnation && holder.incarnations.contains(sender.incarnation)
  }

  /// Whether the key of an incarnation is still on the allow-list. True without keys.
  func stillAdmits(_ incarnation: Incarnation) -> Bool {
    guard let access else { return true }
    return keys[incarnation].map(access.holds) ?? false
  }

  /// Whether the incarnation may use the key of this line; it then uses it from now on.
  private mutating func bind(_ incarnation: Incarnation, to line: String, at now: Instant) -> Bool {
    if let owner = keys[incarnation], owner != line { return false }  // defence: incarnation-of-key
    var holder = holders[line] ?? Holder(heard: now)
    if holder.incarnations.last == incarnation {
      holders[line]?.heard = now
      return true
    }
    guard !holder.incarnations.contains(incarnation),
      holder.isReleased || now.since(holder.heard) >= lease  // defence: one-process
    else { return false }
    holder.incarnations.append(incarnation)
    holder.heard = now
    holder.isReleased = false
    if holder.incarnations.count > Self.maximumRemembered { keys[holder.incarnations.removeFirst()] = nil }
    holders[line] = holder
    keys[incarnation] = line
    return true
  }
}
