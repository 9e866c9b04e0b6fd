import Diagnostics
import Files
import Glibc
import ZeroMQTransport

/// Ends a process together with the one that started it: the parent holds the other end of a pipe and never writes, so
/// the end of the file means that it is gone, however it went. Unlike PR_SET_PDEATHSIG this leaves the process the
/// time to remove its socket.
public enum Lifeline {
  /// The descriptor that `ProcessSpawner` gives to a process that is to die with its parent.
  public static let descriptorNumber: Int32 = 3

  /// Takes the inherited descriptor over. To be called once, in a process that was started with it.
  static func inherited() throws(Failure) -> Descriptor {
    guard fcntl(descriptorNumber, F_SETFD, FD_CLOEXEC) == 0 else {
      throw Failure(
        .usage, "--die-with-parent is for processes that Descent starts itself",
        found: "no descriptor \(descriptorNumber)")
    }
    return Descriptor(descriptorNumber)
  }
}

/// What can end a process from outside: SIGINT, SIGTERM, and the death of the process that started it.
package final class Interruptions {
  private let signals: SignalDescriptor?
  private let lifeline: Descriptor?
  private var requests = 0

  /// Watches for nothing.
  package init() { (signals, lifeline) = (nil, nil) }

  /// Watches from here on. SIGPIPE is ignored: a peer that went away is an error code.
  init(diesWithParent: Bool) throws(Failure) {
    signal(SIGPIPE, SIG_IGN)
    signals = try SignalDescriptor([SIGINT, SIGTERM])
    lifeline = diesWithParent ? try Lifeline.inherited() : nil
  }

  /// Readable when `poll` has something to say.
  var descriptors: [Int32] { [signals?.descriptor, lifeline?.number].compactMap { $0 } }

  /// Whether a signal asks for the first time to stop. At the second one, or when the parent is gone, the process
  /// ends here and now, after `abandon`.
  func poll(_ abandon: () -> Void = {}) -> Bool {
    if let lifeline, lifeline.isReadable {
      abandon()
      _exit(ExitStatus.stoppedBySignal.rawValue)
    }
    var isFirst = false
    for number in signals?.take() ?? [] {
      requests += 1
      if requests > 1 {  // defence: second-signal
        abandon()
        _exit(Self.exitCode(ofSignal: number))
      }
      isFirst = true
    }
    return isFirst
  }

  /// What a shell shows for a process that this signal ended.
  static func exitCode(ofSignal number: Int32) -> Int32 { 128 + number }
}
