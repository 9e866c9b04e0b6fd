import CZeroMQ
import Diagnostics
import Glibc
import Messaging

/// How a node exchanges messages: through sockets, at most one that listens and one each to the coordinator and the
/// servers; and through memory between a server and the workers of its host. Messages through memory need neither a copy
/// nor a system call as long as both sides keep up.
///
/// Not thread safe, and not `Sendable`: one thread at a time uses it.
/// A message that cannot be sent now is dropped and counted; the roles repeat those that matter. Bytes that are not a
/// message cost their sender that message and affect no other peer.
package final class NodeTransport {
  package let role: NodeRole
  package let incarnation: Incarnation
  package var counters = TransportCounters()
  /// Whether this node talks to other hosts without authentication.
  package private(set) var isExposed = false
  /// Nothing is sent any more: a fault that tests inject.
  package var isSilenced = false
  /// Called once when memory cannot be shared; messages go through sockets then.
  package var memoryFailed: (Failure) -> Void = { _ in }
  /// Where a worker's gradients can be sent from without a copy; nil where nothing is shared.
  package private(set) var gradients: PayloadPool?

  private let context: MessagingContext
  private var listener: MessageSocket? { didSet { collectSockets() } }
  private var coordinator: MessageSocket? { didSet { collectSockets() } }
  /// By index.
  private var servers: [MessageSocket] = [] { didSet { collectSockets() } }
  /// All that are open.
  private var sockets: [MessageSocket] = []
  private var sequence: UInt64 = 0
  /// Where the next `receive` begins, so that no socket starves another.
  private var turn = 0
  private var pollItems: [zmq_pollitem_t] = []
  /// Whether every peer that connects to this node is on this host.
  private var listensAtSocketFile = false

  private var memory: MemoryChannels?
  /// A worker's memory is shared with this server.
  private var memoryServer = ServerIndex.first
  /// Of the worker's memory: a server that answers none of them has no memory to share.
  private var offersLeft = 0
  /// What workers offered before this server had memory: at most 1,024 offers. Workers repeat the others.
  private var earlyOffers: [(offer: Message.SharedMemoryOffer, envelope: Envelope)] = []
  private var hasReportedFailure = false
  private var spinPolicy: SpinPolicy
  private var newestPoll = Instant(nanoseconds: 0)
  private var peerDescriptors: [Int32] = []
  /// The version of the allow-list that the workers in memory were last checked against.
  private var allowListChanges: UInt64 = 0

  /// - Parameter sharesCore: whether there are more workers than processors: a worker that polls takes a core from another.
  package init(role: NodeRole, incarnation: Incarnation, context: MessagingContext, sharesCore: Bool = false) {
    self.role = role
    self.incarnation = incarnation
    self.context = context
    spinPolicy = role == .server ? .server : sharesCore ? .workerOnSharedCore : .worker
  }

  // MARK: Sockets

  /// Opens the socket that peers connect to.
  /// - Parameter host: what peers are given instead of where the node listens.
  /// - Returns: the endpoint that they reach it at, with the real port.
  package func listen(at endpoint: Endpoint, advertising host: String? = nil) throws(Failure) -> String {
    precondition(listener == nil, "a node listens at one endpoint")
    let (socket, actual) = try MessageSocket.listening(at: endpoint, advertising: host, as: role, context)
    listener = socket
    noteExposure(try Endpoint(parsing: actual))
    if case .ipc = endpoint { listensAtSocketFile = true }
    return actual
  }

  /// The coordinator's endpoint as it can be connected to now; nil where it has several addresses and listens at none.
  ///
  /// - Throws: `unavailable` where its host name has no address, `badConfiguration` for one beyond this host without keys.
  package func reachable(_ endpoint: Endpoint) throws(Failure) -> Endpoint? {
    try endpoint.forConnecting(under: context.security)
  }

  /// Connects to the coordinator, in place of an earlier connection. Succeeds whether it is there yet or not.
  package func connectToCoordinator(_ endpoint: Endpoint) throws(Failure) {
    coordinator?.close(discarding: true)
    coordinator = try connected(to: endpoint, of: .coordinator)
  }

  /// Connects to a server, in place of an earlier connection. Succeeds whether it is there yet or not. Servers are
  /// connected in the order of their indices.
  /// - Parameter gradientByteCount: the size of a worker's gradients, if messages may go through memory; they do once
  ///   the server has agreed.
  package func connectToServer(
    _ endpoint: Endpoint, _ index: ServerIndex = .first, sharingMemory gradientByteCount: Int? = nil
  ) throws(Failure) {
    (memory, gradients) = (nil, nil)
    let position = Int(index.value)
    precondition(position <= servers.count, "servers are connected in the order of their indices")
    if position < servers.count { servers[position].close(discarding: true) }
    let socket = try connected(to: endpoint, of: .server(index))
    if position < servers.count { servers[position] = socket } else { servers.append(socket) }
    guard case .ipc = endpoint, let gradientByteCount else { return }
    do throws(Failure) {
      let memory = try MemoryChannels(worker: incarnation, gradientByteCount: gradientByteCount)
      (self.memory, memoryServer) = (memory, index)
      gradients = memory.payloads(byteCount: gradientByteCount)
      offersLeft = 16
    } catch {
      report(error)  // defence: memory-refused
    }
  }

  /// Shares a server's memory with the workers on its host that offer theirs, or did so before.
  package func share(_ memory: MemoryChannels) {
    self.memory = memory
    for (offer, envelope) in earlyOffers { attach(offer, envelope) }
    earlyOffers = []
  }

  private func connected(to endpoint: Endpoint, of peer: KeyName) throws(Failure) -> MessageSocket {
    let socket = try MessageSocket.connected(
      to: endpoint, of: peer, as: PeerAddress(role: role, incarnation: incarnation), context)
    noteExposure(endpoint)
    return socket
  }

  private func noteExposure(_ endpoint: Endpoint) {
    if case .plaintext = context.security, endpoint.isBeyondThisHost { isExposed = true }
  }

  /// Whether the coordinator has accepted this node's key. Waits until it has, one of the descriptors can be read, or the
  /// time is over. True at once without keys.
  ///
  /// - Throws: `refused` if it does not know the key.
  package func isAdmitted(waitingFor descriptors: [Int32], milliseconds: Int) throws(Failure) -> Bool {
    try coordinator?.isAdmitted(waitingFor: descriptors, milliseconds: milliseconds) ?? true
  }

  /// Handshakes with the coordinator that broke off: the process there does not hold the coordinator's key.
  package var failedHandshakes: Int { coordinator?.failedHandshakes ?? 0 }

  /// Nil without keys.
  package var authenticator: Authenticator? { context.authenticator }

  /// Whether a peer that was accepted may still take part.
  package func stillAdmits(_ incarnation: Incarnation) -> Bool { listener?.authorizer.stillAdmits(incarnation) ?? true }

  /// Closes all sockets; sent messages still leave until the context has ended.
  package func close() {
    for socket in sockets { socket.close() }
    (listener, coordinator, servers) = (nil, nil, [])
    (memory, gradients) = (nil, nil)
  }

  private func collectSockets() { sockets = [listener, coordinator].compactMap { $0 } + servers }

  // MARK: Messages

  /// Sends a message to a node of the cluster, or drops and counts it.
  package func send(_ message: Message, to destination: Destination, _ addressing: Addressing) {
    if isSilenced { return }
    let envelope = envelope(of: message, addressing)
    let result = sendThroughMemory(message, envelope, to: destination)
    if let result, result != .unroutable { return count(result) }
    // Text may be longer than a slot. Weights are in the memory unless it is too small.
    if result != nil, role == .server, message.payload.count > 0 {
      report(Failure(.internalError, "the shared memory has no room for weights of \(message.payload.count) bytes"))
    }
    count(sendThroughSocket(message, envelope, to: destination))
  }

  private func report(_ failure: Failure) {
    if !hasReportedFailure { memoryFailed(failure) }
    hasReportedFailure = true
  }

  private func count(_ result: SendResult) {
    switch result {
    case .sent: counters.sent += 1
    case .overflowed: counters.overflowed += 1
    case .unroutable: counters.unroutable += 1
    }
  }

  private func envelope(of message: Message, _ addressing: Addressing) -> Envelope {
    sequence += 1
    return Envelope(
      type: message.type, run: addressing.run, membershipEpoch: addressing.membershipEpoch, incarnation: incarnation,
      step: addressing.step, sequence: sequence)
  }

  private func sendThroughMemory(
    _ message: Message, _ envelope: Envelope, to destination: Destination
  ) -> SendResult? {
    guard let memory else { return nil }
    switch destination {
    case .server(memoryServer):
      if memory.count > 0 { return memory.send(message, envelope) }
      // With each request, as the first offer may be lost.
      if case .requestWork = message, offersLeft > 0 {
        offersLeft -= 1
        reply(.attach(memory.offer), to: destination, envelope)
        if offersLeft == 0 { report(Failure(.internalError, "the server does not answer offers of shared memory")) }
      }
      return nil
    case .node(.worker, let worker): return memory.send(message, envelope, to: worker)
    default: return nil
    }
  }

  private func sendThroughSocket(
    _ message: Message, _ envelope: Envelope, to destination: Destination
  ) -> SendResult {
    switch destination {
    case .coordinator: coordinator?.send(message, envelope, to: nil) ?? .unroutable
    case .server(let index):
      servers.indices.contains(Int(index.value))
        ? servers[Int(index.value)].send(message, envelope, to: nil) : .unroutable
    case .node(let role, let incarnation):
      listener?.send(message, envelope, to: PeerAddress(role: role, incarnation: incarnation)) ?? .unroutable
    }
  }

  /// Sends a message of this layer through a socket, addressed like another message.
  private func reply(_ message: Message, to destination: Destination, _ other: Envelope) {
    if isSilenced { return }
    let addressing = Addressing(run: other.run, membershipEpoch: other.membershipEpoch, step: other.step)
    count(sendThroughSocket(message, envelope(of: message, addressing), to: destination))
  }

  /// The next message; nil when there is none for now. Never waits.
  /// - Parameter fromSockets: whether to read from sockets too, as `wait` returned.
  package func receive(fromSockets: Bool = true) -> (Message, Envelope)? {
    while let reception = memory?.receive() {
      guard case .message(let message, let envelope) = reception else {
        if case .rejected(let reason) = reception { counters.reject(reason) }
        continue
      }
      guard message.type.isAllowed(from: role == .server ? .worker : .server, to: role) else {
        counters.reject(.identity)
        continue
      }
      counters.received += 1
      counters.bytesFromMemory += envelope.messageByteCount
      return (message, envelope)
    }
    while fromSockets, let (message, envelope) = receiveFromSockets() {
      switch message {
      case .attach(let offer), .attached(let offer): attach(offer, envelope)
      default: return (message, envelope)
      }
    }
    return nil
  }

  /// Uses the memory that a worker, or the server of this worker, offers. A server answers with its own.
  private func attach(_ offer: Message.SharedMemoryOffer, _ envelope: Envelope) {
    // Process IDs of another host mean nothing here: this node must not open what a remote peer names.
    guard role == .worker || listensAtSocketFile else { return }
    guard let memory else {
      if role == .server, earlyOffers.count < 1024 { earlyOffers.append((offer, envelope)) }
      return
    }
    do {
      try memory.attach(offer, from: envelope.incarnation)
      if role == .server { reply(.attached(memory.offer), to: .node(.worker, envelope.incarnation), envelope) }
    } catch {
      report(error)
      if role == .worker { (self.memory, gradients) = (nil, nil) }
    }
  }

  /// Messages examined in one call, so that a flood of malformed ones cannot block a node.
  private static let receptionsPerCall = 64

  /// The next message, from the sockets in turn.
  private func receiveFromSockets() -> (Message, Envelope)? {
    let sockets = sockets
    var silent = 0
    for _ in 0..<Self.receptionsPerCall where silent < sockets.count {
      turn = (turn + 1) % sockets.count
      switch sockets[turn].receive() {
      case .message(let message, let envelope):
        counters.received += 1
        counters.bytesFromSockets += envelope.messageByteCount
        return (message, envelope)
      case .rejected(let reason):
        counters.reject(reason)
        silent = 0
      case .superseded(let address, let envelope):
        counters.reject(.identity)
        silent = 0
        refer(address, envelope)
      case nil:
        silent += 1
      }
    }
    return nil
  }

  /// Tells a process whose key another process has taken over that it is not a member; only the coordinator may. One
  /// reply to one heartbeat, to the connection that it came from, which reveals nothing that the key's owner cannot know.
  private func refer(_ address: PeerAddress, _ envelope: Envelope) {
    guard role == .coordinator else { return }  // defence: succession fails
    reply(.notAMember, to: .node(address.role, address.incarnation), envelope)
  }
}

