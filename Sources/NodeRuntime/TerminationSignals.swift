import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Transport

/// What can end a process from outside: SIGINT, SIGTERM, SIGHUP, the limit of the processor's time (SIGXCPU), and the end
/// of the process that started it.
package final class TerminationSignals {
  private let signals: Descriptor?
  /// The parent holds the other end of a pipe and never writes, so the end of the file means that it is gone, however it
  /// ended. Unlike PR_SET_PDEATHSIG this leaves the process the time to remove its socket.
  private let lifeline: Descriptor?
  private var requests = StopRequests()
  /// The first signal.
  private(set) var received: Int32?

  /// Watches for nothing.
  package init() { (signals, lifeline) = (nil, nil) }

  /// Watches from here on.
  /// - Parameter diesWithParent: `ProcessSpawner` has given this process its lifeline.
  init(diesWithParent: Bool) throws(Failure) {
    SystemLimits.reserveTimeToSave()
    signals = try .signals(Self.numbers)
    guard diesWithParent else {
      lifeline = nil
      return
    }
    let number = ProcessSpawner.lifelineNumber
    guard fcntl(number, F_SETFD, FD_CLOEXEC) == 0 else {
      throw Failure(
        .usage, "--die-with-parent is for processes that Descent starts itself: there is no descriptor \(number)")
    }
    lifeline = Descriptor(number)
  }

  /// Readable when `poll` has something to report.
  var descriptors: [Int32] { [signals, lifeline].compactMap { $0?.number } }

  /// The signals that stop a run. SIGHUP is one of them unless it was ignored at the start, as under nohup.
  static var numbers: [Int32] {
    var action = sigaction()
    sigaction(SIGHUP, nil, &action)
    let isIgnored = action.__sigaction_handler.sa_handler.map { unsafeBitCast($0, to: Int.self) } == 1
    return [SIGINT, SIGTERM, SIGXCPU] + (isIgnored ? [] : [SIGHUP])  // defence: processor-time
  }

  /// Whether a signal asks for the first time to stop. At a deliberate second one, or when the parent is gone, the process
  /// ends here and now, after `abandon`.
  func poll(_ abandon: () -> Void = {}) -> Bool {
    if let lifeline, lifeline.isReadable {
      abandon()
      _exit(ExitStatus.stoppedBySignal.rawValue)
    }
    var isFirst = false
    for (number, sender) in signals?.takeSignals() ?? [] {
      if number == SIGXCPU, !isRequest(sender: sender) { continue }
      received = received ?? number
      switch requests.received(at: .now) {
      case .first: isFirst = true
      case .copy: break
      case .deliberate:
        abandon()
        // What a shell shows for a process that this signal ended.
        _exit(128 + number)
      }
    }
    return isFirst
  }

  /// Whether SIGXCPU asks this process to stop. The kernel sends it every second from the soft limit on. The time of one
  /// process is up, but without it the others would train on until theirs is: `descent train` stops the whole run, and asks
  /// the coordinator as for any other signal.
  private func isRequest(sender: Int32) -> Bool {
    guard sender == 0 else { return true }
    guard lifeline == nil else {
      kill(getppid(), SIGXCPU)
      return false
    }
    return received == nil
  }
}
