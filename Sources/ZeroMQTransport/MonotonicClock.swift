import Glibc
import Messaging

/// The clock of every deadline and interval: it never goes back and has no calendar.
package enum MonotonicClock {
  package static func now() -> Instant {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
  }

  /// Whole milliseconds from now until `instant`, rounded up so that a wait never ends a little too early.
  package static func milliseconds(until instant: Instant) -> Int {
    Int((instant.since(now()).nanoseconds + 999_999) / 1_000_000)
  }
}
