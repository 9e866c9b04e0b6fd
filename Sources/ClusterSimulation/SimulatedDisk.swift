import Diagnostics
import Synchronization

/// A disk in memory that keeps apart what was written and what would survive a power cut, and that fails when it is told
/// to. It promises no more than POSIX does: the bytes of a file are safe once the file was synchronized, a name once its
/// directory was, and what was not synchronized may survive in part and in any order.
package final class SimulatedDisk: Disk {
  private let state: Mutex<DiskState>
  /// The most bytes that one call writes.
  private let largestWrite: Int

  /// - Parameter largestWrite: short, so that a file can be torn in the middle of one.
  package init(seed: UInt64, largestWrite: Int = 1 << 10) {
    state = Mutex(DiskState(chance: Chance(seed: seed, purpose: .disk)))
    self.largestWrite = largestWrite
  }

  // MARK: What a simulation does to it

  /// From here on these faults, and the count of calls from zero.
  package func begin(_ faults: DiskFaults) {
    state.withLock {
      $0.faults = faults
      $0.calls = 0
    }
  }

  /// Calls since `begin` that change the disk.
  package var calls: Int { state.withLock { $0.calls } }

  /// Calls that failed because they were told to, since the beginning.
  package var failures: Int { state.withLock { $0.failures } }

  /// All that was not made durable is lost, torn or kept, as chance has it.
  package func losePower() { state.withLock { $0.losePower() } }

  /// Whether the directory at `path`, its name and all files in it would survive any power cut.
  package func isDurable(_ path: String) -> Bool { state.withLock { $0.isDurable(path) } }

  // MARK: Disk

  package func makeDirectory(_ path: String, permissions: UInt32) throws(ErrorNumber) {
    try change { (state) throws(ErrorNumber) in try state.add(.directory(.init()), at: path) }
  }

  package func createFile(_ path: String, permissions: UInt32?) throws(ErrorNumber) -> Int32 {
    try change { (state) throws(ErrorNumber) in
      try state.add(.file(.init()), at: path)
      return state.open(try state.node(at: path))
    }
  }

  package func allocate(_ descriptor: Int32, _ count: Int) throws(ErrorNumber) {
    try change { (state) throws(ErrorNumber) in try state.allocate(descriptor, count) }
  }

  package func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(ErrorNumber) -> Int {
    try change { (state) throws(ErrorNumber) in
      let part = UnsafeRawBufferPointer(rebasing: bytes.prefix(largestWrite))
      try state.write(descriptor, part)
      return part.count
    }
  }

  package func synchronize(_ descriptor: Int32) throws(ErrorNumber) {
    try locked { (state) throws(ErrorNumber) in try state.synchronize(descriptor) }
  }

  package func rename(_ path: String, to destination: String) throws(ErrorNumber) {
    try change { (state) throws(ErrorNumber) in try state.rename(path, to: destination) }
  }

  package func makeSymbolicLink(_ path: String, target: String) throws(ErrorNumber) {
    try change { (state) throws(ErrorNumber) in try state.add(.link(target), at: path) }
  }

  package func unlink(_ path: String) throws(ErrorNumber) {
    try change(needsSpace: false) { (state) throws(ErrorNumber) in try state.remove(path, isDirectory: false) }
  }

  package func removeDirectory(_ path: String) throws(ErrorNumber) {
    try change(needsSpace: false) { (state) throws(ErrorNumber) in try state.remove(path, isDirectory: true) }
  }

  package func open(_ path: String, followingLinks: Bool) throws(ErrorNumber) -> Int32 {
    try locked { (state) throws(ErrorNumber) in
      state.open(try state.node(at: path, followingLinks: followingLinks, refusingLinks: true))
    }
  }

  package func close(_ descriptor: Int32) { state.withLock { $0.close(descriptor) } }

  package func status(of descriptor: Int32) throws(ErrorNumber) -> FileStatus {
    try locked { (state) throws(ErrorNumber) in try state.status(of: descriptor) }
  }

  package func read(_ descriptor: Int32, into target: UnsafeMutableRawBufferPointer) throws(ErrorNumber) -> Int {
    try locked { (state) throws(ErrorNumber) in try state.read(descriptor, into: target) }
  }

  package func status(of path: String, followingLinks: Bool) -> FileStatus? {
    state.withLock { state in (try? state.node(at: path, followingLinks: followingLinks)).map { state.status(of: $0) } }
  }

  package func entries(of path: String) throws(ErrorNumber) -> [String] {
    try locked { (state) throws(ErrorNumber) in try state.names(in: path) }
  }

  package func symbolicLinkTarget(_ path: String) -> String? {
    state.withLock { state in (try? state.node(at: path)).flatMap { state.target(of: $0) } }
  }

  package func randomNumber() -> UInt64 { state.withLock { $0.chance.word() } }

  // MARK: Calls

  private func locked<Result>(
    _ body: (inout DiskState) throws(ErrorNumber) -> sending Result
  ) throws(ErrorNumber) -> sending Result {
    try state.withLock { (state) throws(ErrorNumber) in try body(&state) }
  }

  /// A call that changes the disk, unless a fault is due.
  private func change<Result>(
    needsSpace: Bool = true, _ body: (inout DiskState) throws(ErrorNumber) -> sending Result
  ) throws(ErrorNumber) -> sending Result {
    try locked { (state) throws(ErrorNumber) in
      try state.beginCall(needsSpace: needsSpace)
      return try body(&state)
    }
  }
}

/// What goes wrong on a disk.
package struct DiskFaults {
  /// This call, counted from 0, fails with the error...
  package var failingCall: Int?
  package var error = ErrorNumber.inputOutput
  /// ...and all that follow do, too.
  package var goesOnFailing = false
  /// From this call on nothing reaches the disk: the process that makes the calls is dead.
  package var dyingCall: Int?
  /// There is no space left.
  package var isFull = false
  /// A bug put in on purpose: nothing is ever made durable by being synchronized.
  package var ignoresSynchronize = false

  package init(
    failingCall: Int? = nil, error: ErrorNumber = .inputOutput, goesOnFailing: Bool = false, dyingCall: Int? = nil,
    isFull: Bool = false, ignoresSynchronize: Bool = false
  ) {
    self.failingCall = failingCall
    self.error = error
    self.goesOnFailing = goesOnFailing
    self.dyingCall = dyingCall
    self.isFull = isFull
    self.ignoresSynchronize = ignoresSynchronize
  }
}
