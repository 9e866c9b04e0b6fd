import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import Synchronization
import Testing
import Transport

@Suite struct SocketTests {
  @Test(arguments: Pair.Medium.allCases)
  func `a first message arrives although it was sent before the connection was made`(medium: Pair.Medium) throws {
    let pair = try Pair(medium)
    defer { pair.close() }
    pair.worker.send(.requestWork, to: .server(.first), addressing)
    let (message, envelope) = try #require(nextMessage(pair.server))
    guard case .requestWork = message else { return #expect(Bool(false), "found \(message)") }
    #expect(envelope.incarnation == Pair.workerIncarnation)
    #expect(envelope.run == addressing.run)
    #expect(envelope.membershipEpoch == addressing.membershipEpoch)
    #expect(envelope.step == addressing.step)
    #expect(envelope.sequence == 1)
  }

  @Test(arguments: Pair.Medium.allCases)
  func `weights and gradients travel unchanged both ways`(medium: Pair.Medium) throws {
    let pair = try Pair(medium)
    defer { pair.close() }
    pair.worker.send(.requestWork, to: .server(.first), addressing)
    _ = try #require(nextMessage(pair.server))
    let weights = (0..<30_730).map { Float($0) * 0.5 }
    let parameters = Payload(concatenating: weights)
    pair.server.send(
      .work(
        Message.Work(
          item: WorkItem(id: WorkItem.ID(9), step: 0, shards: ShardSet(range: 0..<8)), parameters: parameters)),
      to: .node(.worker, Pair.workerIncarnation), addressing)
    guard case .work(let work) = try #require(nextMessage(pair.worker)).0 else { return #expect(Bool(false)) }
    #expect(work.parameters.elements(of: Float.self, count: weights.count) == weights)
    // Envelope, number of the item, one word of shards and none of a scale behind their counts, weights.
    #expect(pair.worker.counters.bytesFromSockets == 64 + 8 + 1 + 8 + 1 + 4 * 30_730)

    let gradient = (0..<30_730).map { Int32($0) &* 77_777 }
    let statistics = MinibatchStatistics(examples: 256, lossSum: 12_345, correct: 99, isFinite: true)
    pair.worker.send(
      .push(
        Message.Push(
          item: WorkItem(id: WorkItem.ID(9), step: 0, shards: work.item.shards), statistics: statistics,
          gradient: Payload(concatenating: gradient))),
      to: .server(.first), addressing)
    guard case .push(let push) = try #require(nextMessage(pair.server)).0 else { return #expect(Bool(false)) }
    #expect(push.gradient.elements(of: Int32.self, count: gradient.count) == gradient)
    #expect(push.statistics == statistics)
    #expect(push.item.shards == work.item.shards)
  }

  @Test func `a sent payload is released once it has left`() throws {
    let pair = try Pair(.ipc)
    let released = Mutex(0)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 * 30_730, alignment: 64)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 1)
    do {
      let gradient = Payload(borrowing: UnsafeRawBufferPointer(memory)) { released.withLock { $0 += 1 } }
      let push = Message.Push(
        item: WorkItem(id: WorkItem.ID(1), step: 0, shards: ShardSet()), statistics: MinibatchStatistics.zero,
        gradient: gradient)
      pair.worker.send(.push(push), to: .server(.first), addressing)
    }
    _ = try #require(nextMessage(pair.server))
    pair.close()
    var attempts = 0
    while released.withLock({ $0 }) == 0, attempts < limitMilliseconds {
      attempts += 1
      pair.worker.wait(for: [], until: .now + .milliseconds(1))
    }
    #expect(released.withLock { $0 } == 1)
  }

  @Test func `a message to an unknown peer is dropped and counted`() throws {
    let pair = try Pair(.ipc)
    defer { pair.close() }
    pair.server.send(.noWorkYet, to: .node(.worker, Incarnation(99)), addressing)
    pair.server.send(.noWorkYet, to: .coordinator, addressing)
    #expect(pair.server.counters.unroutable == 2)
    #expect(pair.server.counters.sent == 0)
  }

  @Test func `a peer that does not read costs a bounded queue`() throws {
    let pair = try Pair(.ipc)
    defer { pair.close() }
    let parameters = Payload(count: 123_000) { _ in }
    pair.worker.send(.requestWork, to: .server(.first), addressing)
    _ = try #require(nextMessage(pair.server))
    for item in 0..<1000 {
      pair.server.send(
        .work(
          Message.Work(
            item: WorkItem(id: WorkItem.ID(UInt64(item)), step: 0, shards: ShardSet()), parameters: parameters)),
        to: .node(.worker, Pair.workerIncarnation), addressing)
    }
    #expect(pair.server.counters.overflowed > 800)
    #expect(pair.server.counters.sent + pair.server.counters.overflowed == 1000)
  }

  @Test func `a readable descriptor ends a wait`() throws {
    let pair = try Pair(.ipc)
    defer { pair.close() }
    let wakeUp = try Descriptor.wakeUp()
    wakeUp.signal()
    // Without a limit: the test ends only if the descriptor wakes it.
    pair.server.wait(for: [wakeUp.number], until: nil)
    wakeUp.clear()
  }

  @Test func `listening beyond this host is refused`() throws {
    let context = try MessagingContext()
    for host in ["0.0.0.0", "*", "192.168.1.1", "eth0", "::"] {
      let node = NodeTransport(role: .server, incarnation: Incarnation(1), context: context)
      #expect { _ = try node.listen(at: .tcp(host: host, port: nil)) } throws: { error in
        let failure = error as? Failure
        return failure?.status == .badConfiguration && failure?.message.contains("keys") == true
      }
    }
  }

  @Test func `an address in use is named`() throws {
    let context = try MessagingContext()
    let first = NodeTransport(role: .server, incarnation: Incarnation(1), context: context)
    let second = NodeTransport(role: .server, incarnation: Incarnation(2), context: context)
    defer { first.close() }
    let endpoint = try Endpoint(parsing: first.listen(at: .tcp(host: "127.0.0.1", port: nil)))
    #expect { _ = try second.listen(at: endpoint) } throws: { error in
      let failure = error as? Failure
      return failure?.status == .cannotCreate && failure?.message.contains("\(endpoint)") == true
    }
  }
}
