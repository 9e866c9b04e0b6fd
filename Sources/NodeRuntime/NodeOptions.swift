import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import Reporting
import RunConfiguration

/// What a server or worker process is told at its start; the plan comes from the coordinator.
public struct NodeOptions: Sendable {
  public var coordinator: CoordinatorLocation
  public var timing: Timing
  /// Says nothing on standard error but why it failed.
  public var isQuiet: Bool
  /// End at once when the process that started this one is gone (`Lifeline`).
  public var diesWithParent: Bool
  /// Join only the coordinator of the same launch; nil for any.
  public var launch: String?
  public var security: SecurityOptions

  public init(
    coordinator: CoordinatorLocation, timing: Timing, isQuiet: Bool = false, diesWithParent: Bool = false,
    launch: String? = nil, security: SecurityOptions = SecurityOptions()
  ) {
    self.launch = launch
    self.security = security
    self.coordinator = coordinator
    self.timing = timing
    self.isQuiet = isQuiet
    self.diesWithParent = diesWithParent
  }
}

extension Timing {
  /// The waits that the settings name; the others stay as they are.
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

extension Message.Ending {
  static let stoppedWhileWaiting = Message.Ending(
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

  /// What the tests want done to this process.
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

  /// The log of a server or worker: in the run directory where it knows one, and on standard error for people.
  func log(
    role: NodeRole, meeting: Rendezvous.Meeting, options: NodeOptions
  ) throws(Failure) -> NodeLog {
    var file: LogFile?
    if let paths = options.coordinator.paths {
      try FileSystem().makeDirectories(paths.logs)
      file = try LogFile(
        path: paths.log(role: role.description),
        identity: LogIdentity(run: meeting.runIdentifier ?? "", role: role.description))
    }
    return NodeLog(
      file: file,
      show: options.isQuiet ? nil : NodeLog.standardError("descent-\(role)", from: .info))
  }
}
