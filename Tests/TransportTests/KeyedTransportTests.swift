import Diagnostics
import Glibc
import Intruders
import Messaging
import Optimization
import TestSupport
import Testing
import Transport

/// What keys let through, and where there must be some.
@Suite struct KeyedTransportTests {
  @Test(arguments: Pair.Medium.allCases)
  func `weights travel unchanged both ways`(medium: Pair.Medium) throws {
    let cluster = try KeyedCluster(medium)
    let worker = try cluster.worker("worker-0")
    defer { worker.close() }
    worker.send(.requestWork, to: .server(.first), addressing)
    #expect(try #require(nextMessage(cluster.server)).1.incarnation == Pair.workerIncarnation)
    let weights = (0..<30_730).map { Float($0) * 0.5 }
    cluster.server.send(
      .work(
        Message.Work(
          item: WorkItem(id: WorkItem.ID(9), step: 0, shards: ShardSet(range: 0..<8)),
          parameters: Payload(concatenating: weights))),
      to: .node(.worker, Pair.workerIncarnation), addressing)
    guard case .work(let work) = try #require(nextMessage(worker)).0 else { return #expect(Bool(false)) }
    #expect(work.parameters.elements(of: Float.self, count: weights.count) == weights)
  }

  // MARK: Admission

  /// Two hosts: each has made its keys by itself, and then `exchange` has been done.
  private struct Hosts {
    let directories = [TemporaryDirectory(), TemporaryDirectory()]
    let coordinator: NodeTransport
    let endpoint: Endpoint
    var away: KeyDirectory { KeyDirectory(path: directories[1].path) }

