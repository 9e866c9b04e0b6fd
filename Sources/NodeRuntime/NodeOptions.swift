import Cluster
import Diagnostics
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
  /// Whether a run that has finished is what the process was to take part in. A launch of `descent train` on this host begins
  /// or continues one.
  var endsWithRun: Bool { launch == nil || isJoined }

  /// Of a process that found no coordinator, and was not kept from waiting for one.
  var endingOfWait: ExitReason {
    guard endsWithRun, let run = paths?.finishedRun else { return .stoppedWhileWaiting }
    return ExitReason(status: .success, reason: "run \(run.run) has finished")
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

  static var host: String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return "unknown" }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  static var workingDirectory: String {
    guard let path = getcwd(nil, 0) else { return "." }
    defer { free(path) }
    return String(validatingCString: path) ?? "."
  }

  /// "worker-1@host".
  static func fullName(_ name: String) -> String { "\(name)@\(host)" }

  static var environment: [String: String] { ProcessInfo.processInfo.environment }
}
