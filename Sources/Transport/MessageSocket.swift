import CZeroMQ
import Diagnostics
import Glibc
import Messaging

/// The outcome of sending a message through a socket or through memory.
package enum SendResult {
  case sent
  /// The peer has not taken the messages before it.
  case overflowed
  /// The peer is not connected, or the message cannot go this way.
  case unroutable
}

/// The outcome of reading a socket or memory.
package enum Reception {
  case message(Message, Envelope)
  case rejected(TransportCounters.Rejection)
  /// The heartbeat of a process whose key another process has taken over.
  case superseded(PeerAddress, Envelope)
}

/// A ZeroMQ socket that sends and receives whole messages. Use it only on the thread that made it.
///
/// On the wire a message is three frames: 64 bytes of envelope, the fields, the payload (present even if empty). In front
/// of them a ROUTER socket puts and expects the routing id of the peer.
final class MessageSocket {
  /// How long messages may take to leave after `close`.
  static let lingerMilliseconds: Int32 = 1000
  /// Per peer and direction, in messages. The protocol has one piece of work and a few short messages under way for
  /// each peer, so this bounds memory and never stops a healthy one.
  private static let queueLimit: Int32 = 32
  /// Of a server's workers, each of which has one gradient under way: the rest waits in the sockets' buffers.
  private static let receivedGradientLimit: Int32 = 4
  /// A gradient of 123 kB fits several times, so its sender need not wait for the reader in the middle of it; a large one
  /// fills them while the reader empties them.
  private static let bufferBytes: Int32 = 1 << 20
  /// What CurveZMQ adds to a frame: name of the command, nonce, authentication code, flags; and some more.
  private static let encryptionBytes = 64
  private static let framesDrainedAtOnce = 1 << 14

  /// Whether peers connect to it; a DEALER otherwise.
  let isRouter: Bool
  let handle: UnsafeMutableRawPointer
  let context: MessagingContext
  /// Tells how the connection is received, until it is.
  var handshakes: HandshakeWatch?
  var failedHandshakes = 0
  private(set) var authorizer: PeerAuthorizer
  private var isDraining = false
  private let routingFrame = Frame()
  private let envelopeFrame = Frame()
  private let fieldsFrame = Frame()
  private var payloadFrames = PayloadFrames()
  private var underWay = PayloadsUnderWay()
  private var isOpen = true

  private init(isRouter: Bool, _ context: MessagingContext, role: NodeRole, peer: NodeRole? = nil) throws(Failure) {
    handle = try openSocket(isRouter ? ZMQ_ROUTER : ZMQ_DEALER, in: context.handle)
    self.isRouter = isRouter
    self.context = context
    authorizer = PeerAuthorizer(
      receiver: role, peer: peer, access: context.security.credentials?.access, lease: context.lease)
    set(ZMQ_LINGER, Self.lingerMilliseconds)
    set(ZMQ_SNDHWM, Self.queueLimit)
    set(ZMQ_RCVHWM, isRouter && role == .server ? Self.receivedGradientLimit : Self.queueLimit)
    set(ZMQ_SNDBUF, Self.bufferBytes)
    set(ZMQ_RCVBUF, Self.bufferBytes)
    // A longer frame closes the connection before memory for it is allocated.
    // defence: frame-limit
    let longest = Envelope.maximumPayloadLength + (context.security.credentials == nil ? 0 : Self.encryptionBytes)
    withUnsafeBytes(of: Int64(longest)) { set(ZMQ_MAXMSGSIZE, bytes: $0) }
  }

  deinit { close() }