// MARK: - Waiting

extension NodeTransport {
  /// How long messages from memory may keep sockets, signals and the other threads waiting.
  private static let longestWithoutPoll = Interval.milliseconds(1)

  /// Waits for a message, for something to read from one of the descriptors, for the deadline (nil: none) or a signal.
  /// - Parameter meanwhile: something short and useful to do while the memory is polled.
  /// - Returns: whether sockets and descriptors were polled; if not, there is a message in memory.
  @discardableResult
  package func wait(for descriptors: [Int32], until deadline: Instant?, meanwhile: () -> Void = {}) -> Bool {
    let now = Instant.now
    // A worker that computed for longer than that polls the memory all the same, after a look at the rest.
    if role == .worker, memory != nil, now.since(newestPoll) >= Self.longestWithoutPoll {
      newestPoll = now
      if pollAll(descriptors, until: now) { return true }
    }
    if awaitMemory(from: now, deadline, meanwhile) { return false }
    pollAll(descriptors, until: deadline)
    newestPoll = .now
    return true
  }

  /// Polls the memory for a while without sleeping; true once there is a message.
  private func awaitMemory(from start: Instant, _ deadline: Instant?, _ meanwhile: () -> Void) -> Bool {
    guard let memory else { return false }
    if memory.hasMessage { return true }
    guard let limit = spinPolicy.nextLimit() else { return false }
    while true {
      sched_yield()
      if memory.hasMessage {
        spinPolicy.recordHit()
        return true
      }
      let now = Instant.now
      guard now.since(start) < limit, deadline.map({ now < $0 }) ?? true else {
        spinPolicy.recordMiss()
        return false
      }
      meanwhile()
    }
  }

