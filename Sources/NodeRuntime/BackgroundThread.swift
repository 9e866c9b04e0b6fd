import Dispatch
import Glibc
import Synchronization

/// Runs jobs in the order in which they arrive, on one thread that yields to the threads of other processes. One thread
/// for all jobs, because its priority stays with it and faults are injected into the calls of a thread. The thread ends
/// after the jobs that are left when this object is released.
final class BackgroundThread: Sendable {
  private final class Jobs: Sendable {
    let waiting = Mutex<[@Sendable () -> Void]>([])
    let available = DispatchSemaphore(value: 0)

    /// The next job; nil once there are none left and there will be no others.
    func next() -> (@Sendable () -> Void)? {
      available.wait()
      return waiting.withLock { $0.isEmpty ? nil : $0.removeFirst() }
    }
  }

  private let jobs = Jobs()

  init(_ label: String) {
    DispatchQueue(label: label).async { [jobs] in
      // Priorities of Linux threads, where 0 is the calling one.
      let process = __priority_which_t(PRIO_PROCESS.rawValue)
      if getpriority(process, 0) < 10 { setpriority(process, 0, 10) }
      while let job = jobs.next() { job() }
    }
  }

  deinit { jobs.available.signal() }

  func perform(_ job: @escaping @Sendable () -> Void) {
    jobs.waiting.withLock { $0.append(job) }
    jobs.available.signal()
  }

  /// Returns when the jobs so far are done.
  func wait() {
    let isDone = DispatchSemaphore(value: 0)
    perform { isDone.signal() }
    isDone.wait()
  }
}
