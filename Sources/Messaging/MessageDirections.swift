extension MessageType {
  /// Whether the protocol has a node of role `sender` say this to a node of role `receiver`. What comes from anybody else
  /// is dropped before a role sees it, so a worker can tell a server nothing that only the coordinator may.
  public func isAllowed(from sender: NodeRole, to receiver: NodeRole) -> Bool {
    switch self {
    case .join, .heartbeat, .leave: receiver == .coordinator && (sender == .worker || sender == .server)
    case .snapshot: sender == .server && receiver == .coordinator
    case .statusRequest: sender == .observer && receiver == .coordinator
    case .status: sender == .coordinator && receiver == .observer
    case .welcome, .heartbeatReply, .stop, .notAMember:
      sender == .coordinator && (receiver == .worker || receiver == .server)
    case .refusal:
      sender == .coordinator && (receiver == .worker || receiver == .server) || sender == .server && receiver == .worker
    case .start, .assignment, .snapshotReceived, .snapshotRequest: sender == .coordinator && receiver == .server
    case .requestWork, .push, .attach: sender == .worker && receiver == .server
    case .work, .noWorkYet, .attached: sender == .server && receiver == .worker
    }
  }
}