  /// Returns whether a socket or descriptor reports anything.
  @discardableResult
  private func pollAll(_ descriptors: [Int32], until deadline: Instant?) -> Bool {
    pollItems.removeAll(keepingCapacity: true)
    for socket in sockets {
      pollItems.append(zmq_pollitem_t(socket: socket.handle, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0))
    }
    for descriptor in descriptors { watch(descriptor) }
    let milliseconds = deadline?.millisecondsFromNow ?? -1
    guard let memory else { return poll(milliseconds) > 0 }
    let doorbell = pollItems.count
    watch(memory.doorbellDescriptor)
    if role == .server {
      peerDescriptors.removeAll(keepingCapacity: true)
      memory.appendPeerDescriptors(to: &peerDescriptors)
      // Only errors: a worker that is gone.
      for descriptor in peerDescriptors { watch(descriptor, 0) }
      if let alarm = deadline.flatMap(memory.alarm) { watch(alarm) }
    }
    let count = poll(memory.fallAsleep() ? milliseconds : 0)
    memory.wakeUp(hasRung: pollItems[doorbell].revents != 0)
    guard role == .server else { return count > 0 }
    memory.keepPeers { position, _ in pollItems[doorbell + 1 + position].revents == 0 }
    dropWithdrawn(memory)
    return count > 0
  }

  private func watch(_ descriptor: Int32, _ events: Int16 = Int16(ZMQ_POLLIN)) {
    pollItems.append(zmq_pollitem_t(socket: nil, fd: descriptor, events: events, revents: 0))
  }

  /// Polls `pollItems`; returns how many report something. After a signal none does.
  private func poll(_ milliseconds: Int) -> Int {
    if milliseconds != 0 { counters.waits += 1 }
    let status = pollItems.withUnsafeMutableBufferPointer {
      zmq_poll($0.baseAddress, Int32($0.count), milliseconds)
    }
    precondition(status >= 0 || zmq_errno() == EINTR, "zmq_poll: \(lastErrorText())")
    if status < 0 { for index in pollItems.indices { pollItems[index].revents = 0 } }
    return max(0, Int(status))
  }

  /// Messages through memory do not carry the key that admitted their sender, so a withdrawn key ends the channel.
  private func dropWithdrawn(_ memory: MemoryChannels) {
    guard let changes = context.authenticator?.access.changeCount, changes != allowListChanges else { return }
    allowListChanges = changes
    memory.keepPeers { stillAdmits($1) }
  }
}