  /// A socket that peers connect to, and the endpoint they reach it at.
  ///
  /// - Throws: `badConfiguration` for an address beyond this host without keys or a name that is not this host's,
  ///   `cannotCreate` when it is in use or not ours, `internalError` if an unknown key would be accepted.
  static func listening(
    at endpoint: Endpoint, advertising host: String? = nil, as role: NodeRole, _ context: MessagingContext
  ) throws(Failure) -> (MessageSocket, endpoint: String) {
    let endpoint = host == nil ? try endpoint.forListening() : endpoint
    try endpoint.requireProtection(by: context.security)
    let socket = try MessageSocket(isRouter: true, context, role: role)
    socket.secureListening()
    // With this, a message to a peer that is not connected is an error, which the sender counts.
    socket.set(ZMQ_ROUTER_MANDATORY, 1)
    // A connection must not take over the routing id of a connected peer.
    socket.set(ZMQ_ROUTER_HANDOVER, 0)
    if endpoint.needsIPv6 { socket.set(ZMQ_IPV6, 1) }
    // An abstract address has no permissions.
    if case .ipc(let path) = endpoint, path.hasPrefix("@") {
      socket.set(ZMQ_IPC_FILTER_UID, Int32(bitPattern: geteuid()))  // defence: abstract-address
    }
    guard zmq_bind(socket.handle, endpoint.description) == 0 else {
      let isElsewhere = [EADDRNOTAVAIL, ENODEV, EINVAL].contains(zmq_errno())
      throw Failure(
        .cannotCreate, "cannot listen on \(endpoint)", found: lastErrorText(),
        remedy: isElsewhere ? HostInterfaces.ofThisHost.choices : nil)
    }
    let own = try endpoint.own(socket.lastEndpoint)
    var actual = host == nil ? try endpoint.advertised(as: socket.lastEndpoint) : own
    if let host, case .tcp(_, let port) = try Endpoint(parsing: own) {
      actual = Endpoint.tcp(host: host, port: port).description
    }
    let listening = (socket, actual)
    guard let credentials = context.security.credentials else { return listening }  // defence: start-up-test fails
    try context.requireUnknownKeysRefused(
      at: own, of: credentials.keys.publicKey, milliseconds: Int(handshakeMilliseconds))
    return listening
  }

  /// A socket connected to the node at `endpoint`, which need not listen yet.
  ///
  /// ZMQ_IMMEDIATE stays off, so the first message waits in the queue until the connection is made; otherwise it would
  /// be refused and a join would have to wait for its next try. What queues for a peer that died is bounded by the
  /// queue's limit, and cannot reach a successor, which listens at another endpoint.
  static func connected(
    to endpoint: Endpoint, of peer: KeyName, as address: PeerAddress, _ context: MessagingContext
  ) throws(Failure) -> MessageSocket {
    try endpoint.requireProtection(by: context.security)
    let socket = try MessageSocket(isRouter: false, context, role: address.role, peer: peer.role)
    try socket.secureConnecting(to: peer)
    address.withBytes { socket.set(ZMQ_ROUTING_ID, bytes: $0) }
    socket.set(ZMQ_RECONNECT_IVL, 50)  // defence: reconnect
    socket.set(ZMQ_RECONNECT_IVL_MAX, 1000)
    if endpoint.needsIPv6 { socket.set(ZMQ_IPV6, 1) }
    guard zmq_connect(socket.handle, endpoint.description) == 0 else {
      throw Failure(.badConfiguration, "cannot connect to \(endpoint)", found: lastErrorText())
    }
    return socket
  }

  /// Closes the socket. Sent messages have `lingerMilliseconds` to leave, or none.
  func close(discarding: Bool = false) {
    guard isOpen else { return }
    isOpen = false
    handshakes = nil
    if discarding { set(ZMQ_LINGER, 0) }
    zmq_close(handle)
  }

  func set(_ option: Int32, _ value: Int32) { setOption(option, of: handle, value) }
  func set(_ option: Int32, bytes: UnsafeRawBufferPointer) { setOption(option, of: handle, bytes: bytes) }

