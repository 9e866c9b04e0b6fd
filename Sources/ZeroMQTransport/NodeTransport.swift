import CZeroMQ
import Diagnostics
import Glibc
import Messaging

/// The sockets of one node: at most one that listens, and one each to the coordinator and the servers.
///
/// Not thread safe, and not `Sendable`: the thread that opens the sockets is the one that uses and closes them.
/// A message that cannot be sent now is dropped and counted; the roles repeat those that matter. Bytes that are not a
/// message cost their sender that message and affect no other peer.
public final class NodeTransport {
  public let role: NodeRole
  public let incarnation: Incarnation
  public var counters = TransportCounters()
  /// Whether this node talks to other hosts without authentication.
  public private(set) var isExposed = false
  /// Whether every peer that connects to this node is on this host.
  public private(set) var listensAtSocketFile = false

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
  /// How many of the items at the end are descriptors; none if the last wait was interrupted.
  private var polledDescriptors = 0

  public init(role: NodeRole, incarnation: Incarnation, context: MessagingContext) {
    self.role = role
    self.incarnation = incarnation
    self.context = context
  }

  // MARK: Sockets

  /// Opens the socket that peers connect to.
  /// - Returns: the endpoint that they reach it at, with the real port.
  public func listen(at endpoint: Endpoint) throws(Failure) -> String {
    precondition(listener == nil, "a node listens at one endpoint")
    let (socket, actual) = try MessageSocket.listening(at: endpoint, as: role, context)
    listener = socket
    noteExposure(endpoint)
    if case .ipc = endpoint { listensAtSocketFile = true }
    return actual
  }

  /// Connects to the coordinator, in place of an earlier connection. Succeeds whether it is there yet or not.
  public func connectToCoordinator(_ endpoint: Endpoint) throws(Failure) {
    coordinator?.close(discarding: true)
    coordinator = try connected(to: endpoint, of: .coordinator)
  }

  /// Connects to a server, in place of an earlier connection. Succeeds whether it is there yet or not. Servers are
  /// connected in the order of their indices.
  public func connectToServer(_ endpoint: Endpoint, _ index: ServerIndex = .first) throws(Failure) {
    let position = Int(index.value)
    precondition(position <= servers.count, "servers are connected in the order of their indices")
    if position < servers.count { servers[position].close(discarding: true) }
    let socket = try connected(to: endpoint, of: .server(index))
    if position < servers.count { servers[position] = socket } else { servers.append(socket) }
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
  public func isAdmitted(waitingFor descriptors: [Int32], milliseconds: Int) throws(Failure) -> Bool {
    try coordinator?.isAdmitted(waitingFor: descriptors, milliseconds: milliseconds) ?? true
  }

  /// Handshakes with the coordinator that broke off: the process there does not hold the coordinator's key.
  public var failedHandshakes: Int { coordinator?.failedHandshakes ?? 0 }

  /// Connections to this process that were refused because their keys are not on the allow-list.
  public var refusals: Refusals? {
    guard let authenticator = context.authenticator, authenticator.refusalCount > 0 else { return nil }
    return authenticator.refusals
  }

  /// Why a changed allow-list is not in force; reported once.
  public func takeAccessProblem() -> Failure? { context.authenticator?.access.takeProblem() }

  /// How often the allow-list has changed. After a change, links other than sockets must ask `stillAdmits`.
  public var allowListChanges: UInt64 { context.authenticator?.access.changeCount ?? 0 }

  /// Whether a peer that was accepted may still take part.
  public func stillAdmits(_ incarnation: Incarnation) -> Bool { listener?.stillAdmits(incarnation) ?? true }

  /// Closes all sockets; sent messages still leave until the context has ended.
  public func close() {
    for socket in sockets { socket.close() }
    (listener, coordinator, servers) = (nil, nil, [])
  }

  private func collectSockets() { sockets = [listener, coordinator].compactMap { $0 } + servers }

  // MARK: Messages

  /// Queues a message to a node of the cluster, or drops and counts it.
  public func send(_ message: Message, to destination: Destination, _ addressing: Addressing) {
    send(message, envelope(of: message, addressing), to: destination)
  }

  /// The envelope of the next message, in whatever way that goes.
  public func envelope(of message: Message, _ addressing: Addressing) -> Envelope {
    sequence += 1
    return Envelope(
      type: message.type, run: addressing.run, membershipEpoch: addressing.membershipEpoch, incarnation: incarnation,
      step: addressing.step, sequence: sequence)
  }

  /// Queues a message whose envelope is made, or drops and counts it.
  public func send(_ message: Message, _ envelope: Envelope, to destination: Destination) {
    let result: MessageSocket.SendResult? =
      switch destination {
      case .coordinator: coordinator?.send(message, envelope, to: nil)
      case .server(let index):
        servers.indices.contains(Int(index.value)) ? servers[Int(index.value)].send(message, envelope, to: nil) : nil
      case .node(let role, let incarnation):
        listener?.send(message, envelope, to: PeerAddress(role: role, incarnation: incarnation))
      }
    switch result {
    case .sent: counters.sent += 1
    case .overflowed: counters.overflowed += 1
    case .unroutable, nil: counters.unroutable += 1
    }
  }

  /// Messages examined in one call of `receive`, so that a flood of malformed ones cannot block a node.
  private static let receptionsPerCall = 64

  /// The next message, from the sockets in turn; nil when there is none for now. Never waits.
  public func receive() -> (Message, Envelope)? {
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
    let addressing = Addressing(run: envelope.run, membershipEpoch: envelope.membershipEpoch, step: envelope.step)
    send(.notAMember, to: .node(address.role, address.incarnation), addressing)
  }

  /// Waits until a message or a descriptor can be read, or the time is over (nil: never), or a signal came.
  ///
  /// - Parameter watched: descriptors of which only errors are awaited. `hasReported` tells afterwards which it was,
  ///   counting `descriptors` from zero and then these.
  public func wait(for descriptors: [Int32], watching watched: [Int32] = [], milliseconds: Int?) {
    counters.waits += 1
    pollItems.removeAll(keepingCapacity: true)
    for socket in sockets {
      pollItems.append(zmq_pollitem_t(socket: socket.handle, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0))
    }
    for descriptor in descriptors {
      pollItems.append(zmq_pollitem_t(socket: nil, fd: descriptor, events: Int16(ZMQ_POLLIN), revents: 0))
    }
    for descriptor in watched {
      pollItems.append(zmq_pollitem_t(socket: nil, fd: descriptor, events: 0, revents: 0))
    }
    polledDescriptors = descriptors.count + watched.count
    let count = pollItems.count
    let status = pollItems.withUnsafeMutableBufferPointer {
      zmq_poll($0.baseAddress, Int32(count), milliseconds ?? -1)
    }
    precondition(status >= 0 || zmq_errno() == EINTR, "zmq_poll: \(lastErrorText())")
    if status < 0 { polledDescriptors = 0 }
  }

  /// Whether the last `wait` found something at this one of its descriptors.
  public func hasReported(_ position: Int) -> Bool {
    position < polledDescriptors && pollItems[pollItems.count - polledDescriptors + position].revents != 0
  }
}
