import Diagnostics
import Glibc
import Intruders
import Messaging
import Optimization
import TestSupport
import Testing
import Transport

/// What nobody gets in with. Each ends by proving that an honest worker still does, and alone.
@Suite struct IntruderTests {
  private let intruder = Incarnation(666)
  private let began = ContinuousClock.now
  private var hello: [[UInt8]] { frames(.requestWork, from: intruder) }
  private var id: [UInt8] { routingID(.worker, intruder) }

  /// The row of this intrusion, once an honest worker has been heard: what the server counted, and how long all took.
  private func addRow(
    _ variant: String = "", times: Int = 1, against cluster: KeyedCluster, function: String = #function
  ) throws {
    let counters = cluster.server.counters
    try Evidence.add(
      .intruders, variant, times: times,
      observed: "\(cluster.server.authenticator?.refusals?.count ?? 0) keys refused, "
        + "\(counters.rejected) messages dropped, \(counters.received) heard, from who may be",
      recovery: [Double((ContinuousClock.now - began) / .milliseconds(1)) / 1000], function: function)
  }

  @Test func `an unknown key: refused and counted`() throws {
    let cluster = try KeyedCluster()
    let untrusted = UntrustedPeer(connectingTo: cluster.endpoint, as: id, .freshCurve(listener: cluster.serverKey))
    untrusted.send(hello)
    #expect(untrusted.handshake(withinMilliseconds: limitMilliseconds) == .refused)
    #expect(cluster.server.authenticator?.refusals?.count ?? 0 >= 1)
    #expect(cluster.server.authenticator?.refusals?.address == "127.0.0.1")
    try cluster.expectOnlyAnHonestWorkerIsHeard()
    try addRow(against: cluster)
  }

  /// The start-up test has used an unknown key as well, which is no intrusion.
  @Test func `without intruders nothing is counted`() throws {
    let cluster = try KeyedCluster()
    try cluster.expectOnlyAnHonestWorkerIsHeard()
    #expect(cluster.server.authenticator?.refusals == nil)
  }

  @Test func `a wrong key of the server: no connection`() throws {
    let cluster = try KeyedCluster()
    let other = "\(KeyPair.generate().publicKey)"
    let untrusted = UntrustedPeer(connectingTo: cluster.endpoint, as: id, .freshCurve(listener: other))
    untrusted.send(hello)
    #expect(untrusted.handshake(withinMilliseconds: limitMilliseconds) == .failed)
    try cluster.expectOnlyAnHonestWorkerIsHeard()
    try addRow(against: cluster)
  }

  enum Keyless: String, CaseIterable {
    case none = "NULL mechanism"
    case password = "PLAIN mechanism"
    case version1 = "ZMTP 1 greeting"
    case version2 = "ZMTP 2 greeting"
  }

  @Test(arguments: Keyless.allCases)
  func `no key: no connection`(mechanism: Keyless) throws {
    let cluster = try KeyedCluster()
    let intruder = try KeylessIntruder(mechanism, cluster.endpoint, routingID: id, frames: hello)
    #expect(intruder.isTurnedAway)
    try cluster.expectOnlyAnHonestWorkerIsHeard()
    try addRow(mechanism.rawValue, against: cluster)
  }

  /// The proof that these intruders know their trade: where there are no keys they are let in.
  @Test(arguments: [Keyless.none, .version1, .version2])
  func `a peer without a key is heard where there are no keys`(mechanism: Keyless) throws {
    let pair = try Pair(.tcp)
    defer { pair.close() }
    let intruder = try KeylessIntruder(mechanism, pair.endpoint, routingID: id, frames: hello)
    let received = try #require(nextMessage(pair.server))
    #expect(received.1.incarnation == self.intruder)
    withExtendedLifetime(intruder) {}
  }

  /// Says hello without a key.
  private struct KeylessIntruder {
    private let untrusted: UntrustedPeer?
    private let connection: RawConnection?

    init(_ mechanism: Keyless, _ endpoint: String, routingID: [UInt8], frames: [[UInt8]]) throws {
      switch mechanism {
      case .none, .password:
        let untrusted = UntrustedPeer(connectingTo: endpoint, as: routingID, mechanism == .none ? .none : .password)
        untrusted.send(frames)
        (self.untrusted, connection) = (untrusted, nil)
      case .version1, .version2:
        let connection = try #require(RawConnection(to: endpoint))
        connection.send(
          mechanism == .version1
            ? Greeting.version1(identity: routingID, frames: frames)
            : Greeting.version2(identity: routingID, frames: frames))
        (untrusted, self.connection) = (nil, connection)
      }
    }

    /// Whether the other end breaks off. The old protocols have no handshake, so whoever speaks one is let in or is not, at
    /// once: when the time for a handshake is over libzmq breaks off anyway, whatever it has taken in until then.
    var isTurnedAway: Bool {
      untrusted.map { $0.handshake(withinMilliseconds: limitMilliseconds) == .failed }
        ?? connection?.isClosed(withinMilliseconds: 2000) ?? false
    }
  }

