import Messaging

extension SimulatedEvent {
  /// For the trace.
  /// - Parameter name: of a process.
  func summary(_ name: (Incarnation) -> String) -> String {
    switch self {
    case .begin: "begins"
    case .received(let message, let envelope):
      "← \(name(envelope.incarnation)): \(message.summary(name)) (epoch \(envelope.membershipEpoch), "
        + "step \(envelope.step))"
    case .deadline: "looks at the clock"
    case .stopRequested: "is asked to stop"
    case .saveRequested: "is asked to save"
    }
  }
}

extension Message {
  /// For the trace.
  func summary(_ name: (Incarnation) -> String) -> String {
    switch self {
    case .work(let work): "work, item \(work.item.id), shards \(work.item.shards)"
    case .push(let push): "push, item \(push.item.id), shards \(push.item.shards)"
    case .snapshot(let snapshot): "snapshot \(snapshot.serial), \(snapshot.occasion)"
    case .snapshotReceived(let serial): "has dealt with snapshot \(serial)"
    case .snapshotRequest(let hold): hold ? "wants a last snapshot" : "wants a snapshot"
    case .assignment(let assignment):
      "assignment, " + assignment.members.map { "\(name($0.incarnation)): \($0.shards)" }.joined(separator: "; ")
    case .refusal(let ending), .stop(let ending): "\(type), status \(ending.status.rawValue): \(ending.reason)"
    case .heartbeat(let heartbeat):
      "heartbeat, \(heartbeat.isReady ? "" : "not ")ready, assignment \(heartbeat.assignmentEpoch)"
    case .heartbeatReply: "heartbeat reply"
    default: "\(type)"
    }
  }
}
