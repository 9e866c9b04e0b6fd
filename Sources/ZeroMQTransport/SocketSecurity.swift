import CZeroMQ
import Diagnostics
import Glibc
import Messaging

/// Makes a socket use CurveZMQ.
extension MessageSocket {
  /// A connection that has not authenticated by then is closed. Also the time limit of the start-up test.
  private static let handshakeMilliseconds: Int32 = 5000
  /// Connections that the system queues until they are accepted. When the queue is full, a connection takes a second more.
  private static let backlog: Int32 = 1024
  /// Descriptors to allow for besides the cluster's own: one for each connection that says nothing.
  private static let descriptors: rlim_t = 1 << 16

  func secureListening() {
    set(ZMQ_HANDSHAKE_IVL, Self.handshakeMilliseconds)  // defence: handshake-limit
    set(ZMQ_BACKLOG, Self.backlog)
    Self.raiseDescriptorLimit()
    guard let credentials = context.security.credentials else { return }  // defence: plain
    set(ZMQ_CURVE_SERVER, 1)  // defence: no-curve
    credentials.keys.secretKey.withBytes { set(ZMQ_CURVE_SECRETKEY, bytes: $0) }
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
    do throws(Failure) {
      setClientKeys(credentials.keys, peer: try credentials.requireKey(of: peer))
      if peer == .coordinator { handshakes = try HandshakeWatch(handle, context.handle) }
    } catch {
      close(discarding: true)
      throw error
    }
  }

  private func setClientKeys(_ keys: KeyPair, peer: PublicKey) {
    peer.bytes.withUnsafeBytes { set(ZMQ_CURVE_SERVERKEY, bytes: $0) }
    keys.publicKey.bytes.withUnsafeBytes { set(ZMQ_CURVE_PUBLICKEY, bytes: $0) }
    keys.secretKey.withBytes { set(ZMQ_CURVE_SECRETKEY, bytes: $0) }
  }

  /// A thousand connections that never authenticate must leave room for the cluster's own.
  private static func raiseDescriptorLimit() {
    var limit = rlimit()
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    guard getrlimit(resource, &limit) == 0 else { return }
    limit.rlim_cur = max(limit.rlim_cur, min(limit.rlim_max, descriptors))
    setrlimit(resource, &limit)
  }

  /// - Throws: `internalError` if an unknown key would be accepted.
  func requireStrangersRefused(at endpoint: String) throws(Failure) {
    guard let credentials = context.security.credentials else { return }  // defence: start-up-test fails
    do throws(Failure) {
      try context.requireStrangersRefused(
        at: endpoint, of: credentials.keys.publicKey, milliseconds: Int(Self.handshakeMilliseconds))
    } catch {
      close(discarding: true)
      throw error
    }
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
        .refused, "the coordinator does not know the key of \(credentials.name)",
        found: "fingerprint \(credentials.fingerprint)",
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
  package func requireStrangersRefused(
    at endpoint: String, of listener: PublicKey, milliseconds: Int
  ) throws(Failure) {
    guard let stranger = zmq_socket(handle, ZMQ_DEALER) else {
      throw Failure(.internalError, "cannot open a socket", found: lastErrorText())
    }
    defer { zmq_close(stranger) }
    prepareStranger(stranger, for: listener)
    let outcome = try { () throws(Failure) in
      let watch = try HandshakeWatch(stranger, handle)
      guard zmq_connect(stranger, endpoint) == 0 else {
        throw Failure(.internalError, "cannot connect to \(endpoint)", found: lastErrorText())
      }
      return watch.next(milliseconds: milliseconds)
    }()
    guard outcome == .refused else {
      throw Failure(
        .internalError,
        "the access control of this process does not work: an unknown key was not refused at \(endpoint)",
        found: outcome.map { "\($0)" } ?? "no answer", expected: "refused")
    }
  }

  private func prepareStranger(_ stranger: UnsafeMutableRawPointer, for listener: PublicKey) {
    var (zero, one) = (Int32(0), Int32(1))
    zmq_setsockopt(stranger, ZMQ_LINGER, &zero, MemoryLayout<Int32>.size)
    zmq_setsockopt(stranger, ZMQ_IPV6, &one, MemoryLayout<Int32>.size)
    zmq_setsockopt(stranger, ZMQ_CURVE_SERVERKEY, listener.bytes, listener.bytes.count)
    let keys = strangerKeys
    zmq_setsockopt(stranger, ZMQ_CURVE_PUBLICKEY, keys.publicKey.bytes, keys.publicKey.bytes.count)
    keys.secretKey.withBytes { _ = zmq_setsockopt(stranger, ZMQ_CURVE_SECRETKEY, $0.baseAddress, $0.count) }
  }
}
