import Cluster
import Diagnostics
import Glibc
import Messaging
import NodeRuntime
import SharedMemory
import Testing
import ZeroMQTransport

/// What a server takes from the memory of its workers, and from whom.
@Suite struct NodeLinksTests {
  private let stamp = Stamp(run: RunID(1), membershipEpoch: MembershipEpoch(0), step: 0)
  private let worker = Incarnation(2)

  /// A server that would share memory, and a worker that has offered it some.
  private func withOffer(
    at endpoint: Endpoint, _ body: (NodeLinks, NodeTransport, WorkerChannel) throws -> Void
  ) throws {
    let context = try MessagingContext()
    let server = NodeTransport(role: .server, incarnation: Incarnation(1), context: context)
    let sockets = NodeTransport(role: .worker, incarnation: worker, context: context)
    try sockets.connectToServer(Endpoint(parsing: server.listen(at: endpoint)))
    let links = try NodeLinks(sockets: server, memory: ServerChannels(), log: NodeLog(file: nil, show: nil))
    let channel = try WorkerChannel(incarnation: worker, gradientByteCount: 64)
    defer {
      links.close()
      sockets.close()
    }
    sockets.send(.attach(channel.offer(processID: getpid())), to: .server, stamp)
    sockets.send(.hello, to: .server, stamp)
    // Behind the offer on the same connection.
    #expect(try next(links)?.0.type == .hello)
    try body(links, sockets, channel)
  }

  private func next(_ links: NodeLinks) throws -> (Message, Envelope)? {
    var received: (Message, Envelope)?
    try waitUntil("a message") {
      received = links.receive(fromSockets: true)
      return received != nil
    }
    return received
  }

  /// Descriptors of another host's processes mean nothing here; nothing may be opened at such a word.
  @Test func memoryIsNotOpenedForWhoMayBeOnAnotherHost() throws {
    try withOffer(at: .tcp(host: "127.0.0.1", port: nil)) { links, _, _ in
      #expect(links.counters.sent == 0)
      #expect(links.counters.unroutable == 0)
    }
  }

  @Test func whatAWorkerMayNotSayItMayNotSayThroughMemoryEither() throws {
    let directory = TemporaryDirectory()
    try withOffer(at: Endpoint(socketPath: directory.path + "/server")) { links, sockets, channel in
      var answer: (Message, Envelope)?
      try waitUntil("the server's offer") {
        answer = sockets.receive()
        return answer != nil
      }
      guard case .attached(let offer) = answer?.0 else { return #expect(Bool(false), "no memory") }
      try channel.attach(offer, server: Incarnation(1))
      for message in [Message.stop(Message.Ending(status: .success, reason: "forged")), .hello] {
        let envelope = sockets.envelope(of: message, stamp)
        guard case .sent = channel.send(message, envelope) else { return #expect(Bool(false), "not sent") }
      }
      #expect(try next(links)?.0.type == .hello)
      #expect(links.counters.rejected(.identity) == 1)
    }
  }
}

@Suite struct ExposureReminderTests {
  @Test func itSaysSoAtOnceAndEveryMinute() {
    var reminder = ExposureReminder()
    let start = Instant(nanoseconds: 5_000_000_000)
    let seconds = [0, 59.9, 60, 61]
    let isDue = seconds.map { reminder.isDue(at: start + .seconds($0)) }
    #expect(isDue == [true, false, true, false])
    #expect(reminder.next == start + .seconds(120))
  }
}
