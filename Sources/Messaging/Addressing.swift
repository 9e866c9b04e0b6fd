/// One of the servers of a run, counted from 0 in the order of their ranges of the parameters.
public struct ServerIndex: Sendable, Hashable, CustomStringConvertible {
  public static let first = ServerIndex(0)
  public let value: UInt8
  public init(_ value: UInt8) { self.value = value }
  public var description: String { String(value) }
}

/// Where a server of a run listens for workers, and which of the parameters it holds.
public struct ServerEndpoint: Sendable, Equatable {
  /// Of the flat vector of parameters.
  public var range: Range<Int>
  public var endpoint: String
  public init(range: Range<Int>, endpoint: String) {
    self.range = range
    self.endpoint = endpoint
  }
}

/// Where a message goes; the shell knows the socket.
public enum Destination: Sendable, Hashable {
  case coordinator
  case server(ServerIndex)
  case node(NodeRole, Incarnation)
}

/// What a role puts on the envelope of a message; the shell adds its incarnation and the sequence number. Zeros are for
/// what the role does not know yet.
public struct Addressing: Sendable, Equatable {
  public var run: RunID
  public var membershipEpoch: MembershipEpoch
  public var step: UInt64
  public init(
    run: RunID = RunID(0), membershipEpoch: MembershipEpoch = MembershipEpoch(0), step: UInt64 = 0
  ) {
    self.run = run
    self.membershipEpoch = membershipEpoch
    self.step = step
  }
}
