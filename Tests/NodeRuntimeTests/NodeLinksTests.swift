import Diagnostics
import Foundation
import Messaging
import NodeRuntime
import SharedMemory
import TestSupport
import Testing
import ZeroMQTransport

/// What a server takes from the memory of its workers, and from whom.
@Suite struct NodeLinksTests {
  private let addressing = Addressing(run: RunID(1), membershipEpoch: MembershipEpoch(0), step: 0)
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
    sockets.send(.attach(channel.offer(processID: getpid())), to: .server(.first), addressing)
    sockets.send(.requestWork, to: .server(.first), addressing)
    // Behind the offer on the same connection.
    #expect(try next(links)?.0.type == .requestWork)
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
  @Test func `memory is not opened for a process that may be on another host`() throws {
    try withOffer(at: .tcp(host: "127.0.0.1", port: nil)) { links, _, _ in
      #expect(links.counters.sent == 0)
      #expect(links.counters.unroutable == 0)
    }
  }

  /// Nothing but the allow-list says that it is over: the connection lives on, and memory has no mark to be looked at.
  @Test func `a key that is withdrawn ends the memory that its owner shares`() throws {
    let directory = TemporaryDirectory()
    let keys = KeyDirectory(path: directory.path + "/keys")
    _ = try keys.generate(["coordinator", "server", "worker-0", "worker-1"].compactMap { KeyName($0) })
    let context = try MessagingContext(security: .keys(keys.take(for: .server)), lease: .seconds(2))
    let server = NodeTransport(role: .server, incarnation: Incarnation(1), context: context)
    let endpoint = try Endpoint(parsing: server.listen(at: Endpoint(socketPath: directory.path + "/server")))
    let channels = try ServerChannels()
    let links = NodeLinks(sockets: server, memory: channels, log: NodeLog(file: nil, show: nil))
    defer { links.close() }
    var workers: [NodeTransport] = []
    defer { for worker in workers { worker.close() } }
    var memory: [WorkerChannel] = []
    for number in 0..<2 as Range<UInt64> {
      let worker = NodeTransport(
        role: .worker, incarnation: Incarnation(10 + number),
        context: try MessagingContext(
          security: .keys(keys.take(for: .worker, named: KeyName("worker-\(number)")))))
      try worker.connectToServer(endpoint)
      workers.append(worker)
      memory.append(try WorkerChannel(incarnation: worker.incarnation, gradientByteCount: 64))
      worker.send(.attach(memory[Int(number)].offer(processID: getpid())), to: .server(.first), addressing)
      worker.send(.requestWork, to: .server(.first), addressing)
      #expect(try next(links)?.1.incarnation == worker.incarnation)
    }
    #expect(channels.count == 2)
    let list = try keys.allowList().entries.map(\.line).filter { !$0.hasPrefix("worker-1 ") }
    let path = keys.allowListPath
    try (list.joined(separator: "\n") + "\n").write(toFile: path + ".new", atomically: false, encoding: .utf8)
    chmod(path + ".new", 0o644)
    rename(path + ".new", path)
    try waitUntil("the memory is let go of") {
      _ = links.wait(for: [], until: MonotonicClock.now() + .milliseconds(10))
      return channels.count == 1
    }
    #expect(server.stillAdmits(Incarnation(10)))
    #expect(!server.stillAdmits(Incarnation(11)))
  }

  @Test func `what a worker may not send, it may not send through memory either`() throws {
    let directory = TemporaryDirectory()
    try withOffer(at: Endpoint(socketPath: directory.path + "/server")) { links, sockets, channel in
      var answer: (Message, Envelope)?
      try waitUntil("the server's offer") {
        answer = sockets.receive()
        return answer != nil
      }
      guard case .attached(let offer) = answer?.0 else { return #expect(Bool(false), "no memory") }
      try channel.attach(offer, server: Incarnation(1))
      for message in [Message.stop(ExitReason(status: .success, reason: "forged")), .requestWork] {
        let envelope = sockets.envelope(of: message, addressing)
        guard case .sent = channel.send(message, envelope) else { return #expect(Bool(false), "not sent") }
      }
      #expect(try next(links)?.0.type == .requestWork)
      #expect(links.counters.rejected(.identity) == 1)
    }
  }
}

@Suite struct ExposureReminderTests {
  @Test func `exposure is reported at once and every minute`() {
    var reminder = ExposureReminder()
    let start = Instant(nanoseconds: 5_000_000_000)
    let seconds = [0, 59.9, 60, 61]
    let isDue = seconds.map { reminder.isDue(at: start + .seconds($0)) }
    #expect(isDue == [true, false, true, false])
    #expect(reminder.next == start + .seconds(120))
  }
}
