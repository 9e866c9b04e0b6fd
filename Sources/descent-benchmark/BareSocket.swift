import ArgumentParser
import CZeroMQ
import Diagnostics
import Glibc
import Optimization

/// What libzmq does alone: messages of the same size as a push and its answer, over `ipc` with the same socket buffers,
/// and nobody who does anything with them. The only caller of libzmq besides the transport, because it is what the
/// transport is measured against.
enum BareSocket {
  static let byteCount = ModelShape.cifar10.parameterCount * MemoryLayout<Float>.stride
  /// Rounds of each client before the clock starts.
  private static let warmUp = 200

  /// Exchanges a second of that many clients, each a process of its own.
  static func exchangesPerSecond(_ suite: Suite, clients: Int, each rounds: Int) throws(Failure) -> Double {
    let endpoint = "ipc://\(suite.work.newName("bare"))"
    let socket = try RawSocket(ZMQ_ROUTER, sending: 7)
    try socket.listen(endpoint)
    let programs = try Programs()
    for rank in 0..<clients {
      try programs.start(
        "descent-benchmark", ["bare-client", endpoint, "\(warmUp + rounds)"], name: "bare client \(rank)")
    }
    var began = 0.0
    for count in 0..<clients * (warmUp + rounds) {
      if count == clients * warmUp { began = monotonicSeconds() }
      try socket.answer(expecting: 3)
    }
    let seconds = monotonicSeconds() - began
    try programs.waitForAll(limit: 30)
    return Double(clients * rounds) / seconds
  }
}

/// The other side: sends, waits for the answer, and so on.
struct BareClientCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "bare-client", shouldDisplay: false)

  @Argument var endpoint: String
  @Argument var rounds: Int

  func run() throws {
    try reportingFailures { () throws(Failure) in
      let socket = try RawSocket(ZMQ_DEALER, sending: 3)
      try socket.connect(endpoint)
      for _ in 0..<rounds {
        try socket.send()
        try socket.receive(expecting: 7)
      }
    }
  }
}

/// A socket of libzmq that waits; it does not give up later than `limitMilliseconds`.
private final class RawSocket {
  private static let limitMilliseconds: Int32 = 20_000
  private static let bufferBytes: Int32 = 1 << 20

  private let context: UnsafeMutableRawPointer
  private let socket: UnsafeMutableRawPointer
  /// What is sent, every time.
  private let outgoing = UnsafeMutableRawBufferPointer.allocate(byteCount: BareSocket.byteCount, alignment: 64)

  init(_ kind: Int32, sending byte: UInt8) throws(Failure) {
    outgoing.initializeMemory(as: UInt8.self, repeating: byte)
    guard let context = zmq_ctx_new(), let socket = zmq_socket(context, kind) else {
      throw Self.failure("open a socket")
    }
    (self.context, self.socket) = (context, socket)
    for (option, value) in [
      (ZMQ_SNDBUF, Self.bufferBytes), (ZMQ_RCVBUF, Self.bufferBytes), (ZMQ_RCVTIMEO, Self.limitMilliseconds),
      (ZMQ_SNDTIMEO, Self.limitMilliseconds), (ZMQ_LINGER, 1000),
    ] {
      var value = value
      try Self.check(zmq_setsockopt(socket, option, &value, MemoryLayout<Int32>.size), "set a socket option")
    }
  }

  deinit {
    zmq_close(socket)
    zmq_ctx_term(context)
    outgoing.deallocate()
  }

  func listen(_ endpoint: String) throws(Failure) { try Self.check(zmq_bind(socket, endpoint), "listen") }
  func connect(_ endpoint: String) throws(Failure) { try Self.check(zmq_connect(socket, endpoint), "connect") }

  /// Receives a client's message, which must consist of that byte, and answers it.
  func answer(expecting byte: UInt8) throws(Failure) {
    var address = zmq_msg_t()
    zmq_msg_init(&address)
    defer { zmq_msg_close(&address) }
    try Self.check(zmq_msg_recv(&address, socket, 0), "receive an address")
    try receive(expecting: byte)
    try Self.check(zmq_msg_send(&address, socket, ZMQ_SNDMORE), "send an address")
    try send()
  }

  /// Without a copy.
  func send() throws(Failure) {
    var message = zmq_msg_t()
    zmq_msg_init_data(&message, outgoing.baseAddress, outgoing.count, { _, _ in }, nil)
    try Self.check(zmq_msg_send(&message, socket, 0), "send")
  }

  /// Receives a message, which must have the right size and end with that byte.
  func receive(expecting byte: UInt8) throws(Failure) {
    var message = zmq_msg_t()
    zmq_msg_init(&message)
    defer { zmq_msg_close(&message) }
    try Self.check(zmq_msg_recv(&message, socket, 0), "receive")
    let bytes = UnsafeRawBufferPointer(start: zmq_msg_data(&message), count: zmq_msg_size(&message))
    guard bytes.count == BareSocket.byteCount, bytes.last == byte else {
      throw Failure(.badData, "a bare socket received something else", found: "\(bytes.count) bytes")
    }
  }

  private static func check(_ status: Int32, _ action: String) throws(Failure) {
    if status < 0 { throw failure(action) }
  }

  private static func failure(_ action: String) -> Failure {
    Failure(.internalError, "a bare socket cannot \(action)", found: String(cString: zmq_strerror(zmq_errno())))
  }
}
