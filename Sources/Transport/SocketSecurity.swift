import CZeroMQ
import Diagnostics
import Files
import Messaging
import Synchronization

/// Makes a socket use CurveZMQ.
extension MessageSocket {
  /// A connection that has not authenticated by then is closed. Also the time limit of the start-up test.
  static let handshakeMilliseconds: Int32 = 5000
  /// Connections that the system queues until they are accepted. When the queue is full, a connection takes a second more.
  private static let backlog: Int32 = 1024

  func secureListening() {
    set(ZMQ_HANDSHAKE_IVL, Self.handshakeMilliseconds)  // defence: handshake-limit
    set(ZMQ_BACKLOG, Self.backlog)
    // A thousand connections that never authenticate must leave room for the cluster's own.
    SystemLimits.raiseDescriptorLimit()
    guard let credentials = context.security.credentials else { return }  // defence: plain
    set(ZMQ_CURVE_SERVER, 1)  // defence: no-curve
    credentials.keys.withSecretBytes { set(ZMQ_CURVE_SECRETKEY, bytes: $0) }
    Authenticator.domain.utf8CString.withUnsafeBytes {
      set(ZMQ_ZAP_DOMAIN, bytes: UnsafeRawBufferPointer(rebasing: $0.dropLast()))
    }
    // Without it libzmq accepts every key when no authenticator answers.
    set(Self.enforceDomain, 1)
  }

  /// ZMQ_ZAP_ENFORCE_DOMAIN: among the drafts of the header, and in the release library.
  private static let enforceDomain: Int32 = 93

  /// - Throws: `badConfiguration` if the allow-list does not name the peer.
  func secureConnecting(to peer: KeyName) throws(Failure) {
    guard let credentials = context.security.credentials else { return }
    setClientKeys(credentials.keys, peer: try credentials.requireKey(of: peer), of: handle)
    if peer == .coordinator { handshakes = try HandshakeWatch(handle, context.handle) }
  }

  // MARK: Admission

  /// See `NodeTransport.isAdmitted`.
  func isAdmitted(waitingFor descriptors: [Int32], milliseconds: Int) throws(Failure) -> Bool {
    guard let watch = handshakes, let credentials = context.security.credentials else { return true }
    switch watch.next(milliseconds: milliseconds, descriptors: descriptors) {
    case .succeeded:
      handshakes = nil
      return true
    case .refused:
      throw Failure(
        .refused,
        "the coordinator does not know the key of \(credentials.name) (fingerprint \(credentials.fingerprint))",
        remedy: "Add the line of \(credentials.name).pub to the allow-list on the coordinator's host")
    case .failed:
      failedHandshakes += 1
      return false
    case nil:
      return false
    }
  }
}

// MARK: - The start-up test

extension MessagingContext {
  /// Connects to a socket of this process with a key that is on no allow-list. The process does not start unless the
  /// key is refused.
  ///
  /// - Throws: `internalError` if an unknown key would be accepted, or is not refused in time.
  package func requireUnknownKeysRefused(
    at endpoint: String, of listener: PublicKey, milliseconds: Int
  ) throws(Failure) {
    let client = try openSocket(ZMQ_DEALER, in: handle)
    defer { zmq_close(client) }
    setOption(ZMQ_LINGER, of: client, 0)
    setOption(ZMQ_IPV6, of: client, 1)
    setClientKeys(unlistedKeys, peer: listener, of: client)
    let outcome = try { () throws(Failure) in
      let watch = try HandshakeWatch(client, handle)
      guard zmq_connect(client, endpoint) == 0 else {
        throw Failure(.internalError, "cannot connect to \(endpoint)", found: lastErrorText())
      }
      return watch.next(milliseconds: milliseconds)
    }()
    guard outcome == .refused else {
      throw Failure(
        .internalError,
        "the access control of this process does not work: an unknown key was not refused at \(endpoint)",
        found: outcome.map { "\($0)" } ?? "no answer")
    }
  }
}

/// Makes a socket prove that it holds the keys to a peer that proves that it holds `peer`.
private func setClientKeys(_ keys: KeyPair, peer: PublicKey, of socket: UnsafeMutableRawPointer) {
  peer.bytes.withUnsafeBytes { setOption(ZMQ_CURVE_SERVERKEY, of: socket, bytes: $0) }
  keys.publicKey.bytes.withUnsafeBytes { setOption(ZMQ_CURVE_PUBLICKEY, of: socket, bytes: $0) }
  keys.withSecretBytes { setOption(ZMQ_CURVE_SECRETKEY, of: socket, bytes: $0) }
}

// MARK: - Handshakes

/// Reports how the handshakes of a connecting socket end. Use it on the socket's thread and not for long: libzmq blocks
/// when its events are not read.
final class HandshakeWatch {
  enum Outcome: Equatable {
    case succeeded
    /// The peer refuses the key.
    case refused
    /// It broke off: the peer does not hold the expected key.
    case failed
  }

  private static let events =
    ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
    | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
  private static let serial = Atomic<UInt64>(0)

  private let watched: UnsafeMutableRawPointer
  private let monitor: UnsafeMutableRawPointer

  /// - Parameter socket: not yet connected; closed after this.
  init(_ socket: UnsafeMutableRawPointer, _ context: UnsafeMutableRawPointer) throws(Failure) {
    let endpoint = "inproc://handshake-\(Self.serial.add(1, ordering: .relaxed).newValue)"
    guard zmq_socket_monitor(socket, endpoint, Self.events) == 0 else {
      throw Failure(.internalError, "cannot watch a connection", found: lastErrorText())
    }
    watched = socket
    monitor = try openSocket(ZMQ_PAIR, in: context)
    setOption(ZMQ_LINGER, of: monitor, 0)
    precondition(zmq_connect(monitor, endpoint) == 0, "cannot watch a connection: \(lastErrorText())")
  }

  deinit {
    zmq_socket_monitor(watched, nil, 0)
    zmq_close(monitor)
  }

  /// Waits for the next handshake to end; nil if none does in time, or one of the descriptors can be read.
  func next(milliseconds: Int, descriptors: [Int32] = []) -> Outcome? {
    var items = [zmq_pollitem_t(socket: monitor, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0)]
    items += descriptors.map { zmq_pollitem_t(socket: nil, fd: $0, events: Int16(ZMQ_POLLIN), revents: 0) }
    guard zmq_poll(&items, Int32(items.count), milliseconds) > 0 else { return nil }
    // The number of the event and a value, then the address.
    let frame = Frame()
    guard frame.receive(from: monitor), frame.bytes.count >= MemoryLayout<UInt16>.size else { return nil }
    let event = Int32(frame.bytes.loadUnaligned(as: UInt16.self))
    while frame.hasMore, frame.receive(from: monitor) {}
    switch event {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: return .succeeded
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: return .refused
    default: return .failed
    }
  }
}
