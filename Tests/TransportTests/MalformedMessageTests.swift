import Messaging
import Optimization
import Testing
import Transport

/// Each ends by proving that a well-behaved peer still gets through.
@Suite struct MalformedMessageTests {
  /// What the server counts of these frames, and that nothing of them is delivered.
  private func rejection(
    of frames: [[UInt8]], routingID id: [UInt8] = routingID(.worker, Incarnation(5))
  ) throws -> TransportCounters {
    let pair = try Pair(.ipc)
    defer { pair.close() }
    let peer = RawPeer(connectingTo: pair.endpoint, routingID: id)
    peer.send(frames)
    // Behind it on the same connection, so once this is there the other has been dealt with.
    peer.send(TransportTests.frames(Self.push, from: Incarnation(5)))
    pair.worker.send(.requestWork, to: .server(.first), addressing)
    var types: Set<MessageType> = []
    for _ in 0..<limitMilliseconds {
      if let (message, _) = pair.server.receive() { types.insert(message.type) }
      if types.contains(.requestWork), types.contains(.push) || pair.server.counters.rejected > 1 { break }
      pair.server.wait(for: [], until: .now + .milliseconds(1))
    }
    #expect(types.isSubset(of: [.requestWork, .push]))
    return pair.server.counters
  }

  private let good = frames(.requestWork, from: Incarnation(5))
  private static let push = Message.push(
    Message.Push(item: WorkItem(id: WorkItem.ID(1), step: 0, shards: ShardSet()), statistics: .zero, gradient: .empty))

  @Test(arguments: [1, 2, 4, 9])
  func `another number of frames is counted and drained`(count: Int) throws {
    let frames = (0..<count).map { $0 < 3 ? good[$0] : [1, 2, 3] }
    #expect(try rejection(of: frames).rejected(.frameCount) == 1)
  }

  @Test func `an envelope of another length is counted`() throws {
    #expect(try rejection(of: [Array(good[0].dropLast()), good[1], good[2]]).rejected(.length) == 1)
  }

  @Test func `foreign bytes are counted`() throws {
    let foreign = [UInt8](repeating: 0x41, count: Envelope.byteCount)
    #expect(try rejection(of: [foreign, good[1], good[2]]).rejected(.magic) == 1)
  }

  @Test func `a flipped bit in the header is counted`() throws {
    var frames = good
    frames[0][20] ^= 1
    #expect(try rejection(of: frames).rejected(.headerChecksum) == 1)
  }

  @Test func `a flipped bit in the body is counted`() throws {
    var frames = TransportTests.frames(Self.push, from: Incarnation(5))
    frames[1][0] ^= 1
    #expect(try rejection(of: frames).rejected(.bodyChecksum) == 1)
  }

  @Test func `fields of another length than announced are counted`() throws {
    #expect(try rejection(of: [good[0], [1], good[2]]).rejected(.length) == 1)
  }

  @Test func `a peer that claims to be another is counted`() throws {
    #expect(try rejection(of: frames(.requestWork, from: Incarnation(6))).rejected(.identity) == 1)
  }

  /// What only the coordinator may tell a server, and what only a server may be, whoever says so.
  @Test(arguments: [
    Message.stop(ExitReason(status: .success, reason: "")), .snapshotRequest(hold: true), .statusRequest, .noWorkYet,
  ])
  func `what a worker may not send is counted`(message: Message) throws {
    #expect(try rejection(of: TransportTests.frames(message, from: Incarnation(5))).rejected(.identity) == 1)
  }

  @Test(arguments: [[9, 1, 0, 0, 0, 0, 0, 0, 0] as [UInt8], [3, 1], Array("worker".utf8)])
  func `a routing ID that was not assigned is counted`(id: [UInt8]) throws {
    #expect(try rejection(of: good, routingID: id).rejected(.identity) >= 1)
  }

  @Test func `a frame beyond the limit costs its sender the connection`() throws {
    let pair = try Pair(.ipc)
    defer { pair.close() }
    let peer = RawPeer(connectingTo: pair.endpoint, routingID: routingID(.worker, Incarnation(5)))
    #expect(peer.isDisconnected(afterSending: good.dropLast(), thenZeros: Envelope.maximumPayloadLength + 1))
    pair.worker.send(.requestWork, to: .server(.first), addressing)
    #expect(try #require(nextMessage(pair.server)).0.type == .requestWork)
    #expect(pair.server.counters.received == 1)
  }
}
