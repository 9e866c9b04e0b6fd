import Diagnostics
import Dispatch
import Files
import Glibc
import Messaging
import Optimization
import Reporting
import Transport

/// Gradients and weights of a network with 1,024 hidden units, 12.6 MB each, to and fro between two threads of this
/// process, checksums made and checked, beside a copy of as many bytes by one core.
func measureLargeMessages(_ rig: Rig, _ report: inout Report) throws {
  let parameters = ModelShape(classes: 10, pixels: 3_072, hidden: [1_024]).parameterCount
  let byteCount = parameters * MemoryLayout<Float>.stride
  let rounds = rig.isQuick ? 30 : 150
  let copy = LargeCopy(byteCount)
  let ways = LargeExchange.Way.allCases
  var runs: [() throws -> Double] = [{ copy.secondsPerCopy(2 * rounds) }]
  for way in ways { runs.append { try LargeExchange(way, byteCount, rig).secondsPerMessage(rounds) } }
  let measured = try alternate("large messages", rounds: rig.isQuick ? 2 : 5, runs)
  let copying = measured[0].median
  let names = ["a copy by one core"] + ways.map(\.rawValue)
  let rows = zip(names, measured).map { name, seconds in
    let speeds = seconds.map { Double(byteCount) / $0 }
    return [Cell("transport", name)] + speeds.cells("median GB/s", scale: 1e-9, places: 2)
      + [
        Cell("µs/message", seconds.median, scale: 1e6), Cell("of the copy %", copying / seconds.median, scale: 100),
      ]
  }
  report.table("Messages of \(parameters) parameters", rows)
  let reached = copying / measured[1].median
  report.target(
    "large messages, memory", "70 % of a copy by one core", reached: Display.percent(reached, places: 0),
    isMet: reached >= 0.7)
}

/// What one core copies.
private final class LargeCopy {
  private let buffers: [UnsafeMutableRawPointer]
  private let byteCount: Int

  init(_ byteCount: Int) {
    self.byteCount = byteCount
    buffers = (0..<3).map { _ in
      let buffer = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 64)
      memset(buffer, 1, byteCount)
      return buffer
    }
  }

  deinit { for buffer in buffers { buffer.deallocate() } }

  /// From each buffer to the next in turn, as messages use theirs in turn.
  func secondsPerCopy(_ count: Int) -> Double {
    let began = monotonicSeconds()
    for index in 0..<count { memcpy(buffers[index % 3], buffers[(index + 1) % 3], byteCount) }
    return (monotonicSeconds() - began) / Double(count)
  }
}

/// A worker and a server, each used by one thread at a time.
private final class LargeExchange: @unchecked Sendable {
  enum Way: String, CaseIterable {
    case memory, ipc, tcp
    case encrypted = "tcp, keys"
  }

  private let server: NodeTransport
  private let worker: NodeTransport
  private let weights: PayloadPool
  private let gradients: PayloadPool
  private let item = WorkItem(id: WorkItem.ID(1), step: 0, shards: ShardSet(range: 0..<8))
  private let addressing = Addressing(run: RunID(1), membershipEpoch: MembershipEpoch(1), step: 0)

  init(_ way: Way, _ byteCount: Int, _ rig: Rig) throws {
    let directory = rig.newName("large")
    guard mkdir(directory, 0o700) == 0 else { throw Failure.cannot("create \(directory)") }
    var security: (server: ConnectionSecurity, worker: ConnectionSecurity) = (
      .plaintext(beyondThisHost: false), .plaintext(beyondThisHost: false)
    )
    if way == .encrypted {
      let keys = KeyDirectory(path: directory + "/keys")
      _ = try keys.generate(["server", "worker-0"].compactMap { KeyName($0) })
      security = (.keys(try keys.take(for: .server)), .keys(try keys.take(for: .worker)))
    }
    server = NodeTransport(
      role: .server, incarnation: Incarnation(1), context: try MessagingContext(security: security.server))
    worker = NodeTransport(
      role: .worker, incarnation: Incarnation(2), context: try MessagingContext(security: security.worker))
    let isLocal = way == .memory || way == .ipc
    let endpoint = try server.listen(
      at: isLocal ? Endpoint(socketPath: directory + "/server") : .tcp(host: "127.0.0.1", port: nil))
    var shared: MemoryChannels?
    if way == .memory { shared = try MemoryChannels(weightsByteCount: byteCount, count: 6) }
    if let shared { server.share(shared) }
    weights = shared?.payloads(byteCount: byteCount) ?? PayloadPool(byteCount: byteCount, limit: 3)
    try worker.connectToServer(Endpoint(parsing: endpoint), sharingMemory: way == .memory ? byteCount : nil)
    gradients = worker.gradients ?? PayloadPool(byteCount: byteCount, limit: 3)
    worker.send(.requestWork, to: .server(.first), addressing)
    guard case .requestWork? = Self.next(server) else { throw Self.lost }
    // The answer to its offer comes with this.
    server.send(.noWorkYet, to: .node(.worker, worker.incarnation), addressing)
    guard case .noWorkYet? = Self.next(worker) else { throw Self.lost }
  }

  deinit {
    server.close()
    worker.close()
  }

  private static let lost = Failure(.internalError, "a large message did not arrive as it was sent")

  /// Half of a push and its answer.
  func secondsPerMessage(_ rounds: Int) throws -> Double {
    // Makes the pages.
    try exchange(8)
    let began = monotonicSeconds()
    try exchange(rounds)
    return (monotonicSeconds() - began) / Double(2 * rounds)
  }

  private func exchange(_ rounds: Int) throws {
    let hasEnded = DispatchSemaphore(value: 0)
    DispatchQueue(label: "server").async {
      self.serve(rounds)
      hasEnded.signal()
    }
    defer { hasEnded.wait() }
    for round in 0..<rounds {
      let gradient = gradients.make { $0.storeBytes(of: round, as: Int.self) }
      worker.send(
        .push(Message.Push(item: item, statistics: .zero, gradient: gradient)), to: .server(.first), addressing)
      guard case .work(let work)? = Self.next(worker), work.parameters.bytes.loadUnaligned(as: Int.self) == ~round
      else { throw Self.lost }
    }
  }

  /// Answers so many pushes, with numbers made of theirs.
  private func serve(_ rounds: Int) {
    for _ in 0..<rounds {
      guard case .push(let push)? = Self.next(server) else { return }
      let number = ~push.gradient.bytes.loadUnaligned(as: Int.self)
      let parameters = weights.make { $0.storeBytes(of: number, as: Int.self) }
      server.send(
        .work(Message.Work(item: item, parameters: parameters)), to: .node(.worker, worker.incarnation), addressing)
    }
  }

  /// As `RoleRunner` waits; nil after some seconds without a message.
  private static func next(_ transport: NodeTransport) -> Message? {
    let end = Instant.now + .seconds(20)
    while Instant.now < end {
      let hasPolled = transport.wait(for: [], until: end)
      if let (message, _) = transport.receive(fromSockets: hasPolled) { return message }
    }
    return nil
  }
}
