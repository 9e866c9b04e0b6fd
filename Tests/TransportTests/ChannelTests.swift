import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import Testing
import Transport

/// A worker and a server that share memory, both in this process: /proc does not mind.
private struct MemoryPair {
  static let gradientBytes = 40_000
  let worker: MemoryChannels
  let server: MemoryChannels
  let gradients: PayloadPool
  let weights: PayloadPool
  let workerIncarnation = Incarnation(7)
  let serverIncarnation = Incarnation(9)

  init() throws {
    worker = try MemoryChannels(worker: workerIncarnation, gradientByteCount: Self.gradientBytes)
    server = try MemoryChannels(weightsByteCount: Self.gradientBytes, count: 6)
    gradients = worker.payloads(byteCount: Self.gradientBytes)
    weights = server.payloads(byteCount: Self.gradientBytes)
    try server.attach(worker.offer, from: workerIncarnation)
    try worker.attach(server.offer, from: serverIncarnation)
  }

  func envelope(_ message: Message, from incarnation: Incarnation, sequence: UInt64 = 1) -> Envelope {
    Envelope(
      type: message.type, run: RunID(3), membershipEpoch: MembershipEpoch(4), incarnation: incarnation, step: 5,
      sequence: sequence)
  }

  func push(_ item: UInt64, value: Int32) -> Message {
    let gradient = gradients.make { target in
      target.withMemoryRebound(to: Int32.self) { $0.update(repeating: value) }
    }
    return .push(
      Message.Push(
        item: WorkItem(id: WorkItem.ID(item), step: 0, shards: ShardSet([1])), statistics: .zero, gradient: gradient))
  }

  func sendToServer(_ message: Message) -> SendResult? {
    worker.send(message, envelope(message, from: workerIncarnation))
  }

  func sendToWorker(_ message: Message) -> SendResult? {
    server.send(message, envelope(message, from: serverIncarnation), to: workerIncarnation)
  }
}

private func isReadable(_ descriptor: Int32) -> Bool {
  var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
  return poll(&item, 1, 0) == 1
}

