import Diagnostics
import Dispatch
import Files
import Glibc
import Messaging
import Synchronization

/// The lease of something that one process may have at a time, as files of a directory that several hosts may share: the
/// rules of `LeaseApplication` and `LeaseTerm` on a disk.
///
///     NAME-7      the holder of epoch 7, and how often it has renewed its lease
///
/// An epoch belongs to the process that has created its file (O_EXCL): no lock is needed, and NFS does the same. The newest
/// file stays when the lease is given back, so that no epoch is claimed twice; its holder removes the earlier ones.
package final class FileLease: Sendable {
  private struct State {
    var term: LeaseTerm
    var renewals: UInt64 = 0
    /// Why the newest try to keep the lease failed; nil after a success.
    var failure: Failure?
    /// Given back, or its files are about to be removed: nothing is renewed.
    var isOver = false
    var lost: Failure?
    var whenLost: (@Sendable (Failure) -> Void)?
  }

  /// The file of the epoch that it holds.
  package var path: String { files.path(state.withLock { $0.term.epoch }) }
  private let files: LeaseFiles
  private let incarnation: UInt64
  private let isLocked: Bool
  /// What the lease is of, for messages: "the directory runs/x".
  private let subject: String
  private let state: Mutex<State>
  /// Where the files are written: a disk that hangs holds up nothing else.
  private let queue: DispatchQueue

  fileprivate init(
    _ files: LeaseFiles, _ incarnation: UInt64, _ subject: String, _ term: LeaseTerm, isLocked: Bool
  ) {
    (self.files, self.incarnation, self.subject, self.isLocked) = (files, incarnation, subject, isLocked)
    state = Mutex(State(term: term))
    queue = DispatchQueue(label: "lease")
    schedule()
  }

  deinit { giveBack() }

  // MARK: Keeping it

  private func schedule() {
    let pause = LeaseTerm.pause(state.withLock { $0.term.length })
    queue.asyncAfter(deadline: .now() + pause.seconds) { [weak self] in
      guard let self, !state.withLock({ $0.isOver || $0.lost != nil }) else { return }
      keep()
      schedule()
    }
  }

  /// Calls `handler` once if another process takes the lease.
  package func notify(_ handler: @escaping @Sendable (Failure) -> Void) {
    let lost = state.withLock { state in
      state.whenLost = handler
      return state.lost
    }
    if let lost { handler(lost) }
  }

  /// Returns if this process has the lease and no other one can have taken it. A lease that may have expired, because this
  /// process was stopped or the disk hung, is claimed again first, which fails if another process was faster.
  ///
  /// - Throws: `fenced` when another process has the lease; why it could not be renewed.
  package func confirm() throws(Failure) {
    // The second time for a renewal that took too long.
    for _ in 0..<2 {
      if isCurrent { return }
      queue.sync { keep() }
      if let failure = state.withLock({ $0.lost ?? $0.failure }) { throw failure }
    }
    guard isCurrent else {
      throw Failure(.inputOutput, "the disk takes longer to write a line than the lease of \(subject) lasts")
    }
  }

  /// Why this process has the lease no longer; nil as long as it is not known to be lost. Does not look.
  package var loss: Failure? { state.withLock { $0.lost } }

  private var isCurrent: Bool {
    let now = Instant.sinceStart
    return state.withLock { !$0.term.isLost && ($0.isOver || $0.term.isCurrent(at: now)) }
  }

  /// On `queue`.
  private func keep() {
    let began = Instant.sinceStart
    let (task, term, renewals) = state.withLock { state in
      (state.isOver ? nil : state.term.task(at: began), state.term, state.renewals + 1)
    }
    guard let task else { return }
    do throws(Failure) {
      let isKept =
        switch task {
        case .renew: try renew(term, renewals, began)
        case .claim(let epoch): try claim(epoch, term, began)
        }
      if !isKept { lose(term.epoch) }
    } catch {
      state.withLock { $0.failure = error }
    }
  }

  private func done(_ task: LeaseTerm.Task, _ renewals: UInt64, from began: Instant) {
    let ended = Instant.sinceStart
    state.withLock { state in
      state.term.succeeded(task, from: began, to: ended)
      (state.failure, state.renewals) = (nil, renewals)
    }
  }

  private func renew(_ term: LeaseTerm, _ renewals: UInt64, _ began: Instant) throws(Failure) -> Bool {
    let file: File
    do throws(Failure) {
      file = try File(files.path(term.epoch), for: .updating)
    } catch {
      guard !FileSystem().exists(files.path(term.epoch)) else { throw error }
      // A successor has removed it, or a person has.
      return try claim(term.epoch + 1, term, began)
    }
    let found = LeaseText(try file.read(limit: LeaseText.byteCount))
    guard found.incarnation == nil || found.incarnation == incarnation else { return false }
    try file.overwrite(text(file, renewals, term.length))
    // The processes of a host see the pages of a local disk as soon as they are written.
    if !files.isLocal { try file.synchronize() }
    guard try files.newest() ?? 0 <= term.epoch else { return false }  // defence: lease-epoch
    done(.renew, renewals, from: began)
    return true
  }

  private func claim(_ epoch: UInt64, _ term: LeaseTerm, _ began: Instant) throws(Failure) -> Bool {
    let newest = try files.newest() ?? 0
    // A try of before may have got so far.
    let isClaimed = newest == epoch && files.incarnation(of: epoch) == incarnation
    if !isClaimed {
      guard newest <= term.epoch,
        try files.create(epoch, { file throws(Failure) in try text(file, 0, term.length) }),
        try files.isNewest(epoch)
      else { return false }
    }
    done(.claim(epoch: epoch), 0, from: began)
    files.removeEarlier(than: epoch)
    return true
  }

  private func text(_ file: File, _ renewals: UInt64, _ length: Interval) throws(Failure) -> [UInt8] {
    try LeaseText.bytes(of: file, incarnation, renewals, length, isLocked: isLocked)
  }

  private func lose(_ epoch: UInt64) {
    let holder = (try? files.look(length: .seconds(0), hasLock: false))?.record
    let process = holder.map { "process \($0.process) on \($0.host)" } ?? "another process"
    let failure = Failure(
      .fenced, "\(process) has taken over \(subject)",
      remedy: "This process was stopped, or cut off from the disk, for longer than its lease")
    let handler = state.withLock { state in
      state.term.lose()
      state.lost = failure
      return state.whenLost
    }
    handler?(failure)
  }

  // MARK: The end

  /// Renews it no more: its files are about to be removed.
  package func abandon() { queue.sync { state.withLock { $0.isOver = true } } }

  /// Gives it back: another process, of whatever host, may take it at once. From then on nothing may be changed.
  package func release() { queue.sync { giveBack() } }

  private func giveBack() {
    let now = Instant.sinceStart
    let (epoch, isOurs) = state.withLock { state in
      defer {
        state.isOver = true
        state.term.lose()
      }
      return (state.term.epoch, !state.isOver && state.term.isCurrent(at: now))
    }
    guard isOurs, let file = try? File(files.path(epoch), for: .updating),
      let bytes = try? file.read(limit: LeaseText.byteCount), LeaseText(bytes).incarnation == incarnation
    else { return }
    try? file.overwrite(LeaseText.released)
    if !files.isLocal { try? file.synchronize() }
  }
}

