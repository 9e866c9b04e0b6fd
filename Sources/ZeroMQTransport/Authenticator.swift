import CZeroMQ
import Diagnostics
import Files
import Glibc
import Synchronization

/// Connections refused because their key is not on the allow-list.
public struct Refusals: Sendable, Equatable {
  public var count: UInt64 = 0
  /// Of the newest one.
  public var address = ""
  public var fingerprint = ""
}

/// Decides for libzmq which keys may connect, by the ZeroMQ Authentication Protocol (RFC 27), on a thread of its own.
///
/// Without an authenticator, libzmq 4.3.4 accepts every key after a well-formed handshake. So this one is bound before a
/// context has any other socket, listening sockets insist on an answer (ZMQ_ZAP_ENFORCE_DOMAIN), and each of them must
/// refuse an unknown key before it is used.
final class Authenticator: Sendable {
  static let domain = "descent"
  private static let endpoint = "inproc://zeromq.zap.01"
  /// How soon a change of the allow-list takes effect.
  private static let refreshMilliseconds: Int32 = 500
  /// A request has seven; the rest of a longer one is dropped.
  private static let maximumFrames = 16

  let access: AccessList
  /// The key of the start-up test, which does not count as refused.
  private let strangerKey: PublicKey
  private let newest = Mutex(Refusals())
  private let total = Atomic<UInt64>(0)

  /// Refused so far; cheap enough to read in every iteration of a loop.
  var refusalCount: UInt64 { total.load(ordering: .relaxed) }
  var refusals: Refusals { newest.withLock { $0 } }

  /// The thread ends with the context.
  /// - Throws: `internalError` when there is no socket or thread left.
  init(context: UnsafeMutableRawPointer, access: AccessList, strangerKey: PublicKey) throws(Failure) {
    self.access = access
    self.strangerKey = strangerKey
    guard let socket = zmq_socket(context, ZMQ_REP) else {
      throw Failure(.internalError, "cannot open a socket", found: lastErrorText())
    }
    var (linger, timeout) = (Int32(0), Self.refreshMilliseconds)
    let size = MemoryLayout<Int32>.size
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, size)
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout, size)
    guard zmq_bind(socket, Self.endpoint) == 0 else {
      let found = lastErrorText()
      zmq_close(socket)
      throw Failure(.internalError, "cannot answer for keys", found: found)
    }
    let worker = Unmanaged.passRetained(Worker(socket, self))
    var thread = pthread_t()
    let status = pthread_create(
      &thread, nil,
      { worker in
        Unmanaged<Worker>.fromOpaque(worker.unsafelyUnwrapped).takeRetainedValue().run()
        return nil
      }, worker.toOpaque())
    guard status == 0 else {
      worker.release()
      zmq_close(socket)
      throw .cannot("start a thread", ErrorNumber(status), status: .internalError)
    }
    pthread_detach(thread)
  }

  /// Unchecked because the socket goes over to the thread that `run` is called on, before anybody has used it.
  private final class Worker: @unchecked Sendable {
    private let socket: UnsafeMutableRawPointer
    private let authenticator: Authenticator

    init(_ socket: UnsafeMutableRawPointer, _ authenticator: Authenticator) {
      (self.socket, self.authenticator) = (socket, authenticator)
    }

    func run() {
      while true {
        if let request = receive() {
          send(authenticator.reply(to: request))
        } else if zmq_errno() == ETERM {
          break
        } else {
          authenticator.access.refresh()
        }
      }
      zmq_close(socket)
    }

    /// Nil when nothing has come for a while, or the context ends.
    private func receive() -> [[UInt8]]? {
      let frame = Frame()
      var frames: [[UInt8]] = []
      repeat {
        guard frame.receiveWaiting(from: socket) else { return nil }
        if frames.count < Authenticator.maximumFrames { frames.append(Array(frame.bytes)) }
      } while frame.hasMore
      return frames
    }

    private func send(_ frames: [[UInt8]]) {
      for (index, frame) in frames.enumerated() {
        zmq_send(socket, frame, frame.count, index < frames.count - 1 ? ZMQ_SNDMORE : 0)
      }
    }
  }

  private func reply(to request: [[UInt8]]) -> [[UInt8]] {
    // So that added and withdrawn keys take effect at once.
    access.refresh()
    let reply = ZAPReply(to: request, domain: Self.domain) {
      access.entry(of: $0)  // defence: unknown-key
    }
    if let key = reply.refusedKey, key != strangerKey.bytes {
      refused(key: key, at: String(decoding: request[3].prefix(64), as: UTF8.self))
    }
    return reply.frames
  }

  private func refused(key: [UInt8], at address: String) {
    newest.withLock {
      $0 = Refusals(count: $0.count + 1, address: address, fingerprint: PublicKey.fingerprint(of: key))
    }
    total.add(1, ordering: .relaxed)
  }
}