  @Test func `silent and half-greeting connections: an honest worker is heard, and they are closed`() throws {
    let cluster = try KeyedCluster()
    let silent = try #require(RawConnection(to: cluster.endpoint))
    let connections = (0..<1000).compactMap { _ in RawConnection(to: cluster.endpoint) }
    #expect(connections.count == 1000)
    for connection in connections { connection.send(Greeting.half) }
    try cluster.expectOnlyAnHonestWorkerIsHeard()
    #expect(silent.isClosed(withinMilliseconds: limitMilliseconds))
    #expect(try #require(connections.last).isClosed(withinMilliseconds: limitMilliseconds))
    try addRow("one silent, the others half-greeting", times: 1 + connections.count, against: cluster)
  }

  @Test(arguments: ["", "NULL", "PLAIN", "CURVE"])
  func `random bytes after a greeting: none is taken for a message`(mechanism: String) throws {
    let cluster = try KeyedCluster()
    var random = RandomBytes(seed: 4)
    for _ in 0..<50 {
      let connection = try #require(RawConnection(to: cluster.endpoint))
      let greeting = mechanism.isEmpty ? [] : Greeting.version3(mechanism: mechanism)
      connection.send(greeting + random.next(2000))
      _ = connection.isClosed(withinMilliseconds: 20)
    }
    try cluster.expectOnlyAnHonestWorkerIsHeard()
    try addRow(
      "2,000 after \(mechanism.isEmpty ? "no greeting" : "a greeting of \(mechanism)")", times: 50,
      against: cluster)
  }

  /// Sooner than one that says nothing: it is the claim that costs the connection, before memory for it is there.
  @Test(arguments: [UInt64(Int64.max), 1 << 40, 1 << 31])
  func `a frame that claims to be huge: it costs the connection before memory is allocated`(length: UInt64) throws {
    let cluster = try KeyedCluster()
    let connection = try #require(RawConnection(to: cluster.endpoint))
    connection.send(Greeting.version3(mechanism: "CURVE") + Greeting.command(claiming: length))
    #expect(connection.isClosed(withinMilliseconds: 2000))
    try cluster.expectOnlyAnHonestWorkerIsHeard()
    try addRow("\(length) bytes", against: cluster)
  }

  // MARK: With a key

