import Glibc
import Messaging

/// The clock of every deadline and interval, CLOCK_MONOTONIC: it never goes back and has no calendar.
extension Instant {
  package static var now: Instant {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
  }

  /// Whole milliseconds from now, rounded up so that a wait never ends a little too early.
  package var millisecondsFromNow: Int { Int((since(.now).nanoseconds + 999_999) / 1_000_000) }
}
