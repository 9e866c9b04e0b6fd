import CZeroMQ
import Diagnostics
import Glibc

/// Wakes the thread that waits in `NodeTransport.wait`, from any other thread: an eventfd.
public final class WakeUp: Sendable {
  public let descriptor: Int32

  /// - Throws: `internalError` when the system has no descriptors left.
  public init() throws(Failure) {
    descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    guard descriptor >= 0 else {
      throw Failure(.internalError, "cannot make an eventfd", found: String(cString: strerror(errno)))
    }
  }

  deinit { close(descriptor) }

  /// Makes the descriptor readable.
  public func signal() { eventfd_write(descriptor, 1) }

  /// Makes the descriptor unreadable again.
  public func clear() {
    var count: eventfd_t = 0
    eventfd_read(descriptor, &count)
  }
}

/// Signals as something to read, instead of something that interrupts: a signalfd.
///
/// Made on the main thread before any other thread exists, because threads inherit what is blocked.
public final class SignalDescriptor: Sendable {
  public let descriptor: Int32

  /// Blocks the signals and collects them from here on.
  /// - Throws: `internalError` when the system has no descriptors left.
  public init(_ signals: [Int32]) throws(Failure) {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in signals { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
    descriptor = signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
    guard descriptor >= 0 else {
      throw Failure(.internalError, "cannot make a signalfd", found: String(cString: strerror(errno)))
    }
  }

  deinit { close(descriptor) }

  /// The signals that have come since the last call. Never waits.
  public func take() -> [Int32] {
    var signals: [Int32] = []
    var information = signalfd_siginfo()
    let size = MemoryLayout<signalfd_siginfo>.size
    while read(descriptor, &information, size) == size { signals.append(Int32(information.ssi_signo)) }
    return signals
  }
}
