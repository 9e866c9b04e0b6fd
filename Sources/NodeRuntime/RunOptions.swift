import Diagnostics
import Reporting

/// What the process that owns a run is told besides the settings.
public struct RunOptions: Sendable {
  /// The name for a new run; drawn if there is none. `descent train` draws it, so that it can name the directory to
  /// all the processes it starts.
  public var runIdentifier: String?
  /// The command line, for `run.json`.
  public var arguments: [String]
  public var progressStyle: ProgressStyle
  /// End at once when the process that started this one is gone (`Lifeline`).
  public var diesWithParent: Bool
  public var security: SecurityOptions

  public init(
    runIdentifier: String? = nil, arguments: [String], progressStyle: ProgressStyle, diesWithParent: Bool = false,
    security: SecurityOptions = SecurityOptions()
  ) {
    self.security = security
    self.runIdentifier = runIdentifier
    self.arguments = arguments
    self.progressStyle = progressStyle
    self.diesWithParent = diesWithParent
  }

  /// A name for a run that begins now.
  public static func drawIdentifier() -> String {
    var random = SystemRandomNumberGenerator()
    return RunIdentifier.make(at: .now(), using: &random)
  }

  /// Where a run goes that nobody has named a directory for.
  public static func defaultDirectory(_ runIdentifier: String) -> String { "runs/\(runIdentifier)" }
}

/// How a run ended, and what it came to where it got that far.
public struct RunEnding: Sendable {
  public var status: ExitStatus
  public var reason: String
  public var result: RunResult?
}
