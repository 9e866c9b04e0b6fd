import CZeroMQ
import Diagnostics
import Glibc
import Synchronization

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
    guard zmq_socket_monitor(socket, endpoint, Self.events) == 0, let monitor = zmq_socket(context, ZMQ_PAIR) else {
      throw Failure(.internalError, "cannot watch a connection", found: lastErrorText())
    }
    watched = socket
    self.monitor = monitor
    var linger: Int32 = 0
    zmq_setsockopt(monitor, ZMQ_LINGER, &linger, MemoryLayout<Int32>.size)
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
