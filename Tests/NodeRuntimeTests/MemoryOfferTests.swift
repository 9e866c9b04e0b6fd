import Diagnostics
import Foundation
import Messaging
import NodeRuntime
import TestSupport
import Testing
import Transport

/// What a server takes from the memory of its workers, and from whom.
@Suite struct MemoryOfferTests {
  private let addressing = Addressing(run: RunID(1), membershipEpoch: MembershipEpoch(0), step: 0)
  private let worker = Incarnation(2)

  /// A server that shares memory, or will do so later, and a worker that has offered it some.
  private func withOffer(
    at endpoint: Endpoint, isEarly: Bool = false,
    _ body: (_ server: NodeTransport, _ worker: NodeTransport) throws -> Void
  ) throws {
    let context = try MessagingContext()
    let server = NodeTransport(role: .server, incarnation: Incarnation(1), context: context)
    if !isEarly { server.share(try MemoryChannels(weightsByteCount: 64, count: 4)) }
    let worker = NodeTransport(role: .worker, incarnation: worker, context: context)
    try worker.connectToServer(Endpoint(parsing: server.listen(at: endpoint)), sharingMemory: 64)
    let elsewhere = try MemoryChannels(worker: worker.incarnation, gradientByteCount: 64)
    defer {
      server.close()
      worker.close()
    }
    // With sockets on one host, a worker's transport offers its memory by itself.
    if case .tcp = endpoint { worker.send(.attach(elsewhere.offer), to: .server(.first), addressing) }
    worker.send(.requestWork, to: .server(.first), addressing)
    // Behind the offer on the same connection.
    #expect(try next(server)?.0.type == .requestWork)
    try body(server, worker)
  }

  private func next(_ transport: NodeTransport) throws -> (Message, Envelope)? {
    var received: (Message, Envelope)?
    try waitUntil("a message") {
      received = transport.receive()
      return received != nil
    }
    return received
  }

  /// Descriptors of another host's processes mean nothing here; nothing may be opened at such a word.
  @Test func `memory is not opened for a process that may be on another host`() throws {
    try withOffer(at: .tcp(host: "127.0.0.1", port: nil)) { server, _ in
      #expect(server.counters.sent == 0)
      #expect(server.counters.unroutable == 0)
    }
  }

  /// The request that comes with the offer is answered once the server has its state, and the offer is not repeated
  /// before the first gradient.
  @Test func `an offer that comes before the server has memory is answered once it has`() throws {
    let directory = TemporaryDirectory()
    try withOffer(at: Endpoint(socketPath: directory.path + "/server"), isEarly: true) { server, worker in
      #expect(server.counters.sent == 0)
      let memory = try MemoryChannels(weightsByteCount: 64, count: 4)
      server.share(memory)
      #expect(memory.count == 1)
      worker.wait(for: [], until: .now + .seconds(10))
      #expect(worker.receive() == nil)
      worker.send(.requestWork, to: .server(.first), addressing)
      #expect(try next(server)?.0.type == .requestWork)
      #expect(server.counters.bytesFromMemory > 0)
    }
  }

  /// Nothing but the allow-list says that it is over: the connection lives on, and memory has no mark to be looked at.
  @Test func `a key that is withdrawn ends the memory that its owner shares`() throws {
    let directory = TemporaryDirectory()
    let keys = KeyDirectory(path: directory.path + "/keys")
    _ = try keys.generate(["coordinator", "server", "worker-0", "worker-1"].compactMap { KeyName($0) })
    let context = try MessagingContext(security: .keys(keys.take(for: .server)), lease: .seconds(2))
    let channels = try MemoryChannels(weightsByteCount: 64, count: 4)
    let server = NodeTransport(role: .server, incarnation: Incarnation(1), context: context)
    server.share(channels)
    let endpoint = try Endpoint(parsing: server.listen(at: Endpoint(socketPath: directory.path + "/server")))
    defer { server.close() }
    var workers: [NodeTransport] = []
    defer { for worker in workers { worker.close() } }
    var memory: [MemoryChannels] = []
    for number in 0..<2 as Range<UInt64> {
      let worker = NodeTransport(
        role: .worker, incarnation: Incarnation(10 + number),
        context: try MessagingContext(
          security: .keys(keys.take(for: .worker, named: KeyName("worker-\(number)")))))
      try worker.connectToServer(endpoint)
      workers.append(worker)
      memory.append(try MemoryChannels(worker: worker.incarnation, gradientByteCount: 64))
      worker.send(.attach(memory[Int(number)].offer), to: .server(.first), addressing)
      worker.send(.requestWork, to: .server(.first), addressing)
      #expect(try next(server)?.1.incarnation == worker.incarnation)
    }
    #expect(channels.count == 2)
    let list = try keys.allowList().entries.map(\.line).filter { !$0.hasPrefix("worker-1 ") }
    let path = keys.allowListPath
    try (list.joined(separator: "\n") + "\n").write(toFile: path + ".new", atomically: false, encoding: .utf8)
    chmod(path + ".new", 0o644)
    rename(path + ".new", path)
    try waitUntil("the memory is let go of") {
      _ = server.wait(for: [], until: .now + .milliseconds(10))
      return channels.count == 1
    }
    #expect(server.stillAdmits(Incarnation(10)))
    #expect(!server.stillAdmits(Incarnation(11)))
  }

  @Test func `what a worker may not send, it may not send through memory either`() throws {
    let directory = TemporaryDirectory()
    try withOffer(at: Endpoint(socketPath: directory.path + "/server")) { server, worker in
      // The server's offer arrives by the socket; from then on the worker's messages go through memory.
      worker.wait(for: [], until: .now + .seconds(10))
      #expect(worker.receive() == nil)
      for message in [Message.stop(ExitReason(status: .success, reason: "forged")), .requestWork] {
        worker.send(message, to: .server(.first), addressing)
      }
      let received = try next(server)
      #expect(received?.0.type == .requestWork)
      #expect(server.counters.rejected(.identity) == 1)
      #expect(server.counters.bytesFromMemory > 0)
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
