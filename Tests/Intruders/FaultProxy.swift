import Glibc
import Synchronization

/// A TCP proxy that is a bad network: it delays, cuts frames in half, resets, and lets connections overtake one another.
///
/// It lives on a thread of its own. What it listens for and what it connects from may be in two network namespaces, so
/// that it can take the place of the address that a program was told.
public final class FaultProxy: Sendable {
  public struct Behaviour: Sendable {
    /// Each chunk of a stream is held back for so long, in milliseconds; the stream keeps its order.
    public var delay: ClosedRange<Int> = 0...0
    /// Each connection is held back for so long besides, drawn once: they overtake one another.
    public var skew: ClosedRange<Int> = 0...0
    /// A connection is closed when so many bytes have gone through, in the middle of what was read last.
    public var bytesUntilCut: ClosedRange<Int>?
    /// Closed by a reset rather than by an end.
    public var resets = false
    /// No more cuts than that.
    public var cutLimit = Int.max

    public init() {}
  }

  public struct Counters: Sendable {
    public var connections = 0
    public var cuts = 0
    public var bytes = 0
    public var delayedChunks = 0
  }

  private struct State {
    var behaviour: Behaviour?
    var counters = Counters()
    var isStopped = false
  }

  private let state: Mutex<State>

  public var counters: Counters { state.withLock { $0.counters } }
  /// From now on what comes is passed on at once and whole.
  public func calmDown() { state.withLock { $0.behaviour = nil } }
  /// Closes everything. Returns before it is done.
  public func stop() { state.withLock { $0.isStopped = true } }

  /// - Parameters:
  ///   - address: IPv4; what is connected to it goes to the same address as seen from the other namespace.
  ///   - namespaces: files such as `/run/netns/NAME`, where to listen and where to connect from; nil for that of this
  ///     process.
  /// - Returns: nil when it cannot listen there.
  public init?(
    address: String, ports: [UInt16], namespaces: (listening: String, connecting: String)?, behaviour: Behaviour,
    seed: UInt64
  ) {
    state = Mutex(State(behaviour: behaviour))
    let isListening = Mutex<Bool?>(nil)
    let job = Job { [self] in
      var relay = ProxyRelay(address: address, seed: seed)
      let enters = namespaces.map { enter($0.listening) } ?? true
      let listens = enters && relay.listen(on: ports) && (namespaces.map { enter($0.connecting) } ?? true)
      isListening.withLock { $0 = listens }
      while listens, relay.turn(self) {}
      relay.closeAll()
    }
    job.start()
    while isListening.withLock({ $0 == nil }) { usleep(1000) }
    guard isListening.withLock({ $0 == true }) else { return nil }
  }

  fileprivate var behaviour: Behaviour? { state.withLock { $0.behaviour } }
  fileprivate var isStopped: Bool { state.withLock { $0.isStopped } }
  fileprivate func count(_ change: (inout Counters) -> Void) { state.withLock { change(&$0.counters) } }
}

/// What a thread is to do.
private final class Job: Sendable {
  private let body: @Sendable () -> Void

  init(_ body: @escaping @Sendable () -> Void) { self.body = body }

  func start() {
    var thread = pthread_t()
    pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<Job>.fromOpaque(argument.unsafelyUnwrapped).takeRetainedValue().body()
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    pthread_detach(thread)
  }
}

/// Puts this thread, and only it, into a network namespace. Looked up by name because it is no part of POSIX.
private func enter(_ path: String) -> Bool {
  typealias Function = @convention(c) (Int32, Int32) -> Int32
  guard let symbol = dlsym(nil, "setns") else { return false }
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { return false }
  defer { close(file) }
  return unsafeBitCast(symbol, to: Function.self)(file, 0) == 0
}

/// The sockets of a proxy, and what lies between them.
private struct ProxyRelay {
  /// One direction of a connection.
  struct Stream {
    var queue: [(due: Int, bytes: [UInt8])] = []
    var newestDue = 0
    var isEnding = false
  }

  struct Connection {
    /// The one that came, and the one that was made for it.
    var sockets: [Int32]
    /// What comes from either of them.
    var streams = [Stream(), Stream()]
    var skew: Int
    var budget: Int
    var isDead = false
  }

  private static let longestQueue = 64

  let address: String
  var random: SplitMix64
  var listeners: [(socket: Int32, port: UInt16)] = []
  var connections: [Connection] = []

  init(address: String, seed: UInt64) {
    self.address = address
    random = SplitMix64(state: seed)
  }

  private func withAddress<Result>(_ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    var place = sockaddr_in()
    place.sin_family = sa_family_t(AF_INET)
    place.sin_port = port.bigEndian
    inet_pton(AF_INET, address, &place.sin_addr)
    return withUnsafePointer(to: &place) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
  }

  private func makeSocket() -> Int32 {
    socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
  }

  mutating func listen(on ports: [UInt16]) -> Bool {
    for port in ports {
      let descriptor = makeSocket()
      var yes: Int32 = 1
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
      guard withAddress(port, { bind(descriptor, $0, $1) }) == 0, Glibc.listen(descriptor, 64) == 0 else {
        close(descriptor)
        return false
      }
      listeners.append((descriptor, port))
    }
    return true
  }

