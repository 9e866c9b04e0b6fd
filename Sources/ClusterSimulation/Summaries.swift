import Cluster
import Messaging

extension Event {
  /// For the trace.
  var summary: String {
    switch self {
    case .begin: "begins"
    case .received(let message, let envelope):
      "← \(message.summary) of \(envelope.incarnation), epoch \(envelope.membershipEpoch), step \(envelope.step)"
    case .deadline: "looks at the clock"
    case .gradientReady(let gradient): "has computed ticket \(gradient.ticket)"
    case .evaluated(let serial, let split, _): "has evaluated snapshot \(serial) on \(split)"
    case .checkpointWritten(let step, let result): "hears of the checkpoint of step \(step): \(result)"
    case .stopRequested: "is asked to stop"
    }
  }
}

extension Message {
  /// For the trace.
  var summary: String {
    switch self {
    case .work(let work): "work, ticket \(work.ticket), shards \(work.shards)"
    case .push(let push): "push, ticket \(push.ticket), shards \(push.shards)"
    case .snapshot(let snapshot): "snapshot \(snapshot.serial), \(snapshot.occasion)"
    case .snapshotReceived(let serial): "snapshotReceived \(serial)"
    case .assignment(let assignment):
      "assignment "
        + assignment.members.map { "\($0.incarnation): \($0.shards)" }.joined(separator: "; ")
    case .refusal(let ending), .stop(let ending): "\(type) \(ending.status.rawValue): \(ending.reason)"
    case .heartbeat(let heartbeat): "heartbeat, ready \(heartbeat.isReady), assignment \(heartbeat.assignmentEpoch)"
    default: "\(type)"
    }
  }
}
