import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import Reporting
import RunConfiguration

/// What a process of a run is started with.
public struct NodeOptions: Sendable {
  public var settings: ResolvedSettings
  /// Where a server, worker or observer finds the coordinator; nil for a process that needs none.
  public var coordinator: CoordinatorLocation?
  /// The command line, for `run.json`.
  public var arguments: [String]
  /// Writes nothing to standard error but why it failed.
  public var isQuiet: Bool
  /// Names the run that `descent train` begins: its server and workers join only the coordinator of the same launch. Nil
  /// for a process that was started by hand.
  public var launch: String?
  /// Ends when the process that started this one has ended (`Lifeline`).
  public var diesWithParent: Bool
  /// Whether other hosts are talked to without keys.
  public var allowsPlaintextBeyondThisHost: Bool

  /// - Parameter endpoint: the address of the coordinator; nil to look for it in the run directory of the settings.
  public init(
    _ settings: ResolvedSettings, endpoint: String? = nil, arguments: [String] = [], isQuiet: Bool = false,
    launch: String? = nil, diesWithParent: Bool = false, allowsPlaintextBeyondThisHost: Bool = false
  ) {
    self.settings = settings
    coordinator = endpoint.map { .endpoint($0) } ?? settings.runDirectory.map { .runDirectory($0) }
    self.arguments = arguments
    self.isQuiet = isQuiet
    self.launch = launch
    self.diesWithParent = diesWithParent
    self.allowsPlaintextBeyondThisHost = allowsPlaintextBeyondThisHost
  }

  var timing: Timing { Timing(settings) }

  /// How progress is shown: a live line in a terminal, plain lines elsewhere.
  var progressStyle: ProgressStyle {
    ProgressStyle(isQuiet: isQuiet, isTerminal: StandardError.isTerminal, environment: NodeProcess.environment)
  }

  /// Waits for the coordinator; nil when a signal came meanwhile.
  func meeting(_ interruptions: Interruptions, timeout: Interval) throws(Failure) -> Rendezvous.Meeting? {
    guard let coordinator else {
      throw Failure(.usage, "which run? Pass --run-dir DIR or --coordinator ENDPOINT")
    }
    return try coordinator.meeting(launch: launch, timeout: timeout, interruptions: interruptions)
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

extension Incarnation {
  /// A number for this start of this process. Only the system's generator will do: two processes must differ.
  static func draw() -> Incarnation { Incarnation(UInt64.random(in: 1 ... .max)) }
}

extension ExitReason {
  static let stoppedWhileWaiting = ExitReason(
    status: .stoppedBySignal, reason: "stopped by a signal while waiting for the coordinator")
}

/// What every node process sets up before anything else, in the order that matters: signals before threads.
package struct NodeProcess {
  let incarnation = Incarnation.draw()
  let processID = getpid()
  let host: String
  let interruptions: Interruptions
  /// The kernels that this process computes with.
  let kernel: KernelVariant

  /// - Throws: `badConfiguration` if DESCENT_KERNEL names kernels that this processor cannot run.
  init(diesWithParent: Bool) throws(Failure) {
    kernel = try KernelVariant(environment: Self.environment)
    interruptions = try Interruptions(diesWithParent: diesWithParent)
    host = Self.hostName
  }

  /// A node among others in one process: signals are not its business.
  package init(kernel: KernelVariant = .best) {
    self.kernel = kernel
    interruptions = Interruptions()
    host = Self.hostName
  }

  /// The fault that a test injects into this process.
  func faultPoint(_ role: NodeRole) throws(Failure) -> FaultPoint? {
    try FaultPoint(role, environment: Self.environment)
  }

  static var hostName: String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return "unknown" }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  static var environment: [String: String] {
    var result: [String: String] = [:]
    var entry = environ
    while let text = entry.pointee {
      let parts = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2 { result[String(parts[0])] = String(parts[1]) }
      entry += 1
    }
    return result
  }

  /// The log of a server or worker: in the run directory if it is known, and on standard error for people.
  func log(
    role: NodeRole, meeting: Rendezvous.Meeting, options: NodeOptions
  ) throws(Failure) -> NodeLog {
    var file: LogFile?
    if let paths = options.coordinator?.paths {
      try FileSystem().makeDirectories(paths.logs)
      file = try LogFile(
        path: paths.log(role: role.description), run: meeting.runIdentifier ?? "", role: role.description)
    }
    return NodeLog(
      file: file,
      show: options.isQuiet ? nil : NodeLog.standardError("descent-\(role)", from: .info))
  }
}
