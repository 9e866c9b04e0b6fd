import CZeroMQ
import Glibc
import Messaging

/// A `zmq_msg_t` at a fixed address: libzmq keeps the bytes of short messages inside it, so it must not move while they
/// are in use.
///
/// Unchecked because only the thread of the socket receives into it. Closing it, with the last holder of its bytes, may
/// happen on any thread.
final class Frame: @unchecked Sendable {
  private let message: UnsafeMutablePointer<zmq_msg_t>

  init() {
    message = .allocate(capacity: 1)
    zmq_msg_init(message)
  }

  deinit {
    zmq_msg_close(message)
    message.deallocate()
  }

  /// Valid until the next receive.
  var bytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: zmq_msg_data(message), count: zmq_msg_size(message))
  }

  /// Whether further frames of the same message follow.
  var hasMore: Bool { zmq_msg_more(message) != 0 }

  /// Replaces the frame by the next one of a socket; false if there is none.
  /// - Parameter waits: up to the socket's time limit.
  func receive(from socket: UnsafeMutableRawPointer, waits: Bool = false) -> Bool {
    while zmq_msg_recv(message, socket, waits ? 0 : ZMQ_DONTWAIT) < 0 {
      if zmq_errno() != EINTR { return false }
    }
    return true
  }

  /// The user id that the authenticator gave to the connection. Do not read it from a routing id frame: libzmq 4.3.4
  /// loses it there.
  var userID: String? { zmq_msg_gets(message, "User-Id").map { String(cString: $0) } }
}

extension Payload {
  /// The bytes of a received frame, without a copy; the frame is closed with the last holder.
  convenience init(_ frame: Frame) {
    self.init(borrowing: frame.bytes) { _ = frame }
  }
}

/// Frames for payloads, and the payloads over their bytes, reused once they are not held elsewhere: receiving the messages of
/// a step allocates nothing here.
struct PayloadFrames {
  /// As many as one peer may have in flight. Beyond that every payload gets a frame of its own.
  private static let limit = 4
  /// The memory of longer ones is given back at once: a server has one for each worker at most.
  private static let longestKept = 1 << 20

  private var slots: [(frame: Frame, payload: Payload)] = []

  /// A frame whose former bytes are not in use, to receive into; its position, if it is kept here.
  mutating func free() -> (frame: Frame, position: Int?) {
    for index in slots.indices where isKnownUniquelyReferenced(&slots[index].payload) {
      return (slots[index].frame, index)
    }
    let frame = Frame()
    guard slots.count < Self.limit else { return (frame, nil) }
    slots.append((frame, Payload(frame)))
    return (frame, slots.count - 1)
  }

  /// The bytes that `frame`, which `free` gave, has received.
  mutating func payload(of frame: Frame, at position: Int?) -> Payload {
    if frame.bytes.isEmpty { return .empty }
    guard let position else { return Payload(frame) }
    guard frame.bytes.count <= Self.longestKept else {
      let fresh = Frame()
      slots[position] = (fresh, Payload(fresh))
      return Payload(frame)
    }
    let isReused = Payload.reuse(&slots[position].payload, for: frame.bytes)
    precondition(isReused, "a frame was received into while its bytes were in use")
    return slots[position].payload
  }
}

/// The large payloads on their way out, which libzmq holds until they have left. A message is repeated when its answer takes
/// long; over a slow network a large one would queue behind itself, once more each time.
struct PayloadsUnderWay {
  /// Shorter ones leave before their messages are repeated.
  private static let smallest = 1 << 20
  /// To each peer: a server has two snapshots that the coordinator has not acknowledged.
  private static let limit = 2

  private struct Loan {
    let peer: PeerAddress?
    let original: ObjectIdentifier
    weak var lent: Payload?
  }

  private var loans: [Loan] = []

  /// What to lend to libzmq for a payload; nil while it is on its way to this peer, or two others are.
  mutating func lend(_ payload: Payload, to peer: PeerAddress?) -> Payload? {
    guard payload.count >= Self.smallest else { return payload }
    loans.removeAll { $0.lent == nil }
    let (original, others) = (ObjectIdentifier(payload), loans.filter { $0.peer == peer })
    guard others.count < Self.limit, !others.contains(where: { $0.original == original }) else { return nil }
    let lent = payload.slice(0..<payload.count)
    loans.append(Loan(peer: peer, original: original, lent: lent))
    return lent
  }
}

/// Sends frames: copies small ones and lends big ones.
enum FrameSender {
  /// Up to here a copy costs less than the bookkeeping of lending.
  private static let largestCopy = 1024

  /// Queues a copy of the bytes; false, with the error of libzmq, if the socket does not take it.
  static func send(_ bytes: UnsafeRawBufferPointer, to socket: UnsafeMutableRawPointer, more: Bool) -> Bool {
    let flags = ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)
    while zmq_send(socket, bytes.baseAddress, bytes.count, flags) < 0 {
      if zmq_errno() != EINTR { return false }
    }
    return true
  }

  /// Queues the payload as the last frame. Its bytes are not copied: libzmq holds a reference to the payload until
  /// they have left, and lets go of it on one of its own threads.
  static func sendLast(_ payload: Payload, to socket: UnsafeMutableRawPointer) -> Bool {
    guard payload.count > largestCopy else { return send(payload.bytes, to: socket, more: false) }
    var message = zmq_msg_t()
    let status = zmq_msg_init_data(
      &message, UnsafeMutableRawPointer(mutating: payload.bytes.baseAddress), payload.count,
      { _, hint in hint.map { Unmanaged<Payload>.fromOpaque($0).release() } },
      Unmanaged.passRetained(payload).toOpaque())
    guard status == 0 else {
      Unmanaged.passUnretained(payload).release()
      return false
    }
    while zmq_msg_send(&message, socket, ZMQ_DONTWAIT) < 0 {
      if zmq_errno() != EINTR {
        let error = zmq_errno()
        // What was not sent is still ours; closing it lets go of the payload.
        zmq_msg_close(&message)
        errno = error
        return false
      }
    }
    return true
  }
}
