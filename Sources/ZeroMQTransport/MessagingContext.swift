import CZeroMQ
import Diagnostics
import Glibc

/// libzmq's threads and everything they share. A process has one of them, for all of its sockets.
///
/// Every socket holds on to its context. The last holder ends it, and waits there until the messages of the closed
/// sockets have left, for at most `MessageSocket.lingerMilliseconds`.
public final class MessagingContext: Sendable {
  /// libzmq locks where this handle is used; it is set once and ended once.
  nonisolated(unsafe) let handle: UnsafeMutableRawPointer

  /// Signals that the process wants to handle itself must be blocked before: the I/O threads inherit the mask.
  /// - Throws: `internalError` when the system has no descriptors or threads left.
  public init() throws(Failure) {
    guard let handle = zmq_ctx_new() else {
      throw Failure(.internalError, "cannot start the messaging library", found: lastErrorText())
    }
    self.handle = handle
  }

  deinit {
    while zmq_ctx_term(handle) != 0 && zmq_errno() == EINTR {}
  }
}

/// What the last failed call of libzmq says about it.
func lastErrorText() -> String { String(cString: zmq_strerror(zmq_errno())) }
