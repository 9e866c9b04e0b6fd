import CLinux
import CZeroMQ
import Diagnostics
import Files
import Glibc
import Messaging
import Synchronization

/// libzmq's threads and everything they share. A process has one of them, for all of its sockets.
///
/// Every socket holds on to its context. The last holder ends it, and waits there until the messages of the closed
/// sockets have left, for at most `MessageSocket.lingerMilliseconds`.
public final class MessagingContext: Sendable {
  /// libzmq locks where this handle is used; it is set once and ended once.
  nonisolated(unsafe) let handle: UnsafeMutableRawPointer
  let security: ConnectionSecurity
  /// Silence of a process after which another may use its key.
  let lease: Interval
  /// On no allow-list: the start-up test checks that it is refused. Made before the context, because nothing may draw
  /// random numbers through libzmq beside it.
  let unlistedKeys: KeyPair
  /// Nil without keys.
  let authenticator: Authenticator?

  /// Signals that the process wants to handle itself must be blocked before: the I/O threads inherit the mask.
  /// - Throws: `internalError` when the system has no descriptors or threads left.
  public init(
    security: ConnectionSecurity = .plaintext(beyondThisHost: false), lease: Interval = .seconds(2)
  ) throws(Failure) {
    self.security = security
    self.lease = lease
    let unlistedKeys = KeyPair.generate()
    self.unlistedKeys = unlistedKeys
    try Self.requireKernelObjects()  // defence: kernel-objects
    guard let handle = zmq_ctx_new() else {
      throw Failure(.internalError, "cannot start the messaging library", found: lastErrorText())
    }
    self.handle = handle
    do throws(Failure) {
      // Before any other socket of the context: until it exists, libzmq accepts every key.
      authenticator = try security.credentials.map { credentials throws(Failure) in
        try Authenticator(context: handle, access: credentials.access, unlistedKey: unlistedKeys.publicKey)
      }
    } catch {
      zmq_ctx_term(handle)
      throw error
    }
  }

  /// Requires what libzmq makes for every socket and thread, and Dispatch for its timers: they end the process where that
  /// is refused, by a sandbox for example.
  static func requireKernelObjects() throws(Failure) {
    _ = try Descriptor.wakeUp()
    _ = try Descriptor(epoll_create1(O_CLOEXEC), orCannot: "create an epoll instance")
  }

  private let hasEnded = Atomic(false)

  /// Waits until the messages of the closed sockets have left, and ends the context even while others hold it. All
  /// sockets must be closed, and no more may be opened.
  public func end() {
    guard !hasEnded.exchange(true, ordering: .acquiringAndReleasing) else { return }
    while zmq_ctx_term(handle) != 0 && zmq_errno() == EINTR {}
  }

  deinit { end() }
}

// MARK: - Sockets of libzmq

/// - Throws: `internalError` when there are no sockets left.
func openSocket(_ kind: Int32, in context: UnsafeMutableRawPointer) throws(Failure) -> UnsafeMutableRawPointer {
  guard let socket = zmq_socket(context, kind) else {
    throw Failure(.internalError, "cannot open a socket", found: lastErrorText())
  }
  return socket
}

func setOption(_ option: Int32, of socket: UnsafeMutableRawPointer, _ value: Int32) {
  withUnsafeBytes(of: value) { setOption(option, of: socket, bytes: $0) }
}

/// A value that libzmq refuses is a mistake of this program.
func setOption(_ option: Int32, of socket: UnsafeMutableRawPointer, bytes: UnsafeRawBufferPointer) {
  let status = zmq_setsockopt(socket, option, bytes.baseAddress, bytes.count)
  precondition(status == 0, "socket option \(option): \(lastErrorText())")
}

/// The error text of the last failed call of libzmq.
func lastErrorText() -> String { String(cString: zmq_strerror(zmq_errno())) }