@Suite("Messages through shared memory") struct ChannelTests {
  @Test func `messages arrive in order and uncopied`() throws {
    let pair = try MemoryPair()
    for item in 1...100 as ClosedRange<UInt64> {
      let before = Instant.now
      #expect(pair.sendToServer(pair.push(item, value: Int32(item))) == .sent)
      let after = Instant.now
      guard case .message(.push(let push), let envelope) = pair.server.receive() else {
        Issue.record("no push \(item)")
        return
      }
      #expect(envelope.written.map { (before...after).contains($0) } == true)
      #expect(push.item.id.value == item && envelope.incarnation == pair.workerIncarnation)
      #expect(push.gradient.elements(of: Int32.self, count: 10_000).allSatisfy { $0 == Int32(item) })

      let weights = pair.weights.make { $0.withMemoryRebound(to: Float.self) { $0.update(repeating: Float(item)) } }
      #expect(
        pair.sendToWorker(
          .work(Message.Work(item: WorkItem(id: WorkItem.ID(item), step: 0, shards: ShardSet()), parameters: weights)))
          == .sent)
      guard case .message(.work(let work), _) = pair.worker.receive() else {
        Issue.record("no work \(item)")
        return
      }
      #expect(work.parameters.elements(of: Float.self, count: 10_000).allSatisfy { $0 == Float(item) })
    }
    #expect(pair.server.receive() == nil && pair.worker.receive() == nil)
  }

  @Test func `a receiver that takes nothing costs messages, not memory`() throws {
    let pair = try MemoryPair()
    var results: [SendResult?] = []
    for item in 1...6 as ClosedRange<UInt64> { results.append(pair.sendToServer(pair.push(item, value: 1))) }
    #expect(results == [.sent, .sent, .sent, .sent, .overflowed, .overflowed])
    // What is held is not overwritten, however long; what was let go of makes room.
    var held: [Message] = []
    while case .message(let message, _)? = pair.server.receive() { held.append(message) }
    #expect(held.count == 4)
    #expect(pair.sendToServer(pair.push(7, value: 7)) == .overflowed)
    held.removeAll()
    #expect(pair.server.receive() == nil)
    #expect(pair.sendToServer(pair.push(8, value: 8)) == .sent)
    guard case .message(.push(let push), _)? = pair.server.receive() else {
      Issue.record("no push")
      return
    }
    #expect(push.item.id.value == 8)
  }

  @Test func `what does not lie in the memory is for the socket`() throws {
    let pair = try MemoryPair()
    let elsewhere = Payload(concatenating: [Int32](repeating: 1, count: 10_000))
    let push = Message.push(
      Message.Push(
        item: WorkItem(id: WorkItem.ID(1), step: 0, shards: ShardSet()), statistics: .zero, gradient: elsewhere))
    #expect(pair.sendToServer(push) == .unroutable)
    #expect(
      pair.sendToServer(.stop(ExitReason(status: .success, reason: String(repeating: "x", count: 4_096))))
        == .unroutable)
    #expect(pair.sendToServer(.requestWork) == .sent)
    let result = pair.server.send(
      .noWorkYet, pair.envelope(.noWorkYet, from: pair.serverIncarnation), to: Incarnation(8))
    #expect(result == nil, "no channel to that worker")
  }

  @Test func `messages of another incarnation are dropped`() throws {
    let pair = try MemoryPair()
    #expect(pair.worker.send(.requestWork, pair.envelope(.requestWork, from: Incarnation(8))) == .sent)
    guard case .rejected(.identity)? = pair.server.receive() else {
      Issue.record("not rejected")
      return
    }
    #expect(pair.server.receive() == nil)
  }

  @Test func `a receiver that sleeps is woken once`() throws {
    let pair = try MemoryPair()
    #expect(pair.sendToServer(.requestWork) == .sent)
    #expect(!isReadable(pair.server.doorbellDescriptor), "the server does not sleep")
    #expect(!pair.server.fallAsleep(), "there is a message")
    _ = pair.server.receive()
    #expect(pair.server.fallAsleep())
    #expect(pair.sendToServer(.requestWork) == .sent)
    #expect(isReadable(pair.server.doorbellDescriptor))
    pair.server.wakeUp(hasRung: true)
    #expect(!isReadable(pair.server.doorbellDescriptor))
    #expect(pair.server.hasMessage)

    #expect(pair.worker.fallAsleep())
    #expect(pair.sendToWorker(.noWorkYet) == .sent)
    #expect(isReadable(pair.worker.doorbellDescriptor))
  }

  @Test func `a near deadline of a server is something to wait for, readable once it has passed`() throws {
    let server = try MemoryPair().server
    for microseconds in [300, 1_700, 4_000] as [UInt64] {
      let deadline = Instant.now + Interval(nanoseconds: microseconds * 1_000)
      var item = pollfd(fd: try #require(server.alarm(at: deadline)), events: Int16(POLLIN), revents: 0)
      #expect(poll(&item, 1, 10_000) == 1 && Instant.now >= deadline)
    }
    let far = Instant.now + .seconds(60)
    #expect(server.alarm(at: far) == nil, "poll(2) is as good")
    #expect(try MemoryPair().worker.alarm(at: .now) == nil, "a worker has none")
    let alarm = try Descriptor.alarm()
    alarm.expire(at: .now)
    #expect(isReadable(alarm.number))
    alarm.expire(at: far)
    #expect(!isReadable(alarm.number), "set again, it forgets the deadline before")
  }

  /// A worker that hears no answer offers its memory again; the answer may have been on its way.
  @Test func `the same offer again changes nothing`() throws {
    let pair = try MemoryPair()
    for item in 1...20 as ClosedRange<UInt64> {
      if item % 3 == 2 {
        try pair.server.attach(pair.worker.offer, from: pair.workerIncarnation)
      }
      #expect(pair.sendToWorker(.noWorkYet) == .sent)
      guard case .message(.noWorkYet, _) = pair.worker.receive() else {
        Issue.record("message \(item) did not arrive")
        return
      }
      #expect(pair.sendToServer(pair.push(item, value: 1)) == .sent)
      guard case .message(.push(let push), _) = pair.server.receive() else {
        Issue.record("push \(item) did not arrive")
        return
      }
      #expect(push.item.id.value == item)
    }
    #expect(pair.server.count == 1)
  }

  @Test func `a worker that is gone is noticed`() throws {
    let server = try MemoryChannels(weightsByteCount: 64, count: 1)
    var worker: MemoryChannels? = try MemoryChannels(worker: Incarnation(7), gradientByteCount: 64)
    try server.attach(#require(worker).offer, from: Incarnation(7))
    var descriptors: [Int32] = []
    server.appendPeerDescriptors(to: &descriptors)
    let descriptor = try #require(descriptors.first)
    var item = pollfd(fd: descriptor, events: 0, revents: 0)
    #expect(poll(&item, 1, 0) == 0)
    worker = nil
    #expect(poll(&item, 1, 0) == 1 && item.revents & Int16(POLLERR) != 0)
    server.keepPeers { position, _ in position != 0 }
    #expect(server.count == 0)
    #expect(server.send(.noWorkYet, Self.anyEnvelope, to: Incarnation(7)) == nil)
  }

  @Test func `an offer that is none is refused`() throws {
    let server = try MemoryChannels(weightsByteCount: 64, count: 1)
    let worker = try MemoryChannels(worker: Incarnation(7), gradientByteCount: 64)
    let offer = worker.offer
    var wrong = [offer, offer, offer, offer, offer]
    wrong[0].processID = Int32.max
    wrong[1].memory = 0
    wrong[2].doorbell = offer.memory
    wrong[3].byteCount += 1
    wrong[4].memory = offer.doorbell
    for offer in wrong {
      #expect(throws: Failure.self) { try server.attach(offer, from: Incarnation(7)) }
    }
    #expect(throws: Failure.self, "of another incarnation") {
      try server.attach(offer, from: Incarnation(8))
    }
    #expect(server.count == 0)
  }

  private static let anyEnvelope = Envelope(
    type: .noWorkYet, run: RunID(1), membershipEpoch: MembershipEpoch(1), incarnation: Incarnation(1), step: 0,
    sequence: 0)
}