  /// Waits for something to do, and does it; false when it was told to stop.
  mutating func turn(_ proxy: FaultProxy) -> Bool {
    guard !proxy.isStopped else { return false }
    let behaviour = proxy.behaviour
    var items = listeners.map { pollfd(fd: $0.socket, events: Int16(POLLIN), revents: 0) }
    for connection in connections {
      for side in 0..<2 {
        let mayRead = connection.streams[side].queue.count < Self.longestQueue && !connection.streams[side].isEnding
        items.append(pollfd(fd: connection.sockets[side], events: mayRead ? Int16(POLLIN) : 0, revents: 0))
      }
    }
    poll(&items, UInt(items.count), 2)
    for index in connections.indices {
      for side in 0..<2 where items[listeners.count + 2 * index + side].revents != 0 {
        read(index, side, behaviour, proxy)
      }
      for side in 0..<2 { write(index, side, behaviour, proxy) }
    }
    for connection in connections where connection.isDead {
      for descriptor in connection.sockets { close(descriptor) }
    }
    connections.removeAll { $0.isDead }
    for (index, listener) in listeners.enumerated() where items[index].revents != 0 {
      accept(listener, behaviour, proxy)
    }
    return true
  }

  private mutating func accept(
    _ listener: (socket: Int32, port: UInt16), _ behaviour: FaultProxy.Behaviour?, _ proxy: FaultProxy
  ) {
    let incoming = Glibc.accept(listener.socket, nil, nil)
    guard incoming >= 0 else { return }
    let outgoing = makeSocket()
    guard withAddress(listener.port, { connect(outgoing, $0, $1) }) == 0 else {
      close(incoming)
      close(outgoing)
      return
    }
    // A slow network is what the behaviour says, not what Nagle's algorithm makes of small frames.
    var yes: Int32 = 1
    for descriptor in [incoming, outgoing] {
      setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
    }
    proxy.count { $0.connections += 1 }
    connections.append(
      Connection(
        sockets: [incoming, outgoing], skew: random.draw(behaviour?.skew ?? 0...0),
        budget: behaviour?.bytesUntilCut.map { random.draw($0) } ?? .max))
  }

  private mutating func read(
    _ index: Int, _ side: Int, _ behaviour: FaultProxy.Behaviour?, _ proxy: FaultProxy
  ) {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    let count = recv(connections[index].sockets[side], &buffer, buffer.count, Int32(MSG_DONTWAIT))
    if count < 0, errno == EAGAIN { return }
    guard count > 0 else {
      connections[index].streams[side].isEnding = true
      return
    }
    let delay = behaviour.map { random.draw($0.delay) + connections[index].skew } ?? 0
    if delay > 0 { proxy.count { $0.delayedChunks += 1 } }
    let due = max(connections[index].streams[side].newestDue, milliseconds() + delay)
    connections[index].streams[side].newestDue = due
    connections[index].streams[side].queue.append((due, Array(buffer[..<count])))
  }

  private mutating func write(
    _ index: Int, _ side: Int, _ behaviour: FaultProxy.Behaviour?, _ proxy: FaultProxy
  ) {
    while let first = connections[index].streams[side].queue.first, first.due <= milliseconds() {
      let target = connections[index].sockets[1 - side]
      connections[index].budget -= first.bytes.count
      let cuts = connections[index].budget < 0 && behaviour != nil && proxy.counters.cuts < behaviour?.cutLimit ?? 0
      let bytes = cuts ? Array(first.bytes.prefix(first.bytes.count / 2)) : first.bytes
      let sent = send(target, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
      if sent < 0, errno == EAGAIN {
        connections[index].budget += first.bytes.count
        return
      }
      if cuts || sent < 0 {
        if cuts { proxy.count { $0.cuts += 1 } }
        if cuts, behaviour?.resets == true { connections[index].sockets.forEach(prepareReset) }
        connections[index].isDead = true
        return
      }
      proxy.count { $0.bytes += sent }
      if sent == bytes.count {
        connections[index].streams[side].queue.removeFirst()
      } else {
        connections[index].budget += first.bytes.count - sent
        connections[index].streams[side].queue[0].bytes.removeFirst(sent)
        return
      }
    }
    if connections[index].streams[side].isEnding, connections[index].streams[side].queue.isEmpty {
      connections[index].isDead = true
    }
  }

  /// Closing it will then be a reset.
  private func prepareReset(_ descriptor: Int32) {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
  }

  func closeAll() {
    for listener in listeners { close(listener.socket) }
    for descriptor in connections.flatMap(\.sockets) { close(descriptor) }
  }

  private func milliseconds() -> Int {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
  }
}

/// The generator of Steele, Lea and Flood (2014): the same numbers for the same state.
public struct SplitMix64: RandomNumberGenerator {
  private var state: UInt64
  public init(state: UInt64) { self.state = state }

  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  mutating func draw(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
}
