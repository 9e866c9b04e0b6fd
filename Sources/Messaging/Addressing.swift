/// Where a message goes; the shell knows the socket.
public enum Destination: Sendable, Hashable {
  case coordinator
  case server
  case node(NodeRole, Incarnation)
}

/// What a role puts on the envelope of a message; the shell adds its incarnation and the sequence number.
public struct Addressing: Sendable, Equatable {
  public var run: RunID
  public var membershipEpoch: MembershipEpoch
  public var step: UInt64
  public init(run: RunID, membershipEpoch: MembershipEpoch, step: UInt64) {
    self.run = run
    self.membershipEpoch = membershipEpoch
    self.step = step
  }
}
