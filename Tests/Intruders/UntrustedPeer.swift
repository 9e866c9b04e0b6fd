import CZeroMQ
import Glibc
import Messaging
import Transport

/// A peer with any key or none that sends any frames: straight to a DEALER socket.
public final class UntrustedPeer {
  public enum Mechanism {
    case none
    case password
    /// `listener` is what it takes for the key of the one that it connects to.
    case curve(listener: String, publicKey: String, secretKey: String)

    /// With a key that was made a moment ago.
    public static func freshCurve(listener: String) -> Mechanism {
      let keys = KeyPair.generate()
      return .curve(listener: listener, publicKey: "\(keys.publicKey)", secretKey: keys.secretText)
    }

    /// With the key of somebody, taken from a directory of keys.
    public static func curve(of name: String, listener: String, in directory: String) -> Mechanism {
      var values: [Substring: Substring] = [:]
      for line in contents(of: "\(directory)/\(name).key").split(separator: "\n") where !line.hasPrefix("#") {
        let words = line.split(separator: " ")
        if words.count == 2 { values[words[0]] = words[1] }
      }
      return .curve(
        listener: publicKey(of: listener, in: directory), publicKey: String(values["public"] ?? ""),
        secretKey: String(values["secret"] ?? ""))
    }

    public static func publicKey(of name: String, in directory: String) -> String {
      let words = contents(of: "\(directory)/\(name).pub").split { $0 == " " || $0 == "\n" }
      return words.count == 2 ? String(words[1]) : ""
    }

    private static func contents(of path: String) -> String {
      guard let file = fopen(path, "r") else { return "" }
      defer { fclose(file) }
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = fread(&bytes, 1, bytes.count, file)
      return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
  }

  public enum Handshake { case succeeded, refused, failed }

  private let context: UnsafeMutableRawPointer
  private let socket: UnsafeMutableRawPointer
  private let monitor: UnsafeMutableRawPointer

  public init(connectingTo endpoint: String, as routingID: [UInt8], _ mechanism: Mechanism) {
    context = zmq_ctx_new()
    socket = zmq_socket(context, ZMQ_DEALER)
    zmq_socket_monitor(
      socket, "inproc://monitor",
      ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
        | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)
    monitor = zmq_socket(context, ZMQ_PAIR)
    for handle in [socket, monitor] { Self.set(handle, ZMQ_LINGER, 0) }
    zmq_connect(monitor, "inproc://monitor")
    zmq_setsockopt(socket, ZMQ_ROUTING_ID, routingID, routingID.count)
    Self.set(socket, ZMQ_SNDHWM, 0)
    switch mechanism {
    case .none: break
    case .password:
      zmq_setsockopt(socket, ZMQ_PLAIN_USERNAME, "worker", 6)
      zmq_setsockopt(socket, ZMQ_PLAIN_PASSWORD, "secret", 6)
    case .curve(let listener, let publicKey, let secretKey):
      zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, listener, listener.utf8.count + 1)
      zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, publicKey, publicKey.utf8.count + 1)
      zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secretKey, secretKey.utf8.count + 1)
    }
    zmq_connect(socket, endpoint)
  }

  deinit {
    zmq_socket_monitor(socket, nil, 0)
    zmq_close(monitor)
    zmq_close(socket)
    zmq_ctx_term(context)
  }

  private static func set(_ handle: UnsafeMutableRawPointer, _ option: Int32, _ value: Int32) {
    withUnsafeBytes(of: value) { _ = zmq_setsockopt(handle, option, $0.baseAddress, $0.count) }
  }

  /// Queues a message, for as long as it takes.
  public func send(_ frames: [[UInt8]]) {
    for (index, frame) in frames.enumerated() {
      zmq_send(socket, frame, frame.count, index < frames.count - 1 ? ZMQ_SNDMORE : 0)
    }
  }

  /// Queues a message of so many frames.
  public func send(_ frame: [UInt8], times: Int) {
    for index in 0..<times { zmq_send(socket, frame, frame.count, index < times - 1 ? ZMQ_SNDMORE : 0) }
  }

  /// The frames of the next message; nil if there is none within that time.
  public func receive(withinMilliseconds limit: Int) -> [[UInt8]]? {
    var item = zmq_pollitem_t(socket: socket, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0)
    guard zmq_poll(&item, 1, limit) > 0 else { return nil }
    var frames: [[UInt8]] = []
    var (more, size) = (Int32(1), MemoryLayout<Int32>.size)
    while more != 0 {
      var frame = zmq_msg_t()
      zmq_msg_init(&frame)
      defer { zmq_msg_close(&frame) }
      guard zmq_msg_recv(&frame, socket, 0) >= 0 else { return nil }
      frames.append(Array(UnsafeRawBufferPointer(start: zmq_msg_data(&frame), count: zmq_msg_size(&frame))))
      zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size)
    }
    return frames
  }

  /// How the next handshake ends; nil if none does within that time.
  public func handshake(withinMilliseconds limit: Int) -> Handshake? {
    Self.set(monitor, ZMQ_RCVTIMEO, Int32(limit))
    var event = [UInt8](repeating: 0, count: 256)
    guard zmq_recv(monitor, &event, event.count, 0) >= 2 else { return nil }
    let number = Int32(event[0]) | Int32(event[1]) << 8
    zmq_recv(monitor, &event, event.count, 0)
    switch number {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: return .succeeded
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: return .refused
    default: return .failed
    }
  }
}

/// A CURVE listener as libzmq makes it when nobody takes care: it has a key, and asks nobody who may come in.
public final class CarelessListener {
  private let context: UnsafeMutableRawPointer
  private let socket: UnsafeMutableRawPointer
  public let endpoint: String

  public init(_ keys: KeyPair) {
    let context: UnsafeMutableRawPointer = zmq_ctx_new()
    let socket: UnsafeMutableRawPointer = zmq_socket(context, ZMQ_ROUTER)
    (self.context, self.socket) = (context, socket)
    let secretKey = keys.secretText
    var (isServer, linger) = (Int32(1), Int32(0))
    zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &isServer, MemoryLayout<Int32>.size)
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, MemoryLayout<Int32>.size)
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secretKey, secretKey.utf8.count + 1)
    zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, "descent", 7)
    zmq_bind(socket, "tcp://127.0.0.1:*")
    var text = [UInt8](repeating: 0, count: 256)
    var count = text.count
    zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, &text, &count)
    endpoint = String(decoding: text.prefix(max(count, 1) - 1), as: UTF8.self)
  }

  deinit {
    zmq_close(socket)
    zmq_ctx_term(context)
  }
}
