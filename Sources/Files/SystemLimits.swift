import CLinux
import Diagnostics
import Glibc

/// The limits that the system sets a process, checked before a run has begun: one that strikes later may strike inside a
/// library, which ends the process instead of reporting an error.
package enum SystemLimits {
  /// Descriptors to raise the limit to, as far as the hard limit allows. Nothing in this process uses select(2), which
  /// would take no descriptor above 1023.
  private static let descriptorGoal: rlim_t = 1 << 16

  private static func limit(_ resource: __rlimit_resource) -> rlimit {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(resource.rawValue), &limit)
    return limit
  }

  private static func setSoftLimit(_ resource: __rlimit_resource, _ value: rlim_t) {
    var limit = limit(resource)
    limit.rlim_cur = value
    setrlimit(__rlimit_resource_t(resource.rawValue), &limit)
  }

  /// The soft limit; nil if there is none.
  private static func softLimit(_ resource: __rlimit_resource) -> Int? {
    let value = limit(resource).rlim_cur
    return value == rlim_t.max ? nil : Int(clamping: value)
  }

  /// Those that a run meets, as `ulimit` of a shell names them: "open files 1024 (ulimit -n)".
  package static var listing: [String] {
    let rows: [(String, String, __rlimit_resource, Int)] = [
      ("open files", "-n", RLIMIT_NOFILE, 1), ("processes", "-u", __RLIMIT_NPROC, 1),
      ("address space", "-v", RLIMIT_AS, 1024), ("file size", "-f", RLIMIT_FSIZE, 1024),
      ("locked memory", "-l", __RLIMIT_MEMLOCK, 1024), ("stack", "-s", RLIMIT_STACK, 1024),
    ]
    return rows.map { name, flag, resource, unit in
      let value = softLimit(resource).map { "\($0 / unit)" + (unit > 1 ? " kB" : "") }
      return "\(name) \(value ?? "unlimited") (ulimit \(flag))"
    }
  }

  // MARK: Descriptors

  /// Raises the soft limit of open files as far as the hard one allows, and returns it.
  @discardableResult
  package static func raiseDescriptorLimit() -> Int {
    let limit = limit(RLIMIT_NOFILE)
    let goal = min(limit.rlim_max, descriptorGoal)
    if limit.rlim_cur < goal { setSoftLimit(RLIMIT_NOFILE, goal) }
    return softLimit(RLIMIT_NOFILE) ?? .max
  }

  /// Requires that `count` more descriptors can be opened.
  ///
  /// - Parameter user: what needs them, for the error: "a server of 2 workers".
  /// - Throws: `badConfiguration`.
  package static func requireDescriptors(_ count: Int, for user: String) throws(Failure) {
    raiseDescriptorLimit()
    guard let limit = softLimit(RLIMIT_NOFILE) else { return }
    var (free, needed) = (0, 0)
    // What this process has inherited takes some as well, at any numbers.
    while free < count {
      if fcntl(Int32(needed), F_GETFD) < 0 { free += 1 }
      needed += 1
    }
    guard needed > limit else { return }  // defence: descriptors fails
    throw Failure(
      .badConfiguration, "\(user) needs \(needed) open files, but the limit is \(limit)",
      remedy: "Raise the limit: ulimit -n \(needed)")
  }

  // MARK: Threads

  /// Requires that `count` more threads, or processes, can exist.
  ///
  /// They are made rather than counted: the limit may be that of the user (RLIMIT_NPROC), of a control group (pids.max)
  /// or of the system, and others use it up as well.
  ///
  /// - Parameter user: what needs them, for the error.
  /// - Throws: `badConfiguration`.
  package static func requireThreads(_ count: Int, for user: String) throws(Failure) {
    let gate = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    sem_init(gate, 0, 0)
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setstacksize(&attributes, smallStack)
    defer {
      pthread_attr_destroy(&attributes)
      sem_destroy(gate)
      gate.deallocate()
    }
    var threads: [pthread_t] = []
    var code: Int32 = 0
    while threads.count < count, code == 0 {
      var thread = pthread_t()
      code = pthread_create(
        &thread, &attributes,
        { gate in
          if let gate { while sem_wait(gate.assumingMemoryBound(to: sem_t.self)) != 0 {} }
          return nil
        }, gate)
      if code == 0 { threads.append(thread) }
    }
    for _ in threads { sem_post(gate) }
    for thread in threads { pthread_join(thread, nil) }
    guard threads.count < count else { return }  // defence: threads fails
    // The limit of a user does not hold for root.
    let ofUser = geteuid() == 0 ? nil : softLimit(__RLIMIT_NPROC).map { "ulimit -u \($0 + count - threads.count), " }
    throw Failure(
      .badConfiguration,
      "\(user) needs \(count) more processes and threads, but the system allows \(threads.count)",
      found: ErrorNumber(code).text,
      remedy: "Raise the limit: \(ofUser ?? "")TasksMax= of the service, or pids.max of the container")
  }

  /// Bytes. Enough for a thread that only waits, on every architecture.
  private static let smallStack = 128 << 10

  // MARK: Memory

  /// The stack of the main thread, in bytes. Less ends in a segmentation fault, if the process starts at all.
  private static let smallestStack = 256 << 10

  /// Requires a stack that this program can run on.
  /// - Throws: `badConfiguration`.
  package static func requireStack() throws(Failure) {
    guard let limit = softLimit(RLIMIT_STACK), limit < smallestStack else { return }  // defence: stack fails
    throw Failure(
      .badConfiguration, "a stack of \(smallestStack >> 10) kB is needed, but the limit is \(limit >> 10) kB",
      remedy: "Raise the limit: ulimit -s 8192")
  }

  /// Keeps the allocator to one arena where the address space is limited: it would reserve 64 MB of it for every thread,
  /// and none would be left for the stacks of later ones. Call it before there is a second thread.
  package static func limitArenas() {
    if softLimit(RLIMIT_AS) != nil { mallopt(M_ARENA_MAX, 1) }
  }

  /// The address space that `count` threads take for their stacks.
  package static func stackBytes(threads count: Int) -> Int { count * (softLimit(RLIMIT_STACK) ?? 2 << 20) }

  /// Requires that `byteCount` more bytes can be allocated: RLIMIT_AS, RLIMIT_DATA and the accounting of the system
  /// (vm.overcommit_memory) are asked at once. Nothing is used.
  ///
  /// - Parameter user: what needs them, for the error.
  /// - Throws: `badConfiguration`.
  package static func requireMemory(_ byteCount: Int, for user: String) throws(Failure) {
    let address = mmap(
      nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if address != MAP_FAILED { munmap(address, byteCount) }
    guard address == MAP_FAILED else { return }  // defence: memory fails
    throw Failure(
      .badConfiguration, "\(user) needs \(byteCount >> 10) kB more memory, but the system refuses it",
      found: memoryLimits ?? ErrorNumber(ENOMEM).text,
      remedy: "Raise the limit: ulimit -v unlimited; ulimit -d unlimited")
  }

  /// Those that are set.
  private static var memoryLimits: String? {
    let limits = [("ulimit -v", RLIMIT_AS), ("ulimit -d", RLIMIT_DATA)].compactMap { name, resource in
      softLimit(resource).map { "\(name) is \($0 >> 10) kB" }
    }
    return limits.isEmpty ? nil : limits.joined(separator: ", ")
  }

  // MARK: Files and time

  /// Requires that files can grow to `byteCount` bytes.
  ///
  /// - Parameter user: what needs them, for the error: "a checkpoint".
  /// - Throws: `badConfiguration`.
  package static func requireFileSize(_ byteCount: Int, for user: String) throws(Failure) {
    guard let limit = softLimit(RLIMIT_FSIZE), limit < byteCount else { return }  // defence: file-size fails
    throw Failure(
      .badConfiguration, "\(user) needs files of \(byteCount) bytes, but the limit is \(limit)",
      remedy: "Raise the limit: ulimit -f unlimited")
  }

  /// Lets SIGXCPU come before SIGKILL: a soft limit of the processor's time that equals the hard one, as `ulimit -t` sets
  /// it, is lowered by what saving takes.
  package static func reserveTimeToSave() {
    let limit = limit(RLIMIT_CPU)
    guard limit.rlim_max != rlim_t.max, limit.rlim_cur >= limit.rlim_max, limit.rlim_max > 1 else { return }
    setSoftLimit(RLIMIT_CPU, limit.rlim_max - max(1, min(10, limit.rlim_max / 10)))
  }

  /// What to do about an error that a limit is the reason of; nil for others.
  static func remedy(for error: ErrorNumber) -> String? {
    return switch error.code {  // defence: limit-remedies
    case EMFILE:
      softLimit(RLIMIT_NOFILE).map { "The limit of open files is \($0). Raise it: ulimit -n \(max(64, 2 * $0))" }
    case EFBIG:
      softLimit(RLIMIT_FSIZE).map { "The limit of file sizes is \($0) bytes. Raise it: ulimit -f unlimited" }
    case ENOMEM: memoryLimits.map { "\($0). Raise it: ulimit -v unlimited; ulimit -d unlimited" }
    default: nil
    }
  }
}
