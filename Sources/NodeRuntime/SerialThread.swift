import Diagnostics
import Glibc

/// A thread that does one job after the other, in the order in which they were handed in.
///
/// For what must not hold up the loop that owns the sockets: gradients, evaluations, checkpoints. What only its jobs touch
/// needs no lock. It ends, after the jobs that are left, when its last holder lets go of it.
package final class SerialThread: Sendable {
  private let queue: JobQueue

  /// - Parameter isInBackground: whether its jobs should keep to the time that others leave over, as long as they leave
  ///   any.
  /// - Throws: `internalError` when the system has no threads left.
  package init(isInBackground: Bool = false) throws(Failure) {
    let queue = JobQueue(niceness: isInBackground ? 10 : 0)
    self.queue = queue
    var thread = pthread_t()
    let status = pthread_create(
      &thread, nil,
      { queue in
        Unmanaged<JobQueue>.fromOpaque(queue.unsafelyUnwrapped).takeRetainedValue().work()
        return nil
      }, Unmanaged.passRetained(queue).toOpaque())
    guard status == 0 else {
      Unmanaged.passUnretained(queue).release()
      throw Failure(.internalError, "cannot start a thread", found: String(cString: strerror(status)))
    }
    pthread_detach(thread)
  }

  deinit { queue.close() }

  package func perform(_ job: @escaping @Sendable () -> Void) { queue.append(job) }
}

/// Unchecked because the lock that guards the jobs is the one of C, which a condition variable needs.
private final class JobQueue: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var jobs: [@Sendable () -> Void] = []
  private var isClosed = false
  /// Added to the priority number of the thread that works.
  private let niceness: Int32

  init(niceness: Int32) {
    self.niceness = niceness
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  func append(_ job: @escaping @Sendable () -> Void) {
    pthread_mutex_lock(mutex)
    jobs.append(job)
    pthread_cond_signal(condition)
    pthread_mutex_unlock(mutex)
  }

  func close() {
    pthread_mutex_lock(mutex)
    isClosed = true
    pthread_cond_signal(condition)
    pthread_mutex_unlock(mutex)
  }

  func work() {
    let process = __priority_which_t(PRIO_PROCESS.rawValue)
    // Of this thread alone: on Linux that is what 0 means here. A thread can always give way.
    if niceness > 0 { _ = setpriority(process, 0, getpriority(process, 0) + niceness) }
    while let job = next() { job() }
  }

  private func next() -> (@Sendable () -> Void)? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while jobs.isEmpty {
      if isClosed { return nil }
      pthread_cond_wait(condition, mutex)
    }
    return jobs.removeFirst()
  }
}
