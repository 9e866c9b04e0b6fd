/// How a process of Descent ends: the numbers of sysexits.h, so that a shell script, systemd or a batch
/// system can decide what to do without reading a message.
public enum ExitStatus: Int32, Sendable, CaseIterable {
  case success = 0
  /// A flag or argument is wrong.
  case usage = 64
  /// A data file or checkpoint was read and is not what it should be.
  case badData = 65
  /// A file or directory that was named does not exist or cannot be read.
  case missingInput = 66
  /// A peer did not come, or went silent for longer than its deadline.
  case unavailable = 69
  /// An invariant of ours is broken, or the training diverged.
  case internalError = 70
  /// A file or directory cannot be created, or is in use by another run.
  case cannotCreate = 73
  /// Reading or writing failed in the middle; what was not saved is named.
  case inputOutput = 74
  /// Stopped by a signal after a checkpoint was saved: start again with `--resume`.
  case stoppedBySignal = 75
  /// The peer refused us.
  case refused = 77
  /// A configuration file, environment variable or combination of settings is wrong.
  case badConfiguration = 78
  /// A newer membership epoch owns the work this process was doing.
  case fenced = 79
}

/// The one error that people see: what happened, what was found, what was expected, and what to do.
public struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
  public var status: ExitStatus
  public var message: String
  public var found: String?
  public var expected: String?
  public var remedy: String?

  public init(
    _ status: ExitStatus, _ message: String, found: String? = nil, expected: String? = nil,
    remedy: String? = nil
  ) {
    self.status = status
    self.message = message
    self.found = found
    self.expected = expected
    self.remedy = remedy
  }

  public var description: String {
    var text = message
    var details: [String] = []
    if let found { details.append("found \(found)") }
    if let expected { details.append("expected \(expected)") }
    if !details.isEmpty { text += ": " + details.joined(separator: ", ") }
    if let remedy { text += ". " + remedy }
    return text
  }
}
