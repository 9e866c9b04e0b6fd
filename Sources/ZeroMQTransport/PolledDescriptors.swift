import CZeroMQ
import Diagnostics
import Files
import Glibc

/// Wakes the thread that waits in `NodeTransport.noWorkYet`, from any other thread: an eventfd.
public final class WakeUp: Sendable {
  private let event: Descriptor
  public var descriptor: Int32 { event.number }

  /// - Throws: `internalError` when the system has no descriptors left.
  public init() throws(Failure) {
    event = try Descriptor(eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK)), orCannot: "create an eventfd")
  }

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
  private let signals: Descriptor
  public var descriptor: Int32 { signals.number }

  /// Blocks the signals and collects them from here on.
  /// - Throws: `internalError` when the system has no descriptors left.
  public init(_ signals: [Int32]) throws(Failure) {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in signals { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
    self.signals = try Descriptor(
      signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK)), orCannot: "create a signalfd")
  }

  /// The signals that have come since the last call. Never waits.
  public func take() -> [Int32] {
    var numbers: [Int32] = []
    var information = signalfd_siginfo()
    let size = MemoryLayout<signalfd_siginfo>.size
    while read(descriptor, &information, size) == size { numbers.append(Int32(information.ssi_signo)) }
    return numbers
  }
}
