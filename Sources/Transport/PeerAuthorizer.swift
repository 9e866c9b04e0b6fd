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
/// With keys, the key identifies the peer: the role and the incarnation that it claims must be those of the key.
struct PeerAuthorizer {
  /// The role of the node that receives.
  let receiver: NodeRole
  /// The role at the other end of a socket that connects; nil for a socket that listens.
  let peer: NodeRole?
  /// Nil without keys.
  let access: AccessList?
  var bindings: KeyBindings

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
    let isBound = bindings.admit(sender.incarnation, key: line, at: now())
    if case .leave = message, isBound { bindings.release(key: line) }
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
    guard let access, let line = line(of: sender, userID, access) else { return false }
    return bindings.isOver(sender.incarnation, key: line)
  }

  /// Whether the key of an incarnation is still on the allow-list. True without keys.
  func stillAdmits(_ incarnation: Incarnation) -> Bool {
    guard let access else { return true }
    return bindings.key(of: incarnation).map(access.holds) ?? false
  }
}

/// Which incarnation uses each key: one at a time, and none that used another key.
///
/// A restarted process may use the key once its predecessor has been silent for a lease, the time after which the
/// coordinator declares the predecessor dead as well.
struct KeyBindings {
  /// Incarnations remembered for each key; older ones are forgotten.
  static let maximumRemembered = 64

  private struct Holder {
    /// The newest last; the others may not use the key again.
    var incarnations: [Incarnation]
    var heard: Instant
    var isReleased = false
  }

  private let lease: Interval
  private var holders: [String: Holder] = [:]
  private var keys: [Incarnation: String] = [:]

  init(lease: Interval) { self.lease = lease }

  func key(of incarnation: Incarnation) -> String? { keys[incarnation] }

  mutating func admit(_ incarnation: Incarnation, key: String, at now: Instant) -> Bool {
    if let owner = keys[incarnation], owner != key { return false }  // defence: incarnation-of-key
    guard var holder = holders[key] else {
      holders[key] = Holder(incarnations: [incarnation], heard: now)
      keys[incarnation] = key
      return true
    }
    if holder.incarnations.last == incarnation {
      holders[key]?.heard = now
      return true
    }
    guard !holder.incarnations.contains(incarnation),
      holder.isReleased || now.since(holder.heard) >= lease  // defence: one-process
    else { return false }
    holder.incarnations.append(incarnation)
    holder.heard = now
    holder.isReleased = false
    if holder.incarnations.count > Self.maximumRemembered { keys[holder.incarnations.removeFirst()] = nil }
    holders[key] = holder
    keys[incarnation] = key
    return true
  }

  /// Whether a later incarnation uses the key that this one used.
  func isOver(_ incarnation: Incarnation, key: String) -> Bool {
    guard let holder = holders[key] else { return false }
    return holder.incarnations.last != incarnation && holder.incarnations.contains(incarnation)
  }

  /// Lets the next process use the key at once, after this one has announced that it leaves. Its messages still count.
  mutating func release(key: String) { holders[key]?.isReleased = true }
}
