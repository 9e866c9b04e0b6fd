import Diagnostics
import Glibc

/// Two threads take turns at running a role and doing the long work that it asks for, such that the role never waits for
/// the work, and yet no thread has to wake another as long as the work is short.
///
/// Whoever is at the helm runs the loop. When there is work it lets go of the helm, works, and takes it back. Only if
/// that lasts does the other one, which looks every few milliseconds, take the helm and run the loop meanwhile.
final class Helm: @unchecked Sendable {
  /// How long work may take before the other thread steps in. The shortest of the deadlines is a heartbeat.
  private static let nanosecondsOfGrace = 20_000_000

  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var isTaken = true
  private var isOver = false
  /// Tells one letting go from another.
  private var releases: UInt64 = 0

  /// The helm belongs to the calling thread.
  init() {
    pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(condition, &attributes)
    pthread_condattr_destroy(&attributes)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// Lets go of the helm for a while.
  func release() {
    locked {
      isTaken = false
      releases &+= 1
    }
  }

  /// Takes the helm back; false if the other thread has it.
  func retake() -> Bool {
    locked {
      guard !isTaken else { return false }
      isTaken = true
      return true
    }
  }

  /// Waits until the other thread has been at work for a while, and takes the helm; false when all is over.
  func standBy() -> Bool {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    var seen: UInt64?
    while !isOver {
      if !isTaken, seen == releases {
        isTaken = true
        return true
      }
      seen = isTaken ? nil : releases
      waitForGrace()
    }
    return false
  }

  private func waitForGrace() {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    let nanoseconds = time.tv_nsec + Self.nanosecondsOfGrace
    time.tv_sec += nanoseconds / 1_000_000_000
    time.tv_nsec = nanoseconds % 1_000_000_000
    pthread_cond_timedwait(condition, mutex, &time)
  }

  /// Sends both threads home.
  func finish() {
    locked {
      isOver = true
      pthread_cond_broadcast(condition)
    }
  }

  /// Waits until `finish`.
  func waitForEnd() {
    pthread_mutex_lock(mutex)
    while !isOver { pthread_cond_wait(condition, mutex) }
    pthread_mutex_unlock(mutex)
  }

  private func locked<Result>(_ body: () -> Result) -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return body()
  }
}