  private var lastEndpoint: String {
    withUnsafeTemporaryAllocation(byteCount: 512, alignment: 1) { buffer in
      var count = buffer.count
      guard zmq_getsockopt(handle, ZMQ_LAST_ENDPOINT, buffer.baseAddress, &count) == 0, count > 0 else { return "" }
      return String(decoding: buffer[..<(count - 1)], as: UTF8.self)
    }
  }

  // MARK: Sending

  /// For the fields of each message in turn.
  private var writer = ByteWriter()

  /// Queues a message; `address` is the peer's, for a ROUTER. Either all of its frames are queued or none.
  func send(_ message: Message, _ envelope: Envelope, to address: PeerAddress?) -> SendResult {
    guard let payload = underWay.lend(message.payload, to: address) else { return .overflowed }
    writer.removeAll()
    message.encodeFields(into: &writer)
    var envelope = envelope
    let isQueued = writer.withUnsafeBytes { fields in
      message.seal(&envelope, fields: fields)
      return sendRoutingID(address)
        && withUnsafeTemporaryAllocation(byteCount: Envelope.byteCount, alignment: 8) { header in
          envelope.encode(into: header)
          return FrameSender.send(UnsafeRawBufferPointer(header), to: handle, more: true)
        }
        && FrameSender.send(fields, to: handle, more: true)
        && FrameSender.sendLast(payload, to: handle)
    }
    if isQueued { return .sent }
    // EAGAIN: the queue is full. Every other error, EHOSTUNREACH above all, means that the peer is not connected.
    return zmq_errno() == EAGAIN ? .overflowed : .unroutable
  }

  private func sendRoutingID(_ address: PeerAddress?) -> Bool {
    guard isRouter else { return true }
    guard let address else { preconditionFailure("a ROUTER socket needs the address of the peer") }
    return address.withBytes { FrameSender.send($0, to: handle, more: true) }
  }

  // MARK: Receiving

  /// The next message, or the reason why it was rejected; nil when there is none. Never waits.
  func receive() -> Reception? {
    if isDraining { drain() }
    if isDraining { return nil }
    if isRouter {
      guard routingFrame.receive(from: handle) else { return nil }
      guard routingFrame.hasMore else { return .rejected(.frameCount) }
    }
    guard envelopeFrame.receive(from: handle) else { return nil }
    guard envelopeFrame.hasMore, fieldsFrame.receive(from: handle), fieldsFrame.hasMore else {
      return .rejected(.frameCount)
    }
    // Its bytes outlive this call.
    let (payloadFrame, position) = payloadFrames.free()
    guard payloadFrame.receive(from: handle) else { return .rejected(.frameCount) }
    if payloadFrame.hasMore {
      drain()  // defence: draining
      return .rejected(.frameCount)
    }
    do {
      return try decode(payloadFrames.payload(of: payloadFrame, at: position))
    } catch {
      return .rejected(TransportCounters.Rejection(error))
    }
  }

  private func decode(_ payload: Payload) throws(CodecError) -> Reception {
    let envelope = try Envelope(decoding: envelopeFrame.bytes)
    var sender: PeerAddress?
    if isRouter {
      sender = PeerAddress(routingFrame.bytes)
      guard sender?.incarnation == envelope.incarnation else { return .rejected(.identity) }
    }
    let message = try Message(envelope, fields: fieldsFrame.bytes, payload: payload)
    guard authorizer.admits(message, from: sender, userID: envelopeFrame.userID, at: .now) else {
      if case .heartbeat = message, let sender, authorizer.hasSuccessor(sender, userID: envelopeFrame.userID) {
        return .superseded(sender, envelope)
      }
      return .rejected(.identity)
    }
    return .message(message, envelope)
  }

  /// Discards superfluous frames of one message, a bounded number at a time, so that a million of them cannot delay the
  /// node. The next calls of `receive` discard the rest.
  private func drain() {
    let frame = Frame()
    isDraining = true
    for _ in 0..<Self.framesDrainedAtOnce {
      guard frame.receive(from: handle), frame.hasMore else {
        isDraining = false
        return
      }
    }
  }
}
