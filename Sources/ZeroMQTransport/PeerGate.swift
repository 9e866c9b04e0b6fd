import Glibc
import Messaging

/// Decides whether a message may come from where it came from. One for each socket.
///
/// Who a peer is follows from its key where there are keys: the role and the incarnation that it claims must be those
/// that the key stands for.
struct PeerGate {
  /// The role of the node that receives.
  let receiver: NodeRole
  /// Who listens at the other end of a socket that connects; nil for one that is connected to.
  let peer: NodeRole?
  private let access: AccessList?
  private var bindings: KeyBindings

  init(receiver: NodeRole, peer: NodeRole?, access: AccessList?, lease: Interval) {
    self.receiver = receiver
    self.peer = peer
    self.access = access
    bindings = KeyBindings(lease: lease)
  }

  /// - Parameters:
  ///   - sender: as the peer has announced itself; nil on a socket that connects, whose peer has proved by its key that
  ///     it is the one node of its role.
  ///   - mark: the line of the allow-list that the peer was let in under, if it was by a key.
  mutating func admits(_ message: Message, from sender: PeerAddress?, mark: @autoclosure () -> String?) -> Bool {
    guard let role = sender?.role ?? peer,
      message.type.isSaid(by: role, to: receiver)  // defence: directions
    else { return false }
    if case .join(let join) = message, join.role != role { return false }
    guard let sender, let access else { return true }
    guard let line = line(of: sender, mark(), access) else { return false }
    // An observer asks and is answered; it may do so from several processes.
    if role == .observer { return true }
    let isBound = bindings.admit(sender.incarnation, key: line, at: Self.now())
    if case .leave = message, isBound { bindings.release(key: line) }
    return isBound
  }

  /// The line of the allow-list that a peer was let in under, if it is still there and stands for the role that it claims.
  private func line(of sender: PeerAddress, _ mark: String?, _ access: AccessList) -> String? {
    guard let line = mark,
      access.holds(line),  // defence: withdrawal
      let name = line.split(separator: " ").first.flatMap({ KeyName($0) }),
      name.role == sender.role  // defence: role-of-key
    else { return nil }
    return line
  }

  /// Whether somebody who is not heard is the process that had its key before the one that has it now: away for longer than
  /// its lease, it cannot know.
  func hasSuccessor(_ sender: PeerAddress, mark: String?) -> Bool {
    guard let access, let line = line(of: sender, mark, access) else { return false }
    return bindings.isOver(sender.incarnation, key: line)
  }

  /// Whether the key that an incarnation was let in with is still on the list. True where there are no keys.
  func stillAdmits(_ incarnation: Incarnation) -> Bool {
    guard let access else { return true }
    return bindings.key(of: incarnation).map(access.holds) ?? false
  }

  private static func now() -> Instant {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
  }
}

/// Which incarnation each key is used by: one at a time, and none that was another key's.
///
/// A process that comes back gets its key back when the one before has said nothing for a lease: that is when the
/// coordinator has given it up as well.
struct KeyBindings {
  /// Per key. A key that has been through more incarnations forgets its oldest.
  static let maximumRemembered = 64

  private struct Holder {
    /// The newest last; the others are over and never count again.
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

  /// Whether a later incarnation has the key that this one had.
  func isOver(_ incarnation: Incarnation, key: String) -> Bool {
    guard let holder = holders[key] else { return false }
    return holder.incarnations.last != incarnation && holder.incarnations.contains(incarnation)
  }

  /// The process has said that it goes: the next one need not wait. What it says until then still counts.
  mutating func release(key: String) { holders[key]?.isReleased = true }
}
