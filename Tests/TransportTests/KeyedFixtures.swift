import Diagnostics
import Glibc
import Intruders
import Messaging
import TestSupport
import Testing
import Transport

/// A directory of keys, a server that listens with its key, and workers with theirs.
final class KeyedCluster {
  let directory = TemporaryDirectory()
  let keys: KeyDirectory
  let server: NodeTransport
  let endpoint: String
  private let serverContext: MessagingContext

  static let names = ["coordinator", "server", "worker-0", "worker-1", "observer"]
  static let lease = Interval.milliseconds(100)

  init(_ medium: Pair.Medium = .tcp, lease: Interval = KeyedCluster.lease) throws {
    // A directory of its own, whose files the fixture removes by name.
    keys = KeyDirectory(path: directory.path)
    _ = try keys.generate(Self.names.compactMap { KeyName($0) })
    serverContext = try MessagingContext(security: .keys(keys.take(for: .server)), lease: lease)
    server = NodeTransport(role: .server, incarnation: Pair.serverIncarnation, context: serverContext)
    let endpoint: Endpoint =
      switch medium {
      case .ipc: try Endpoint(socketPath: "\(directory.path)/socket")
      case .tcp: .tcp(host: "127.0.0.1", port: nil)
      }
    self.endpoint = try server.listen(at: endpoint)
  }

  deinit { server.close() }

  /// A worker with a key of the directory; connected.
  func worker(_ name: String, _ incarnation: Incarnation = Pair.workerIncarnation) throws -> NodeTransport {
    let credentials = try keys.take(for: .worker, named: KeyName(name))
    let context = try MessagingContext(security: .keys(credentials))
    let worker = NodeTransport(role: .worker, incarnation: incarnation, context: context)
    try worker.connectToServer(Endpoint(parsing: endpoint))
    return worker
  }

  /// A peer with the key of a name of the directory that sends any frames.
  func untrusted(_ name: String, as routingID: [UInt8]) -> UntrustedPeer {
    UntrustedPeer(connectingTo: endpoint, as: routingID, .curve(of: name, listener: "server", in: directory.path))
  }

  var serverKey: String { UntrustedPeer.Mechanism.publicKey(of: "server", in: directory.path) }

  /// That an honest worker still gets through, and nothing else has.
  func expectOnlyAnHonestWorkerIsHeard(
    after expected: Int = 0, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let honest = Incarnation(77)
    let worker = try worker("worker-1", honest)
    defer { worker.close() }
    worker.send(.requestWork, to: .server(.first), addressing)
    let (message, envelope) = try #require(nextMessage(server), sourceLocation: sourceLocation)
    #expect(message.type == .requestWork, sourceLocation: sourceLocation)
    #expect(envelope.incarnation == honest, sourceLocation: sourceLocation)
    #expect(server.counters.received == UInt64(expected) + 1, sourceLocation: sourceLocation)
  }

  /// Lets the server look at its sockets until the condition holds, and says whether it did.
  func serverSees(_ condition: () throws -> Bool) rethrows -> Bool {
    for _ in 0..<limitMilliseconds {
      if try condition() { return true }
      _ = server.receive()
      server.wait(for: [], until: .now + .milliseconds(1))
    }
    return false
  }
}