  @Test func `a message of a million frames: counted once and drained in pieces`() throws {
    let cluster = try KeyedCluster()
    let untrusted = cluster.untrusted("worker-0", as: id)
    untrusted.send([1, 2, 3], times: 1_000_000)
    #expect(cluster.serverSees { cluster.server.counters.rejected(.frameCount) == 1 })
    // Nothing of it is a message, and it is not taken away at once: the node gets to look at its clock meanwhile.
    let honest = try cluster.worker("worker-1", Incarnation(77))
    defer { honest.close() }
    honest.send(.requestWork, to: .server(.first), addressing)
    var turns = 0
    #expect(
      cluster.serverSees {
        turns += 1
        return cluster.server.counters.received == 1
      })
    #expect(turns > 10)
    #expect(cluster.server.counters.rejected == 1)
    try addRow(against: cluster)
  }

  @Test func `another worker's incarnation under an allowed key: not heard`() throws {
    let cluster = try KeyedCluster()
    do {
      let victim = try cluster.worker("worker-0")
      victim.send(.requestWork, to: .server(.first), addressing)
      _ = try #require(nextMessage(cluster.server))
      victim.close()
    }
    // The victim's connection is gone, so the name is free, but not the key that it belongs to.
    let thief = cluster.untrusted("worker-1", as: routingID(.worker, Pair.workerIncarnation))
    #expect(
      cluster.serverSees {
        thief.send(frames(.requestWork, from: Pair.workerIncarnation))
        return cluster.server.counters.rejected(.identity) >= 1
      })
    #expect(cluster.server.counters.received == 1)
    try addRow(against: cluster)
  }

  @Test(arguments: [NodeRole.coordinator, .server, .observer])
  func `a worker's key for another role: not heard`(role: NodeRole) throws {
    let cluster = try KeyedCluster()
    let message = role == .coordinator ? Message.stop(ExitReason(status: .success, reason: "")) : .requestWork
    let untrusted = cluster.untrusted("worker-0", as: routingID(role, intruder))
    untrusted.send(frames(message, from: intruder))
    #expect(cluster.serverSees { cluster.server.counters.rejected(.identity) == 1 })
    try cluster.expectOnlyAnHonestWorkerIsHeard()
    try addRow("\(role)", against: cluster)
  }

  /// The other way round: by its claim it is a worker, by its key it is not.
  @Test(arguments: ["observer", "coordinator"])
  func `another role's key for a worker: not heard`(name: String) throws {
    let cluster = try KeyedCluster()
    let untrusted = cluster.untrusted(name, as: id)
    untrusted.send(hello)
    #expect(cluster.serverSees { cluster.server.counters.rejected(.identity) == 1 })
    try cluster.expectOnlyAnHonestWorkerIsHeard()
    try addRow(name, against: cluster)
  }

  @Test func `one key in two processes at once: only the first is heard`() throws {
    // Longer than the test takes: the second one is never heard. The third one comes after a farewell.
    let cluster = try KeyedCluster(lease: .seconds(600))
    let first = cluster.untrusted("worker-0", as: routingID(.worker, Incarnation(1)))
    first.send(frames(.requestWork, from: Incarnation(1)))
    _ = try #require(nextMessage(cluster.server))
    let second = cluster.untrusted("worker-0", as: routingID(.worker, Incarnation(2)))
    second.send(frames(.requestWork, from: Incarnation(2)))
    #expect(cluster.serverSees { cluster.server.counters.rejected(.identity) == 1 })
    first.send(frames(.requestWork, from: Incarnation(1)))
    #expect(cluster.serverSees { cluster.server.counters.received == 2 })
    try addRow(against: cluster)
  }

  @Test func `a process that comes back gets its key back after a lease, and the old one is fenced`() throws {
    let cluster = try KeyedCluster()
    let first = cluster.untrusted("worker-0", as: routingID(.worker, Incarnation(1)))
    first.send(frames(.requestWork, from: Incarnation(1)))
    _ = try #require(nextMessage(cluster.server))
    let second = cluster.untrusted("worker-0", as: routingID(.worker, Incarnation(2)))
    #expect(
      cluster.serverSees {
        second.send(frames(.requestWork, from: Incarnation(2)))
        return cluster.server.counters.received > 1
      })
    let received = cluster.server.counters.received
    let rejected = cluster.server.counters.rejected(.identity)
    first.send(frames(.requestWork, from: Incarnation(1)))
    #expect(cluster.serverSees { cluster.server.counters.rejected(.identity) == rejected + 1 })
    #expect(cluster.server.counters.received >= received)
  }

  // MARK: The allow-list

  @Test func `a key is withdrawn from the list: not heard any more and not let in again`() throws {
    let cluster = try KeyedCluster()
    let worker = try cluster.worker("worker-0")
    defer { worker.close() }
    worker.send(.requestWork, to: .server(.first), addressing)
    _ = try #require(nextMessage(cluster.server))
    try rewriteAllowList(of: cluster) { !$0.hasPrefix("worker-0 ") }
    #expect(
      cluster.serverSees {
        worker.send(.requestWork, to: .server(.first), addressing)
        return cluster.server.counters.rejected(.identity) >= 1
      })
    let untrusted = cluster.untrusted("worker-0", as: id)
    #expect(untrusted.handshake(withinMilliseconds: limitMilliseconds) == .refused)
    try addRow("on its connection and on a new one", against: cluster)
  }

  @Test func `a key that is added is let in`() throws {
    let cluster = try KeyedCluster()
    _ = try cluster.keys.generate([#require(KeyName("worker-late"))])
    let worker = try cluster.worker("worker-late")
    defer { worker.close() }
    worker.send(.requestWork, to: .server(.first), addressing)
    #expect(try #require(nextMessage(cluster.server)).1.incarnation == Pair.workerIncarnation)
  }

  @Test func `a list that cannot be read changes nothing and is reported`() throws {
    let cluster = try KeyedCluster()
    let worker = try cluster.worker("worker-0")
    defer { worker.close() }
    try rewriteAllowList(of: cluster) { _ in
      true
    } adding: {
      "worker-5 nonsense\n"
    }
    var problem: Failure?
    #expect(
      cluster.serverSees {
        problem = problem ?? cluster.server.authenticator?.takeAccessProblem()
        return problem != nil
      })
    #expect(problem?.message.contains("and a public key of 40 characters, but is") == true)
    worker.send(.requestWork, to: .server(.first), addressing)
    #expect(cluster.serverSees { cluster.server.counters.received == 1 })
  }

  private func rewriteAllowList(
    of cluster: KeyedCluster, keeping isKept: (Substring) -> Bool, adding: () -> String = { "" }
  ) throws {
    let list = try cluster.keys.allowList()
    let text = list.entries.map(\.line).filter { isKept($0[...]) }.map { $0 + "\n" }.joined() + adding()
    let path = cluster.keys.allowListPath
    let file = try #require(fopen("\(path).new", "w"))
    fputs(text, file)
    fclose(file)
    chmod("\(path).new", 0o644)
    rename("\(path).new", path)
  }

  // MARK: The start-up test

  /// libzmq lets everybody in here, and it is noticed.
  @Test func `a listener that accepts unknown keys does not pass the start-up test`() throws {
    let keys = KeyPair.generate()
    let listener = CarelessListener(keys)
    let context = try MessagingContext()
    #expect {
      try context.requireUnknownKeysRefused(
        at: listener.endpoint, of: keys.publicKey, milliseconds: limitMilliseconds)
    } throws: { error in
      let failure = error as? Failure
      return failure?.status == .internalError && failure?.found == "succeeded"
    }
  }
}

/// Bytes that are the same at every run (xorshift64).
private struct RandomBytes {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return UInt8(truncatingIfNeeded: state >> 32)
    }
  }
}
