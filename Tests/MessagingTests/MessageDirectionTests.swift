import Messaging
import Testing

@Suite struct MessageDirectionTests {
  @Test(arguments: MessageType.allCases)
  func `every message type has a sender and another receiver`(type: MessageType) {
    let pairs = NodeRole.allCases.flatMap { sender in NodeRole.allCases.map { (sender, $0) } }
    #expect(pairs.contains { type.isAllowed(from: $0, to: $1) })
    #expect(NodeRole.allCases.allSatisfy { !type.isAllowed(from: $0, to: $0) })
  }

  /// Only the coordinator decides, whatever other process sends the message.
  @Test(arguments: [
    MessageType.welcome, .stop, .start, .assignment, .snapshotRequest, .snapshotReceived, .heartbeatReply, .status,
  ])
  func `decisions are sent by the coordinator alone`(type: MessageType) {
    for sender in NodeRole.allCases where sender != .coordinator {
      #expect(NodeRole.allCases.allSatisfy { !type.isAllowed(from: sender, to: $0) }, "\(sender)")
    }
  }

  @Test func `an observer asks and is answered`() {
    let said = MessageType.allCases.filter { type in
      NodeRole.allCases.contains { type.isAllowed(from: .observer, to: $0) }
    }
    let heard = MessageType.allCases.filter { type in
      NodeRole.allCases.contains { type.isAllowed(from: $0, to: .observer) }
    }
    #expect(said == [.statusRequest])
    #expect(heard == [.status])
  }
}
