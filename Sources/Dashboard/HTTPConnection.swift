import Files
import Glibc

/// One connection: reads a request, writes the answer, and again; or a stream of events until its end.
final class HTTPConnection {
  private enum State {
    case reading
    /// `keepsAlive`: another request may follow.
    case writing(keepsAlive: Bool)
    case streaming(Subscription)
    /// The answer was the last one; what still arrives is thrown away, as an unread byte would reset the connection and
    /// take the answer from its reader.
    case draining(Int)
    case closed
  }

  /// Of what arrives behind the last answer.
  private static let drainLimit = 1 << 20
  private static let drainTime = Duration.seconds(1)

  let descriptor: Descriptor
  private(set) var deadline: ContinuousClock.Instant
  private(set) var lastActive = ContinuousClock.now
  private var state = State.reading
  private var received: [UInt8] = []
  private var isInputClosed = false
  private var outgoing: ArraySlice<UInt8> = []
  private var silentSince = ContinuousClock.now

  init(_ descriptor: Descriptor, deadline: ContinuousClock.Instant) {
    (self.descriptor, self.deadline) = (descriptor, deadline)
  }

  var isStream: Bool { if case .streaming = state { true } else { false } }
  var isClosed: Bool { if case .closed = state { true } else { false } }
  /// Whether it waits for a request.
  var isIdle: Bool { if case .reading = state { true } else { false } }

  /// The events of poll(2) that it waits for.
  var awaited: Int16 {
    let reads: Bool =
      switch state {
      case .reading, .draining, .streaming: !isInputClosed
      case .writing, .closed: false
      }
    return (reads ? Int16(POLLIN) : 0) | (outgoing.isEmpty ? 0 : Int16(POLLOUT))
  }

  func advance(
    _ events: Int16, at now: ContinuousClock.Instant, _ limits: HTTPServer.Limits,
    answer: (HTTPRequest) -> HTTPResponse
  ) {
    lastActive = now
    if events & Int16(POLLERR | POLLNVAL) != 0 { return close() }
    if awaited & Int16(POLLIN) != 0, events & Int16(POLLIN | POLLHUP) != 0 { read(at: now, limits) }
    if !outgoing.isEmpty { write(at: now, limits) }
    // A request may have arrived together with the one before.
    while case .reading = state, outgoing.isEmpty, take(at: now, limits, answer) { write(at: now, limits) }
    if events & Int16(POLLHUP) != 0, outgoing.isEmpty { close() }
  }

  /// The time of what it waits for is up.
  func expire(at now: ContinuousClock.Instant) {
    guard case .reading = state, !received.isEmpty else { return close() }
    finish(with: HTTPResponse(.requestTimeout), at: now)
    flush()
    if !outgoing.isEmpty { close() }
  }

  // MARK: - Reading

  private func read(at now: ContinuousClock.Instant, _ limits: HTTPServer.Limits) {
    withUnsafeTemporaryAllocation(byteCount: HTTPRequest.sizeLimit, alignment: 1) { buffer in
      let count = recv(descriptor.number, buffer.baseAddress, buffer.count, 0)
      if count < 0 {
        if errno != EAGAIN && errno != EINTR { close() }
        return
      }
      if count == 0 { isInputClosed = true }
      switch state {
      case .reading:
        if received.isEmpty, count > 0 { deadline = now + .seconds(limits.requestSeconds) }
        received.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        if count == 0, received.isEmpty { close() }
      case .draining(let drained):
        state = .draining(drained + count)
        if count == 0 || drained + count > Self.drainLimit { close() }
      case .streaming:
        // Nothing is expected from the reader of a stream but its end.
        if count == 0 { close() }
      case .writing, .closed: break
      }
    }
  }

  /// Answers the next request, if it is complete.
  private func take(
    at now: ContinuousClock.Instant, _ limits: HTTPServer.Limits, _ answer: (HTTPRequest) -> HTTPResponse
  ) -> Bool {
    switch HTTPRequest.parse(received) {
    case .incomplete:
      if isInputClosed { close() }
      return false
    case .refused(let status):
      received = []
      finish(with: HTTPResponse(status), at: now)
    case .request(let request, let byteCount):
      received.removeFirst(byteCount)
      let response = answer(request)
      var keepsAlive = request.keepsAlive && !isInputClosed
      if case .events = response.body { keepsAlive = false }
      outgoing = response.bytes(isHead: request.isHead, keepsAlive: keepsAlive)[...]
      if case .events(let subscription) = response.body, !request.isHead {
        received = []
        state = .streaming(subscription)
      } else {
        state = .writing(keepsAlive: keepsAlive)
      }
    }
    deadline = now + .seconds(limits.writeSeconds)
    return true
  }

  // MARK: - Writing

  /// The last answer of the connection.
  private func finish(with response: HTTPResponse, at now: ContinuousClock.Instant) {
    outgoing = response.bytes(isHead: false, keepsAlive: false)[...]
    state = .writing(keepsAlive: false)
    deadline = now + Self.drainTime
  }

  private func write(at now: ContinuousClock.Instant, _ limits: HTTPServer.Limits) {
    if flush() { deadline = now + .seconds(limits.writeSeconds) }
    guard outgoing.isEmpty, !isClosed else { return }
    outgoing = []
    switch state {
    case .writing(keepsAlive: true):
      state = .reading
      deadline = now + .seconds(limits.idleSeconds)
    case .writing(keepsAlive: false):
      guard !isInputClosed, shutdown(descriptor.number, Int32(SHUT_WR)) == 0 else { return close() }
      state = .draining(0)
      deadline = now + Self.drainTime
    case .streaming:
      silentSince = now
      // Until the next event; a reader that has gone is noticed when it is written to.
      deadline = now + .seconds(limits.commentSeconds + limits.writeSeconds)
    case .reading, .draining, .closed: break
    }
  }

  /// Writes what the reader takes without waiting; whether that was anything.
  @discardableResult
  private func flush() -> Bool {
    var hasWritten = false
    while !outgoing.isEmpty {
      let count = outgoing.withUnsafeBytes {
        send(descriptor.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      if count > 0 {
        outgoing.removeFirst(count)
        hasWritten = true
      } else if errno == EAGAIN {
        break
      } else if errno != EINTR {
        close()
        break
      }
    }
    return hasWritten
  }

  /// Sends a stream what is new, unless the event before is still on its way.
  func publish(_ content: any HTTPContent, at now: ContinuousClock.Instant, _ limits: HTTPServer.Limits) {
    guard case .streaming(var subscription) = state, outgoing.isEmpty else { return }
    if let event = content.news(for: &subscription) {
      state = .streaming(subscription)
      outgoing = event[...]
    } else if now - silentSince >= .seconds(limits.commentSeconds) {
      outgoing = Array(":\n\n".utf8)[...]
    } else {
      return
    }
    deadline = now + .seconds(limits.writeSeconds)
    write(at: now, limits)
  }

  private func close() {
    state = .closed
    (outgoing, received) = ([], [])
  }
}
