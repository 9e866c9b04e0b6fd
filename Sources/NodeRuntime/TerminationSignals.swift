import Cluster
import Diagnostics
import Dispatch
import Files
import Glibc
import Messaging
import RunConfiguration
import Synchronization
import Transport

/// Holds the signals that stop a run back until they are watched: they then stop it, instead of ending the process. For the
/// main thread, before any other exists.
public func holdTerminationSignals() {
  var set = sigset_t()
  sigemptyset(&set)
  for number in TerminationSignals.numbers { sigaddset(&set, number) }
  pthread_sigmask(SIG_BLOCK, &set, nil)
}

/// Lets the signals that stop a run end the process, whatever it has inherited: a parent may have held them back. For
/// processes that have nothing to save.
public func releaseTerminationSignals() {
  var set = sigset_t()
  sigemptyset(&set)
  for number in TerminationSignals.numbers { sigaddset(&set, number) }
  pthread_sigmask(SIG_UNBLOCK, &set, nil)
}

/// The first of these signals that waits because it was held back; nil for none.
///
/// - Parameter warning: the one that stops a run besides those that always do. SIGUSR1 counts where it is that one.
public func pendingTerminationSignal(warning: WarningSignal = .usr1) -> Int32? {
  var set = sigset_t()
  sigpending(&set)
  return TerminationSignals.numbers.first {
    sigismember(&set, $0) == 1 && !TerminationSignals.saves($0, warning: warning)
  }
}

/// What can end a process from outside: the signals that stop a run, and the end of the process that started it.
///
/// One thread polls; only `hasRequest`, `received` and `takeSaveRequest` may be used on others.
package final class TerminationSignals: @unchecked Sendable {
  private let signals: Descriptor?
  /// The parent holds the other end of a pipe and never writes, so the end of the file means that it is gone, however it
  /// ended. Unlike PR_SET_PDEATHSIG this leaves the process the time to save, and to remove its socket. Nil once it is
  /// gone.
  private var lifeline: Descriptor?
  private var requests = StopRequests()
  /// Of the parent, which decides for itself what is deliberate: it may pass on what this process has long received.
  private var ofParent = StopRequests()
  private let parent: pid_t?
  private let request = Atomic(false)
  private let saveRequest = Atomic(false)
  /// Whether SIGUSR1 asks for a checkpoint only. Not to be changed once they are polled.
  var saves: Bool
  /// 0 before the first one.
  private let first = Atomic<Int32>(0)

  /// Watches for nothing.
  package init() { (signals, lifeline, parent, saves) = (nil, nil, nil, true) }

  /// Watches from here on.
  /// - Parameters:
  ///   - diesWithParent: `ProcessSpawner` has given this process its lifeline.
  ///   - warning: the signal that stops the run as SIGTERM does, besides those that always do.
  init(diesWithParent: Bool, warning: WarningSignal) throws(Failure) {
    saves = warning != .usr1
    SystemLimits.reserveTimeToSave()  // defence: processor-time
    signals = try .signals(Self.numbers)
    parent = diesWithParent ? getppid() : nil
    lifeline = diesWithParent ? try ProcessSpawner.inheritedLifeline() : nil
  }

  /// Readable when `poll` has something to report.
  var descriptors: [Int32] { [signals, lifeline].compactMap { $0?.number } }

  // MARK: Which

  /// What schedulers send before they end a job.
  private static let warnings = [SIGUSR1, SIGUSR2, SIGXCPU]

  /// The signals that stop a run: those that end a process unless it handles them, and that terminals, shells and schedulers
  /// send. SIGHUP (nohup) and the warnings are none of them where they were ignored at the start.
  static let numbers =
    [SIGINT, SIGQUIT, SIGTERM] + ([SIGHUP] + warnings).filter { !isIgnored($0) }  // defence: scheduler-signals

  /// A shell without job control ignores SIGINT for what it starts in the background: then Ctrl-C is not meant for it, but a
  /// signal that was sent to it is.
  static let foreign = isIgnored(SIGINT) ? [SIGINT, SIGQUIT] : []  // defence: background

  static func isWarning(_ number: Int32) -> Bool { warnings.contains(number) }

  /// Whether a signal asks for a checkpoint, after which the training goes on.
  static func saves(_ number: Int32, warning: WarningSignal) -> Bool { number == SIGUSR1 && warning != .usr1 }

  static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    sigaction(number, nil, &action)
    return action.__sigaction_handler.sa_handler.map { unsafeBitCast($0, to: Int.self) } == 1
  }

  // MARK: Requests

  /// The first signal.
  var received: Int32? {
    let number = first.load(ordering: .acquiring)
    return number == 0 ? nil : number
  }

  /// Whether a stop was requested, where a thread of its own polls (`watch`).
  var hasRequest: Bool { request.load(ordering: .acquiring) }

  /// Whether a checkpoint was asked for since the last call. For any thread.
  func takeSaveRequest() -> Bool { saveRequest.exchange(false, ordering: .acquiringAndReleasing) }

  /// Polls on a thread of its own, for a process without the loop of a node: a deliberate second signal then ends the process
  /// whatever it is doing.
  func watch(_ abandon: @escaping @Sendable () -> Void) {
    guard let signals else { return }
    DispatchQueue(label: "signals").async { [self] in
      while true {
        let watched = [signals, lifeline].compactMap(\.self)
        if Descriptor.wait(for: watched, milliseconds: .max), poll(abandon) {
          request.store(true, ordering: .releasing)
        }
      }
    }
  }

  private func meaning(of number: Int32, from sender: Int32) -> StopRequests.Meaning {
    let isWarning = Self.isWarning(number)
    // defence: parent-decides fails
    if sender == parent { return ofParent.received(isWarning: isWarning, at: .now) }
    return requests.received(isWarning: isWarning, at: .now)
  }

  /// Whether a stop is requested for the first time, by the parent or by another process: by a signal, or because the
  /// parent is gone. At a deliberate second signal the process ends here and now, after `abandon`, and without its parent in
  /// `Timing.orphanGrace` at the latest.
  func poll(_ abandon: @escaping @Sendable () -> Void = {}) -> Bool {
    var isFirst = false
    for (number, sender) in signals?.takeSignals(exceptOfKernel: Self.foreign) ?? [] {
      if number == SIGXCPU, sender == 0, lifeline != nil {
        // Without this process the others would train on until their time is up as well: the command stops the whole run.
        kill(getppid(), SIGXCPU)
        continue
      }
      if saves, number == SIGUSR1 {
        saveRequest.store(true, ordering: .releasing)
        continue
      }
      _ = first.compareExchange(expected: 0, desired: number, ordering: .acquiringAndReleasing)
      switch meaning(of: number, from: sender) {
      case .first: isFirst = true
      case .copy: break
      case .deliberate:
        abandon()
        // What a shell shows for a process that this signal ended.
        _exit(128 + number)
      }
    }
    if let lifeline, lifeline.isReadable {
      self.lifeline = nil
      DispatchQueue.global().asyncAfter(deadline: .now() + Timing.orphanGrace.seconds) {
        abandon()
        _exit(ExitStatus.stoppedBySignal.rawValue)
      }
      if case .first = requests.received(at: .now) { isFirst = true }  // defence: parent-lost
    }
    return isFirst
  }
}
