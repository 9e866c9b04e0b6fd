import CZeroMQ
import Diagnostics
import Glibc
import Messaging
import TestSupport
import Transport

/// A server that listens and a worker that is connected to it, on one thread.
struct Pair {
  let directory = TemporaryDirectory()
  let context: MessagingContext
  let server: NodeTransport
  let worker: NodeTransport
  let endpoint: String

  static let serverIncarnation = Incarnation(0x1122_3344_5566_7788)
  static let workerIncarnation = Incarnation(0x00FF_0000_0000_0001)

  enum Medium: CaseIterable { case ipc, tcp }

  init(_ medium: Medium) throws {
    context = try MessagingContext()
    server = NodeTransport(role: .server, incarnation: Self.serverIncarnation, context: context)
    worker = NodeTransport(role: .worker, incarnation: Self.workerIncarnation, context: context)
    let endpoint: Endpoint =
      switch medium {
      case .ipc: try Endpoint(socketPath: "\(directory.path)/server")
      case .tcp: .tcp(host: "localhost", port: nil)
      }
    self.endpoint = try server.listen(at: endpoint)
    try worker.connectToServer(Endpoint(parsing: self.endpoint))
  }

  /// Ends the sockets; to be called at the end of a test, for both ends are closed on the thread that made them.
  func close() {
    server.close()
    worker.close()
  }
}

let addressing = Addressing(run: RunID(7), membershipEpoch: MembershipEpoch(3), step: 42)

/// Generous, because it is only reached when a test fails.
let limitMilliseconds = 10_000

/// The next message, waited for; nil if none comes.
func nextMessage(_ transport: NodeTransport) -> (Message, Envelope)? {
  for _ in 0..<100 {
    if let received = transport.receive() { return received }
    transport.wait(for: [], until: .now + .milliseconds(UInt64(limitMilliseconds) / 100))
  }
  return nil
}

/// A peer that says what it likes: frames straight to a DEALER socket.
final class RawPeer {
  private let context: UnsafeMutableRawPointer
  private let socket: UnsafeMutableRawPointer

  init(connectingTo endpoint: String, routingID: [UInt8]) {
    context = zmq_ctx_new()
    socket = zmq_socket(context, ZMQ_DEALER)
    var linger: Int32 = 1000
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, MemoryLayout<Int32>.size)
    zmq_setsockopt(socket, ZMQ_ROUTING_ID, routingID, routingID.count)
    zmq_connect(socket, endpoint)
  }

  /// - Parameter zeros: of one more frame, whose pages do not exist before they are read.
  func send(_ frames: [[UInt8]], thenZeros zeros: Int? = nil) {
    for (index, frame) in frames.enumerated() {
      zmq_send(socket, frame, frame.count, zeros != nil || index < frames.count - 1 ? ZMQ_SNDMORE : 0)
    }
    guard let zeros else { return }
    var message = zmq_msg_t()
    zmq_msg_init_data(
      &message, mmap(nil, zeros, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), zeros,
      { bytes, count in munmap(bytes, Int(bitPattern: count)) }, UnsafeMutableRawPointer(bitPattern: zeros))
    zmq_msg_send(&message, socket, 0)
  }

  /// Whether the peer at the other end takes the connection away within the limit.
  func isDisconnected(afterSending frames: [[UInt8]], thenZeros zeros: Int? = nil) -> Bool {
    zmq_socket_monitor(socket, "inproc://monitor", ZMQ_EVENT_DISCONNECTED)
    let monitor = zmq_socket(context, ZMQ_PAIR)
    defer { zmq_close(monitor) }
    zmq_connect(monitor, "inproc://monitor")
    var timeout = Int32(limitMilliseconds)
    zmq_setsockopt(monitor, ZMQ_RCVTIMEO, &timeout, MemoryLayout<Int32>.size)
    send(frames, thenZeros: zeros)
    var event = [UInt8](repeating: 0, count: 64)
    return zmq_recv(monitor, &event, event.count, 0) >= 0
  }

  deinit {
    zmq_close(socket)
    zmq_ctx_term(context)
  }
}

/// A routing id as our nodes announce it.
func routingID(_ role: NodeRole, _ incarnation: Incarnation) -> [UInt8] {
  [role.rawValue] + withUnsafeBytes(of: incarnation.value.littleEndian) { Array($0) }
}

/// The three frames of a message.
func frames(_ message: Message, from incarnation: Incarnation) -> [[UInt8]] {
  let fields = message.encodeFields()
  var envelope = Envelope(
    type: message.type, run: addressing.run, membershipEpoch: addressing.membershipEpoch, incarnation: incarnation,
    step: addressing.step, sequence: 1)
  message.seal(&envelope, fields: fields)
  var header = [UInt8](repeating: 0, count: Envelope.byteCount)
  header.withUnsafeMutableBytes { envelope.encode(into: $0) }
  return [header, fields, Array(message.payload.bytes)]
}
