import Diagnostics
import Messaging

/// A part in a run, which processes fill one after the other. Described by the name that its processes have on their host:
/// workers are counted from 0, and named from 1.
public enum ProcessName: Sendable, Hashable, CustomStringConvertible {
  case coordinator
  case server(ServerIndex)
  case worker(Int)

  public var description: String {
    switch self {
    case .coordinator: "coordinator"
    case .server(let index): index == .first ? "server" : "server-\(index.value)"
    case .worker(let number): "worker-\(number + 1)"
    }
  }

  package var role: NodeRole {
    switch self {
    case .coordinator: .coordinator
    case .server: .server
    case .worker: .worker
    }
  }

  var isWorker: Bool { role == .worker }
}

/// Where a process stands that a supervisor starts and restarts.
enum ProcessState: Equatable {
  case running(since: Instant)
  /// Until it is restarted.
  case waiting(until: Instant)
  case ended
}

/// How a process ended.
public enum ProcessExit: Sendable, Equatable {
  case status(Int32)
  case signal(Int32)

  var isSignal: Bool { if case .signal = self { true } else { false } }

  /// What follows the name of the process in a message.
  package var phrase: String {
    switch self {
    case .status(let code): "exited with status \(code)"
    case .signal(let number): "was killed by signal \(number)"
    }
  }
}

extension ExitStatus {
  /// Failures of a member that its coordinator reports as well: it has stopped the member, or the data, which both read,
  /// are wrong.
  package static let reportedByCoordinator: Set<ExitStatus> = [.stoppedBySignal, .missingInput, .badData, .inputOutput]
}

/// Restarts a process at once, then with growing delays while it keeps failing, and no more after too many failures in a
/// row.
package struct RestartPolicy {
  /// A process that has worked for this long has started well; its failure is the first of a new row.
  package static let minimumUptime = Interval.seconds(10)
  /// Before the first, second, … restart in a row; there is no further one.
  package static let delays: [Interval] = [.seconds(0), .seconds(0.25), .seconds(0.5), .seconds(1), .seconds(2)]

  private var rapidFailures = 0

  package init() {}

  /// - Parameter uptime: for how long the process has done its work.
  /// - Returns: after which delay to restart it; nil for never.
  package mutating func recordExit(uptime: Interval) -> Interval? {
    if uptime >= Self.minimumUptime { rapidFailures = 0 }
    guard rapidFailures < Self.delays.count else { return nil }  // defence: restart-bound
    defer { rapidFailures += 1 }
    return Self.delays[rapidFailures]
  }
}