extension FileLease {
  /// What came of a try to take a lease.
  package enum Attempt: Sendable {
    case taken(FileLease)
    /// The holder lives.
    case refused(by: ProcessRecord?)
    /// The lease is free after this time unless it is renewed: try again soon, and then.
    case unseen(ProcessRecord?, remaining: Interval)
  }

  /// The tries of a process to take a lease.
  package struct Request: Sendable {
    package let files: LeaseFiles
    private let subject: String
    private let length: Interval
    private var application = LeaseApplication()
    /// The tries end here, whatever is seen.
    private var end: Instant?

    /// - Parameters:
    ///   - name: of the files: "runs/x/lease".
    ///   - subject: what the lease is of, for messages: "the directory runs/x".
    package init(_ name: String, of subject: String, length: Interval) {
      (files, self.subject, self.length) = (LeaseFiles(name: name), subject, length)
    }

    /// Whether a lock that another process holds shows that the lease has a living holder. Not where another host can reach
    /// the directory and the lease names its holder: a lock may outlive its process.
    package var trustsLock: Bool {
      get throws(Failure) {
        if files.isLocal { return true }
        guard let seen = try files.look(length: length, hasLock: false) else { return true }
        return seen.sighting.holder == .none
      }
    }

    /// - Parameter hasLock: whether this process holds the lock that stands beside the lease.
    /// - Throws: `cannotCreate` or `inputOutput` where the directory cannot be read or changed.
    package mutating func attempt(hasLock: Bool) throws(Failure) -> Attempt {
      let now = Instant.sinceStart
      let end = end ?? now + LeaseApplication.patience(length) * 4
      self.end = end
      if now > end { return .refused(by: nil) }
      // Each time another process was faster.
      for _ in 0..<4 {
        let began = Instant.sinceStart
        let seen = try files.look(length: length, hasLock: hasLock)
        switch application.sees(seen?.sighting, from: began, to: .sinceStart) {
        case .refuse: return .refused(by: seen?.record)
        case .wait(let until): return .unseen(seen?.record, remaining: until.since(.sinceStart))
        case .claim(let epoch):
          if let lease = try claim(epoch, isLocked: hasLock) { return .taken(lease) }
        }
      }
      // The file of the epoch is there, and is not seen yet.
      return .unseen(nil, remaining: LeaseApplication.patience(length))
    }

    private func claim(_ epoch: UInt64, isLocked: Bool) throws(Failure) -> FileLease? {
      // For the timer of the renewals.
      try MessagingContext.requireKernelObjects()  // defence: kernel-objects
      let incarnation = UInt64.random(in: 1 ... .max)
      let began = Instant.sinceStart
      let isCreated = try files.create(epoch) { file throws(Failure) in
        try LeaseText.bytes(of: file, incarnation, 0, length, isLocked: isLocked)
      }
      guard isCreated else { return nil }
      guard try files.isNewest(epoch) else { return nil }
      files.removeEarlier(than: epoch)
      let term = LeaseTerm(epoch: epoch, length: length, began: began)
      return FileLease(files, incarnation, subject, term, isLocked: isLocked)
    }
  }
}

extension Instant {
  /// On the clock that counts the time in which the host was suspended as well (CLOCK_BOOTTIME).
  static var sinceStart: Instant {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
  }
}
