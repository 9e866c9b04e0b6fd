import CZeroMQ
import Diagnostics
import Files
import Glibc
import Messaging

extension Descriptor {
  /// Signals as something to read, instead of something that interrupts: a signalfd. Blocks the signals and collects them
  /// from here on; SIGPIPE is ignored, because a peer that went away is an error code, and SIGTTOU, because a process in the
  /// background of a terminal would be stopped by a line that it writes (stty tostop).
  ///
  /// Made on the main thread before any other thread exists, because threads inherit what is blocked.
  /// - Throws: `internalError` when the system has no descriptors left.
  package static func signals(_ numbers: [Int32]) throws(Failure) -> Descriptor {
    Glibc.signal(SIGPIPE, SIG_IGN)
    Glibc.signal(SIGTTOU, SIG_IGN)  // defence: terminal-output
    var set = sigset_t()
    sigemptyset(&set)
    for number in numbers { sigaddset(&set, number) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
    return try Descriptor(signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK)), orCannot: "create a signalfd")
  }

  /// The signals that have come since the last call, and the processes that have sent them (0 for one that cannot be seen
  /// from here, and for the kernel). Never waits.
  ///
  /// - Parameter foreign: those that are passed over where the kernel has sent them, as for a key of the terminal.
  package func takeSignals(exceptOfKernel foreign: [Int32] = []) -> [(number: Int32, sender: Int32)] {
    var signals: [(number: Int32, sender: Int32)] = []
    var information = signalfd_siginfo()
    let size = MemoryLayout<signalfd_siginfo>.size
    while read(number, &information, size) == size {
      let signal = Int32(information.ssi_signo)
      // SI_KERNEL.
      if information.ssi_code == 0x80, foreign.contains(signal) { continue }
      signals.append((signal, Int32(bitPattern: information.ssi_pid)))
    }
    return signals
  }

  /// Wakes a thread that waits for it to become readable: an eventfd.
  /// - Throws: `internalError` when the system has no descriptors left.
  package static func wakeUp() throws(Failure) -> Descriptor {
    try Descriptor(eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK)), orCannot: "create an eventfd")
  }

  /// Makes an eventfd readable. May be called on any thread.
  package func signal() { eventfd_write(number, 1) }

  /// Makes an eventfd unreadable again.
  package func clear() {
    var count: eventfd_t = 0
    eventfd_read(number, &count)
  }

  /// Becomes readable at an instant, to the microsecond: a timerfd. poll(2) itself counts milliseconds.
  /// - Throws: `internalError` when the system has no descriptors left.
  package static func alarm() throws(Failure) -> Descriptor {
    try Descriptor(
      timerfd_create(CLOCK_MONOTONIC, Int32(TFD_CLOEXEC | TFD_NONBLOCK)), orCannot: "create a timerfd")
  }

  /// Sets a timerfd, which is not readable any more until then.
  package func expire(at instant: Instant) {
    let time = timespec(
      tv_sec: Int(instant.nanoseconds / 1_000_000_000), tv_nsec: Int(instant.nanoseconds % 1_000_000_000))
    var setting = itimerspec(it_interval: timespec(), it_value: time)
    timerfd_settime(number, Int32(TFD_TIMER_ABSTIME), &setting, nil)
  }
}
