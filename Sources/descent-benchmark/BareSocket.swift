import ArgumentParser
import CZeroMQ
import Diagnostics
import Optimization

/// What libzmq does alone: messages of the same size as a push and its answer, over `ipc` with the same socket buffers,
/// processed by nothing. The only caller of libzmq besides the transport, because it is what the transport is measured
/// against. A socket that waits gives up after 20 seconds.
final class BareSocket {
  private static let byteCount = ModelShape.cifar10.parameterCount * MemoryLayout<Float>.stride
  /// Rounds of each client before the clock starts.
  private static let warmUp = 200

  private let context, socket: UnsafeMutableRawPointer
  /// What is sent, every time.
  private let outgoing = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 64)

  /// Exchanges a second of that many clients, each a process of its own.
  static func exchangesPerSecond(_ rig: Rig, clients: Int, each rounds: Int) throws -> Double {
    let endpoint = "ipc://\(rig.newName("bare"))"
    let server = try BareSocket(ZMQ_ROUTER, sending: 7)
    try server.check(zmq_bind(server.socket, endpoint), "listen")
    let programs = try Programs()
    for rank in 0..<clients {
      try programs.start("bare client \(rank)", "descent-benchmark", ["bare-client", endpoint, "\(warmUp + rounds)"])
    }
    var began = 0.0
    for count in 0..<clients * (warmUp + rounds) {
      if count == clients * warmUp { began = monotonicSeconds() }
      try server.answer()
    }
    let seconds = monotonicSeconds() - began
    try programs.waitForAll(limit: 30)
    return Double(clients * rounds) / seconds
  }

  init(_ kind: Int32, sending byte: UInt8) throws {
    outgoing.initializeMemory(as: UInt8.self, repeating: byte)
    context = zmq_ctx_new()
    socket = zmq_socket(context, kind)
    for (option, setting) in [
      (ZMQ_SNDBUF, 1 << 20), (ZMQ_RCVBUF, 1 << 20), (ZMQ_RCVTIMEO, 20_000), (ZMQ_SNDTIMEO, 20_000), (ZMQ_LINGER, 1000),
    ] as [(Int32, Int32)] {
      var value = setting
      try check(zmq_setsockopt(socket, option, &value, MemoryLayout<Int32>.size), "set a socket option")
    }
  }

  deinit {
    zmq_close(socket)
    zmq_ctx_term(context)
    outgoing.deallocate()
  }

  func connect(to endpoint: String) throws { try check(zmq_connect(socket, endpoint), "connect") }

  /// Answers a client's message.
  private func answer() throws {
    try withUnsafeTemporaryAllocation(byteCount: 255, alignment: 1) { address in
      let count = zmq_recv(socket, address.baseAddress, address.count, 0)
      try check(count, "receive an address")
      try receive(expecting: 3)
      try check(zmq_send(socket, address.baseAddress, Int(count), ZMQ_SNDMORE), "send an address")
    }
    try send()
  }

  /// Without a copy.
  func send() throws {
    var message = zmq_msg_t()
    zmq_msg_init_data(&message, outgoing.baseAddress, outgoing.count, { _, _ in }, nil)
    try check(zmq_msg_send(&message, socket, 0), "send")
  }

  /// Receives a message, which must have the right size and end with that byte.
  func receive(expecting byte: UInt8) throws {
    var message = zmq_msg_t()
    zmq_msg_init(&message)
    defer { zmq_msg_close(&message) }
    try check(zmq_msg_recv(&message, socket, 0), "receive")
    let bytes = UnsafeRawBufferPointer(start: zmq_msg_data(&message), count: zmq_msg_size(&message))
    guard bytes.count == Self.byteCount, bytes.last == byte else {
      throw Failure(.badData, "a bare socket received something else", found: "\(bytes.count) bytes")
    }
  }

  private func check(_ status: Int32, _ action: String) throws {
    guard status < 0 else { return }
    throw Failure(.internalError, "a bare socket cannot \(action)", found: String(cString: zmq_strerror(zmq_errno())))
  }
}

/// The other side: sends, waits for the answer, and so on.
struct BareClientCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "bare-client", shouldDisplay: false)

  @Argument var endpoint: String
  @Argument var rounds: Int

  func run() throws {
    let client = try BareSocket(ZMQ_DEALER, sending: 3)
    try client.connect(to: endpoint)
    for _ in 0..<rounds {
      try client.send()
      try client.receive(expecting: 7)
    }
  }
}
