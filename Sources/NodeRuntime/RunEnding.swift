import Diagnostics
import Reporting

/// How a run ended, and what it came to where it got that far.
public struct RunEnding: Sendable {
  public var status: ExitStatus
  public var reason: String
  public var result: RunResult?
}
