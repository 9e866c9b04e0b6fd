import CZeroMQ
import Diagnostics
import Dispatch
import Synchronization

/// Connections refused because their key is not on the allow-list.
package struct Refusals: Sendable, Equatable {
  package var count: UInt64 = 0
  /// Of the newest one.
  package var address = ""
  package var fingerprint = ""
}

/// Decides for libzmq which keys may connect, by the ZeroMQ Authentication Protocol (RFC 27), on a thread of its own.
///
/// Without an authenticator, libzmq 4.3.4 accepts every key after a well-formed handshake. So this one is bound before a
/// context has any other socket, listening sockets insist on an answer (ZMQ_ZAP_ENFORCE_DOMAIN), and each of them must
/// refuse an unknown key before it is used.
package final class Authenticator: Sendable {
  static let domain = "descent"
  private static let endpoint = "inproc://zeromq.zap.01"
  /// How soon a change of the allow-list takes effect.
  private static let refreshMilliseconds: Int32 = 500
  /// A request has seven; the rest of a longer one is dropped.
  private static let maximumFrames = 16

  let access: AccessList
  /// The key of the start-up test, which does not count as refused.
  private let unlistedKey: PublicKey
  private let newest = Mutex(Refusals())
  private let total = Atomic<UInt64>(0)

  /// Nil if there are none; cheap enough to ask in every iteration of a loop.
  package var refusals: Refusals? { total.load(ordering: .relaxed) > 0 ? newest.withLock { $0 } : nil }

  /// Why a changed allow-list is not in force; reported once.
  package func takeAccessProblem() -> Failure? { access.takeProblem() }

  /// The thread ends with the context.
  /// - Throws: `internalError` when there is no socket left.
  init(context: UnsafeMutableRawPointer, access: AccessList, unlistedKey: PublicKey) throws(Failure) {
    self.access = access
    self.unlistedKey = unlistedKey
    // Goes over to the thread before another has used it.
    nonisolated(unsafe) let socket = try openSocket(ZMQ_REP, in: context)
    setOption(ZMQ_LINGER, of: socket, 0)
    setOption(ZMQ_RCVTIMEO, of: socket, Self.refreshMilliseconds)
    guard zmq_bind(socket, Self.endpoint) == 0 else {
      let found = lastErrorText()
      zmq_close(socket)
      throw Failure(.internalError, "cannot answer for keys", found: found)
    }
    DispatchQueue(label: "authenticator").async { self.answerRequests(from: socket) }
  }

  /// Returns when the context ends.
  private func answerRequests(from socket: UnsafeMutableRawPointer) {
    while true {
      if let request = Self.receive(from: socket) {
        let frames = reply(to: request)
        for (index, frame) in frames.enumerated() {
          zmq_send(socket, frame, frame.count, index < frames.count - 1 ? ZMQ_SNDMORE : 0)
        }
      } else if zmq_errno() == ETERM {
        break
      } else {
        access.refresh()
      }
    }
    zmq_close(socket)
  }

  /// Nil when nothing has come for a while, or the context ends.
  private static func receive(from socket: UnsafeMutableRawPointer) -> [[UInt8]]? {
    let frame = Frame()
    var frames: [[UInt8]] = []
    repeat {
      guard frame.receive(from: socket, waits: true) else { return nil }
      if frames.count < maximumFrames { frames.append(Array(frame.bytes)) }
    } while frame.hasMore
    return frames
  }

  private func reply(to request: [[UInt8]]) -> [[UInt8]] {
    // So that added and withdrawn keys take effect at once.
    access.refresh()
    let reply = ZAPReply(to: request, domain: Self.domain) {
      access.entry(of: $0)  // defence: unknown-key
    }
    if let key = reply.refusedKey, key != unlistedKey.bytes {
      newest.withLock {
        $0 = Refusals(
          count: $0.count + 1, address: String(decoding: request[3].prefix(64), as: UTF8.self),
          fingerprint: PublicKey.fingerprint(of: key))
      }
      total.add(1, ordering: .relaxed)
    }
    return reply.frames
  }
}

/// The reply to a request of the ZeroMQ Authentication Protocol (RFC 27).
package struct ZAPReply {
  /// Version, request id, status code, status text, user id, metadata. libzmq attaches the user id, a line of the
  /// allow-list, to every message of the connection.
  package let frames: [[UInt8]]
  /// The key of the request, if it is not on the allow-list.
  package let refusedKey: [UInt8]?

  /// - Parameters:
  ///   - request: version, request id, domain, address, identity, mechanism, credentials; anything else gets status 500.
  ///   - entry: looks up a key in the allow-list.
  package init(to request: [[UInt8]], domain: String, entry: ([UInt8]) -> AllowList.Entry?) {
    let version = Array("1.0".utf8)
    func reply(_ status: String, _ text: String, user: String = "") -> [[UInt8]] {
      [version, request.count > 1 ? request[1] : [], Array(status.utf8), Array(text.utf8), Array(user.utf8), []]
    }
    guard request.count == 7, request[0] == version, request[2] == Array(domain.utf8),
      request[5] == Array("CURVE".utf8),  // defence: mechanism
      request[6].count == PublicKey.byteCount
    else {
      frames = reply("500", "not a request for a CURVE key")
      refusedKey = nil
      return
    }
    if let entry = entry(request[6]) {
      frames = reply("200", "OK", user: entry.line)
      refusedKey = nil
    } else {
      frames = reply("400", "unknown key")
      refusedKey = request[6]
    }
  }
}
