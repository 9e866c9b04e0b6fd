import Diagnostics
import Files
import Glibc

/// What the server of the page needs from the page.
package protocol HTTPContent: AnyObject {
  /// The answer to a request; it never waits for anything but the disk.
  func response(to request: HTTPRequest) -> HTTPResponse
  /// Looks for what is new; called before `news` as long as there are streams of events.
  func refresh()
  /// The next event of a stream, as it is sent; nil if there is nothing new for it.
  func news(for subscription: inout Subscription) -> [UInt8]?
}

/// Serves a page to a few browsers from one thread: a loop around poll(2).
///
/// Every resource has a bound: connections, the bytes of a request, streams of events, and the time for a request, for an
/// answer and between two requests. A connection holds one answer or one event at a time, so a reader that is slow, or reads
/// nothing, holds that much memory until its time is up. Without connections the loop sleeps until there is one, without
/// streams until a deadline.
package final class HTTPServer {
  package struct Limits: Sendable {
    /// The longest idle one makes room for a new one.
    package var connections = 1024
    /// Of events; more are asked to come back later.
    package var streams = 64
    /// Seconds from the first byte of a request to its end, and of a new connection to its first request.
    package var requestSeconds = 10.0
    /// Seconds between two requests of a connection.
    package var idleSeconds = 60.0
    /// Seconds in which a reader must take at least a byte of what is sent.
    package var writeSeconds = 20.0
    /// Seconds between two looks for what is new.
    package var refreshSeconds = 0.2
    /// Seconds of silence after which a stream is sent a comment, so that one whose reader has gone is noticed.
    package var commentSeconds = 15.0

    package init() {}
  }

  private let listener: Descriptor
  private let content: any HTTPContent
  private let limits: Limits
  private var connections: [HTTPConnection] = []
  private var nextRefresh = ContinuousClock.now
  /// When connections are accepted again after there were no descriptors left.
  private var pausedUntil: ContinuousClock.Instant?

  /// - Parameter listener: a socket that listens and does not block.
  package init(_ listener: ListeningSocket, content: any HTTPContent, limits: Limits = Limits()) {
    (self.listener, self.content) = (listener.descriptor, content)
    var limits = limits
    // Half of what the process may open: the rest is for the files of the runs.
    limits.connections = max(1, min(limits.connections, SystemLimits.raiseDescriptorLimit() / 2))
    limits.streams = max(1, min(limits.streams, limits.connections / 2))
    self.limits = limits
  }

  /// Serves until `lifeline` can be read, or for ever.
  package func run(until lifeline: Descriptor? = nil) {
    while serveOnce(until: lifeline) {}
  }

  /// One turn of the loop; false when `lifeline` can be read.
  private func serveOnce(until lifeline: Descriptor?) -> Bool {
    let now = ContinuousClock.now
    let isAccepting = pausedUntil.map { now >= $0 } ?? true
    if isAccepting { pausedUntil = nil }
    var items = [
      pollfd(fd: isAccepting ? listener.number : -1, events: Int16(POLLIN), revents: 0),
      pollfd(fd: lifeline?.number ?? -1, events: Int16(POLLIN), revents: 0),
    ]
    items += connections.map { pollfd(fd: $0.descriptor.number, events: $0.awaited, revents: 0) }
    guard poll(&items, UInt(items.count), milliseconds(from: now)) >= 0 || errno == EINTR || errno == EAGAIN else {
      return true
    }
    if items[1].revents != 0 { return false }
    let time = ContinuousClock.now
    for (connection, item) in zip(connections, items[2...]) where item.revents != 0 {
      connection.advance(item.revents, at: time, limits) { [self] in answer($0) }
    }
    publish(at: time)
    for connection in connections where time >= connection.deadline { connection.expire(at: time) }
    connections.removeAll { $0.isClosed }
    if items[0].revents != 0 { acceptAll(at: time) }
    return true
  }

  /// Until the next deadline; -1 without one.
  private func milliseconds(from now: ContinuousClock.Instant) -> Int32 {
    var next = connections.map(\.deadline).min()
    if connections.contains(where: \.isStream) { next = min(next ?? nextRefresh, nextRefresh) }
    if let pausedUntil { next = min(next ?? pausedUntil, pausedUntil) }
    guard let next else { return -1 }
    return Int32(clamping: max(0, Int(((next - now) / .milliseconds(1)).rounded(.up))))
  }

  private func answer(_ request: HTTPRequest) -> HTTPResponse {
    let response = content.response(to: request)
    if case .events = response.body, connections.count(where: \.isStream) >= limits.streams {
      return HTTPResponse(.unavailable, "too many streams of events")
    }
    return response
  }

  /// Sends every stream that has been read up to here what is new for it.
  private func publish(at now: ContinuousClock.Instant) {
    let streams = connections.filter { $0.isStream && !$0.isClosed }
    guard !streams.isEmpty else { return }
    if now >= nextRefresh {
      content.refresh()
      nextRefresh = ContinuousClock.now + .seconds(limits.refreshSeconds)
    }
    for stream in streams { stream.publish(content, at: now, limits) }
  }

  private func acceptAll(at now: ContinuousClock.Instant) {
    // A bound, so that those that are connected have their turn.
    for _ in 0..<64 {
      let number = accept(listener.number, nil, nil)
      guard number >= 0 else {
        if errno == EINTR || errno == ECONNABORTED { continue }
        if errno == EAGAIN { return }
        // EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection waits until there is room.
        if !closeIdle() { pausedUntil = now + .milliseconds(100) }
        return
      }
      let descriptor = Descriptor(number)
      _ = fcntl(number, F_SETFD, FD_CLOEXEC)
      guard fcntl(number, F_SETFL, O_NONBLOCK) == 0 else { continue }
      // Without room the new one is closed: those that are being served come first.
      guard connections.count < limits.connections || closeIdle() else { continue }
      connections.append(HTTPConnection(descriptor, deadline: now + .seconds(limits.requestSeconds)))
    }
  }

  /// Closes the connection that has waited for a request for the longest time; false if there is none.
  private func closeIdle() -> Bool {
    // They stand in the order in which they were accepted.
    let idle = connections.indices.filter { connections[$0].isIdle }
    guard let longest = idle.min(by: { connections[$0].lastActive < connections[$1].lastActive }) else { return false }
    connections.remove(at: longest)
    return true
  }
}
