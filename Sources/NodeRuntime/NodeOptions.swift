import Cluster
import Diagnostics
import Files
import FoundationEssentials
import Glibc
import Messaging
import Optimization
import Reporting
import RunConfiguration
import Transport

/// What a process of a run is started with.
public struct NodeOptions: Sendable {
  public var settings: ResolvedSettings
  /// The address of the coordinator, as libzmq spells it; nil to look for it in the run directory of the settings.
  public var endpoint: String?
  /// Where the log of the process goes; nil for the run directory, or where that is not known for a place of this host.
  public var logDirectory: String?
  /// The command line as typed, for `run.json`.
  public var arguments: [String] = []
  /// Of the process on its host: "worker-1"; nil for the role, and of a worker its process identifier.
  public var name: String?
  /// How the process ended that this one replaces: "was killed by signal 9"; nil if it replaces none.
  public var formerExit: String?
  /// Writes nothing to standard error but why it failed.
  public var isQuiet = false
  /// Shows processes, sockets, memberships and saved checkpoints on standard error, which are in the log in any case.
  public var isVerbose = false
  /// Names the run that `descent train` begins: its server and workers join only the coordinator of the same launch. Nil
  /// for a process that was started by hand.
  public var launch: String?
  /// Ends when the process that started this one has ended (`TerminationSignals`).
  public var diesWithParent = false
  /// A worker of `descent join`, which supervises it; the run is led elsewhere.
  public var isJoined = false
  /// A whole run among others of one command, such as a trial of a sweep: it ends when that command has ended, and
  /// `runs/latest` does not lead to it.
  public var isTrial = false
  /// False for a node among others in one process.
  package var handlesSignals = true
  /// Whether other hosts are talked to without keys.
  public var allowsPlaintextBeyondThisHost = false

  public init(_ settings: ResolvedSettings) { self.settings = settings }

  var timing: Timing { Timing(settings) }

  /// How progress is shown: a live line in a terminal, plain lines elsewhere.
  var progressStyle: ProgressStyle {
    ProgressStyle(isQuiet: isQuiet, isTerminal: StandardError.isTerminal, environment: NodeProcess.environment)
  }

  /// Where the coordinator's address is published; nil if it is given.
  var paths: RunPaths? { endpoint == nil ? settings.runDirectory.map { RunPaths(directory: $0) } : nil }
}

extension NodeOptions {
  /// How a server or worker ends that finds no coordinator in the run directory because the run is over, in the words of
  /// `run.json`; nil while one may come. A finished run may be about to be trained further: where a coordinator has the
  /// directory, it is waited for. An interrupted one may be about to be resumed, and is waited for as long as a new run. A
  /// launch of `descent train` on this host begins or continues a run itself.
  ///
  /// - Parameter waited: for how long there was no coordinator.
  func endOfRun(after waited: Interval) -> ExitReason? {
    guard launch == nil || isJoined, let paths, let file = try? RunFile(readingFrom: paths.runFile),
      let ended = file.ended
    else { return nil }
    let reason = "the run in \(paths.directory) has ended: \(ended.message)"
    switch file.status {
    case .finished where !paths.isLocked: return ExitReason(status: .success, reason: reason)
    case .interrupted where launch == nil && waited >= timing.rendezvous:
      return ExitReason(status: .stoppedBySignal, reason: reason)
    case .finished, .interrupted, .running, .failed: return nil
    }
  }

  /// Of a process that has waited for a coordinator in vain, and says so.
  func endingOfWait() -> ExitReason {
    let ending = endOfRun(after: timing.rendezvous) ?? .stoppedWhileWaiting
    if ending.status == .success, !isQuiet { StandardError.write(message: "descent: \(ending.reason)") }
    return ending
  }

  /// Where a process of these options listens on TCP; nil with another transport.
  ///
  /// - Throws: what `NodeAddress` does.
  func tcpAddress(port: UInt16?, _ security: ConnectionSecurity) throws(Failure) -> NodeAddress? {
    guard settings.transport == .tcp else { return nil }
    return try NodeAddress(bind: settings.bind, advertise: settings.advertise, port: port, security: security)
  }
}

extension Timing {
  /// The waits that are settings; the others keep their defaults.
  public init(_ settings: ResolvedSettings) {
    self.init()
    heartbeat = .seconds(settings.heartbeatSeconds)
    lease = .seconds(settings.leaseSeconds)
    rendezvous = .seconds(settings.rendezvousSeconds)
  }
}

/// What every node process sets up before anything else, in the order that matters: signals before threads.
struct NodeProcess {
  let signals: TerminationSignals
  /// The kernels that this process computes with.
  let kernel: KernelVariant

  /// - Throws: `badConfiguration` if DESCENT_KERNEL names kernels that this processor cannot run.
  init(_ options: NodeOptions) throws(Failure) {
    kernel = try KernelVariant(environment: Self.environment)
    signals =
      options.handlesSignals
      ? try TerminationSignals(
        diesWithParent: options.diesWithParent || options.isTrial, warning: options.settings.warningSignal)
      : TerminationSignals()
  }

  static var host: String { ProcessRecord.thisHost }

  static var workingDirectory: String {
    guard let path = getcwd(nil, 0) else { return "." }
    defer { free(path) }
    return String(validatingCString: path) ?? "."
  }

  /// "worker-1@host".
  static func fullName(_ name: String) -> String { "\(name)@\(host)" }

  static var environment: [String: String] { ProcessInfo.processInfo.environment }
}