    /// - Parameter coordinatorOfTheOther: the key that the worker's host takes for the coordinator's; nil for the right one.
    init(coordinatorOfTheOther: PublicKey? = nil) throws {
      let home = KeyDirectory(path: directories[0].path)
      let entries = try home.generate([#require(KeyName("coordinator"))])
      let key = coordinatorOfTheOther ?? entries[0].key
      _ = try KeyDirectory(path: directories[1].path).generate([#require(KeyName("worker-0"))])
      try append("coordinator \(key)", toListOf: KeyDirectory(path: directories[1].path))
      coordinator = NodeTransport(
        role: .coordinator, incarnation: Incarnation(1),
        context: try MessagingContext(security: .keys(home.take(for: .coordinator))))
      endpoint = try Endpoint(parsing: coordinator.listen(at: .tcp(host: "127.0.0.1", port: nil)))
    }

    func introduceWorker() throws {
      let entry = try #require(try away.allowList().entries.first { $0.name.role == .worker })
      try append(entry.line, toListOf: KeyDirectory(path: directories[0].path))
    }

    func worker() throws -> NodeTransport {
      let worker = NodeTransport(
        role: .worker, incarnation: Incarnation(2),
        context: try MessagingContext(security: .keys(away.take(for: .worker))))
      try worker.connectToCoordinator(endpoint)
      return worker
    }
  }

  @Test func `a known peer is admitted, and an unknown one is told so`() throws {
    let hosts = try Hosts()
    defer { hosts.coordinator.close() }
    do {
      // Its key is given back with it.
      let untrusted = try hosts.worker()
      defer { untrusted.close() }
      #expect {
        _ = try untrusted.isAdmitted(waitingFor: [], milliseconds: limitMilliseconds)
      } throws: { error in
        let failure = error as? Failure
        return failure?.status == .refused && failure?.remedy?.contains("worker-0.pub") == true
      }
    }
    try hosts.introduceWorker()
    let friend = try hosts.worker()
    defer { friend.close() }
    #expect(try friend.isAdmitted(waitingFor: [], milliseconds: limitMilliseconds))
    #expect(friend.failedHandshakes == 0)
  }

  @Test func `a coordinator without the right key is no coordinator`() throws {
    let hosts = try Hosts(coordinatorOfTheOther: KeyPair.generate().publicKey)
    defer { hosts.coordinator.close() }
    try hosts.introduceWorker()
    let worker = try hosts.worker()
    defer { worker.close() }
    #expect(try !worker.isAdmitted(waitingFor: [], milliseconds: limitMilliseconds))
    #expect(worker.failedHandshakes == 1)
  }

  @Test func `a list without coordinators connects to none`() throws {
    let directory = TemporaryDirectory()
    let keys = KeyDirectory(path: directory.path)
    _ = try keys.generate([#require(KeyName("worker-0"))])
    let worker = NodeTransport(
      role: .worker, incarnation: Incarnation(2),
      context: try MessagingContext(security: .keys(keys.take(for: .worker))))
    #expect {
      try worker.connectToCoordinator(.tcp(host: "127.0.0.1", port: 9))
    } throws: { error in
      let failure = error as? Failure
      return failure?.status == .badConfiguration && failure?.remedy?.contains("coordinator.pub") == true
    }
  }

  /// Connections that say nothing take a descriptor each.
  @Test func `a listener has room for more connections than the usual limit`() async {
    await #expect(processExitsWith: .success) {
      var limit = rlimit()
      let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
      getrlimit(resource, &limit)
      limit.rlim_cur = 256
      setrlimit(resource, &limit)
      let node = NodeTransport(role: .server, incarnation: Incarnation(1), context: try MessagingContext())
      _ = try node.listen(at: .tcp(host: "127.0.0.1", port: nil))
      getrlimit(resource, &limit)
      node.close()
      exit(limit.rlim_cur == min(limit.rlim_max, 65_536) ? EXIT_SUCCESS : EXIT_FAILURE)
    }
  }

  // MARK: Succession

  /// What the new one says is heard, and what the old one says is not; but it need not wait for its deadline to end.
  @Test func `a process whose key another process holds is told so`() throws {
    let cluster = try KeyedCluster()
    let context = try MessagingContext(security: .keys(cluster.keys.take(for: .coordinator)), lease: KeyedCluster.lease)
    let coordinator = NodeTransport(role: .coordinator, incarnation: Incarnation(9), context: context)
    defer { coordinator.close() }
    let endpoint = try coordinator.listen(at: .tcp(host: "127.0.0.1", port: nil))
    let untrustedPeers = [Incarnation(1), Incarnation(2)].map {
      UntrustedPeer(
        connectingTo: endpoint, as: routingID(.server, $0),
        .curve(of: "server", listener: "coordinator", in: cluster.directory.path))
    }
    let heartbeat = Message.heartbeat(Message.Heartbeat(isReady: true))
    untrustedPeers[0].send(frames(heartbeat, from: Incarnation(1)))
    _ = try #require(nextMessage(coordinator))
    // Nobody has its key yet, so what it may not say is dropped without a word.
    untrustedPeers[0].send(frames(.requestWork, from: Incarnation(1)))
    var isHeard = false
    for _ in 0..<limitMilliseconds where !isHeard {
      untrustedPeers[1].send(frames(heartbeat, from: Incarnation(2)))
      coordinator.wait(for: [], until: .now + .milliseconds(1))
      while let (_, envelope) = coordinator.receive() { isHeard = envelope.incarnation == Incarnation(2) || isHeard }
    }
    #expect(isHeard)
    #expect(untrustedPeers[0].receive(withinMilliseconds: 0) == nil)
    let rejected = coordinator.counters.rejected(.identity)
    untrustedPeers[0].send(frames(heartbeat, from: Incarnation(1)))
    for _ in 0..<limitMilliseconds where coordinator.counters.rejected(.identity) == rejected {
      coordinator.wait(for: [], until: .now + .milliseconds(1))
      while let (_, envelope) = coordinator.receive() { #expect(envelope.incarnation == Incarnation(2)) }
    }
    let answer = try #require(untrustedPeers[0].receive(withinMilliseconds: limitMilliseconds))
    let envelope = try answer[0].withUnsafeBytes { try Envelope(decoding: $0) }
    #expect(envelope.type == .notAMember && envelope.incarnation == Incarnation(9) && envelope.run == addressing.run)
    #expect(untrustedPeers[1].receive(withinMilliseconds: 0) == nil)
  }

  // MARK: Where there must be keys

  @Test(arguments: [
    "10.0.0.1", "0.0.0.0", "*", "eth0", "example.org", "2001:db8::1", "128.0.0.1", "127.0.0.1.example.org",
  ])
  func `an address beyond this host needs keys or an explicit permission`(host: String) throws {
    let endpoint = Endpoint.tcp(host: host, port: 5555)
    #expect(endpoint.isBeyondThisHost)
    #expect {
      try endpoint.requireProtection(by: .plaintext(beyondThisHost: false))
    } throws: { error in
      let failure = error as? Failure
      return failure?.status == .badConfiguration && failure?.message.contains("keys") == true
    }
    try endpoint.requireProtection(by: .plaintext(beyondThisHost: true))
  }

  @Test(arguments: ["ipc:///tmp/x", "tcp://127.0.0.1:1", "tcp://127.8.9.10:1", "tcp://[::1]:1", "tcp://localhost:1"])
  func `this host needs no keys`(text: String) throws {
    let endpoint = try Endpoint(parsing: text)
    #expect(!endpoint.isBeyondThisHost)
    try endpoint.requireProtection(by: .plaintext(beyondThisHost: false))
  }

  @Test func `no connection is made beyond this host without keys`() throws {
    let node = NodeTransport(role: .worker, incarnation: Incarnation(1), context: try MessagingContext())
    #expect {
      try node.connectToCoordinator(.tcp(host: "192.0.2.1", port: 5555))
    } throws: { ($0 as? Failure)?.status == .badConfiguration }
    #expect(!node.isExposed)
  }

  @Test func `a plaintext connection beyond this host exposes a process`() throws {
    let context = try MessagingContext(security: .plaintext(beyondThisHost: true))
    let node = NodeTransport(role: .worker, incarnation: Incarnation(1), context: context)
    defer { node.close() }
    try node.connectToCoordinator(.tcp(host: "127.0.0.1", port: 9))
    #expect(!node.isExposed)
    try node.connectToServer(.tcp(host: "192.0.2.1", port: 9))
    #expect(node.isExposed)
  }

  @Test(arguments: ["*", "0.0.0.0", "::"])
  func `a node listens at all addresses: peers are given the only one of the host, or it is refused`(
    host: String
  ) throws {
    let context = try MessagingContext(security: .plaintext(beyondThisHost: true))
    let node = NodeTransport(role: .server, incarnation: Incarnation(1), context: context)
    defer { node.close() }
    do {
      let endpoint = try Endpoint(parsing: node.listen(at: .tcp(host: host, port: nil)))
      guard case .tcp(let address, _?) = endpoint else { return }
      #expect(!["*", "0.0.0.0", "::"].contains(address))
      try Evidence.add(.addresses, host, observed: "listens, and is at one address")
    } catch let failure as Failure {
      #expect(failure.status == .badConfiguration || host == "::", "\(failure)")
      #expect(failure.remedy?.contains("This host has 127.0.0.1 (lo)") == true, "\(failure)")
      try Evidence.add(.addresses, host, observed: failure.message)
    }
  }
}

private func append(_ line: String, toListOf directory: KeyDirectory) throws {
  let file = try #require(fopen(directory.allowListPath, "a"))
  fputs(line + "\n", file)
  fclose(file)
}
