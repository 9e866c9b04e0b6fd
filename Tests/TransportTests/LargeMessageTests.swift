import Diagnostics
import Messaging
import Optimization
import TestSupport
import Testing
import Transport

/// Gradients of 3,157,002 parameters, 12.6 MB, and three times as much of a state.
@Suite struct LargeMessageTests {
  private static let parameterCount = ModelShape(classes: 10, pixels: 3_072, hidden: [1_024]).parameterCount
  private static let byteCount = parameterCount * MemoryLayout<Int32>.stride

  private static func fill(_ target: UnsafeMutableRawBufferPointer, _ value: UInt64) {
    _ = target.initializeMemory(as: UInt64.self, repeating: value)
  }

  private static func payload(_ value: UInt64, vectors: Int = 1) -> Payload {
    Payload(count: vectors * byteCount) { fill($0, value) }
  }

  private static func item(_ number: UInt64) -> WorkItem {
    WorkItem(id: WorkItem.ID(number), step: number, shards: ShardSet(range: 0..<8))
  }

  private func pushing(_ number: UInt64, _ gradient: Payload) -> Message {
    .push(Message.Push(item: Self.item(number), statistics: .zero, gradient: gradient))
  }

  private func handingOut(_ number: UInt64, _ weights: Payload) -> Message {
    .work(Message.Work(item: Self.item(number), parameters: weights))
  }

  /// A push and its answer, five times.
  private func exchange(
    _ server: NodeTransport, _ worker: NodeTransport, weights: PayloadPool? = nil
  ) throws {
    worker.send(.requestWork, to: .server(.first), addressing)
    #expect(nextMessage(server)?.0.type == .requestWork)
    for number in 1...5 as ClosedRange<UInt64> {
      let sent = weights?.make { Self.fill($0, number << 32) } ?? Self.payload(number << 32)
      server.send(handingOut(number, sent), to: .node(.worker, worker.incarnation), addressing)
      guard case .work(let work) = try #require(nextMessage(worker)).0 else { return #expect(Bool(false)) }
      #expect(work.item == Self.item(number) && work.parameters == sent)
      let gradient = worker.gradients?.make { Self.fill($0, number) } ?? Self.payload(number)
      worker.send(pushing(number, gradient), to: .server(.first), addressing)
      guard case .push(let push) = try #require(nextMessage(server)).0 else { return #expect(Bool(false)) }
      #expect(push.item == Self.item(number) && push.gradient == gradient)
    }
  }

  @Test(arguments: Pair.Medium.allCases) func `a network's messages pass through sockets`(medium: Pair.Medium) throws {
    let pair = try Pair(medium)
    defer { pair.close() }
    try exchange(pair.server, pair.worker)
  }

  @Test func `a network's messages pass encrypted`() throws {
    let cluster = try KeyedCluster(.tcp, lease: .seconds(10))
    let worker = try cluster.worker("worker-0")
    defer { worker.close() }
    try exchange(cluster.server, worker)
  }

  @Test(arguments: Pair.Medium.allCases) func `the largest state passes through sockets`(medium: Pair.Medium) throws {
    let pair = try Pair(medium)
    defer { pair.close() }
    let state = Self.payload(5, vectors: 3)
    pair.worker.send(pushing(1, state), to: .server(.first), addressing)
    guard case .push(let push) = try #require(nextMessage(pair.server)).0 else { return #expect(Bool(false)) }
    #expect(push.gradient == state)
  }

  /// A server and a worker that share memory, and what they say of it.
  private final class Sharing {
    let directory = TemporaryDirectory()
    let server: NodeTransport
    let worker: NodeTransport
    var reports: [String] = []

    init(_ memory: MemoryChannels) throws {
      let context = try MessagingContext()
      server = NodeTransport(role: .server, incarnation: Pair.serverIncarnation, context: context)
      worker = NodeTransport(role: .worker, incarnation: Pair.workerIncarnation, context: context)
      server.memoryFailed = { [unowned self] in reports.append($0.description) }
      worker.memoryFailed = { [unowned self] in reports.append($0.description) }
      server.share(memory)
      let endpoint = try server.listen(at: Endpoint(socketPath: "\(directory.path)/server"))
      try worker.connectToServer(Endpoint(parsing: endpoint), sharingMemory: LargeMessageTests.byteCount)
    }

    deinit {
      server.close()
      worker.close()
    }
  }

  @Test func `a network's messages stay in shared memory`() throws {
    let memory = try MemoryChannels(weightsByteCount: Self.byteCount, count: 4)
    let pair = try Sharing(memory)
    try exchange(pair.server, pair.worker, weights: memory.payloads(byteCount: Self.byteCount))
    #expect(pair.reports.isEmpty)
    #expect(pair.worker.counters.bytesFromMemory > 5 * Self.byteCount)
    #expect(pair.server.counters.bytesFromMemory > 5 * Self.byteCount)
    // Requests and offers.
    #expect(pair.server.counters.bytesFromSockets < 1_000 && pair.worker.counters.bytesFromSockets < 1_000)
  }

  @Test func `shared memory is too small for the weights: they go through sockets, and that is said once`() throws {
    let pair = try Sharing(MemoryChannels(weightsByteCount: 64, count: 1))
    try exchange(pair.server, pair.worker)
    #expect(pair.worker.counters.bytesFromSockets > 5 * Self.byteCount)
    #expect(pair.reports == ["the shared memory has no room for weights of \(Self.byteCount) bytes"])
  }

  /// Nothing listens, so nothing leaves.
  @Test func `a message that is repeated does not queue behind itself, nor more than two others`() throws {
    let directory = TemporaryDirectory()
    let worker = NodeTransport(role: .worker, incarnation: Pair.workerIncarnation, context: try MessagingContext())
    defer { worker.close() }
    try worker.connectToServer(Endpoint(socketPath: "\(directory.path)/nothing"))
    func send(_ payload: Payload) -> UInt64 {
      let before = worker.counters.sent
      worker.send(pushing(1, payload), to: .server(.first), addressing)
      return worker.counters.sent - before
    }
    let payloads = (0..<3).map { Self.payload($0) }
    #expect([0, 0, 1, 1, 2, 0].map { send(payloads[$0]) } == [1, 0, 1, 0, 0, 0])
    #expect(worker.counters.overflowed == 4)
    // Short ones are not counted.
    #expect(send(Payload(concatenating: [UInt8](repeating: 0, count: 123_000))) == 1)
  }
}
